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
        /// The server's address.
        server: String,
        /// What went wrong.
        why: String,
    },
    /// The connection broke or the time was up before there was an answer. What was asked for may
    /// or may not have been done.
    Lost {
        /// The server's address.
        server: String,
        /// What went wrong.
        why: String,
    },
    /// The server answered that it can't be done.
    Refused(Box<Problem>),
    /// What came back is not from a `TokenManager`.
    Strange {
        /// What is strange about it.
        what: String,
    },
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
        let (server, why) = (api.shown(), cause(&error));
        if error.is_connect() || error.is_builder() {
            Failure::Unreachable { server, why }
        } else {
            Failure::Lost { server, why }
        }
    }

    pub(super) fn refused(status: u16, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Document {
            code: String,
            detail: String,
        }
        let json = serde_json::from_slice(body).unwrap_or(Value::Null);
        match Document::deserialize(&json) {
            Ok(Document { code, detail }) => {
                Failure::Refused(Box::new(Problem { status, code, detail, json }))
            }
            Err(_) => Failure::Strange { what: format!("it answered with status {status}") },
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
            Failure::Strange { what } => {
                ["502", "503", "504"].iter().any(|status| what.ends_with(status))
            }
            Failure::Address { .. } => false,
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
            Failure::Strange { what } => write!(f, "that is no TokenManager: {what}"),
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
