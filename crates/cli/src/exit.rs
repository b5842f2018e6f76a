//! What the exit codes of the commands for people mean. They are documented and do not change.

use std::process::ExitCode;

use crate::api::Failure;

/// How a command ended that did not do what it was told. Success is 0, wrong usage 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Something that is none of the others.
    Failed = 1,
    /// The request itself is wrong: an option's value, the server's address.
    Usage = 2,
    /// There is no token to be had now, or the user has too many.
    NoToken = 3,
    /// There is no such token or lease.
    Unknown = 4,
    /// It is not as the command supposed: the lease is over, or can't be renewed further.
    Conflict = 5,
    /// The server or its database can't be reached. Nothing was done.
    Away = 6,
    /// The answer was lost: it may or may not have been done.
    OutcomeUnknown = 7,
    /// The user did not confirm it. Nothing was done.
    Declined = 8,
    /// `run`: the lease was lost before its time was up, and the command was ended.
    LeaseLost = 123,
    /// `run`: the lease's time was up, and the command was ended.
    TimeUp = 124,
    /// `run`: the command was found, but can't be run.
    CannotRun = 126,
    /// `run`: there is no such command.
    NoCommand = 127,
}

/// All of them, as people read of them.
pub const MEANINGS: [(&str, &str); 13] = [
    ("0", "It was done."),
    ("1", "Something went wrong that is none of what follows."),
    ("2", "The request itself is wrong: an option, its value, the server's address."),
    ("3", "There is no token to be had now, or the user has as many as may be."),
    ("4", "There is no such token or lease."),
    (
        "5",
        "It is not as supposed: the lease is over, or can't be renewed further. Nothing was done.",
    ),
    ("6", "The server or its database can't be reached. Nothing was done."),
    ("7", "The answer was lost: it may or may not have been done."),
    ("8", "It was not confirmed. Nothing was done."),
    ("123", "`run`: the lease was lost before its time was up, and the command was ended."),
    ("124", "`run`: the lease's time was up, and the command was ended."),
    ("126", "`run`: the command was found, but can't be run."),
    ("127", "`run`: there is no such command."),
];

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

impl From<&Failure> for Exit {
    fn from(failure: &Failure) -> Self {
        let problem = match failure {
            Failure::Usage { .. } | Failure::Address { .. } | Failure::OtherScheme { .. } => {
                return Exit::Usage;
            }
            Failure::Unreachable { .. } => return Exit::Away,
            Failure::Lost { .. } => return Exit::OutcomeUnknown,
            Failure::Credentials { .. } | Failure::Strange { .. } | Failure::Redirected { .. } => {
                return Exit::Failed;
            }
            Failure::Refused(problem) => problem,
        };
        match (problem.code.as_str(), problem.status) {
            ("pool-full" | "queue-full" | "no-tokens" | "user-limit" | "ticket-given-up", _) => {
                Exit::NoToken
            }
            ("outcome-unknown" | "timed-out", _) => Exit::OutcomeUnknown,
            (_, 400 | 422) => Exit::Usage,
            (_, 404) => Exit::Unknown,
            (_, 409) => Exit::Conflict,
            (_, 503) => Exit::Away,
            _ => Exit::Failed,
        }
    }
}
