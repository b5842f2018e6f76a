use std::sync::{Mutex, MutexGuard, PoisonError};

use pool::Timestamp;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The batch that this server decides or commits at the moment. It may move or end a lease whose
/// deadline passes before the batch is durable, so reads need its decision time.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    decided_at: Mutex<Option<Timestamp>>,
    /// Notified when `decided_at` or the readers' replica changes.
    changed: Notify,
}

impl InFlight {
    /// Begins a batch and returns its time, which is that of `time`. A read takes its own moment
    /// from the same clock, then looks here: it sees this batch, or the batch is decided after its
    /// moment.
    pub fn begin(&self, time: impl FnOnce() -> Timestamp) -> Timestamp {
        let mut decided_at = self.lock();
        let now = time();
        *decided_at = Some(now);
        now
    }

    /// Ends the batch: it is published, or certainly not durable. Called after it is published, so
    /// that a read that sees no batch here finds it in the copy.
    pub fn end(&self) {
        *self.lock() = None;
        self.changed.notify_waiters();
    }

    pub fn decided_at(&self) -> Option<Timestamp> {
        *self.lock()
    }

    /// Records that the readers' replica has changed.
    pub fn published(&self) {
        self.changed.notify_waiters();
    }

    /// Resolves at the next change after this call.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Timestamp>> {
        self.decided_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
