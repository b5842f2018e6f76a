use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use pool::{Fence, IdempotencyKey, Timestamp};
use store::Housekeeper;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::warn;

use crate::Settings;
use crate::keys::are_short;
use crate::shared::Shared;

/// Batches between journal prunings.
const BATCHES_BETWEEN_PRUNINGS: u32 = 64;

/// Interval between checks for old rows, and the shorter one after some were found.
const INTERVALS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_millis(5));

/// Minimum time between a check for old keys and the next, if a key was refused.
const SOON: Duration = Duration::from_secs(1);

/// Interval between writing the uses of API keys, and between checks for old sessions and old entries of the
/// audit log.
const ACCESS_INTERVAL: Duration = Duration::from_mins(1);

/// Number of entries that the audit log keeps.
pub const MAX_AUDIT_ENTRIES: u32 = 1_000_000;

/// Number of keys whose uses are written at once.
const USES_AT_ONCE: usize = 100;

/// Maximum time for writing the uses of API keys at the end.
pub(crate) const LAST_STEP: Duration = Duration::from_secs(1);

/// Interval between checks for leases to index.
const INDEXING: Duration = Duration::from_secs(1);

/// Rest after a step, as a multiple of the step's duration: the database mostly serves batches.
const REST: u32 = 10;

/// Pause after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Reasons for housekeeping to look, from the loop that writes batches.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// Batches since the journal was pruned.
    written: AtomicU32,
    /// Whether a key was refused although some keys are old enough to be deleted.
    keys_overdue: AtomicBool,
    wake: Notify,
    stop: Notify,
}

impl Signals {
    pub fn wrote_batch(&self) {
        if self.written.fetch_add(1, Ordering::Relaxed) + 1 == BATCHES_BETWEEN_PRUNINGS {
            self.wake.notify_one();
        }
    }

    /// Ends housekeeping, after a last step.
    pub fn stop(&self) {
        self.stop.notify_one();
    }

    /// Asks for an early check for old keys, because new ones have no space.
    pub fn keys_overdue(&self) {
        if !self.keys_overdue.swap(true, Ordering::Relaxed) {
            self.wake.notify_one();
        }
    }
}

/// Deletes data that is no longer needed, and indexes leases, in small steps beside the batches.
pub(crate) struct Housekeeping {
    housekeeper: Box<dyn Housekeeper>,
    signals: Arc<Signals>,
    shared: Arc<Shared>,
    journal_max_age: Duration,
    journal_max_entries: i64,
    retention: Option<Duration>,
    /// Maximum number of idempotency keys.
    keys: u64,
    /// When to check for old keys, and for old leases.
    keys_at: Instant,
    keys_looked_at: Instant,
    leases_at: Instant,
    /// When to check for leases to index.
    index_at: Instant,
    /// When to write the uses of keys, and to check for old sessions and entries of the audit log.
    uses_at: Instant,
    access_at: Instant,
    /// Fence that this round of checks for old leases has reached.
    swept: Fence,
}

impl Housekeeping {
    pub fn new(
        housekeeper: Box<dyn Housekeeper>,
        signals: Arc<Signals>,
        shared: Arc<Shared>,
        settings: &Settings,
    ) -> Self {
        let soon = Instant::now() + INTERVALS.1;
        Housekeeping {
            housekeeper,
            signals,
            shared,
            journal_max_age: settings.journal_max_age,
            journal_max_entries: i64::from(settings.journal_max_entries),
            retention: settings.retention,
            keys: settings.keys,
            keys_at: soon,
            keys_looked_at: soon,
            leases_at: soon,
            index_at: soon,
            uses_at: soon + ACCESS_INTERVAL,
            access_at: soon,
            swept: Fence::NONE,
        }
    }

    /// Takes the steps that are due, until it is stopped. A failed step is repeated later: no request waits
    /// for it. Safe to drop at any point.
    pub async fn run(mut self) {
        let signals = Arc::clone(&self.signals);
        tokio::select! {
            biased;
            () = self.work() => {}
            () = signals.stop.notified() => {}
        }
        if self.shared.health().is_trouble() {
            return;
        }
        let last = tokio::time::timeout(LAST_STEP, async {
            while self.write_uses().await? > 0 {}
            Ok::<_, store::Error>(())
        });
        if !matches!(last.await, Ok(Ok(()))) {
            warn!("the last uses of API keys could not be written");
        }
    }

    async fn work(&mut self) {
        loop {
            let leases_at = self.retention.map(|_| self.leases_at);
            let others = [self.index_at, self.uses_at, self.access_at].into_iter();
            let at = others.chain(leases_at).fold(self.keys_at, Instant::min);
            tokio::select! {
                biased;
                () = self.signals.wake.notified() => {}
                () = tokio::time::sleep_until(at) => {}
            }
            if self.signals.keys_overdue.swap(false, Ordering::Relaxed) {
                self.keys_at = self.keys_at.min(self.keys_looked_at + SOON);
            }
            if self.shared.health().is_trouble() {
                // The loop reports it, and tries again.
                tokio::time::sleep(AFTER_FAILURE).await;
                continue;
            }
            let begun = Instant::now();
            let rest = match self.step(self.shared.estimate()).await {
                Ok(()) => begun.elapsed() * REST,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    warn!(error, "old rows could not be deleted, or leases indexed");
                    AFTER_FAILURE
                }
            };
            tokio::time::sleep(rest).await;
        }
    }

    async fn step(&mut self, now: Timestamp) -> Result<(), store::Error> {
        let written = &self.signals.written;
        if written.load(Ordering::Relaxed) >= BATCHES_BETWEEN_PRUNINGS {
            written.store(0, Ordering::Relaxed);
            let before = before(now, self.journal_max_age);
            self.housekeeper.prune(before, self.journal_max_entries).await?;
        }
        if self.keys_at <= Instant::now() {
            self.keys_looked_at = Instant::now();
            self.keys_at = Instant::now() + INTERVALS.0;
            let old = before(now, IdempotencyKey::RETENTION);
            let mut forgotten = self.housekeeper.forget_keys(old).await?;
            let count = self.housekeeper.key_count().await?;
            self.shared.metrics.keys(count, self.keys);
            if forgotten == 0 && are_short(count, self.keys) {
                let old = before(now, IdempotencyKey::MIN_RETENTION);
                forgotten = self.housekeeper.forget_keys_early(old).await?;
            }
            if forgotten > 0 {
                self.keys_at = Instant::now() + INTERVALS.1;
            }
        }
        if let Some(retention) = self.retention
            && self.leases_at <= Instant::now()
        {
            self.leases_at = Instant::now() + INTERVALS.0;
            let swept = self.housekeeper.forget_leases(before(now, retention), self.swept).await?;
            self.swept = swept.up_to.unwrap_or(Fence::NONE);
            let next = if swept.up_to.is_some() { INTERVALS.1 } else { INTERVALS.0 };
            self.leases_at = Instant::now() + next;
        }
        if self.uses_at <= Instant::now() {
            self.uses_at = Instant::now() + ACCESS_INTERVAL;
            if self.write_uses().await? == USES_AT_ONCE {
                self.uses_at = Instant::now() + INTERVALS.1;
            }
        }
        if self.access_at <= Instant::now() {
            self.access_at = Instant::now() + ACCESS_INTERVAL;
            let sessions = self.housekeeper.forget_sessions(now).await?;
            let acts = self.housekeeper.forget_acts(MAX_AUDIT_ENTRIES.into()).await?;
            if sessions + acts > 0 {
                self.access_at = Instant::now() + INTERVALS.1;
            }
        }
        if self.index_at <= Instant::now() {
            self.index_at = Instant::now() + INDEXING;
            if self.housekeeper.index_leases().await? {
                self.index_at = Instant::now() + INTERVALS.1;
            }
        }
        Ok(())
    }

    /// Writes the uses of some keys. Returns their number.
    async fn write_uses(&mut self) -> Result<usize, store::Error> {
        let uses = self.shared.key_uses.take(USES_AT_ONCE);
        if !uses.is_empty()
            && let Err(error) = self.housekeeper.note_key_uses(&uses).await
        {
            for (id, at) in uses {
                self.shared.key_uses.note(id, at);
            }
            return Err(error);
        }
        Ok(uses.len())
    }
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_sub(age))
}
