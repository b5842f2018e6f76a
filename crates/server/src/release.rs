//! `POST /api/tokens/release/{id}`: ends a token's lease, provided it is the one that the body
//! names, if it names one.

use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use engine::ReleaseOutcome;
use pool::{HolderCondition, Lease, LeaseId, User, UserId};
use serde::Serialize;
use serde::de::IgnoredAny;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::answer::json;
use crate::app::{App, SentId, unknown_token, uuid};
use crate::conditions;
use crate::fields::{self, Format, Sent};
use crate::lease_row::Current;
use crate::openapi::words;
use crate::parameters::{Malformed, pairs};
use crate::problem::{self, Code, HeldOtherwise, Problem};

/// The members of a release that count.
pub(crate) const FIELDS: [&str; 2] = ["lease_id", "if_user"];
const EXAMPLE: &str = "{\"lease_id\": \"...\"}";

/// A token that is free.
#[derive(Serialize, ToSchema)]
#[schema(as = TokenReleased)]
struct Answer<'a> {
    #[schema(schema_with = words::released)]
    status: &'static str,
    /// As it was sent.
    #[schema(format = "uuid")]
    token_id: &'a str,
}

/// What has to be true of the token's lease; whatever else there is does not matter.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is read field by field; this tells of it")]
struct ReleaseCondition {
    /// It is this lease.
    #[schema(nullable = false)]
    lease_id: Option<Uuid>,
    /// It is this user's, who is named as in an allocation.
    #[schema(min_length = 1, max_length = 255, pattern = "^[^\\u0000]*$", nullable = false)]
    if_user: Option<String>,
}

/// The same as a form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is read field by field; this tells of it")]
struct ReleaseConditionForm {
    /// It is this lease.
    #[schema(nullable = false)]
    lease_id: Option<Uuid>,
    /// It is this user's, who is named as in an allocation.
    #[schema(min_length = 1, max_length = 255, pattern = "^[^\\u0000]*$", nullable = false)]
    if_user: Option<String>,
}

/// End a token's lease, whosever it is, or on a condition
///
/// That it has none is as good. A body without `lease_id` and `if_user` is no condition, whatever it
/// is.
#[utoipa::path(
    post,
    path = "/api/tokens/release/{id}",
    operation_id = "releaseToken",
    tag = "Tokens",
    params(("id" = Uuid, Path, description = "The token's id")),
    request_body(description = "What has to be true of the token's lease", content(
        (ReleaseCondition = "application/json"),
        (ReleaseConditionForm = "application/x-www-form-urlencoded"),
    )),
    responses((status = 200, description = "The token is free", body = Answer<'_>)),
    extensions(("x-body-optional" = json!(true)), ("x-problems" = json!(problem::write(&[
        Code::InvalidTokenId, Code::InvalidParameter, Code::UnsupportedContentType,
        Code::UnknownToken, Code::HeldOtherwise,
    ])))),
)]
pub(crate) async fn release(
    State(app): State<App>,
    Condition { id, if_held }: Condition,
) -> Result<Response, Problem> {
    match app.engine.release(id.token(), if_held).await? {
        ReleaseOutcome::Free { .. } => {
            Ok(json(&Answer { status: "released", token_id: &id.sent }, 96))
        }
        ReleaseOutcome::HolderMismatch { latest } => Err(held_otherwise(latest.as_ref())),
        ReleaseOutcome::UnknownToken => Err(unknown_token()),
    }
}

fn held_otherwise(latest: Option<&Lease>) -> Problem {
    let current = latest.filter(|lease| lease.end.is_none()).map(Current::from);
    let detail = match current {
        Some(_) => {
            "The token is held, but not by the lease or user that was named, so nothing was \
                    done. The member current says who has it."
        }
        None => {
            "The lease that was named does not hold the token any more, and nobody does, so \
                 nothing was done."
        }
    };
    Problem::with(detail, &HeldOtherwise { current })
}

/// What has to be true of the token's lease. Clients that know nothing of it send all kinds of
/// bodies, which don't matter; but what may be meant as a condition must not be passed over.
pub(crate) struct Condition {
    id: SentId,
    if_held: HolderCondition,
}

impl<S: Send + Sync> FromRequest<S> for Condition {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (mut head, body) = request.into_parts();
        let id = SentId::from_request_parts(&mut head, state).await?;
        let query = head.uri.query().unwrap_or_default();
        not_in_query(query)?;
        conditions::check_release(&id, false, &conditions::in_query(query))?;
        let body = fields::whole(body).await?;
        let content_type = head.headers.get(CONTENT_TYPE);
        let if_held = condition(content_type, &body)?;
        let members = conditions::in_body(content_type, &body);
        conditions::check_release(&id, if_held.lease_id.is_some(), &members)?;
        Ok(Condition { id, if_held })
    }
}

/// Whoever names a condition in the query means one, too.
fn not_in_query(query: &str) -> Result<(), Problem> {
    if pairs(query).flatten().any(|(name, _)| mentions(name.as_bytes())) {
        let detail = format!(
            "lease_id and if_user belong in the body, as in {EXAMPLE}, and not in the query. \
             Nothing was done."
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
        None => [Sent::Nothing, Sent::Nothing],
    };
    let [lease_id, user] = sent;
    Ok(HolderCondition { lease_id: lease(&lease_id)?, user: self::user(&user)? })
}

fn from_json(body: &[u8]) -> Result<[Sent<'_>; 2], Problem> {
    let sent = fields::text(body).and_then(|text| {
        let malformed = |error| fields::malformed_json(&error, EXAMPLE);
        fields::from_json(&FIELDS, text).map_err(malformed)
    });
    // Names can be written with escapes, or in UTF-16.
    let disguised = || {
        let any = body.iter().any(|byte| matches!(byte, b'\\' | 0));
        any && serde_json::from_slice::<IgnoredAny>(body).is_err()
    };
    match sent {
        Err(_) if !mentions(body) && !disguised() => Ok([Sent::Nothing, Sent::Nothing]),
        sent => sent,
    }
}

fn from_form(body: &[u8]) -> Result<[Sent<'_>; 2], Problem> {
    let text = std::str::from_utf8(body).map_err(|_| Malformed);
    let sent = text.and_then(|text| fields::from_form(&FIELDS, text));
    match sent {
        Ok(sent) if sent.iter().any(|sent| *sent != Sent::Nothing) => Ok(sent),
        _ if !mentions(body) => Ok([Sent::Nothing, Sent::Nothing]),
        _ if body.trim_ascii_start().starts_with(b"{") => Err(fields::json_as_form()),
        Err(Malformed) => Err(fields::malformed_form()),
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

fn lease(sent: &Sent<'_>) -> Result<Option<LeaseId>, Problem> {
    let instead = match sent {
        Sent::Nothing => return Ok(None),
        Sent::Text(text) => match uuid(text) {
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

fn user(sent: &Sent<'_>) -> Result<Option<UserId>, Problem> {
    let detail = match sent {
        Sent::Nothing => return Ok(None),
        Sent::Text(name) => match User::new(name) {
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
    fn a_condition_is_understood_in_json_and_forms() {
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
    fn other_bodies_do_not_matter() {
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
    fn json_in_another_encoding_does_not_matter() {
        let json = HeaderValue::from_static("application/json");
        assert_eq!(condition(Some(&json), b"\"\xe9\"").ok(), Some(HolderCondition::default()));
        let condition = condition(Some(&json), b"{\"if_user\":\"\xe9\"}");
        assert_eq!(condition.map_err(|problem| problem.code()), Err(Code::InvalidBody));
    }

    #[test]
    fn what_may_be_meant_as_a_condition_is_not_passed_over() {
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
