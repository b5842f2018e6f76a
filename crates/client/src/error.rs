//! Errors of requests.

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use wire::Code;

use crate::jittered;

/// Reason why a request has no successful reply.
#[derive(Debug)]
pub enum Error {
    /// The server's URL is invalid.
    InvalidUrl {
        /// URL as given, without credentials.
        server: String,
        /// Reason.
        why: String,
    },
    /// No connection could be made. The server did not receive the request.
    Unreachable {
        /// Requested server.
        server: Server,
        /// Cause.
        why: String,
    },
    /// The connection broke or timed out before the reply. The request may or may not have been executed.
    NoReply {
        /// Requested server.
        server: Server,
        /// Cause.
        why: String,
    },
    /// The server refused the request.
    Refused(Box<Problem>),
    /// The server redirects to another URL. The client does not follow, because requests carry credentials
    /// and user names that only the named server may see.
    Redirected {
        /// Requested server.
        server: Server,
        /// Target of the redirect.
        to: String,
        /// Server URL that the target suggests.
        instead: String,
    },
    /// The server, or a proxy before it, requires credentials, or rejected those sent.
    Credentials {
        /// Requested server.
        server: Server,
        /// Whether a proxy requires them (407), not the server (401).
        by_proxy: bool,
        /// Credentials that the request had: `user name and password` or `API key`.
        sent: Option<&'static str>,
    },
    /// The client does not send an API key over plain HTTP to another machine.
    InsecureKey {
        /// URL of the server, without credentials.
        url: String,
    },
    /// An `http://` URL names a server that speaks HTTPS, or the reverse.
    WrongScheme {
        /// Requested server.
        server: Server,
        /// Protocol of the server: `HTTPS` or `plain HTTP`.
        is: &'static str,
        /// URL with the right scheme.
        instead: String,
    },
    /// The reply does not come from a `TokenManager` server.
    NotTokenManager {
        /// Deviation from the API.
        what: String,
        /// HTTP status of an error without a problem document.
        status: Option<u16>,
        /// Proxy of the connection, without a password.
        proxy: Option<String>,
    },
}

/// Server as error messages name it.
#[derive(Clone, Debug)]
pub struct Server {
    /// URL without a password.
    pub url: String,
    /// Host name or address.
    pub host: String,
    /// Proxy of the connection, without a password.
    pub proxy: Option<String>,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)?;
        self.proxy.iter().try_for_each(|proxy| write!(f, " through the proxy {proxy}"))
    }
}

/// Problem document of a refused request.
#[derive(Clone, Debug)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// Kind of the problem; None for codes of later versions.
    pub code: Option<Code>,
    /// Explanation for a person.
    pub detail: String,
    /// `Retry-After`, at most one minute.
    pub after: Option<Duration>,
    /// Whole document.
    pub json: Value,
}

impl Error {
    /// Creates an [`Error::NotTokenManager`].
    pub fn not_token_manager(what: impl Into<String>) -> Self {
        Error::NotTokenManager { what: what.into(), status: None, proxy: None }
    }

    /// Adds the proxy of the connection to an [`Error::NotTokenManager`].
    pub(crate) fn via(mut self, by: Option<String>) -> Self {
        if let Error::NotTokenManager { proxy, .. } = &mut self {
            *proxy = proxy.take().or(by);
        }
        self
    }

    /// Returns the delay before the next attempt: the server's `Retry-After` or `delay`, whichever is
    /// longer, with jitter.
    #[must_use]
    pub fn retry_delay(&self, delay: Duration) -> Duration {
        let after = match self {
            Error::Refused(problem) => problem.after,
            _ => None,
        };
        jittered(after.map_or(delay, |after| after.max(delay)))
    }

    /// Returns the kind of the problem, if the server refused the request for a known reason.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Error::Refused(problem) => problem.code,
            _ => None,
        }
    }

    /// Returns whether the server's machine refused the connection, as while no server runs there.
    #[must_use]
    pub fn is_connection_refused(&self) -> bool {
        matches!(self, Error::Unreachable { server: Server { proxy: None, .. }, why }
            if why.contains("refused"))
    }

    /// Returns whether the error is temporary, so that retrying may help.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Error::Unreachable { .. } | Error::NoReply { .. } => true,
            Error::Refused(problem) => matches!(
                problem.code,
                Some(
                    Code::Busy
                        | Code::NotDone
                        | Code::OutcomeUnknown
                        | Code::Stopping
                        | Code::TimedOut
                        | Code::TooManyRequests
                        | Code::Internal
                )
            ),
            // A proxy without its server.
            Error::NotTokenManager { status, .. } => matches!(status, Some(502..=504)),
            Error::InvalidUrl { .. }
            | Error::Redirected { .. }
            | Error::Credentials { .. }
            | Error::InsecureKey { .. }
            | Error::WrongScheme { .. } => false,
        }
    }

    /// Returns whether the server may have executed the request.
    #[must_use]
    pub fn may_be_done(&self) -> bool {
        match self.code() {
            Some(code) => {
                !matches!(code, Code::Busy | Code::NotDone | Code::Stopping | Code::TooManyRequests)
            }
            None => !matches!(self, Error::Unreachable { .. } | Error::InsecureKey { .. }),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::InvalidUrl { server, why } => {
                write!(f, "invalid server URL {server:?}: {why}")
            }
            Error::Unreachable { server, why } => write!(f, "can't reach {server}: {why}"),
            Error::NoReply { server, why } => write!(f, "no reply from {server}: {why}"),
            Error::Refused(problem) => f.write_str(&problem.detail),
            Error::Redirected { server, to, .. } => {
                write!(f, "{server} redirects to {to}; redirects are not followed")
            }
            Error::Credentials { server, by_proxy, sent } => {
                let (who, status) = match (by_proxy, &server.proxy) {
                    (true, Some(proxy)) => (format!("the proxy {proxy}"), 407),
                    (true, None) => ("a proxy in front of the server".to_owned(), 407),
                    (false, _) => (server.to_string(), 401),
                };
                match sent {
                    Some(sent) => write!(f, "{who} rejects the {sent} ({status})"),
                    None => write!(f, "{who} asks for a user name and password ({status})"),
                }
            }
            Error::InsecureKey { url } => {
                write!(
                    f,
                    "refusing to send an API key over plain HTTP to {url}: others could read it"
                )
            }
            Error::WrongScheme { server, is, .. } => write!(f, "{server} speaks {is}"),
            Error::NotTokenManager { what, proxy, .. } => {
                write!(f, "not a TokenManager server: {what}")?;
                proxy.iter().try_for_each(|proxy| write!(f, " through the proxy {proxy}"))
            }
        }
    }
}

impl std::error::Error for Error {}

/// Returns the innermost cause of an error. The outer ones only say that a request was being sent.
pub(crate) fn cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    let cause = inner.to_string();
    // Without the error's number.
    cause.split(" (os error").next().unwrap_or(&cause).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_respected_and_jittered() {
        let problem = |after| Problem {
            status: 503,
            code: Some(Code::Busy),
            detail: String::new(),
            after,
            json: Value::Null,
        };
        for (after, least) in [(None, 250), (Some(4), 2_000), (Some(0), 250)] {
            let after = after.map(Duration::from_secs);
            let error = Error::Refused(Box::new(problem(after)));
            let delays: Vec<_> =
                (0..100).map(|_| error.retry_delay(Duration::from_millis(500))).collect();
            let least = Duration::from_millis(least);
            assert!(delays.iter().all(|delay| (least..least * 3).contains(delay)), "{delays:?}");
            assert!(delays.iter().any(|delay| *delay != delays[0]), "{delays:?}");
        }
    }
}
