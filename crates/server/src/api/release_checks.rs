//! Members of a release, or of a request that ends all leases, that might be meant as a restriction but
//! would be ignored. Such a request must not end another user's lease.

use std::borrow::Cow;

use axum::extract::{FromRequest, Request};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;

use pool::TokenId;

use crate::http::form::{self, FieldValue, Format};
use crate::http::ids::{PathId, uuid};
use crate::http::query::{decode, pairs, unknown};
use crate::http::unsupported::{Context, UNSUPPORTED, has_value, unsupported};
use crate::problem::{Code, Problem};

/// Members of a release that have a meaning.
pub(crate) const FIELDS: [&str; 2] = ["lease_id", "if_user"];

type Members<'a> = Vec<(String, FieldValue<'a>)>;

/// Returns the members of a well-formed body. Clients of the original also send other bodies, which are
/// ignored.
pub(crate) fn in_body<'a>(content_type: Option<&HeaderValue>, body: &'a [u8]) -> Members<'a> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    match content_type.and_then(Format::of) {
        Some(Format::Json) => form::members(text).unwrap_or_default(),
        Some(Format::Form) => in_query(text),
        None => Vec::new(),
    }
}

/// Returns the members of a query or a form.
pub(crate) fn in_query(query: &str) -> Members<'_> {
    let value = |value| FieldValue::Text(decode(value).unwrap_or(Cow::Borrowed("%")));
    pairs(query).flatten().map(|(name, sent)| (name.into_owned(), value(sent))).collect()
}

/// Refuses members that restrict the release of the token `id` in another way than [`FIELDS`].
///
/// A `lease_id` identifies the lease, so other members of a response may accompany it.
pub(crate) fn check_release(
    id: &PathId<TokenId>,
    has_lease_id: bool,
    members: &Members<'_>,
) -> Result<(), Problem> {
    for (name, value) in members.iter().filter(|(_, value)| has_value(value)) {
        match &name[..] {
            name if FIELDS.contains(&name) => {}
            "token_id" if is_id(value, id) => {}
            "token" | "fence" | "user" if has_lease_id => {}
            "fence" | "user" => return Err(no_condition(name)),
            name if UNSUPPORTED.contains(&name) => return Err(unsupported(Context::Release, name)),
            name if is_like_condition(name) => return Err(unknown("member", name, &FIELDS)),
            _ => {}
        }
    }
    Ok(())
}

/// A request to end all leases, without restrictions.
pub(crate) struct ClearRequest;

impl<S: Sync> FromRequest<S> for ClearRequest {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        check_clear(&in_query(head.uri.query().unwrap_or_default()))?;
        let body = form::whole(body).await?;
        check_clear(&in_body(head.headers.get(CONTENT_TYPE), &body))?;
        Ok(ClearRequest)
    }
}

fn check_clear(members: &Members<'_>) -> Result<(), Problem> {
    for (name, _) in members.iter().filter(|(_, value)| has_value(value)) {
        if UNSUPPORTED.contains(&&name[..]) {
            return Err(unsupported(Context::Clear, name));
        }
        if matches!(&name[..], "fence" | "user") || is_like_condition(name) {
            let detail = format!(
                "This request ends all leases, and {name} can't restrict it. Nothing was changed. \
                 To end one lease, use POST /api/leases/{{lease_id}}/release."
            );
            return Err(Problem::new(Code::InvalidParameter, detail));
        }
    }
    Ok(())
}

fn is_id(value: &FieldValue<'_>, id: &PathId<TokenId>) -> bool {
    matches!(value, FieldValue::Text(text) if uuid(text) == Some(id.id.0))
}

fn no_condition(name: &str) -> Problem {
    let detail = format!(
        "{name} is not a condition of a release. Nothing was changed. Name the lease by lease_id, \
         or its holder by if_user."
    );
    Problem::new(Code::InvalidParameter, detail)
}

/// Whether a name is one of [`FIELDS`], or may be meant as a condition. The original had neither leases
/// nor conditions, so its clients send no such names; they do send `user_id`.
fn is_like_condition(name: &str) -> bool {
    /// Similarity (Jaro) above which a name may be a misspelt condition.
    const SIMILAR: f64 = 0.9;
    let letters = |name: &str| -> String {
        let letters = name.chars().filter(char::is_ascii_alphanumeric);
        letters.map(|letter| letter.to_ascii_lowercase()).collect()
    };
    let plain = letters(name);
    name.starts_with("if_")
        || name.starts_with("if-")
        || plain.contains("lease")
        || FIELDS.iter().any(|field| strsim::jaro(&plain, &letters(field)) > SIMILAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";

    fn release(body: &str) -> Result<(), String> {
        let id = PathId { id: TokenId(ID.parse().unwrap()), sent: ID.to_owned() };
        let json = HeaderValue::from_static("application/json");
        let has_lease_id = body.contains("\"lease_id\":");
        let refused = check_release(&id, has_lease_id, &in_body(Some(&json), body.as_bytes()));
        refused.map_err(|problem| format!("{problem:?}"))
    }

    #[test]
    fn members_that_restrict_a_release_are_not_ignored() {
        for (body, says) in [
            (r#"{"fence":7}"#, "Name the lease by lease_id"),
            (r#"{"user":"ann"}"#, "its holder by if_user"),
            (r#"{"token":"a"}"#, "the path names the token"),
            (r#"{"token_id":"00000000-0000-4000-8000-000000000000"}"#, "the path names the token"),
            (r#"{"priority":1e999}"#, "priority is not supported"),
            (r#"{"leaseId":"a"}"#, "Did you mean lease_id?"),
            (r#"{"lease":"a"}"#, "Did you mean lease_id?"),
            (r#"{"laese_id":"a"}"#, "Did you mean lease_id?"),
            (r#"{"ifUser":"a"}"#, "Known members: lease_id, if_user"),
            (r#"{"if_usr":"a"}"#, "Did you mean if_user?"),
            (r#"{"if_fence":7}"#, "Unknown member"),
            (r#"{"lease_id":"a","if-user":"a"}"#, "Unknown member"),
            (r#"{"lease_id":"a","pool":"a"}"#, "pool is not supported"),
        ] {
            let refused = release(body).unwrap_err();
            assert!(refused.contains(says), "{body}: {refused}");
        }
    }

    #[test]
    fn members_that_the_original_ignores_are_ignored() {
        for body in [
            r#"{"user_id":"ann","note":"x","status":"active","id":5,"activated_at":"x"}"#,
            r#"{"token_id":"01234567-89AB-cdef-0123-456789abcdef","token_value":"x"}"#,
            r#"{"lease_id":"a","fence":7,"user":"ann","token":"x"}"#,
            r#"{"fence":null,"user":"","pool":null}"#,
            "[1]",
            "{",
            "null",
        ] {
            assert_eq!(release(body), Ok(()), "{body}");
        }
    }

    #[test]
    fn restrictions_of_clearing_are_refused() {
        for query in ["pool=a", "token_id=a", "lease_id=a", "if_user=a", "user=a", "x&fence=7"] {
            let refused = check_clear(&in_query(query)).map_err(|problem| problem.code());
            assert_eq!(refused, Err(Code::InvalidParameter), "{query}");
        }
        assert!(check_clear(&in_query("user_id=a&x=1&fence=&%=1")).is_ok());
    }
}
