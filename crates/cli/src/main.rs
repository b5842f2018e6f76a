//! The one binary, `token-manager`: reads the command line and runs the command that was asked for.
//! Those that serve or tend a pool read the settings and leave the rest to other crates; those for
//! people and `run` ask a server over HTTP.

mod acquire;
mod api;
mod args;
mod client_config;
mod duration;
mod exit;
mod generate;
mod log;
mod people;
mod print;
#[cfg(test)]
mod reference;
mod run;
mod server;
mod settings;
mod term;
#[cfg_attr(not(feature = "opentelemetry"), path = "traces/disabled.rs")]
mod traces;

use std::backtrace::Backtrace;
use std::process::ExitCode;

use crate::args::Given;
use crate::print::{complain, count};
use crate::settings::mask;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        // What is said in one may be anybody's text.
        term::say(&format!("{panic}\n{}\n", Backtrace::capture()));
    }));
    if let Some(code) = run::stage() {
        return code;
    }
    let matches =
        match args::command().try_get_matches_from(args::behind_the_command(std::env::args_os())) {
            Ok(matches) => matches,
            Err(error) => return usage(&error),
        };
    // Fails only where somebody else has installed one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match matches.subcommand() {
        Some(("run", matches)) => return run::run(matches),
        Some(("config", matches)) if matches.subcommand_name().is_some() => {
            let (name, matches) = matches.subcommand().expect("there is one");
            return client_config::perform(name, matches);
        }
        Some((name, _)) if people::knows(name) => return people::perform(&matches),
        Some((name, _)) if generate::knows(name) => {
            return generate::perform(&matches, args::command());
        }
        _ => {}
    }
    match server::perform(&Given::of(&matches)) {
        Ok(code) => {
            log::flush();
            code
        }
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Prints help or what is wrong with the command line, and no password with it.
fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
        term::say(&mask::quoted(error.render().to_string(), arguments));
    } else {
        // That nobody reads it is no reason to fail.
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(u8::MAX))
}
