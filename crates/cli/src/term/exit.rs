//! Exit codes. They are documented and do not change.

use std::process::ExitCode;

use client::Error;
use nix::unistd::getpid;
use rlimit::Resource;
use signal_hook::low_level::emulate_default_handler;
use wire::Code;

/// Declares the exit codes once: [`Exit`] for the program, [`MEANINGS`] for help and documents.
macro_rules! exits {
    ($($name:ident = $code:literal, $meaning:literal;)+) => {
        /// Exit code of a command that failed. Success is 0.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Exit {
            $(#[doc = $meaning] $name = $code,)+
        }

        /// All exit codes with their meaning.
        pub const MEANINGS: &[(u8, &str)] = &[(0, "Success."), $(($code, $meaning)),+];
    };
}

exits! {
    Failed = 1, "Any other failure.";
    Usage = 2, "Invalid request: an option, its value, or the server's URL.";
    NoToken = 3, "No token is free, or the user has reached the limit of tokens.";
    Unknown = 4, "No such pool, token or lease.";
    Conflict = 5, "Conflict: the lease has ended or can't be renewed further, or the pool or token can't be changed. Nothing was done.";
    Away = 6, "The server or its database can't be reached. Nothing was done.";
    OutcomeUnknown = 7, "No reply: the request may or may not have been executed.";
    Declined = 8, "Not confirmed. Nothing was done.";
    Denied = 9, "An API key or password is missing or not valid, or the key does not permit this. Nothing was done.";
    LeaseLost = 123, "`run`: the lease was lost early, so the command was stopped.";
    TimeUp = 124, "`run`: the lease reached its deadline, so the command was stopped.";
    CannotRun = 126, "`run`: the command was found, but can't be executed.";
    NoCommand = 127, "`run`: no such command.";
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        let problem = match error {
            Error::InvalidUrl { .. } | Error::InsecureKey { .. } | Error::WrongScheme { .. } => {
                return Exit::Usage;
            }
            Error::Unreachable { .. } => return Exit::Away,
            Error::NoReply { .. } => return Exit::OutcomeUnknown,
            Error::Credentials { .. } => return Exit::Denied,
            Error::NotTokenManager { .. } | Error::Redirected { .. } => return Exit::Failed,
            Error::Refused(problem) => problem,
        };
        match (problem.code, problem.status) {
            (
                Some(
                    Code::PoolFull
                    | Code::QueueFull
                    | Code::NoTokens
                    | Code::UserLimit
                    | Code::TicketGivenUp,
                ),
                _,
            ) => Exit::NoToken,
            (Some(Code::OutcomeUnknown | Code::TimedOut), _) => Exit::OutcomeUnknown,
            (Some(Code::Unauthenticated | Code::Forbidden), _) => Exit::Denied,
            (_, 400 | 422) => Exit::Usage,
            (_, 404) => Exit::Unknown,
            (_, 409) => Exit::Conflict,
            (_, 429 | 503) => Exit::Away,
            _ => Exit::Failed,
        }
    }
}

/// Returns the code by which shells report death by a signal.
pub fn signal_code(signal: i32) -> u8 {
    128 | u8::try_from(signal).unwrap_or(0)
}

/// Ends this process by a signal, so that a shell ends its loop or script after Ctrl-C. Returns the exit code
/// where that is impossible.
pub fn die_of(signal: i32) -> ExitCode {
    // The kernel lets no signal end process 1.
    if getpid().as_raw() != 1 {
        // A core dump would show this process, not the command.
        let hard = rlimit::getrlimit(Resource::CORE).map_or(0, |(_, hard)| hard);
        let _ = rlimit::setrlimit(Resource::CORE, 0, hard);
        let _ = emulate_default_handler(signal);
    }
    signal_code(signal).into()
}
