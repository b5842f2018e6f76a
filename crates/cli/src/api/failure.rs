//! What can come of a request other than an answer, told for people.

use std::error::Error;
use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::Api;

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// The server's address is none.
    Address {
        /// As it was given.
        server: String,
        /// What is wrong with it.
        why: String,
    },
    /// No request got to the server.
    Unreachable {
        /// The server that was asked.
        server: Server,
        /// What went wrong.
        why: String,
    },
    /// The connection broke or the time was up before there was an answer. What was asked for may
    /// or may not have been done.
    Lost {
        /// The server that was asked.
        server: Server,
        /// What went wrong.
        why: String,
    },
    /// The server answered that it can't be done.
    Refused(Box<Problem>),
    /// The server names another address. That is not followed: requests carry credentials and users'
    /// names, which are for the server that was named.
    Redirected {
        /// The server that was asked.
        server: Server,
        /// The other address.
        to: String,
        /// The server that it seems to be at.
        instead: String,
    },
    /// What came back is not from a `TokenManager`.
    Strange {
        /// What is strange about it.
        what: String,
        /// Its HTTP status, where that is all there is to say.
        status: Option<u16>,
    },
}

/// A server as messages name it.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its address, without a password.
    pub url: String,
    /// Its host.
    pub host: String,
    /// The proxy by which it is reached, without a password.
    pub proxy: Option<String>,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)?;
        self.proxy.iter().try_for_each(|proxy| write!(f, " by the proxy {proxy}"))
    }
}

/// The server's answer when something can't be done.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The stable code, such as `pool-full`.
    pub code: String,
    /// What was wrong and what to do about it.
    pub detail: String,
    /// The whole document.
    pub json: Value,
}

impl Failure {
    /// What a request ended with that got no whole answer.
    pub(super) fn of(api: &Api, error: reqwest::Error) -> Self {
        // The address is told once, and without a password.
        let error = error.without_url();
        let (server, why) = (api.server(), cause(&error));
        if error.is_connect() || error.is_builder() {
            Failure::Unreachable { server, why }
        } else {
            Failure::Lost { server, why }
        }
    }

    pub(super) fn refused(api: &Api, status: u16, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Document {
            code: String,
            detail: String,
        }
        let json = serde_json::from_slice(body).unwrap_or(Value::Null);
        if let Ok(Document { code, detail }) = Document::deserialize(&json) {
            return Failure::Refused(Box::new(Problem { status, code, detail, json }));
        }
        let proxy = api.server().proxy;
        let by = proxy.map_or(String::new(), |proxy| format!(" by the proxy {proxy}"));
        Failure::Strange {
            what: format!("it answered with status {status}{by}"),
            status: Some(status),
        }
    }

    /// Something that no `TokenManager` answers.
    pub fn strange(what: impl Into<String>) -> Self {
        Failure::Strange { what: what.into(), status: None }
    }

    /// What to do next, where that is the same for all commands.
    pub fn hints(&self) -> Vec<String> {
        let names = "or the environment variable TOKEN_MANAGER_SERVER, names";
        match self {
            Failure::Address { .. } => vec!["--server http://localhost:4000".to_owned()],
            Failure::Unreachable { server: Server { host, proxy: Some(_), .. }, .. } => vec![
                format!("no_proxy={host} in the environment, to ask the server without the proxy"),
                format!("--server URL, {names} another"),
            ],
            Failure::Unreachable { .. } => vec![
                "`token-manager serve` starts a server here".to_owned(),
                format!("--server URL, {names} another"),
            ],
            Failure::Redirected { instead, .. } => {
                vec![format!("--server {instead}, if that is the server")]
            }
            Failure::Strange { .. } => vec![format!("--server URL, {names} the right one")],
            Failure::Lost { .. } | Failure::Refused(_) => Vec::new(),
        }
    }

    /// The server's code, if it is the server that refused.
    pub fn code(&self) -> Option<&str> {
        match self {
            Failure::Refused(problem) => Some(&problem.code),
            _ => None,
        }
    }

    /// Whether it may go better in a moment, so that a request that can be repeated should be.
    pub fn may_pass(&self) -> bool {
        match self {
            Failure::Unreachable { .. } | Failure::Lost { .. } => true,
            Failure::Refused(problem) => matches!(
                problem.code.as_str(),
                "busy" | "not-done" | "outcome-unknown" | "stopping" | "timed-out" | "internal"
            ),
            // A proxy whose server is away.
            Failure::Strange { status, .. } => matches!(status, Some(502..=504)),
            Failure::Address { .. } | Failure::Redirected { .. } => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Address { server, why } => {
                write!(f, "{server:?} is no address of a server: {why}")
            }
            Failure::Unreachable { server, why } => write!(f, "can't reach {server}: {why}"),
            Failure::Lost { server, why } => write!(f, "no answer from {server}: {why}"),
            Failure::Refused(problem) => f.write_str(&as_options(&problem.detail)),
            Failure::Redirected { server, to, .. } => {
                write!(f, "{server} redirects to {to}, which is not followed")
            }
            Failure::Strange { what, .. } => write!(f, "that is no TokenManager: {what}"),
        }
    }
}

impl Error for Failure {}

/// The server's sentence, with the names that the command line has for what was sent.
fn as_options(detail: &str) -> String {
    let names = [
        ("lease_seconds must be a number", "--lease must be a number of seconds"),
        ("wait_seconds must be a number", "--wait must be a number of seconds"),
        ("lease_seconds", "--lease"),
        ("wait_seconds", "--wait"),
        ("user_id", "the user's name"),
    ];
    names.iter().fold(detail.to_owned(), |text, (sent, given)| text.replace(sent, given))
}

/// What an error comes down to: the outer ones only say that something was to be sent.
pub(super) fn cause(error: &dyn Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    let cause = inner.to_string();
    // The number is for nobody.
    cause.split(" (os error").next().unwrap_or(&cause).to_owned()
}
