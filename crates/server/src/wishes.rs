//! Members of requests that this version does not fulfil, and members that no route has.
//!
//! The routes of the original ignore members that they don't know, because its clients rely on that.
//! A member that asks for another token, for more tokens or for an order of its own must not be ignored:
//! the answer would look like success. All other routes refuse every name that they don't know.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;

use crate::fields::{self, Format, Sent};
use crate::parameters::{only, pairs, unknown};
use crate::problem::{Code, Problem};

/// The names of wishes, which none of the original's routes ever had.
pub(crate) const WISHES: [&str; 6] = ["token_id", "token", "pool", "selector", "count", "priority"];

/// What a request with a wish is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Allocate,
    Release,
    Clear,
    List,
    History,
}

/// Refuses a request that sends any of [`WISHES`] with a value.
pub(crate) fn refuse(route: Route, sent: &[Sent<'_>; WISHES.len()]) -> Result<(), Problem> {
    match WISHES.iter().zip(sent).find(|(_, sent)| is_wish(sent)) {
        Some((name, _)) => Err(unfulfilled(route, name)),
        None => Ok(()),
    }
}

/// Refuses a query with any of [`WISHES`].
pub(crate) fn refuse_in_query(route: Route, query: &str) -> Result<(), Problem> {
    for (name, value) in pairs(query).flatten() {
        if let Some(wish) = WISHES.iter().find(|wish| **wish == name)
            && !value.is_empty()
        {
            return Err(unfulfilled(route, wish));
        }
    }
    Ok(())
}

/// Whether a member has a value that asks for something. Programs send null or an empty text for what
/// their user left out.
pub(crate) fn is_wish(sent: &Sent<'_>) -> bool {
    match sent {
        Sent::Nothing | Sent::Other("null") => false,
        Sent::Text(text) => !text.is_empty(),
        Sent::Number(_) | Sent::Other(_) => true,
    }
}

pub(crate) fn unfulfilled(route: Route, name: &str) -> Problem {
    let instead = match (name, route) {
        ("token_id" | "token", Route::Allocate) => {
            "the pool chooses the token, the one that has been free longest. Leave it out."
        }
        ("token_id" | "token", Route::Release) => {
            "the path names the token. To release it only while it has a certain lease or holder, \
             send lease_id or if_user."
        }
        ("token_id" | "token", Route::Clear) => {
            "this request ends all leases. To end one, use POST /api/tokens/release/{id}."
        }
        ("token_id" | "token", Route::List | Route::History) => {
            "use GET /api/tokens/{id} for one token, or GET /api/leases?token_id=... for its leases."
        }
        ("pool", _) => {
            "a server has one pool. Leave it out, and send the request to the server of the pool \
             that you mean."
        }
        ("selector", _) => {
            "the tokens of a pool are equivalent. Leave it out, and use one pool for each kind of \
             token."
        }
        ("count", Route::Allocate) => {
            "each request leases one token. Leave it out, and send one request for each token."
        }
        ("count", Route::List | Route::History) => "use limit for the number of rows.",
        ("priority", Route::Allocate) => {
            "the queue is in order of arrival. Leave it out; wait_seconds is how long to wait."
        }
        _ => "it has no meaning for this request. Leave it out.",
    };
    let detail = format!("This version can't fulfil {name}, so nothing was done: {instead}");
    Problem::new(Code::InvalidParameter, detail)
}

/// A request without a query.
pub(crate) struct NoQuery;

impl<S: Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        only("parameter", parts.uri.query().unwrap_or_default(), &[])?;
        Ok(NoQuery)
    }
}

/// A request without a query and without members in its body. An empty object is none.
pub(crate) struct Empty;

impl<S: Sync> FromRequest<S> for Empty {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (mut head, body) = request.into_parts();
        NoQuery::from_request_parts(&mut head, state).await?;
        no_members(head.headers.get(CONTENT_TYPE), &fields::whole(body).await?)?;
        Ok(Empty)
    }
}

fn no_members(content_type: Option<&HeaderValue>, body: &[u8]) -> Result<(), Problem> {
    if body.trim_ascii().is_empty() {
        return Ok(());
    }
    match content_type.and_then(Format::of) {
        Some(Format::Json) => {
            let members = fields::members(fields::text(body)?);
            let members = members.map_err(|error| fields::malformed_json(&error, "{}"))?;
            members.first().map_or(Ok(()), |(name, _)| Err(unknown("member", name, &[])))
        }
        Some(Format::Form) => only("member", fields::text(body)?, &[]),
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
    fn wishes_are_refused_where_they_have_a_value() {
        let sent = |value: Sent<'static>| {
            let mut sent = [const { Sent::Nothing }; WISHES.len()];
            sent[5] = value;
            refuse(Route::Allocate, &sent).map_err(|problem| format!("{problem:?}"))
        };
        for value in [Sent::Number(0.0), Sent::Text("high".into()), Sent::Other("false")] {
            let refused = sent(value).unwrap_err();
            assert!(refused.contains("can't fulfil priority"), "{refused}");
        }
        for value in [Sent::Nothing, Sent::Other("null"), Sent::Text("".into())] {
            assert_eq!(sent(value), Ok(()));
        }
    }

    #[test]
    fn every_wish_says_what_to_do_instead() {
        for name in WISHES {
            for query in [format!("limit=5&{name}=a"), format!("{}=a", name.replace('_', "%5F"))] {
                let refused = refuse_in_query(Route::List, &query).unwrap_err();
                let refused = format!("{refused:?}");
                assert!(
                    refused.contains(name) && refused.contains("InvalidParameter"),
                    "{refused}"
                );
            }
        }
        assert!(refuse_in_query(Route::List, "limit=5&tokens=1&pool=&%&note=a").is_ok());
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
