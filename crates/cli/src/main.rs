//! The one binary, `token-manager`: reads the command line and runs the command that was asked for.
//! Those that serve or tend a pool read the settings and leave the rest to other crates; those for
//! people and `run` ask a server over HTTP.

mod acquire;
mod api;
mod args;
mod backup;
mod client_config;
mod doctor;
mod duration;
mod environment;
mod exit;
mod found;
mod import;
mod leading;
mod listen;
mod log;
mod mask;
mod papers;
mod people;
#[cfg(test)]
mod reference;
mod run;
mod serve;
mod setting;
mod settings;
mod show;
mod term;
#[cfg_attr(not(feature = "opentelemetry"), path = "untraced.rs")]
mod traces;

use std::backtrace::Backtrace;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use store::SystemClock;
use tokio::runtime::Runtime;
use tracing::warn;

use crate::args::Given;
use crate::environment::Unknown;
use crate::found::Found;
use crate::settings::Settings;
use crate::term::Data;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        // What is said in one may be anybody's text.
        term::say(&format!("{panic}\n{}\n", Backtrace::capture()));
    }));
    if let Some(code) = run::stage() {
        return code;
    }
    let matches = match args::command()
        .try_get_matches_from(leading::behind_the_command(std::env::args_os()))
    {
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
        Some((name, _)) if papers::knows(name) => {
            return papers::perform(&matches, args::command());
        }
        _ => {}
    }
    match serve_or_tend(&Given::of(&matches)) {
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

const NO_LOG: &str = "the log can't be started";

/// What may go on when a command is done, such as the lookup of a name that nobody answers, may hold
/// up the end of the process only so long.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// The commands that work on a database themselves.
fn serve_or_tend(given: &Given) -> anyhow::Result<ExitCode> {
    let env = |name: &str| std::env::var_os(name);
    let found = Found::look(&given.flags, given.config.as_deref(), env)?;
    let unknown = environment::unknown();
    if given.command == "config" {
        for unknown in &unknown {
            term::say(&format!("warning: {unknown}\n"));
        }
        show::show(&found)?;
        return Ok(ExitCode::SUCCESS);
    }
    if given.command == "doctor" {
        return to_the_end(async {
            Ok(doctor::examine(&found, &unknown, given.after_restore).await)
        });
    }
    let settings = Settings::read(&found)?;
    to_the_end(async {
        if given.command == "serve" {
            let (traces, spans) = traces::start(&settings)?;
            let dropped = log::start(&settings, spans).context(NO_LOG)?;
            log_unknown(&unknown);
            let served = serve::serve(&settings, traces.requests(), dropped).await;
            traces.finish().await;
            return served.map(|()| ExitCode::SUCCESS);
        }
        log::start(&settings, None).context(NO_LOG)?;
        log_unknown(&unknown);
        match given.command.as_str() {
            "migrate" => migrate(&settings).await?,
            "backup" => {
                let file = given.file.as_deref().unwrap_or(Path::new(""));
                backup::backup(&settings, file, given.replace).await?;
            }
            _ => import::import(&settings, given.from.as_deref().unwrap_or_default()).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn log_unknown(unknown: &[Unknown]) {
    for Unknown { name, nearest } in unknown {
        warn!(variable = name, nearest, "environment variable is no setting and has no effect");
    }
}

/// What comes of a command.
fn to_the_end<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = Runtime::new()?;
    let ended = runtime.block_on(command);
    runtime.shutdown_timeout(AFTERWARDS);
    ended
}

/// `token-manager migrate`
async fn migrate(settings: &Settings) -> anyhow::Result<()> {
    let applied = database(settings).migrate().await?;
    let shown = &settings.database_shown;
    if applied.is_empty() {
        say(&format!("Nothing to do: the schema of {shown} is up to date."));
        return Ok(());
    }
    say(&format!("Applied to {shown}:\n  {}", applied.join("\n  ")));
    Ok(())
}

fn database(settings: &Settings) -> Box<dyn store::Database> {
    store::database(&settings.database, Arc::new(SystemClock))
}

/// So many of something, in words.
fn count(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Prints the output of a command. A reader that stops reading is not an error.
///
/// # Errors
///
/// When it can't be written, as on a full disk.
fn print(lines: &str) -> anyhow::Result<()> {
    let mut stdout = Data::stdout();
    let written = stdout.write_all(format!("{lines}\n").as_bytes()).and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("the output can't be written")
        }
        _ => Ok(()),
    }
}

/// Prints lines for the person or program that started this one. That it no longer listens is no
/// reason to fail.
fn say(lines: &str) {
    let _ = Data::stdout().write_all(format!("{lines}\n").as_bytes());
}

/// Prints why nothing came of it, with the causes.
fn complain(error: &anyhow::Error) {
    let causes = error.chain().skip(1).map(|cause| format!("  because: {cause}\n"));
    term::say(&format!("error: {error}\n{}", causes.collect::<String>()));
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn what_nobody_waits_for_does_not_hold_up_the_end() {
        let (_never, answer) = mpsc::channel::<()>();
        let (ended, end) = mpsc::channel();
        std::thread::spawn(move || {
            let done = to_the_end(async {
                tokio::task::spawn_blocking(move || answer.recv());
                Ok(())
            });
            ended.send(done.is_ok())
        });
        assert_eq!(end.recv_timeout(AFTERWARDS * 10), Ok(true));
    }
}
