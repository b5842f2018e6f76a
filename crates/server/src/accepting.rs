//! Log lines for connections that the system can't open, at most one in a while.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

/// How often the log repeats that connections are not accepted.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Whether accepting connections works.
#[derive(Debug, Default)]
pub(crate) struct Accepting(Mutex<Option<Failing>>);

#[derive(Debug)]
struct Failing {
    since: Instant,
    logged: Instant,
}

impl Accepting {
    /// Records an attempt to accept a connection.
    pub(crate) fn record<T>(&self, accepted: &io::Result<T>) {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match accepted {
            Ok(_) => {
                if let Some(Failing { since, .. }) = failing.take() {
                    let seconds = since.elapsed().as_secs_f64();
                    info!(seconds, "accepting connections again");
                }
            }
            Err(error) if is_of_connection(error) => {}
            Err(error) => {
                let now = Instant::now();
                let since = failing.as_ref().map_or(now, |failing| failing.since);
                let logged = failing.as_ref().map(|failing| failing.logged);
                if logged.is_some_and(|logged| now - logged < LOG_EVERY) {
                    return;
                }
                *failing = Some(Failing { since, logged: now });
                let error = error as &dyn std::error::Error;
                let remedy = "raise the limit of open files, or lower max-connections";
                warn!(error, remedy, "connections not accepted");
            }
        }
    }
}

/// Whether an error is about the one connection only, which its client has given up.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}
