//! `token-manager run`: a command that runs while its user has a lease, and no longer.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use crate::args;
use crate::exit::Exit;

/// Its definition.
pub fn command() -> Command {
    Command::new("run").about("Run a command under a lease").arg(args::server())
}

/// Runs it.
pub fn run(_matches: &ArgMatches) -> ExitCode {
    Exit::Failed.into()
}
