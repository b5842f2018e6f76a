//! What can come of a request other than an answer, told for people.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{Api, SERVER_ENV, jittered, scheme};

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
    /// The command line or the client configuration leaves something open, or is wrong.
    Usage {
        /// What is wrong.
        what: String,
        /// What to do about it, a line each.
        tries: Vec<String>,
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
    /// Something on the way to the server, or in front of it, wants a user name and a password, or other
    /// ones than were sent.
    Credentials {
        /// The server that was asked.
        server: Server,
        /// Whether it is the proxy that wants them.
        by_proxy: bool,
        /// Whether some were sent.
        sent: bool,
    },
    /// The server speaks https and was asked by http, or the other way round.
    OtherScheme {
        /// The server that was asked.
        server: Server,
        /// What it speaks.
        is: &'static str,
        /// Its address with the other scheme.
        instead: String,
    },
    /// What came back is not from a `TokenManager`.
    Strange {
        /// What is strange about it.
        what: String,
        /// Its HTTP status, where that is all there is to say.
        status: Option<u16>,
        /// The proxy by which it came, without a password.
        proxy: Option<String>,
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
        self.proxy.iter().try_for_each(|proxy| write!(f, " through the proxy {proxy}"))
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
    /// How long to wait before the next attempt, where the server told it.
    pub after: Option<Duration>,
    /// The whole document.
    pub json: Value,
}

impl Failure {
    /// What a request ended with that got no whole answer.
    pub(super) fn of(api: &Api, error: reqwest::Error) -> Self {
        // The address is told once, and without a password.
        let error = error.without_url();
        let (server, why) = (api.server(), cause(&error));
        if scheme::is_not_tls(&why) && api.base.scheme() == "https" {
            return api.other_scheme();
        }
        // A proxy refuses a tunnel without an answer that can be read.
        if server.proxy.is_some() && why.contains("proxy auth") {
            return Failure::credentials(api, 407);
        }
        if error.is_connect() || error.is_builder() {
            Failure::Unreachable { server, why }
        } else {
            Failure::Lost { server, why }
        }
    }

    pub(super) fn refused(api: &Api, status: u16, body: &[u8], after: Option<Duration>) -> Self {
        #[derive(Deserialize)]
        struct Document {
            code: String,
            detail: String,
        }
        let json = serde_json::from_slice(body).unwrap_or(Value::Null);
        if let Ok(Document { code, detail }) = Document::deserialize(&json) {
            return Failure::Refused(Box::new(Problem { status, code, detail, after, json }));
        }
        if [401, 407].contains(&status) {
            return Failure::credentials(api, status);
        }
        if api.base.scheme() == "http" && scheme::expects_tls(body) {
            return api.other_scheme();
        }
        let what = format!("it answered with status {status}");
        Failure::Strange { what, status: Some(status), proxy: api.server().proxy }
    }

    fn credentials(api: &Api, status: u16) -> Self {
        let by_proxy = status == 407;
        let sent = if by_proxy {
            api.proxy.as_ref().is_some_and(|proxy| !proxy.url().username().is_empty())
        } else {
            !api.base.username().is_empty() || api.base.password().is_some()
        };
        Failure::Credentials { server: api.server(), by_proxy, sent }
    }

    /// Something that no `TokenManager` answers.
    pub fn strange(what: impl Into<String>) -> Self {
        Failure::Strange { what: what.into(), status: None, proxy: None }
    }

    /// The same with the proxy by which it came, for messages.
    pub(super) fn through(mut self, by: Option<String>) -> Self {
        if let Failure::Strange { proxy, .. } = &mut self {
            *proxy = proxy.take().or(by);
        }
        self
    }

    /// What to do next, where that is the same for all commands.
    pub fn hints(&self) -> Vec<String> {
        let names = "TOKEN_MANAGER_SERVER or `token-manager config set server URL` names";
        match self {
            Failure::Usage { tries, .. } => tries.clone(),
            Failure::Address { .. } => vec!["--server http://localhost:4000".to_owned()],
            Failure::Unreachable { server: Server { host, proxy: Some(_), .. }, .. } => vec![
                format!("no_proxy={host} in the environment, to ask the server without the proxy"),
                format!("--server URL, {names} another"),
            ],
            Failure::Unreachable { .. } => vec![
                "`token-manager serve` starts a server here".to_owned(),
                format!("--server URL, {names} another"),
            ],
            Failure::Credentials { by_proxy: true, .. } => vec![
                "http://USER:PASSWORD@HOST:PORT as the proxy in the environment variable that names it".to_owned(),
            ],
            Failure::Credentials { server, .. } => {
                let (scheme, rest) = server.url.split_once("://").unwrap_or_default();
                let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
                let url = format!("{scheme}://USER:PASSWORD@{host}");
                vec![
                    format!("{SERVER_ENV}={url} in the environment, with %40 for an @ in the password"),
                    "`token-manager config set server -`, which reads that URL and keeps it".to_owned(),
                ]
            }
            Failure::OtherScheme { instead, .. } => vec![format!("--server {instead}")],
            Failure::Redirected { instead, .. } => {
                vec![format!("--server {instead}, if that is the server")]
            }
            Failure::Strange { .. } => vec![format!("--server URL, {names} the right one")],
            Failure::Lost { .. } | Failure::Refused(_) => Vec::new(),
        }
    }

    /// How long to wait before the next attempt: as long as the server told, else `pause`; a little
    /// different for each client.
    pub fn pause(&self, pause: Duration) -> Duration {
        let told = match self {
            Failure::Refused(problem) => problem.after,
            _ => None,
        };
        jittered(told.map_or(pause, |told| told.max(pause)))
    }

    /// The server's code, if it is the server that refused.
    pub fn code(&self) -> Option<&str> {
        match self {
            Failure::Refused(problem) => Some(&problem.code),
            _ => None,
        }
    }

    /// The text as the beginning of a longer sentence.
    pub fn clause(&self) -> String {
        self.to_string().trim_end_matches('.').to_owned()
    }

    /// Whether the server's machine refused the connection, as while no server runs there.
    pub fn is_connection_refused(&self) -> bool {
        matches!(self, Failure::Unreachable { server: Server { proxy: None, .. }, why }
            if why.contains("refused"))
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
            Failure::Usage { .. }
            | Failure::Address { .. }
            | Failure::Redirected { .. }
            | Failure::Credentials { .. }
            | Failure::OtherScheme { .. } => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage { what, .. } => f.write_str(what),
            Failure::Address { server, why } => {
                write!(f, "invalid server URL {server:?}: {why}")
            }
            Failure::Unreachable { server, why } => write!(f, "can't reach {server}: {why}"),
            Failure::Lost { server, why } => write!(f, "no answer from {server}: {why}"),
            Failure::Refused(problem) => f.write_str(&as_options(&problem.detail)),
            Failure::Redirected { server, to, .. } => {
                write!(f, "{server} redirects to {to}, which is not followed")
            }
            Failure::Credentials { server, by_proxy, sent } => {
                let (who, status) = match (by_proxy, &server.proxy) {
                    (true, Some(proxy)) => (format!("the proxy {proxy}"), 407),
                    (true, None) => ("a proxy in front of the server".to_owned(), 407),
                    (false, _) => (server.to_string(), 401),
                };
                let what = if *sent { "refuses the" } else { "asks for a" };
                write!(f, "{who} {what} user name and password ({status})")
            }
            Failure::OtherScheme { server, is, .. } => write!(f, "{server} speaks {is}"),
            Failure::Strange { what, proxy, .. } => {
                write!(f, "that is no TokenManager: {what}")?;
                proxy.iter().try_for_each(|proxy| write!(f, " through the proxy {proxy}"))
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_retry_after_is_heeded_and_spread() {
        let problem = |after| Problem {
            status: 503,
            code: "busy".to_owned(),
            detail: String::new(),
            after,
            json: Value::Null,
        };
        for (after, least) in [(None, 250), (Some(4), 2_000), (Some(0), 250)] {
            let after = after.map(Duration::from_secs);
            let failure = Failure::Refused(Box::new(problem(after)));
            let pauses: Vec<_> =
                (0..100).map(|_| failure.pause(Duration::from_millis(500))).collect();
            let least = Duration::from_millis(least);
            assert!(pauses.iter().all(|pause| (least..least * 3).contains(pause)), "{pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{pauses:?}");
        }
    }
}
