//! Errors of commands, printed with possible actions.

use std::io::{self, Write as _};
use std::process::ExitCode;

use client::{Error, Problem, Server};
use wire::Code;

use super::exit::{Exit, die_of};
use super::harmless;
use super::output::{BAD, QUIET, paint};

/// Failure of a command.
#[derive(Debug)]
pub enum CliError {
    /// The error is printed.
    Message {
        what: String,
        /// Additional facts, a line each.
        notes: Vec<String>,
        /// Possible actions, a line each.
        hints: Vec<String>,
        exit: Exit,
    },
    /// The command has printed the error already.
    Reported(Exit),
    /// This signal ends the command.
    Signal(i32),
    /// The reader of the output is gone, which is not an error.
    Closed,
}

impl CliError {
    /// Creates an error.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        CliError::Message { what: what.into(), notes: Vec::new(), hints: Vec::new(), exit }
    }

    /// Replaces the message.
    #[must_use]
    pub fn message(mut self, message: String) -> Self {
        if let CliError::Message { what, .. } = &mut self {
            *what = message;
        }
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        if let CliError::Message { notes, .. } = &mut self {
            notes.push(note.into());
        }
        self
    }

    /// Adds a possible action.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let CliError::Message { hints, .. } = &mut self {
            hints.push(hint.into());
        }
        self
    }

    /// Replaces the possible actions.
    #[must_use]
    pub fn only_hint(mut self, hint: impl Into<String>) -> Self {
        if let CliError::Message { hints, .. } = &mut self {
            hints.clear();
        }
        self.hint(hint)
    }

    /// Adapts the error of a command that changes nothing: an unknown outcome has no consequences.
    #[must_use]
    pub fn of_reading(mut self) -> Self {
        match &mut self {
            CliError::Message { exit: exit @ Exit::OutcomeUnknown, .. } => *exit = Exit::Away,
            _ => return self,
        }
        self.only_hint("again in a moment")
    }

    /// Prints the error and returns the exit code.
    pub fn print(self) -> ExitCode {
        self.print_by(|text| {
            // A closed standard error output changes nothing.
            let _ = anstream::stderr().write_all(text.as_bytes());
        })
    }

    /// Prints the error by a function and returns the exit code.
    pub fn print_by(self, write: impl FnOnce(&str)) -> ExitCode {
        match self {
            CliError::Message { what, notes, hints, exit } => {
                write(&message(&what, &notes, &hints));
                exit.into()
            }
            CliError::Reported(exit) => exit.into(),
            CliError::Signal(signal) => die_of(signal),
            CliError::Closed => ExitCode::SUCCESS,
        }
    }
}

/// Formats an error with facts and possible actions.
pub fn message(what: &str, notes: &[String], hints: &[impl AsRef<str>]) -> String {
    let first = format!("{} {}\n", paint(BAD, "error:"), one_line(what));
    let notes = notes.iter().map(|note| format!("  {}\n", one_line(note)));
    let hint = |hint: &_| format!("  {} {}\n", paint(QUIET, "try:"), one_line(AsRef::as_ref(hint)));
    [first].into_iter().chain(notes).chain(hints.iter().map(hint)).collect()
}

fn one_line(text: &str) -> String {
    harmless(&text.replace(['\n', '\r'], " "))
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return CliError::Closed;
        }
        CliError::new(Exit::Failed, format!("can't write the output: {error}"))
    }
}

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        let what = match &error {
            Error::Refused(problem) => as_options(&problem.detail),
            error => error.to_string(),
        };
        hints(&error).into_iter().fold(CliError::new(Exit::from(&error), what), CliError::hint)
    }
}

/// Returns what to do about an error.
fn hints(error: &Error) -> Vec<String> {
    let another =
        "--server URL, TOKEN_MANAGER_SERVER or `token-manager config set server URL` for another";
    match error {
        Error::InvalidUrl { .. } => vec!["--server http://localhost:4000".to_owned()],
        Error::Unreachable { server: Server { host, proxy: Some(_), .. }, .. } => vec![
            format!("no_proxy={host} in the environment, to connect without the proxy"),
            another.to_owned(),
        ],
        Error::Unreachable { .. } => {
            vec!["`token-manager serve` to start a server here".to_owned(), another.to_owned()]
        }
        Error::Credentials { by_proxy: true, .. } => vec![
            "http://USER:PASSWORD@HOST:PORT as the proxy in its environment variable".to_owned(),
        ],
        Error::Credentials { server, .. } => {
            let (scheme, rest) = server.url.split_once("://").unwrap_or_default();
            let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            let url = format!("{scheme}://USER:PASSWORD@{host}");
            vec![
                format!(
                    "{}={url} in the environment, with %40 for an @ in the password",
                    run::env::SERVER
                ),
                "`token-manager config set server -`, which reads that URL and stores it"
                    .to_owned(),
            ]
        }
        Error::InsecureKey { url } => vec![
            format!("{}, if the server speaks HTTPS", url.replacen("http:", "https:", 1)),
            "--insecure-http, if this network is private".to_owned(),
        ],
        Error::WrongScheme { instead, .. } => vec![format!("--server {instead}")],
        Error::Redirected { instead, .. } => {
            vec![format!("--server {instead}, if that is the server")]
        }
        Error::NotTokenManager { .. } => vec![another.to_owned()],
        Error::NoReply { .. } => vec!["`token-manager leases` to see what was done".to_owned()],
        Error::Refused(problem) if problem.code == Some(Code::Unauthenticated) => vec![
            "`token-manager login`, which stores an API key for this server".to_owned(),
            format!("{}=tm_... in the environment, or --key-file FILE", run::env::KEY),
        ],
        Error::Refused(problem) => hint(problem).map(str::to_owned).into_iter().collect(),
    }
}

/// Returns what to do about a refusal, where the server's text does not say it.
fn hint(problem: &Problem) -> Option<&'static str> {
    Some(match problem.code {
        Some(Code::UnknownPool) => "`token-manager pools` to list the pools",
        Some(Code::UnknownToken) => "`token-manager tokens` to list the tokens",
        Some(Code::UnknownLease) => "`token-manager leases` to list the latest leases",
        Some(Code::UnknownTicket) => "`token-manager queue` to list the tickets",
        Some(Code::UnknownKey) => "`token-manager keys list` to list the API keys",
        Some(Code::Forbidden) => {
            "another API key; `token-manager whoami` shows what this one permits"
        }
        Some(Code::NoTokens) => "`token-manager serve --pool-size 100` for a pool with tokens",
        Some(Code::RenewalLimit) => {
            "`token-manager allocate USER` for another lease, once this one has ended"
        }
        Some(Code::KeyReused) => "another --idempotency-key, or none",
        Some(Code::OutcomeUnknown | Code::TimedOut) => {
            "`token-manager leases` to see what was done"
        }
        Some(Code::UnknownPath) => "--server without a path",
        Some(Code::Internal) => "the server's log, which has the details",
        Some(Code::HostNotAllowed) => "--server http://localhost:4000, if the server runs there",
        _ if [429, 503].contains(&problem.status) => "again in a moment",
        _ => return None,
    })
}

/// Replaces names of JSON members in a problem's text by names of options.
fn as_options(detail: &str) -> String {
    let names = [
        ("lease_seconds must be a number", "--lease must be a number of seconds"),
        ("wait_seconds must be a number", "--wait must be a number of seconds"),
        ("send end_leases=true", "use --end-leases"),
        (" See GET /api/pools.", ""),
        ("lease_seconds", "--lease"),
        ("wait_seconds", "--wait"),
        ("user_id", "the user's name"),
    ];
    names.iter().fold(detail.to_owned(), |text, (member, option)| text.replace(member, option))
}
