//! Release of a token, optionally only if held by a given lease or user.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use engine::ReleaseOutcome;
use pool::{HolderCondition, Lease, LeaseId, TokenId, User, UserId};
use serde::de::IgnoredAny;
use wire::{HolderMismatch, Released, TokenReleased};

use super::release_checks::{self, FIELDS};
use crate::http::access::Acting;
use crate::http::form::{self, FieldValue, Format};
use crate::http::ids::{PathId, uuid};
use crate::http::query::{Malformed, pairs};
use crate::http::respond::{json, unknown_token};
use crate::json::lease::current;
use crate::problem::{Code, Problem};

const EXAMPLE: &str = "{\"lease_id\": \"...\"}";

/// Release a token, optionally only if held by a given lease or user
///
/// Idempotent: a token without a lease stays available. A body without `lease_id` and `if_user` is
/// ignored.
pub(crate) async fn release(
    acting: Acting,
    Condition { id, if_held }: Condition,
) -> Result<Response, Problem> {
    match acting.engine.release(acting.default_pool()?, id.id, if_held).await? {
        ReleaseOutcome::Free { .. } => {
            Ok(json(&TokenReleased { status: Released::RELEASED, token_id: id.sent }, 96))
        }
        ReleaseOutcome::HolderMismatch { latest } => Err(holder_mismatch(latest.as_ref())),
        ReleaseOutcome::UnknownToken => Err(unknown_token()),
    }
}

fn holder_mismatch(latest: Option<&Lease>) -> Problem {
    let current = latest.filter(|lease| lease.end.is_none()).map(current);
    let detail = match current {
        Some(_) => {
            "The token is held by another lease or user than the one named. Nothing was \
                    changed. See the member current."
        }
        None => {
            "The lease or user named no longer holds the token, which is available. Nothing was \
                 changed."
        }
    };
    Problem::with(detail, &HolderMismatch { current })
}

/// The condition of a release. Clients of the original send all kinds of bodies, which are ignored; but a
/// member that may be meant as a condition must not be.
pub(crate) struct Condition {
    id: PathId<TokenId>,
    if_held: HolderCondition,
}

impl<S: Send + Sync> FromRequest<S> for Condition {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (mut head, body) = request.into_parts();
        let id = PathId::from_request_parts(&mut head, state).await?;
        let query = head.uri.query().unwrap_or_default();
        not_in_query(query)?;
        release_checks::check_release(&id, false, &release_checks::in_query(query))?;
        let body = form::whole(body).await?;
        let content_type = head.headers.get(CONTENT_TYPE);
        let if_held = condition(content_type, &body)?;
        let members = release_checks::in_body(content_type, &body);
        release_checks::check_release(&id, if_held.lease_id.is_some(), &members)?;
        Ok(Condition { id, if_held })
    }
}

/// Refuses a condition in the query, where it would be ignored.
fn not_in_query(query: &str) -> Result<(), Problem> {
    if pairs(query).flatten().any(|(name, _)| mentions(name.as_bytes())) {
        let detail = format!(
            "lease_id and if_user belong in the body, as in {EXAMPLE}, not in the query. Nothing was \
             changed."
        );
        return Err(Problem::new(Code::InvalidParameter, detail));
    }
    Ok(())
}

fn condition(content_type: Option<&HeaderValue>, body: &[u8]) -> Result<HolderCondition, Problem> {
    if body.is_empty() {
        return Ok(HolderCondition::default());
    }
    let sent = match content_type.and_then(Format::of) {
        Some(Format::Json) => from_json(body)?,
        Some(Format::Form) => from_form(body)?,
        None if mentions(body) => {
            let detail = format!(
                "A body with lease_id or if_user must be sent as application/json, as in \
                 {EXAMPLE}, or as application/x-www-form-urlencoded, as in lease_id=..."
            );
            return Err(Problem::new(Code::UnsupportedContentType, detail));
        }
        None => [FieldValue::Nothing, FieldValue::Nothing],
    };
    let [lease_id, user] = sent;
    Ok(HolderCondition { lease_id: lease(&lease_id)?, user: self::user(&user)? })
}

fn from_json(body: &[u8]) -> Result<[FieldValue<'_>; 2], Problem> {
    let sent = form::text(body).and_then(|text| {
        let malformed = |error| form::malformed_json(&error, EXAMPLE);
        form::from_json(&FIELDS, text).map_err(malformed)
    });
    // Names may contain escapes, or be in UTF-16.
    let disguised = || {
        let any = body.iter().any(|byte| matches!(byte, b'\\' | 0));
        any && serde_json::from_slice::<IgnoredAny>(body).is_err()
    };
    match sent {
        Err(_) if !mentions(body) && !disguised() => Ok([FieldValue::Nothing, FieldValue::Nothing]),
        sent => sent,
    }
}

fn from_form(body: &[u8]) -> Result<[FieldValue<'_>; 2], Problem> {
    let text = std::str::from_utf8(body).map_err(|_| Malformed);
    let sent = text.and_then(|text| form::from_form(&FIELDS, text));
    match sent {
        Ok(sent) if sent.iter().any(|sent| *sent != FieldValue::Nothing) => Ok(sent),
        _ if !mentions(body) => Ok([FieldValue::Nothing, FieldValue::Nothing]),
        _ if body.trim_ascii_start().starts_with(b"{") => Err(form::json_as_form()),
        Err(Malformed) => Err(form::malformed_form()),
        Ok(_) => {
            let detail = "The form mentions lease_id or if_user, but not as the name of a field, \
                          as in lease_id=...";
            Err(Problem::new(Code::InvalidBody, detail))
        }
    }
}

fn mentions(body: &[u8]) -> bool {
    FIELDS.iter().any(|field| body.windows(field.len()).any(|part| part == field.as_bytes()))
}

fn lease(sent: &FieldValue<'_>) -> Result<Option<LeaseId>, Problem> {
    let instead = match sent {
        FieldValue::Nothing => return Ok(None),
        FieldValue::Text(text) => match uuid(text) {
            Some(uuid) => return Ok(Some(LeaseId(uuid))),
            None => "another text",
        },
        other => other.what(),
    };
    let detail = format!(
        "lease_id must be the id of a lease, a UUID as in 01234567-89ab-cdef-0123-456789abcdef, \
         not {instead}."
    );
    Err(Problem::new(Code::InvalidParameter, detail))
}

fn user(sent: &FieldValue<'_>) -> Result<Option<UserId>, Problem> {
    let detail = match sent {
        FieldValue::Nothing => return Ok(None),
        FieldValue::Text(name) => match User::new(name) {
            Ok(user) => return Ok(Some(user.id)),
            Err(why) => format!("if_user {why}."),
        },
        other => format!(
            "if_user must be a text of 1 to {} characters, not {}.",
            User::MAX_CHARS,
            other.what()
        ),
    };
    Err(Problem::new(Code::InvalidParameter, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";
    const JSON: Option<&str> = Some("application/json");
    const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

    fn parse(content_type: Option<&'static str>, body: &str) -> Result<HolderCondition, Code> {
        let content_type = content_type.map(HeaderValue::from_static);
        condition(content_type.as_ref(), body.as_bytes()).map_err(|problem| problem.code())
    }

    #[test]
    fn the_fields_are_those_of_the_documented_condition() {
        let (lease_id, if_user) = (Some(ID.parse().unwrap()), Some(String::new()));
        let condition = wire::ReleaseCondition { lease_id, if_user };
        let json = serde_json::to_value(condition).unwrap();
        assert!(json.as_object().unwrap().keys().eq(&FIELDS));
    }

    #[test]
    fn a_condition_may_be_json_or_a_form() {
        let held = HolderCondition {
            lease_id: Some(LeaseId(ID.parse().unwrap())),
            user: Some(User::new("A é").unwrap().id),
        };
        let both = format!(r#"{{"lease_id":"{ID}","x":[],"if_user":"A é","user_id":5}}"#);
        assert_eq!(parse(JSON, &both), Ok(held));
        assert_eq!(parse(Some("application/x+json"), &both), Ok(held));
        assert_eq!(
            parse(FORM, &format!("if%5Fuser=A+%c3%a9&lease_id={}", ID.to_uppercase())),
            Ok(held)
        );
        let one = HolderCondition { user: None, ..held };
        assert_eq!(parse(JSON, &format!(r#"{{"lease_id":"{ID}"}}"#)), Ok(one));
    }

    #[test]
    fn other_bodies_are_ignored() {
        for (content_type, body) in [
            (None, ""),
            (JSON, ""),
            (None, "anything"),
            (Some("text/plain"), r#"{"user_id":"a"}"#),
            (JSON, "{}"),
            (JSON, r#"{"user_id":"a"}"#),
            (JSON, r#"{"user_id":null}"#),
            (JSON, "null"),
            (JSON, r#"["user_id", "\n"]"#),
            (JSON, "{"),
            (JSON, " "),
            (JSON, "\u{feff}{}"),
            (JSON, "{} and so on"),
            (JSON, "user_id=a"),
            (FORM, "user_id=a"),
            (FORM, "user_id=%"),
            (FORM, r#"{"user_id":"a"}"#),
        ] {
            assert_eq!(
                parse(content_type, body),
                Ok(HolderCondition::default()),
                "{content_type:?} {body}"
            );
        }
    }

    #[test]
    fn json_in_another_encoding_is_ignored() {
        let json = HeaderValue::from_static("application/json");
        assert_eq!(condition(Some(&json), b"\"\xe9\"").ok(), Some(HolderCondition::default()));
        let condition = condition(Some(&json), b"{\"if_user\":\"\xe9\"}");
        assert_eq!(condition.map_err(|problem| problem.code()), Err(Code::InvalidBody));
    }

    #[test]
    fn possible_conditions_are_not_ignored() {
        for body in [
            r#"{"lease_id":null}"#,
            r#"{"lease_id":7}"#,
            r#"{"lease_id":"7"}"#,
            r#"{"lease_id":"0123456789abcdef0123456789abcdef"}"#,
            r#"{"if_user":null}"#,
            r#"{"if_user":["a"]}"#,
            r#"{"if_user":""}"#,
        ] {
            assert_eq!(parse(JSON, body), Err(Code::InvalidParameter), "{body}");
        }
        for body in ["lease_id=", "lease_id", "lease_id=7", "if_user=", "if_user=a%00"] {
            assert_eq!(parse(FORM, body), Err(Code::InvalidParameter), "{body}");
        }
        for body in [
            "{\"lease_id\":",
            "[\"lease_id\"]",
            "{\"if_user\":\"a\"} and so on",
            "\u{feff}{\"if_user\":\"a\"}",
            "{\"lease\\u005fid\":",
            "{\0\"\0i\0f\0_\0",
        ] {
            assert_eq!(parse(JSON, body), Err(Code::InvalidBody), "{body}");
        }
        for query in ["lease_id=7", "x=%&if%5Fuser=a", "lease_id", "a[if_user]=b"] {
            let refused = not_in_query(query).map_err(|problem| problem.code());
            assert_eq!(refused, Err(Code::InvalidParameter), "{query}");
        }
        assert!(not_in_query("user_id=lease_id&x&%").is_ok());
        let json = format!(r#"{{"lease_id":"{ID}"}}"#);
        for body in [&json, "lease_id=%", "lease_id[]=7", "a[if_user]=b", "lease_id=%ff"] {
            assert_eq!(parse(FORM, body), Err(Code::InvalidBody), "{body}");
        }
        for content_type in [None, Some("text/plain"), Some("multipart/form-data; boundary=x")] {
            assert_eq!(parse(content_type, &json), Err(Code::UnsupportedContentType));
        }
    }
}
