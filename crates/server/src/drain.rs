//! Draining: how connections end without an error for their clients when the server stops.
//!
//! New connections are refused at once, which any client can repeat elsewhere. Each HTTP/1 answer then
//! announces that its connection ends. An idle connection is closed only when it has been quiet for
//! [`QUIET`], since closing it while a request is on its way would leave that without an answer.
//! HTTP/2 needs no such wait: its `GOAWAY` names the last request that is answered.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Version};
use axum::response::Response;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// How long an idle HTTP/1 connection is kept open after its last use.
const QUIET: Duration = Duration::from_secs(1);

/// How often to look whether all connections are closed.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// State of draining, and the time of the last use of an HTTP/1 connection.
#[derive(Debug)]
pub(crate) struct Drain {
    begun: AtomicBool,
    begins: Notify,
    /// Whether no connection can come any more.
    closed: AtomicBool,
    created: Instant,
    /// In milliseconds since `created`.
    used: AtomicU64,
}

impl Default for Drain {
    fn default() -> Self {
        Drain {
            begun: AtomicBool::new(false),
            begins: Notify::new(),
            closed: AtomicBool::new(false),
            created: Instant::now(),
            used: AtomicU64::new(0),
        }
    }
}

impl Drain {
    /// Records that a connection was accepted or answered.
    pub(crate) fn used(&self) {
        let used = u64::try_from(self.created.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Written as rarely as possible: all threads share it.
        if self.used.load(Ordering::Relaxed) != used {
            self.used.store(used, Ordering::Relaxed);
        }
    }

    /// Records an answer. Once the listener is closed, an HTTP/1 answer is the last one of its
    /// connection. Not before: clients would connect again, and closing a listener resets those that
    /// it has not accepted.
    pub(crate) fn answered(&self, version: Version, response: &mut Response) {
        if version > Version::HTTP_11 {
            return;
        }
        if self.closed.load(Ordering::Relaxed) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        } else {
            self.used();
        }
    }

    /// Begins to drain.
    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::SeqCst);
        self.begins.notify_waiters();
    }

    /// Returns once draining has begun.
    pub(crate) async fn begun(&self) {
        // Before the look, so that what begins in between is not missed.
        let begins = self.begins.notified();
        if !self.begun.load(Ordering::SeqCst) {
            begins.await;
        }
    }

    /// Records that the listener is closed.
    pub(crate) fn closed(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Waits until idle connections may be closed: when all connections are closed, those left have
    /// been quiet for long enough, or after `limit`.
    pub(crate) async fn wait(&self, limit: Duration, connections: impl Fn() -> usize) {
        let begun = Instant::now();
        loop {
            let used = Duration::from_millis(self.used.load(Ordering::Relaxed));
            let quiet = self.created + used + QUIET;
            let now = Instant::now();
            let done = self.closed.load(Ordering::Relaxed) && connections() == 0;
            if done || now >= quiet || now >= begun + limit {
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }
}
