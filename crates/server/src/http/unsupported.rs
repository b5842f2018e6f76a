//! Members of requests that this version does not support, and requests without members.
//!
//! The routes of the original ignore unknown members, because its clients rely on that. A member that
//! requests a certain token, several tokens or a priority must not be ignored: the response would look
//! like success. All other routes refuse every unknown name.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;

use super::form::{self, FieldValue, Format};
use super::query::{Query, only, pairs, unknown};
use crate::problem::{Code, Problem};

/// Names of unsupported members, which no route of the original has.
pub(crate) const UNSUPPORTED: [&str; 6] =
    ["token_id", "token", "pool", "selector", "count", "priority"];

/// Kind of a request that may have unsupported members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Context {
    Allocate,
    Release,
    Clear,
    List,
    History,
}

/// Refuses a request that has a value in any of [`UNSUPPORTED`].
pub(crate) fn refuse(
    context: Context,
    sent: &[FieldValue<'_>; UNSUPPORTED.len()],
) -> Result<(), Problem> {
    match UNSUPPORTED.iter().zip(sent).find(|(_, sent)| has_value(sent)) {
        Some((name, _)) => Err(unsupported(context, name)),
        None => Ok(()),
    }
}

/// Refuses a query with any of [`UNSUPPORTED`].
pub(crate) fn refuse_in_query(context: Context, query: &str) -> Result<(), Problem> {
    for (name, value) in pairs(query).flatten() {
        if let Some(member) = UNSUPPORTED.iter().find(|member| **member == name)
            && !value.is_empty()
        {
            return Err(unsupported(context, member));
        }
    }
    Ok(())
}

/// Whether a member has a meaningful value. Programs send null or an empty string for values that their
/// user left out.
pub(crate) fn has_value(sent: &FieldValue<'_>) -> bool {
    match sent {
        FieldValue::Nothing | FieldValue::Other("null") => false,
        FieldValue::Text(text) => !text.is_empty(),
        FieldValue::Number(_) | FieldValue::Other(_) => true,
    }
}

pub(crate) fn unsupported(context: Context, name: &str) -> Problem {
    let instead = match (name, context) {
        ("token_id" | "token", Context::Allocate) => {
            "the pool chooses the token that was free longest. Leave it out, or name a token in a \
             request to /api/pools/{pool}/allocate."
        }
        ("token_id" | "token", Context::Release) => {
            "the path names the token. To release it only if held by a given lease or user, send \
             lease_id or if_user."
        }
        ("token_id" | "token", Context::Clear) => {
            "this request ends all leases. To end one, use POST /api/tokens/release/{id}."
        }
        ("token_id" | "token", Context::List | Context::History) => {
            "use GET /api/tokens/{id} for one token, or GET /api/leases?token_id=... for its leases."
        }
        ("pool", _) => {
            "this route is of the pool default. Leave it out, or use the routes below \
             /api/pools/{pool}."
        }
        ("selector", _) => {
            "all tokens of a pool are equivalent. Leave it out, and use one pool for each kind of \
             token."
        }
        ("count", Context::Allocate) => {
            "each request leases one token. Leave it out, and send one request for each token."
        }
        ("count", Context::List | Context::History) => "use limit for the number of rows.",
        ("priority", Context::Allocate) => "the queue is in order of arrival. Leave it out.",
        _ => "it does not apply to this request. Leave it out.",
    };
    let detail = format!("{name} is not supported. Nothing was changed: {instead}");
    Problem::new(Code::InvalidParameter, detail)
}

/// A request without a query and without members in its body. An empty object counts as no body.
pub(crate) struct EmptyBody;

impl<S: Send + Sync> FromRequest<S> for EmptyBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (mut head, body) = request.into_parts();
        let Query(()) = Query::from_request_parts(&mut head, state).await?;
        no_members(head.headers.get(CONTENT_TYPE), &form::whole(body).await?)?;
        Ok(EmptyBody)
    }
}

fn no_members(content_type: Option<&HeaderValue>, body: &[u8]) -> Result<(), Problem> {
    if body.trim_ascii().is_empty() {
        return Ok(());
    }
    match content_type.and_then(Format::of) {
        Some(Format::Json) => {
            let members = form::members(form::text(body)?);
            let members = members.map_err(|error| form::malformed_json(&error, "{}"))?;
            members.first().map_or(Ok(()), |(name, _)| Err(unknown("member", name, &[])))
        }
        Some(Format::Form) => only("member", form::text(body)?, &[]),
        None => {
            let detail = "This request takes no body. Leave it out.";
            Err(Problem::new(Code::UnsupportedContentType, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsupported_members_with_a_value_are_refused() {
        let sent = |value: FieldValue<'static>| {
            let mut sent = [const { FieldValue::Nothing }; UNSUPPORTED.len()];
            sent[5] = value;
            refuse(Context::Allocate, &sent).map_err(|problem| format!("{problem:?}"))
        };
        for value in
            [FieldValue::Number(0.0), FieldValue::Text("high".into()), FieldValue::Other("false")]
        {
            let refused = sent(value).unwrap_err();
            assert!(refused.contains("priority is not supported"), "{refused}");
        }
        for value in [FieldValue::Nothing, FieldValue::Other("null"), FieldValue::Text("".into())] {
            assert_eq!(sent(value), Ok(()));
        }
    }

    #[test]
    fn every_unsupported_member_has_a_remedy() {
        for name in UNSUPPORTED {
            for query in [format!("limit=5&{name}=a"), format!("{}=a", name.replace('_', "%5F"))] {
                let refused = refuse_in_query(Context::List, &query).unwrap_err();
                let refused = format!("{refused:?}");
                assert!(
                    refused.contains(name) && refused.contains("InvalidParameter"),
                    "{refused}"
                );
            }
        }
        assert!(refuse_in_query(Context::List, "limit=5&tokens=1&pool=&%&note=a").is_ok());
    }

    #[test]
    fn a_request_without_members_has_an_empty_body_or_object() {
        let json = HeaderValue::from_static("application/json");
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        for body in ["", " ", "{}", "null", " {} "] {
            assert!(no_members(Some(&json), body.as_bytes()).is_ok(), "{body}");
        }
        assert!(no_members(Some(&form), b"&").is_ok());
        let refused = |content_type, body: &str| {
            let refused = no_members(content_type, body.as_bytes()).unwrap_err();
            (refused.code(), format!("{refused:?}"))
        };
        for (content_type, body) in [(&json, r#"{"a\nb":1e999,"c":2}"#), (&form, "a%0Ab=1")] {
            let (code, detail) = refused(Some(content_type), body);
            assert_eq!(code, Code::InvalidParameter);
            assert!(detail.contains("Unknown member") && detail.contains("takes no members"));
        }
        assert_eq!(refused(Some(&json), "{").0, Code::InvalidBody);
        assert_eq!(refused(Some(&json), "[1]").0, Code::InvalidBody);
        assert_eq!(refused(None, "{}").0, Code::UnsupportedContentType);
    }
}
