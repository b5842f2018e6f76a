//! The commands for people: they ask a server over HTTP and show what it answers.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use crate::exit::Exit;

/// Their definitions.
pub fn commands() -> Vec<Command> {
    Vec::new()
}

/// Whether one of them has that name.
pub fn knows(name: &str) -> bool {
    commands().iter().any(|command| command.get_name() == name)
}

/// Runs one.
pub fn perform(_name: &str, _matches: &ArgMatches) -> ExitCode {
    Exit::Failed.into()
}
