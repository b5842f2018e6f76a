//! Problems: errors as responses, in the format of RFC 9457.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use wire::Members;

use crate::json::{self, JSON};
pub(crate) use wire::Code;

/// An error for the client.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    code: Code,
    /// The fact, and what to do about it.
    detail: Cow<'static, str>,
    retry_after: Duration,
    /// Its code's own members as a JSON object; empty without any.
    members: Vec<u8>,
}

impl Problem {
    /// Creates a problem of a code without members of its own.
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        debug_assert!(!code.has_members(), "{code:?} has members");
        Problem::of(code, detail.into(), Vec::new())
    }

    /// Creates a problem of the code that has these members.
    pub(crate) fn with<M: Members>(detail: impl Into<Cow<'static, str>>, members: &M) -> Self {
        Problem::of(M::CODE, detail.into(), json::to_vec(members, 256))
    }

    fn of(code: Code, detail: Cow<'static, str>, members: Vec<u8>) -> Self {
        Problem { code, detail, retry_after: Duration::from_secs(1), members }
    }

    #[cfg(test)]
    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// Appends a sentence to the detail.
    pub(crate) fn and(mut self, sentence: &str) -> Self {
        self.detail = format!("{} {sentence}", self.detail).into();
        self
    }

    /// Sets `Retry-After`.
    pub(crate) fn after(self, retry_after: Duration) -> Self {
        Problem { retry_after, ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.code.status()).expect("the table has valid statuses");
        let document = wire::Problem::new(self.code, &self.detail);
        let mut document = json::to_vec(&document, 512 + self.members.len());
        if let [_, members @ ..] = &self.members[..] {
            // The members continue the object.
            document.pop();
            document.push(b',');
            document.extend(members);
        }
        let mut response = Response::new(Body::from(document));
        *response.status_mut() = status;
        // For metrics and traces.
        response.extensions_mut().insert(self.code);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        if status == StatusCode::UNAUTHORIZED {
            const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"TokenManager\"");
            headers.insert(WWW_AUTHENTICATE, BEARER);
        }
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            let seconds = self.retry_after.as_millis().div_ceil(1000).max(1);
            let seconds = HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX));
            headers.insert(RETRY_AFTER, seconds);
        }
        if self.code == Code::ContentEncoding {
            // RFC 9110, 15.5.16: the encodings that are accepted.
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        response
    }
}

impl From<engine::Error> for Problem {
    fn from(error: engine::Error) -> Self {
        use engine::Error;
        match error {
            Error::Busy { retry_after } => {
                let detail = "Too many requests are queued. Nothing was changed. Try again after \
                              the time in Retry-After.";
                Problem::new(Code::Busy, detail).after(retry_after)
            }
            Error::NotDone { retry_after } => {
                let detail = "The database is not available. Nothing was changed. Try again after \
                              the time in Retry-After.";
                Problem::new(Code::NotDone, detail).after(retry_after)
            }
            Error::OutcomeUnknown => {
                let detail = "The connection to the database was lost. The request may or may not \
                              have been executed. Check before repeating it.";
                Problem::new(Code::OutcomeUnknown, detail)
            }
            Error::Refused => {
                let detail = "The database can't store this user_id. Nothing was changed.";
                Problem::new(Code::UnstorableUser, detail)
            }
            Error::Forbidden(forbidden) => forbidden_problem(forbidden),
            Error::UnknownPool => Problem::new(Code::UnknownPool, "No pool has this name."),
            Error::Stopping => {
                let detail = "The server is shutting down. Nothing was changed. Try again after \
                              the time in Retry-After.";
                Problem::new(Code::Stopping, detail)
            }
        }
    }
}

/// The problem of a key that may not do this. Pools to which it does not apply do not exist for it.
pub(crate) fn forbidden_problem(forbidden: pool::Forbidden) -> Problem {
    match forbidden {
        pool::Forbidden::Key => {
            Problem::new(Code::Unauthenticated, "The API key was revoked or has expired.")
        }
        pool::Forbidden::KeyNeeded => {
            let detail =
                "This needs an API key, since the first one was created. Nothing was changed.";
            Problem::new(Code::Unauthenticated, detail)
        }
        pool::Forbidden::Proxied => {
            let detail = "Users of a proxy can't change API keys and sessions. Send an API key.";
            Problem::new(Code::Forbidden, detail)
        }
        pool::Forbidden::Pool => {
            Problem::new(Code::UnknownPool, "No pool has this name. See GET /api/pools.")
        }
        pool::Forbidden::Right(right) => {
            let detail =
                format!("This needs the right `{}`, which the API key lacks.", right.as_str());
            Problem::new(Code::Forbidden, detail)
        }
        pool::Forbidden::User => {
            let detail = "The API key may not act for this user (its member users).";
            Problem::new(Code::Forbidden, detail)
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::Error;

    use super::*;

    fn answer(error: Error) -> (u16, String, Option<String>) {
        let problem = Problem::from(error);
        let code = problem.code.as_str().to_owned();
        let response = problem.into_response();
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), code, retry_after)
    }

    #[tokio::test]
    async fn a_document_contains_its_own_members() {
        let problem = Problem::with("Full.", &wire::PoolFull { position: 3 });
        let body = axum::body::to_bytes(problem.into_response().into_body(), 1_000).await.unwrap();
        let document = String::from_utf8(body.to_vec()).unwrap();
        assert!(
            document.ends_with(r#","error":"No tokens available","position":3}"#),
            "{document}"
        );
        assert!(serde_json::from_str::<serde_json::Value>(&document).is_ok());
    }

    #[test]
    fn engine_errors_become_problems() {
        let after = |retry_after: &str| Some(retry_after.to_owned());
        let busy = Error::Busy { retry_after: Duration::from_millis(2_001) };
        assert_eq!(answer(busy), (503, "busy".to_owned(), after("3")));
        let not_done = Error::NotDone { retry_after: Duration::ZERO };
        assert_eq!(answer(not_done), (503, "not-done".to_owned(), after("1")));
        let unknown = (503, "outcome-unknown".to_owned(), after("1"));
        assert_eq!(answer(Error::OutcomeUnknown), unknown);
        assert_eq!(answer(Error::Stopping), (503, "stopping".to_owned(), after("1")));
        assert_eq!(answer(Error::UnknownPool), (404, "unknown-pool".to_owned(), None));
        assert_eq!(answer(Error::Refused), (400, "unstorable-user".to_owned(), None));
    }
}
