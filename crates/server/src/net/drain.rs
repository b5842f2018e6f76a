//! Draining: ends connections without an error for their clients when the server stops.
//!
//! New connections are refused at once, so that clients retry elsewhere. Each HTTP/1 response then
//! announces that its connection ends. An idle connection is closed only after [`QUIET`], because a
//! request that arrives while it is being closed would get no response.
//! HTTP/2 needs no such wait: its `GOAWAY` names the last request that gets a response.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Version};
use axum::response::Response;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// Time for which an idle HTTP/1 connection stays open after its last use.
const QUIET: Duration = Duration::from_secs(1);

/// Interval of checking whether all connections are closed.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// State of draining, and the time of the last use of an HTTP/1 connection.
#[derive(Debug)]
pub(crate) struct Drain {
    begun: AtomicBool,
    begins: Notify,
    /// Whether the listener is closed.
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
    /// Records that a connection was accepted or sent a response.
    pub(crate) fn used(&self) {
        let used = u64::try_from(self.created.elapsed().as_millis()).unwrap_or(u64::MAX);
        // All threads share this value, so write it as rarely as possible.
        if self.used.load(Ordering::Relaxed) != used {
            self.used.store(used, Ordering::Relaxed);
        }
    }

    /// Records a response. Once the listener is closed, an HTTP/1 response is the last one of its
    /// connection. Not earlier: clients would connect again, and closing a listener resets connections
    /// that it has not accepted.
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

    /// Starts draining.
    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::SeqCst);
        self.begins.notify_waiters();
    }

    /// Waits until draining has begun.
    pub(crate) async fn begun(&self) {
        // Subscribe before the check, so that a start in between is not missed.
        let begins = self.begins.notified();
        if !self.begun.load(Ordering::SeqCst) {
            begins.await;
        }
    }

    /// Records that the listener is closed.
    pub(crate) fn closed(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Waits until idle connections may be closed: when all connections are closed, the remaining
    /// ones have been unused for [`QUIET`], or after `limit`.
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
