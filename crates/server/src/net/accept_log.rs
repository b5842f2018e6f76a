//! Log lines for failures to accept connections, at most one every ten seconds.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

/// Interval at which the log repeats that connections are not accepted.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// State of accepting connections: the current failure, if any.
#[derive(Debug, Default)]
pub(crate) struct AcceptLog(Mutex<Option<Failing>>);

#[derive(Debug)]
struct Failing {
    since: Instant,
    logged: Instant,
}

impl AcceptLog {
    /// Records the result of an attempt to accept a connection.
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

/// Whether the error affects only the one connection, which its client has given up.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}
