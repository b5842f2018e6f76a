//! The binary `token-manager`: parses the command line and runs the command. The server's commands read the
//! settings and open the database; the client's commands and `run` use a server over HTTP.

mod args;
mod client;
mod duration;
mod generate;
mod ledger;
mod log;
#[cfg(test)]
mod reference;
mod server;
mod settings;
mod term;
#[cfg_attr(not(feature = "opentelemetry"), path = "traces/disabled.rs")]
mod traces;

use std::backtrace::Backtrace;
use std::process::ExitCode;

use crate::args::Given;
use crate::settings::mask;
use crate::term::print::complain;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        // The message may contain control characters.
        term::say(&format!("{panic}\n{}\n", Backtrace::capture()));
    }));
    if let Some(code) = client::run::become_command() {
        return code;
    }
    // Fails only if a provider is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if let Some(code) = client::complete::answer(args::command) {
        return code;
    }
    let matches =
        match args::command().try_get_matches_from(args::behind_the_command(std::env::args_os())) {
            Ok(matches) => matches,
            Err(error) => return usage(&error),
        };
    match matches.subcommand() {
        Some(("run", matches)) => return client::run::perform(matches),
        Some(("config", matches)) if matches.subcommand_name().is_some() => {
            let (name, matches) = matches.subcommand().expect("checked above");
            return client::config::perform(name, matches);
        }
        Some((name, _)) if client::knows(name) => return client::perform(&matches),
        Some((name, _)) if generate::knows(name) => {
            return generate::perform(&matches, args::command());
        }
        _ => {}
    }
    match server::perform(&Given::of(&matches)) {
        Ok(code) => {
            term::stderr::flush();
            code
        }
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Prints the help, or the error of the command line without passwords.
fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
        term::say(&mask::quoted(error.render().to_string(), arguments));
    } else {
        // The reader may have gone.
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(u8::MAX))
}
