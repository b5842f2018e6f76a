//! Bodies of the routes for pools: JSON whose members must be known.

use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

use super::form::{self, FieldValue, Format};
use super::query::{invalid, shown, unknown};
use crate::problem::{Code, Problem};

/// A body with a JSON content type.
pub(crate) struct JsonBody(pub(crate) Bytes);

impl<S: Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        let body = form::whole(body).await?;
        if body.trim_ascii().is_empty() {
            return Err(Problem::new(Code::InvalidBody, "The request has no body. Send JSON."));
        }
        let format = head.headers.get(CONTENT_TYPE).and_then(Format::of);
        match format {
            Some(Format::Json) => Ok(JsonBody(body)),
            Some(Format::Form) if body.trim_ascii_start().starts_with(b"{") => {
                Err(form::json_as_form())
            }
            _ => {
                let detail = "The body must be JSON. Send it with Content-Type: application/json.";
                Err(Problem::new(Code::UnsupportedContentType, detail))
            }
        }
    }
}

/// A body with a JSON content type, or none.
pub(crate) struct OptionalJson(pub(crate) Option<Bytes>);

impl<S: Sync> FromRequest<S> for OptionalJson {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        let body = form::whole(body).await?;
        if body.trim_ascii().is_empty() {
            return Ok(OptionalJson(None));
        }
        let JsonBody(body) =
            JsonBody::from_request(Request::from_parts(head, body.into()), state).await?;
        Ok(OptionalJson(Some(body)))
    }
}

/// Reads a JSON object of a type; `example` is a valid body.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8], example: &str) -> Result<T, Problem> {
    let text = form::text(body)?;
    serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Data => invalid(format!("The body is not as expected: {error}. Send {example}.")),
        _ => form::malformed_json(&error, example),
    })
}

/// Returns the text of a body that is one JSON value; `example` is a valid body.
pub(crate) fn text<'a>(body: &'a [u8], example: &str) -> Result<&'a str, Problem> {
    let text = form::text(body)?;
    serde_json::from_str::<IgnoredAny>(text)
        .map_err(|error| form::malformed_json(&error, example))?;
    Ok(text)
}

/// Returns the values of these members of a JSON object, which has no others. Null is the same as an
/// absent member.
pub(crate) fn members<'a, const N: usize>(
    names: &[&str; N],
    body: &'a [u8],
    example: &str,
) -> Result<[FieldValue<'a>; N], Problem> {
    let text = form::text(body)?;
    let malformed = |error| form::malformed_json(&error, example);
    let mut sent = [const { None }; N];
    for (name, value) in form::members(text).map_err(malformed)? {
        let Some(place) = names.iter().position(|known| *known == name) else {
            return Err(unknown("member", &name, names));
        };
        if sent[place].replace(value).is_some() {
            return Err(invalid(format!("The member {} may be given only once.", shown(&name))));
        }
    }
    Ok(sent.map(|value| match value {
        None | Some(FieldValue::Other("null")) => FieldValue::Nothing,
        Some(value) => value,
    }))
}

/// Returns the text of a member that may be absent.
pub(crate) fn optional_text(
    name: &str,
    sent: FieldValue<'_>,
) -> Result<Option<std::sync::Arc<str>>, Problem> {
    match sent {
        FieldValue::Nothing => Ok(None),
        FieldValue::Text(text) => Ok(Some(text.as_ref().into())),
        other => Err(invalid(format!("{name} must be a text, not {}.", other.what()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<[FieldValue<'_>; 2], String> {
        members(&["user", "note"], body.as_bytes(), "{}").map_err(|problem| format!("{problem:?}"))
    }

    #[test]
    fn members_are_known_and_given_once() {
        let text = |text: &'static str| FieldValue::Text(text.into());
        assert_eq!(read(r#"{"note":"n","user":"a"}"#), Ok([text("a"), text("n")]));
        assert_eq!(read(r#"{"note":null}"#), Ok([FieldValue::Nothing, FieldValue::Nothing]));
        for (body, says) in [
            (r#"{"user_id":"a"}"#, "Did you mean user?"),
            (r#"{"user":"a","user":"b"}"#, "only once"),
            (r#"{"user":null,"user":"b"}"#, "only once"),
            ("[1]", "must be a JSON object"),
            ("{", "not valid JSON"),
        ] {
            let refused = read(body).unwrap_err();
            assert!(refused.contains(says), "{body}: {refused}");
        }
    }
}
