//! Errors as callers see them: RFC 9457 problem documents, and the one table of their codes.

mod members;

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::json::{self, JSON};
pub(crate) use members::*;

/// What can go wrong, as callers tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Code {
    InvalidBody,
    InvalidUser,
    InvalidTokenId,
    InvalidLeaseId,
    InvalidTicket,
    InvalidParameter,
    InvalidKey,
    Refused,
    CrossOrigin,
    UnknownPath,
    UnknownToken,
    UnknownLease,
    UnknownTicket,
    WrongMethod,
    BodyTimeout,
    HolderMismatch,
    LeaseOver,
    RenewalLimit,
    UserLimit,
    TicketServed,
    TicketGivenUp,
    BodyTooLarge,
    UnsupportedContentType,
    ContentEncoding,
    HostNotAllowed,
    KeyReused,
    Internal,
    TransferEncoding,
    NoTokens,
    PoolFull,
    QueueFull,
    KeysFull,
    Busy,
    NotDone,
    OutcomeUnknown,
    Stopping,
    NotReady,
    TooManyStreams,
    TooManyExports,
    TooManyAnswers,
    TooManyConnections,
    TimedOut,
    HttpVersion,
}

impl Code {
    /// Every code, in their order.
    pub(crate) const ALL: [Code; 43] = [
        Code::InvalidBody,
        Code::InvalidUser,
        Code::InvalidTokenId,
        Code::InvalidLeaseId,
        Code::InvalidTicket,
        Code::InvalidParameter,
        Code::InvalidKey,
        Code::UnstorableUser,
        Code::CrossOrigin,
        Code::UnknownPath,
        Code::UnknownToken,
        Code::UnknownLease,
        Code::UnknownTicket,
        Code::WrongMethod,
        Code::BodyTimeout,
        Code::HolderMismatch,
        Code::LeaseOver,
        Code::RenewalLimit,
        Code::UserLimit,
        Code::TicketServed,
        Code::TicketGivenUp,
        Code::BodyTooLarge,
        Code::UnsupportedContentType,
        Code::ContentEncoding,
        Code::HostNotAllowed,
        Code::KeyReused,
        Code::Internal,
        Code::TransferEncoding,
        Code::NoTokens,
        Code::PoolFull,
        Code::QueueFull,
        Code::KeysFull,
        Code::Busy,
        Code::NotDone,
        Code::OutcomeUnknown,
        Code::Stopping,
        Code::NotReady,
        Code::TooManyStreams,
        Code::TooManyExports,
        Code::TooManyAnswers,
        Code::TooManyConnections,
        Code::TimedOut,
        Code::HttpVersion,
    ];

    /// As answers spell it.
    pub(crate) const fn as_str(self) -> &'static str {
        self.row().0
    }

    #[cfg(test)]
    pub(crate) const fn status(self) -> StatusCode {
        self.row().1
    }
}

/// A row of the table: the stable code, the status, and the title.
type Row = (&'static str, StatusCode, &'static str);

impl Code {
    #[rustfmt::skip]
    pub(crate) const fn row(self) -> Row {
        match self {
            Code::InvalidBody => ("invalid-body", StatusCode::BAD_REQUEST, "Invalid request body"),
            Code::InvalidUser => ("invalid-user", StatusCode::BAD_REQUEST, "Invalid user_id"),
            Code::InvalidTokenId => ("invalid-id", StatusCode::BAD_REQUEST, "Invalid token id"),
            Code::InvalidLeaseId => ("invalid-id", StatusCode::BAD_REQUEST, "Invalid lease id"),
            Code::InvalidTicket => ("invalid-id", StatusCode::BAD_REQUEST, "Invalid ticket"),
            Code::InvalidParameter => ("invalid-parameter", StatusCode::BAD_REQUEST, "Invalid parameter"),
            Code::InvalidKey => ("invalid-idempotency-key", StatusCode::BAD_REQUEST, "Invalid Idempotency-Key"),
            Code::UnstorableUser => ("refused", StatusCode::BAD_REQUEST, "Refused by the database"),
            Code::CrossOrigin => ("foreign-page", StatusCode::FORBIDDEN, "Request from another site's page"),
            Code::UnknownPath => ("unknown-path", StatusCode::NOT_FOUND, "Not found"),
            Code::UnknownToken => ("unknown-token", StatusCode::NOT_FOUND, "Token not found"),
            Code::UnknownLease => ("unknown-lease", StatusCode::NOT_FOUND, "Lease not found"),
            Code::UnknownTicket => ("unknown-ticket", StatusCode::NOT_FOUND, "Ticket not found"),
            Code::WrongMethod => ("wrong-method", StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"),
            Code::BodyTimeout => ("body-timeout", StatusCode::REQUEST_TIMEOUT, "Request timeout"),
            Code::HolderMismatch => ("held-otherwise", StatusCode::CONFLICT, "Held otherwise"),
            Code::LeaseOver => ("lease-over", StatusCode::CONFLICT, "Lease is over"),
            Code::RenewalLimit => ("renewal-limit", StatusCode::CONFLICT, "Renewal limit reached"),
            Code::UserLimit => ("user-limit", StatusCode::CONFLICT, "User has too many leases"),
            Code::TicketServed => ("ticket-served", StatusCode::CONFLICT, "Ticket has become a lease"),
            Code::TicketGivenUp => ("ticket-given-up", StatusCode::CONFLICT, "Ticket was given up"),
            Code::BodyTooLarge => ("body-too-large", StatusCode::PAYLOAD_TOO_LARGE, "Request body too large"),
            Code::UnsupportedContentType => ("unsupported-content-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported content type"),
            Code::ContentEncoding => ("unsupported-content-encoding", StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported content encoding"),
            Code::HostNotAllowed => ("wrong-host", StatusCode::MISDIRECTED_REQUEST, "Wrong host"),
            Code::KeyReused => ("idempotency-key-reused", StatusCode::UNPROCESSABLE_ENTITY, "Idempotency-Key reused"),
            Code::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, "Internal server error"),
            Code::TransferEncoding => ("unsupported-transfer-encoding", StatusCode::NOT_IMPLEMENTED, "Unsupported transfer encoding"),
            Code::NoTokens => ("no-tokens", StatusCode::SERVICE_UNAVAILABLE, "No tokens available"),
            Code::PoolFull => ("pool-full", StatusCode::SERVICE_UNAVAILABLE, "No tokens available"),
            Code::QueueFull => ("queue-full", StatusCode::SERVICE_UNAVAILABLE, "No tokens available"),
            Code::KeysFull => ("idempotency-full", StatusCode::SERVICE_UNAVAILABLE, "Too many idempotency keys"),
            Code::Busy => ("busy", StatusCode::SERVICE_UNAVAILABLE, "Too many requests are waiting"),
            Code::NotDone => ("not-done", StatusCode::SERVICE_UNAVAILABLE, "Database not available"),
            Code::OutcomeUnknown => ("outcome-unknown", StatusCode::SERVICE_UNAVAILABLE, "Outcome unknown"),
            Code::Stopping => ("stopping", StatusCode::SERVICE_UNAVAILABLE, "Shutting down"),
            Code::NotReady => ("not-ready", StatusCode::SERVICE_UNAVAILABLE, "Not ready"),
            Code::TooManyStreams => ("too-many-streams", StatusCode::SERVICE_UNAVAILABLE, "Too many event streams"),
            Code::TooManyExports => ("too-many-exports", StatusCode::SERVICE_UNAVAILABLE, "Too many exports"),
            Code::TooManyAnswers => ("too-many-answers", StatusCode::SERVICE_UNAVAILABLE, "Too many unread responses"),
            Code::TooManyConnections => ("too-many-connections", StatusCode::SERVICE_UNAVAILABLE, "Too many connections"),
            Code::TimedOut => ("timed-out", StatusCode::GATEWAY_TIMEOUT, "Timed out"),
            Code::HttpVersion => ("http-version", StatusCode::HTTP_VERSION_NOT_SUPPORTED, "HTTP version not supported"),
        }
    }
}

/// What can go wrong with every request, and these.
pub(crate) fn any(more: &[Code]) -> Vec<Code> {
    let codes = [
        Code::InvalidBody,
        Code::BodyTimeout,
        Code::BodyTooLarge,
        Code::ContentEncoding,
        Code::HostNotAllowed,
        Code::Internal,
        Code::TransferEncoding,
        Code::TooManyAnswers,
        Code::TooManyConnections,
        Code::TimedOut,
    ];
    [more, &codes].concat()
}

/// What can go wrong where the pool is read, and these.
pub(crate) fn read(more: &[Code]) -> Vec<Code> {
    [any(more), vec![Code::Busy, Code::NotDone, Code::Stopping]].concat()
}

/// What can go wrong where the pool is changed, and these.
pub(crate) fn write(more: &[Code]) -> Vec<Code> {
    [read(more), vec![Code::CrossOrigin, Code::OutcomeUnknown]].concat()
}

/// An error on its way to the caller.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    code: Code,
    /// What was wrong and what to do about it.
    detail: Cow<'static, str>,
    retry_after: Duration,
    /// Members of its code as a JSON object; empty without any.
    members: Vec<u8>,
}

impl Problem {
    /// A problem of a code that has no members of its own.
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        debug_assert!(!code.has_members(), "{code:?} has members");
        Problem::of(code, detail.into(), Vec::new())
    }

    /// A problem of the code that has these members.
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

    /// The same, with one more sentence of detail.
    pub(crate) fn and(mut self, sentence: &str) -> Self {
        self.detail = format!("{} {sentence}", self.detail).into();
        self
    }

    /// The same, to be tried again after that time.
    pub(crate) fn after(self, retry_after: Duration) -> Self {
        Problem { retry_after, ..self }
    }
}

/// An error without members of its own, as in RFC 9457.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Document<'a> {
    /// `urn:token-manager:problem:` and the code.
    #[schema(format = "uri")]
    r#type: String,
    title: &'a str,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What was wrong and what to do about it, for people.
    detail: &'a str,
    /// Stable, for programs.
    code: &'a str,
    /// A short text, for clients of the original: the same as `title`.
    error: &'a str,
}

impl<'a> Document<'a> {
    pub(crate) fn new(code: Code, detail: &'a str) -> Self {
        let (code, status, title) = code.row();
        Document {
            r#type: format!("urn:token-manager:problem:{code}"),
            title,
            status: status.as_u16(),
            detail,
            code,
            error: title,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (_, status, _) = self.code.row();
        let document = Document::new(self.code, &self.detail);
        let mut document = json::to_vec(&document, 512 + self.members.len());
        if let [_, members @ ..] = &self.members[..] {
            // The members continue the object.
            document.pop();
            document.push(b',');
            document.extend(members);
        }
        let mut response = Response::new(Body::from(document));
        *response.status_mut() = status;
        // For those who count.
        response.extensions_mut().insert(self.code);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let seconds = self.retry_after.as_millis().div_ceil(1000).max(1);
            let seconds = HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX));
            headers.insert(RETRY_AFTER, seconds);
        }
        if self.code == Code::ContentEncoding {
            // RFC 9110, 15.5.16: what would have been accepted.
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
                let detail = "Too many requests are waiting, so this one was not taken and did \
                              nothing. Try again after the time in Retry-After.";
                Problem::new(Code::Busy, detail).after(retry_after)
            }
            Error::NotDone { retry_after } => {
                let detail = "The database can't be used right now. The request did nothing; try \
                              again after the time in Retry-After.";
                Problem::new(Code::NotDone, detail).after(retry_after)
            }
            Error::OutcomeUnknown => {
                let detail = "The connection to the database was lost at a moment that leaves open \
                              whether the request was carried out. Look before repeating it.";
                Problem::new(Code::OutcomeUnknown, detail)
            }
            Error::Refused => {
                let detail = "The database does not accept this user_id; the request did nothing.";
                Problem::new(Code::UnstorableUser, detail)
            }
            Error::Stopping => {
                let detail = "The server is shutting down; the request did nothing. Try again \
                              after the time in Retry-After.";
                Problem::new(Code::Stopping, detail)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::Error;

    use super::*;

    fn answer(error: Error) -> (u16, String, Option<String>) {
        let problem = Problem::from(error);
        let code = problem.code.row().0.to_owned();
        let response = problem.into_response();
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), code, retry_after)
    }

    #[tokio::test]
    async fn documents_may_have_further_members() {
        let problem = Problem::with("Full.", &PoolFull { position: 3 });
        let body = axum::body::to_bytes(problem.into_response().into_body(), 1_000).await.unwrap();
        let document = String::from_utf8(body.to_vec()).unwrap();
        assert!(
            document.ends_with(r#","error":"No tokens available","position":3}"#),
            "{document}"
        );
        assert!(serde_json::from_str::<serde_json::Value>(&document).is_ok());
    }

    #[test]
    fn all_codes_are_listed_in_their_order() {
        assert!(Code::ALL.iter().enumerate().all(|(place, code)| place == *code as usize));
        assert_eq!(Code::ALL.len(), Code::HttpVersion as usize + 1, "the last one");
    }

    #[test]
    fn what_the_engine_says_is_passed_on() {
        let after = |retry_after: &str| Some(retry_after.to_owned());
        let busy = Error::Busy { retry_after: Duration::from_millis(2_001) };
        assert_eq!(answer(busy), (503, "busy".to_owned(), after("3")));
        let not_done = Error::NotDone { retry_after: Duration::ZERO };
        assert_eq!(answer(not_done), (503, "not-done".to_owned(), after("1")));
        let unknown = (503, "outcome-unknown".to_owned(), after("1"));
        assert_eq!(answer(Error::OutcomeUnknown), unknown);
        assert_eq!(answer(Error::Stopping), (503, "stopping".to_owned(), after("1")));
        assert_eq!(answer(Error::Refused), (400, "refused".to_owned(), None));
    }
}
