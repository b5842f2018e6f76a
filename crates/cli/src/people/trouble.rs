//! What goes wrong, told with what to do next.

use std::io;
use std::io::Write as _;
use std::process::ExitCode;

use crate::api::{Failure, Problem};
use crate::exit::Exit;
use crate::run::Leave;
use crate::term::{coloured, harmless};

use super::look::{BAD, QUIET, paint};

/// Why a command did not do what it was told.
#[derive(Debug)]
pub enum Trouble {
    /// It is to be told.
    Told {
        /// What is wrong.
        what: String,
        /// What else there is to know, a line each.
        notes: Vec<String>,
        /// What to do next, a line each.
        tries: Vec<String>,
        /// What programs learn of it.
        exit: Exit,
    },
    /// It has been told.
    Over(Exit),
    /// A signal of this number ended it.
    By(i32),
    /// Nobody reads the output any more, and so there is nothing left to do.
    Closed,
}

impl Trouble {
    /// Something that is wrong.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Trouble::Told { what: what.into(), notes: Vec::new(), tries: Vec::new(), exit }
    }

    /// The same in other words.
    #[must_use]
    pub fn saying(mut self, other: String) -> Self {
        if let Trouble::Told { what, .. } = &mut self {
            *what = other;
        }
        self
    }

    /// With something else to know.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        if let Trouble::Told { notes, .. } = &mut self {
            notes.push(note.into());
        }
        self
    }

    /// With something to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Trouble::Told { tries, .. } = &mut self {
            tries.push(hint.into());
        }
        self
    }

    /// With only this to do next.
    #[must_use]
    pub fn trying(mut self, hint: impl Into<String>) -> Self {
        if let Trouble::Told { tries, .. } = &mut self {
            tries.clear();
        }
        self.hint(hint)
    }

    /// The same for a command that changes nothing: nothing can have been done.
    #[must_use]
    pub fn of_reading(mut self) -> Self {
        match &mut self {
            Trouble::Told { exit: exit @ Exit::OutcomeUnknown, .. } => *exit = Exit::Away,
            _ => return self,
        }
        self.trying("again in a moment")
    }

    /// Tells it, and answers the exit code.
    pub fn tell(self) -> ExitCode {
        match self {
            Trouble::Told { what, notes, tries, exit } => {
                let mut lines = vec![format!("{} {}", paint(BAD, "error:"), one_line(&what))];
                lines.extend(notes.iter().map(|note| format!("  {}", one_line(note))));
                let hints = tries.iter().map(|hint| one_line(hint));
                lines.extend(hints.map(|hint| format!("  {} {hint}", paint(QUIET, "try:"))));
                // That nobody reads it is no reason to fail differently.
                let _ = writeln!(anstream::stderr(), "{}", coloured(&lines.join("\n")));
                exit.into()
            }
            Trouble::Over(exit) => exit.into(),
            Trouble::By(signal) => Leave::By(signal).leave(),
            Trouble::Closed => ExitCode::SUCCESS,
        }
    }
}

fn one_line(text: &str) -> String {
    harmless(&text.replace(['\n', '\r'], " "))
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Trouble::Closed;
        }
        Trouble::new(Exit::Failed, format!("the output can't be written: {error}"))
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        let trouble = Trouble::new(Exit::from(&failure), failure.to_string());
        let own = match &failure {
            Failure::Lost { .. } => Some("`token-manager leases` shows what was done"),
            Failure::Refused(problem) => hint(problem),
            _ => None,
        };
        let hints = own.map(str::to_owned).into_iter().chain(failure.hints());
        hints.fold(trouble, Trouble::hint)
    }
}

/// What to do about a refusal, where the server's own words leave it open.
fn hint(problem: &Problem) -> Option<&'static str> {
    Some(match problem.code.as_str() {
        "unknown-token" => "`token-manager tokens` shows all there are",
        "unknown-lease" => "`token-manager leases` shows the latest",
        "unknown-ticket" => "`token-manager queue` shows all there are",
        "no-tokens" => "`token-manager serve --pool-size 100` makes some",
        "renewal-limit" => {
            "`token-manager allocate USER` for a further lease, when this one is over"
        }
        "idempotency-key-reused" => "another --key, or none",
        "outcome-unknown" | "timed-out" => "`token-manager leases` shows what was done",
        "unknown-path" => "--server without a path",
        "internal" => "the server's log says more",
        "wrong-host" => "--server http://localhost:4000, if that is where it is",
        _ if problem.status == 503 => "again in a moment",
        _ => return None,
    })
}
