//! Counters and measurements, updated by the writer after a batch is durable, never for each
//! command on its way. A server counts what it wrote itself, so that servers which share a database
//! can be added up.

mod by_pool;

use std::cell::LazyCell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use pool::{Change, EndReason, Outcome, PoolId, Timestamp};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use store::Entry;
use tokio::time::Instant;
use tracing::warn;

pub(crate) use self::by_pool::{ByPool, Counts, NAMED, OTHER, REFUSALS, Scraped, label};

/// A label and its value.
type Label = [(&'static str, &'static str); 1];

const HELD: [f64; 14] = [
    0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 21_600.0, 86_400.0,
];
const WAITED: [f64; 11] = [0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
const LATE: [f64; 12] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
const COMMANDS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
const COMMIT: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

pub(crate) struct Metrics {
    pub pools: ByPool,
    renewals: Counter,
    forbidden: Counter,
    held: Histogram,
    waited: Histogram,
    late: Histogram,
    commands: Histogram,
    commit: Histogram,
    pub reconnects: Counter,
    pub failures: Counter,
    /// Batches whose outcome was unknown for a while, by the outcome: durable, lost, never known.
    settled: Vec<Counter>,
    /// By [`Mismatch`].
    mismatches: Vec<Counter>,
    families: [Family<Label, Counter>; 2],
    /// Number of requests that the engine had taken in after its last turn and that wait for the
    /// next.
    left: AtomicUsize,
    keys: KeyGauges,
}

/// Remembered idempotency keys at the last count, and their maximum.
#[derive(Default)]
struct KeyGauges {
    count: AtomicU64,
    most: AtomicU64,
    /// Whether a warning was logged that keys run short.
    warned: AtomicBool,
}

/// Ways in which the database and the known state of the ledger do not fit together. The database is
/// not away then.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mismatch {
    /// News did not fit the copy; the ledger is loaded again.
    News,
    /// The database refused a batch; the ledger is loaded again.
    Batch,
    /// The database rejects lease expirations, also those of a replica that was loaded again.
    Ends,
}

impl Metrics {
    pub fn new() -> Self {
        let families: [Family<Label, Counter>; 2] = Default::default();
        let fate = |fate| families[0].get_or_create(&[("fate", fate)]).clone();
        let mismatch = |of| families[1].get_or_create(&[("of", of)]).clone();
        Metrics {
            pools: ByPool::default(),
            renewals: Counter::default(),
            forbidden: Counter::default(),
            held: Histogram::new(HELD),
            waited: Histogram::new(WAITED),
            late: Histogram::new(LATE),
            commands: Histogram::new(COMMANDS),
            commit: Histogram::new(COMMIT),
            reconnects: Counter::default(),
            failures: Counter::default(),
            settled: ["durable", "lost", "unknown"].map(fate).into(),
            // In the order of [`Mismatch`].
            mismatches: ["news", "batch", "ends"].map(mismatch).into(),
            families,
            left: AtomicUsize::new(0),
            keys: KeyGauges::default(),
        }
    }

    /// Counts a batch that this server made durable. `ended` has the pools and
    /// starts of the leases that ended in it, in the order of its changes; `now` shows how late the batch was
    /// for the expired ones.
    pub fn wrote(
        &self,
        entry: &Entry,
        ended: &[(PoolId, Timestamp)],
        commands: usize,
        now: impl FnOnce() -> Timestamp,
    ) {
        let mut renewed = 0;
        let mut of_ended = ended.iter();
        let mut pools = self.pools.counting();
        let now = LazyCell::new(now);
        for change in &entry.changes {
            match change {
                Change::LeaseStarted(lease) => pools.of(lease.pool).started += 1,
                Change::LeaseRenewed { .. } => renewed += 1,
                Change::LeaseEnded { end, .. } => {
                    let lease = of_ended.next();
                    debug_assert!(lease.is_some(), "a batch knows the start of each it ended");
                    if let Some((pool, start)) = lease {
                        pools.of(*pool).ended[end.reason as usize] += 1;
                        self.held.observe(end.at.since(*start).as_secs_f64());
                    }
                    if end.reason == EndReason::Expired {
                        self.late.observe(now.since(end.at).as_secs_f64());
                    }
                }
                _ => {}
            }
        }
        drop(pools);
        self.renewals.inc_by(renewed);
        self.commands.observe(float(commands));
    }

    /// Records the time from the commit's request until it was known to be durable.
    pub fn committed(&self, since: Instant) {
        self.commit.observe(since.elapsed().as_secs_f64());
    }

    /// Records how long a request was in its pool's queue, if it was and has a lease now, and whether it was
    /// forbidden.
    pub fn answered(&self, queued_since: Option<Timestamp>, outcome: &Outcome, at: Timestamp) {
        if let Outcome::Forbidden(_) = outcome {
            self.forbidden.inc();
        }
        if let (Some(since), Outcome::Allocated(_)) = (queued_since, outcome) {
            self.waited.observe(at.since(since).as_secs_f64());
        }
    }

    /// Records the outcome of a batch that was unknown for a while.
    pub fn settled(&self, durable: Option<bool>) {
        let fate = match durable {
            Some(true) => 0,
            Some(false) => 1,
            None => 2,
        };
        self.settled[fate].inc();
    }

    pub fn left(&self, requests: usize) {
        self.left.store(requests, Relaxed);
    }

    pub fn requests_left(&self) -> usize {
        self.left.load(Relaxed)
    }

    /// Records the number of remembered idempotency keys, and their maximum. Logs once that keys
    /// run short, and again only after they were plenty.
    pub fn keys(&self, count: u64, most: u64) {
        self.keys.count.store(count, Relaxed);
        self.keys.most.store(most, Relaxed);
        let tenths = count.saturating_mul(10) / most.max(1);
        if tenths >= 8 && !self.keys.warned.swap(true, Relaxed) {
            warn!(count, limit = most, "idempotency keys are running short");
        } else if tenths < 7 {
            self.keys.warned.store(false, Relaxed);
        }
    }

    /// The number of remembered idempotency keys at the last count, and their maximum: 0 before.
    pub fn remembered_keys(&self) -> (u64, u64) {
        (self.keys.count.load(Relaxed), self.keys.most.load(Relaxed))
    }

    pub fn mismatched(&self, of: Mismatch) {
        self.mismatches[of as usize].inc();
    }

    pub fn register(&self, registry: &mut Registry) {
        registry.register("renewals", "Lease renewals", self.renewals.clone());
        let help = "Commands that were refused when they were decided, because of their API key";
        registry.register("forbidden_commands", help, self.forbidden.clone());
        let mut seconds = |name, help, histogram: &Histogram| {
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        };
        let help = "Duration from start to end of the leases that ended";
        seconds("lease_hold", help, &self.held);
        let help =
            "Time that granted allocations spent in the queue, without those that did not wait";
        seconds("allocation_wait", help, &self.waited);
        let help = "Time from the deadline of an expired lease until its end was recorded. The lease \
             ended at its deadline";
        seconds("expiry_delay", help, &self.late);
        let help = "Time that the database took to commit a batch";
        seconds("commit_duration", help, &self.commit);
        let help = "Commands committed together in a batch; 0 if it only recorded expired leases";
        registry.register("batch_commands", help, self.commands.clone());
        let help = "Times that the database became usable again";
        registry.register("database_reconnects", help, self.reconnects.clone());
        let help =
            "Attempts of the engine to use the database that failed because it was unavailable";
        registry.register("database_failures", help, self.failures.clone());
        let help = "Commits during which the connection was lost, by the outcome found later; unknown \
             if it was replaced by another database";
        registry.register("unknown_outcomes", help, self.families[0].clone());
        let help = "Contradictions between the database and the server's copy of the ledger, such as \
             after manual changes of tables. For news and batch the ledger was reloaded; for \
             ends, the database rejects lease expirations, and the server retries";
        registry.register("database_mismatches", help, self.families[1].clone());
    }
}

fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_keys_run_short_is_said_once_for_each_time() {
        let metrics = Metrics::new();
        let warned = |count| {
            metrics.keys(count, 1_000);
            metrics.keys.warned.load(Relaxed)
        };
        assert!(!warned(799));
        assert!(warned(800));
        // No further warning while the count moves around the threshold.
        assert!(warned(750) && warned(900));
        assert!(!warned(699));
        assert!(warned(1_000));
    }
}
