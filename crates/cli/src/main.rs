//! The one binary, `token-manager`: reads the command line and runs the command that was asked for.
//! Those that serve or tend a pool read the settings and leave the rest to other crates; those for
//! people and `run` ask a server over HTTP.

mod api;
mod args;
mod backup;
mod doctor;
mod exit;
mod found;
mod import;
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
#[cfg_attr(not(feature = "opentelemetry"), path = "untraced.rs")]
mod traces;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use store::SystemClock;

use crate::args::Given;
use crate::found::Found;
use crate::settings::Settings;

fn main() -> ExitCode {
    let matches = match args::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return usage(&error),
    };
    // Fails only where somebody else has installed one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match matches.subcommand() {
        Some(("run", matches)) => return run::run(matches),
        Some((name, _)) if people::knows(name) => return people::perform(&matches),
        Some((name, _)) if papers::knows(name) => {
            return papers::perform(&matches, args::command());
        }
        _ => {}
    }
    match serve_or_tend(&Given::of(&matches)) {
        Ok(code) => code,
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
        eprint!("{}", mask::quoted(error.render().to_string(), arguments));
    } else {
        // That nobody reads it is no reason to fail.
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(u8::MAX))
}

/// The commands that work on a database themselves.
fn serve_or_tend(given: &Given) -> anyhow::Result<ExitCode> {
    let env = |name: &str| std::env::var(name).ok();
    let found = Found::look(&given.flags, given.config.as_deref(), env)?;
    if given.command == "config" {
        show::show(&found)?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if given.command == "doctor" {
        return Ok(runtime.block_on(doctor::examine(&found, given.after_restore)));
    }
    let settings = Settings::read(&found)?;
    runtime.block_on(async {
        if given.command == "serve" {
            let (traces, spans) = traces::start(&settings)?;
            log::start(&settings, spans);
            let served = serve::serve(&settings, traces.requests()).await;
            traces.finish().await;
            return served.map(|()| ExitCode::SUCCESS);
        }
        log::start(&settings, None);
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

/// Prints lines for the person or program that started this one. That it no longer listens is no
/// reason to fail.
fn say(lines: &str) {
    let _ = writeln!(std::io::stdout(), "{lines}");
}

/// Prints why nothing came of it, with the causes.
fn complain(error: &anyhow::Error) {
    eprintln!("error: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
}
