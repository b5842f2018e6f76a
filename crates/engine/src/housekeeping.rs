use std::time::Duration;

use pool::{Fence, IdempotencyKey, Timestamp};
use store::Store;
use tokio::time::Instant;
use tracing::warn;

use crate::Settings;
use crate::keys::are_short;
use crate::metrics::Metrics;

/// Batches between journal prunings.
const BATCHES_BETWEEN_PRUNINGS: u32 = 256;

/// Interval between checks for old rows, and the shorter one after some were found.
const STEPS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_millis(20));

/// Minimum time between a check for old keys and the next, if a key was refused.
const SOON: Duration = Duration::from_secs(1);

/// Commands wait during a step, so each step is followed by a rest: this factor times the step's
/// duration.
const REST: u32 = 10;

/// Deletes data that is no longer needed, in small steps between batches.
pub(crate) struct Housekeeping {
    journal_max_age: Duration,
    journal_max_entries: i64,
    retention: Option<Duration>,
    /// Maximum number of idempotency keys.
    keys: u64,
    /// Batches since the journal was pruned.
    written: u32,
    /// When to check for old keys, and for old leases.
    keys_at: Instant,
    keys_looked_at: Instant,
    leases_at: Instant,
    /// Fence that this round of checks for old leases has reached.
    swept: Fence,
}

impl Housekeeping {
    pub fn new(settings: &Settings) -> Self {
        let soon = Instant::now() + STEPS.1;
        Housekeeping {
            journal_max_age: settings.journal_max_age,
            journal_max_entries: i64::from(settings.journal_max_entries),
            retention: settings.retention,
            keys: settings.keys,
            written: 0,
            keys_at: soon,
            keys_looked_at: soon,
            leases_at: soon,
            swept: Fence::NONE,
        }
    }

    pub fn note_batch(&mut self) {
        self.written += 1;
    }

    /// Schedules an early check for old keys, because new ones have no space.
    pub fn forget_keys_soon(&mut self) {
        self.keys_at = self.keys_at.min(self.keys_looked_at + SOON);
    }

    /// Whether a step is due; `ahead` batches from now.
    pub fn is_due(&self, ahead: u32) -> bool {
        let now = Instant::now();
        self.written + ahead >= BATCHES_BETWEEN_PRUNINGS
            || self.keys_at <= now
            || (self.retention.is_some() && self.leases_at <= now)
    }

    /// Time until a step is due, if no batch comes before.
    pub fn until_due(&self) -> Duration {
        let leases_at = self.retention.map(|_| self.leases_at);
        let at = leases_at.into_iter().fold(self.keys_at, Instant::min);
        at.saturating_duration_since(Instant::now())
    }

    /// Takes the steps that are due. Not within a batch. A failed step is repeated later: no
    /// request waits for it.
    pub async fn step(&mut self, store: &mut dyn Store, metrics: &Metrics, now: Timestamp) {
        if let Err(error) = self.try_step(store, metrics, now).await {
            warn!(error = &error as &dyn std::error::Error, "old entries could not be deleted");
        }
    }

    async fn try_step(
        &mut self,
        store: &mut dyn Store,
        metrics: &Metrics,
        now: Timestamp,
    ) -> Result<(), store::Error> {
        if self.written >= BATCHES_BETWEEN_PRUNINGS {
            self.written = 0;
            store.prune(before(now, self.journal_max_age), self.journal_max_entries).await?;
        }
        if self.keys_at <= Instant::now() {
            self.keys_looked_at = Instant::now();
            self.keys_at = Instant::now() + STEPS.0;
            let mut forgotten = store.forget_keys(before(now, IdempotencyKey::RETENTION)).await?;
            let count = store.key_usage(0).await?.count;
            metrics.keys(count, self.keys);
            if forgotten == 0 && are_short(count, self.keys) {
                let before = before(now, IdempotencyKey::MIN_RETENTION);
                forgotten = store.forget_keys_early(before).await?;
            }
            if forgotten > 0 {
                self.keys_at = Instant::now() + STEPS.1;
            }
        }
        if let Some(retention) = self.retention
            && self.leases_at <= Instant::now()
        {
            self.leases_at = Instant::now() + STEPS.0;
            let begun = Instant::now();
            let swept = store.forget_leases(before(now, retention), self.swept).await?;
            self.swept = swept.up_to.unwrap_or(Fence::NONE);
            let rest = (begun.elapsed() * REST).max(STEPS.1);
            self.leases_at = Instant::now() + if swept.up_to.is_some() { rest } else { STEPS.0 };
        }
        Ok(())
    }
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_sub(age))
}
