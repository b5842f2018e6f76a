//! Commands that read the settings and open the database: the server, and the commands of its operators.

mod backup;
mod config;
mod doctor;
mod import;
mod migrate;
mod serve;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use store::SystemClock;
use tokio::runtime::Runtime;
use tracing::warn;

use crate::args::{self, Given};
use crate::settings::environment::{self, Unknown};
use crate::settings::{SettingSources, Settings};
use crate::{log, term, traces};

const NO_LOG: &str = "can't start the log";

/// Maximum time that the process waits for unfinished work after a command, such as a name lookup without an
/// answer.
const EXIT_LIMIT: Duration = Duration::from_secs(1);

/// Runs the command.
pub fn perform(given: &Given) -> anyhow::Result<ExitCode> {
    let env = |name: &str| std::env::var_os(name);
    let found = SettingSources::find(&given.flags, given.config.as_deref(), env)?;
    let unknown = environment::unknown(&args::command());
    if given.command == "config" {
        for unknown in &unknown {
            term::say(&format!("warning: {unknown}\n"));
        }
        config::show(&found)?;
        return Ok(ExitCode::SUCCESS);
    }
    if given.command == "doctor" {
        return block_on(async {
            Ok(doctor::examine(&found, &unknown, given.after_restore).await)
        });
    }
    let settings = Settings::read(&found)?;
    block_on(async {
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
            "migrate" => migrate::migrate(&settings).await?,
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
        warn!(variable = name, nearest, "unknown environment variable");
    }
}

/// Runs a command on a runtime.
fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = Runtime::new()?;
    let ended = runtime.block_on(command);
    runtime.shutdown_timeout(EXIT_LIMIT);
    ended
}

fn database(settings: &Settings) -> Box<dyn store::Database> {
    store::database(&settings.database.url, Arc::new(SystemClock))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn unfinished_work_does_not_delay_the_exit() {
        let (_never, answer) = mpsc::channel::<()>();
        let (ended, end) = mpsc::channel();
        std::thread::spawn(move || {
            let done = block_on(async {
                tokio::task::spawn_blocking(move || answer.recv());
                Ok(())
            });
            ended.send(done.is_ok())
        });
        assert_eq!(end.recv_timeout(EXIT_LIMIT * 10), Ok(true));
    }
}
