//! Who asks: the field `user_id` of a request's body, as JSON or as a form.

use std::borrow::Cow;
use std::fmt;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use pool::User;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use crate::problem::{Code, Problem};
use crate::{MAX_BODY, parameters};

const FIELD: &str = "user_id";

/// The user that a request's body names.
pub(crate) struct Asker(pub(crate) User);

impl<S: Sync> FromRequest<S> for Asker {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        let body = whole(body).await?;
        user(head.headers.get(CONTENT_TYPE), &body).map(Asker)
    }
}

/// The door has read the body already, within its limits.
async fn whole(body: Body) -> Result<bytes::Bytes, Problem> {
    let broken = |_| Problem::new(Code::InvalidBody, "The body could not be read.");
    to_bytes(body, MAX_BODY).await.map_err(broken)
}

enum Format {
    Json,
    Form,
}

fn user(content_type: Option<&HeaderValue>, body: &[u8]) -> Result<User, Problem> {
    if body.is_empty() {
        let detail = "The request has no body. Send {\"user_id\": \"...\"} as application/json.";
        return Err(Problem::new(Code::InvalidUser, detail));
    }
    let format = format(content_type)?;
    let body = std::str::from_utf8(body)
        .map_err(|_| Problem::new(Code::InvalidBody, "The body is not valid UTF-8."))?;
    let sent = match format {
        Format::Json => from_json(body)?,
        Format::Form => from_form(body)?,
    };
    let name = match sent {
        Sent::Text(name) => name,
        Sent::Other(what) => {
            let detail = format!("user_id must be a text, not {what}.");
            return Err(Problem::new(Code::InvalidUser, detail));
        }
        Sent::Nothing => {
            let detail = "user_id is missing. Send {\"user_id\": \"...\"} as application/json.";
            return Err(Problem::new(Code::InvalidUser, detail));
        }
    };
    User::new(&name).map_err(|why| Problem::new(Code::InvalidUser, format!("user_id {why}.")))
}

fn format(content_type: Option<&HeaderValue>) -> Result<Format, Problem> {
    const SEND: &str = "Send application/json, as in {\"user_id\": \"...\"}, or \
                        application/x-www-form-urlencoded, as in user_id=...";
    let unsupported =
        |what: &str| Problem::new(Code::UnsupportedContentType, format!("{what} {SEND}"));
    let Some(content_type) = content_type else {
        return Err(unsupported("The body has no content-type."));
    };
    // Parameters such as the charset change nothing: what is read is UTF-8.
    let media_type = content_type.as_bytes().split(|&byte| byte == b';').next().unwrap_or(&[]);
    let media_type = media_type.trim_ascii();
    let ending = media_type.len().saturating_sub("+json".len());
    if media_type.eq_ignore_ascii_case(b"application/json")
        || media_type[ending..].eq_ignore_ascii_case(b"+json")
    {
        Ok(Format::Json)
    } else if media_type.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        Ok(Format::Form)
    } else {
        Err(unsupported("This content-type is not understood."))
    }
}

/// What a body has in the field.
#[derive(Debug, PartialEq)]
enum Sent<'a> {
    Nothing,
    Text(Cow<'a, str>),
    /// Not a text, but this.
    Other(&'static str),
}

fn from_json(body: &str) -> Result<Sent<'_>, Problem> {
    serde_json::from_str::<Object<'_>>(body).map(|object| object.0).map_err(|error| {
        let detail = match error.classify() {
            Category::Data => "The body must be a JSON object: {\"user_id\": \"...\"}.".to_owned(),
            _ => format!("The body is not valid JSON: {error}."),
        };
        Problem::new(Code::InvalidBody, detail)
    })
}

fn from_form(body: &str) -> Result<Sent<'_>, Problem> {
    let found = parameters::find(body, FIELD);
    if matches!(found, Ok(Some(_))) || !body.trim_start().starts_with(['{', '[']) {
        let found = found.map_err(|parameters::Malformed| {
            let detail = "The form is malformed: a % must be followed by two hex digits, and \
                          together they must be UTF-8.";
            Problem::new(Code::InvalidBody, detail)
        })?;
        return Ok(found.map_or(Sent::Nothing, Sent::Text));
    }
    let detail = "The body looks like JSON but was sent as a form. Send it with \
                  Content-Type: application/json (curl: -H 'content-type: application/json').";
    Err(Problem::new(Code::InvalidBody, detail))
}

/// A JSON object, of which only the field counts. The last of several counts.
struct Object<'a>(Sent<'a>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor).map(Object)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Sent<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sent<'de>, A::Error> {
        let mut sent = Sent::Nothing;
        while let Some(key) = map.next_key::<Sent<'de>>()? {
            if matches!(key, Sent::Text(key) if key == FIELD) {
                sent = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(sent)
    }
}

impl<'de> Deserialize<'de> for Sent<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SentVisitor)
    }
}

struct SentVisitor;

impl<'de> Visitor<'de> for SentVisitor {
    type Value = Sent<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Sent<'de>, E> {
        Ok(Sent::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Sent<'de>, E> {
        Ok(Sent::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Sent<'de>, E> {
        Ok(Sent::Other(if value { "true" } else { "false" }))
    }

    fn visit_unit<E>(self) -> Result<Sent<'de>, E> {
        Ok(Sent::Other("null"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Sent<'de>, E> {
        Ok(Sent::Other("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Sent<'de>, E> {
        Ok(Sent::Other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Sent<'de>, E> {
        Ok(Sent::Other("a number"))
    }

    // What is inside is skipped without recursion, so nesting can't exhaust the stack.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Sent<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Sent::Other("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sent<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Sent::Other("an object"))
    }
}
