mod bounds;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pool::{HumanDuration, Timestamp};
use store::Uptime;
use tokio::time::Instant;
use tracing::warn;

use self::bounds::Bounds;

/// A clock this far behind the journal is reported.
const WORTH_A_WORD: Duration = Duration::from_secs(1);

/// While the clock is behind by at most this, the ledger's time stands still instead of running on. A
/// batch that was begun ahead is decided at most this far ahead of the clock.
pub(crate) const STILL: Duration = Duration::from_millis(10);

/// The ledger's time: the database's clock, as long as that runs forward. If the clock is behind the
/// journal or its own earlier readings, the ledger's time continues by the monotonic clock until the
/// database's clock has caught up, so that no lease lives longer because of it and none starts
/// before the previous one ended.
pub(crate) struct PoolTime {
    state: Mutex<State>,
    uptime: Arc<dyn Fn() -> Uptime + Send + Sync>,
}

#[derive(Debug)]
struct State {
    bounds: Bounds,
    /// Latest moment known to have been reached, and when that was.
    latest: Timestamp,
    seen: Instant,
    /// Set while the clock is behind: the moment from which, and the uptime since which, time
    /// follows the monotonic clock.
    running_on: Option<(Timestamp, Instant)>,
    /// How far the clock was behind at its last reading.
    behind: Duration,
}

impl PoolTime {
    pub fn new(uptime: Arc<dyn Fn() -> Uptime + Send + Sync>) -> Self {
        let state = State {
            bounds: Bounds::default(),
            latest: Timestamp::MIN,
            seen: Instant::now(),
            running_on: None,
            behind: Duration::ZERO,
        };
        PoolTime { state: Mutex::new(state), uptime }
    }

    /// The uptime of the machine.
    pub fn uptime(&self) -> Uptime {
        (self.uptime)()
    }

    /// The ledger's time when the clock shows `clock` and the journal has reached `journal`.
    pub fn observe(&self, clock: Timestamp, journal: Timestamp) -> Timestamp {
        let mut state = self.state();
        state.latest = state.latest.max(journal);
        if let Some((from, since)) = state.running_on {
            let ran = from.after(since.elapsed());
            if state.latest > ran {
                // Another server was ahead: time continues from there.
                state.running_on = Some((state.latest, Instant::now()));
            }
            state.latest = state.latest.max(ran);
        }
        if clock.after(STILL) >= state.latest {
            state.latest = state.latest.max(clock);
            if state.running_on.take().is_some() {
                warn_end();
            }
        } else if state.running_on.is_none() {
            warn_start(state.latest.since(clock));
            state.running_on = Some((state.latest, Instant::now()));
        }
        state.behind = state.latest.since(clock);
        state.seen = Instant::now();
        state.latest
    }

    /// Records a reading of the database's clock, and the moments between which it happened.
    pub fn note(&self, clock: Timestamp, asked: Uptime, answered: Uptime) {
        self.state().bounds.note(clock, asked, answered);
    }

    /// Records a reading that was the only request to the database.
    pub fn note_round_trip(&self, clock: Timestamp, asked: Uptime, answered: Uptime) {
        self.state().bounds.note_round_trip(clock, asked, answered);
    }

    /// Forgets the bounds of the database's clock: it may be another machine's from now on.
    pub fn forget_clock(&self) {
        self.state().bounds.forget();
    }

    /// Time that the database's clock shows now at the latest, at most slightly ahead of it. None
    /// if the clock has to be read for that.
    pub fn clock_at_latest(&self) -> Option<Timestamp> {
        self.state().bounds.latest(self.uptime())
    }

    /// Returns when the database's clock has reached `at`, when a batch was decided: its commands
    /// must not be answered before. Nearly always it has already, since a commit takes longer than
    /// reading the clock.
    pub async fn reached(&self, at: Timestamp) {
        let wait = {
            let state = self.state();
            let behind = state.running_on.is_some();
            // While the ledger's time continues by itself, it differs from the clock.
            if behind { Duration::ZERO } else { state.bounds.until(at, self.uptime()).min(STILL) }
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// How far the clock was behind at its last reading.
    pub fn behind(&self) -> Duration {
        self.state().behind
    }

    /// Approximate result of [`PoolTime::observe`] now, sufficient for planning a sleep.
    pub fn estimate(&self) -> Timestamp {
        let state = self.state();
        state.latest.after(state.seen.elapsed())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn warn_start(behind: Duration) {
    if behind >= WORTH_A_WORD {
        let behind = HumanDuration(behind);
        warn!(%behind, "the clock is behind the journal; the ledger's time runs on without it");
    }
}

fn warn_end() {
    tracing::debug!("the clock has caught up with the ledger's time");
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_the_clock_while_that_runs_forward() {
        let time = PoolTime::new(Arc::new(Uptime::now));
        assert_eq!(time.observe(at(100), at(90)), at(100));
        tokio::time::advance(Duration::from_secs(50)).await;
        assert_eq!(time.observe(at(101), at(100)), at(101));
        assert_eq!(time.observe(at(900), at(100)), at(900));
    }

    #[tokio::test(start_paused = true)]
    async fn it_runs_on_when_the_clock_is_behind_the_journal() {
        let time = PoolTime::new(Arc::new(Uptime::now));
        assert_eq!(time.observe(at(100), at(3700)), at(3700));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(time.observe(at(105), at(3700)), at(3705));
        assert_eq!(time.observe(at(3800), at(3700)), at(3800), "the clock has caught up");
    }

    #[tokio::test(start_paused = true)]
    async fn it_runs_on_from_where_another_server_is() {
        let time = PoolTime::new(Arc::new(Uptime::now));
        assert_eq!(time.observe(at(100), at(3700)), at(3700));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(time.observe(at(105), at(5000)), at(5000), "another server is further ahead");
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(time.observe(at(112), at(5000)), at(5007), "time never stands still");
    }

    #[tokio::test(start_paused = true)]
    async fn it_runs_on_when_the_clock_is_set_back() {
        let time = PoolTime::new(Arc::new(Uptime::now));
        time.observe(at(5000), at(0));
        assert_eq!(time.observe(at(1400), at(5000)), at(5000));
        tokio::time::advance(Duration::from_mins(2)).await;
        assert_eq!(time.observe(at(1520), at(5000)), at(5120));
    }

    #[tokio::test(start_paused = true)]
    async fn it_stands_still_when_the_clock_is_hardly_behind() {
        let time = PoolTime::new(Arc::new(Uptime::now));
        let clock = |micros: i64| Timestamp::from_micros(100_000_000 + micros);
        assert_eq!(time.observe(clock(0), clock(9_000)), clock(9_000));
        tokio::time::advance(Duration::from_millis(5)).await;
        assert_eq!(time.observe(clock(5_000), clock(9_000)), clock(9_000));
        tokio::time::advance(Duration::from_millis(5)).await;
        assert_eq!(time.observe(clock(10_000), clock(9_000)), clock(10_000));
    }
}
