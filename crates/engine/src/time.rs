use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pool::{HumanDuration, Timestamp};
use store::Uptime;
use tokio::time::Instant;
use tracing::warn;

use crate::bounds::Bounds;

/// A clock this far behind the journal is reported.
const WORTH_A_WORD: Duration = Duration::from_secs(1);

/// While the clock is behind by no more than this, the pool's time stands still instead of running on. A
/// batch that was begun ahead is decided that much ahead of the clock at most.
pub(crate) const STILL: Duration = Duration::from_millis(10);

/// The pool's time: the database's clock, as long as that runs forward. Where it is behind the
/// journal or behind itself, the pool's time runs on by the monotonic clock until it is caught up
/// with, so that no lease lives longer for it and none starts before the one before it ended.
#[derive(Debug)]
pub(crate) struct PoolTime(Mutex<State>);

#[derive(Debug)]
struct State {
    bounds: Bounds,
    /// The latest moment known to have been reached, and when that was.
    latest: Timestamp,
    seen: Instant,
    /// Set while the clock is behind: from which moment on, and since when, time runs by the
    /// monotonic clock.
    running_on: Option<(Timestamp, Instant)>,
    /// How far the clock was behind when it was last looked at.
    behind: Duration,
}

impl PoolTime {
    pub fn new() -> Self {
        PoolTime(Mutex::new(State {
            bounds: Bounds::default(),
            latest: Timestamp::MIN,
            seen: Instant::now(),
            running_on: None,
            behind: Duration::ZERO,
        }))
    }

    /// The pool's time when the clock shows `clock` and the journal has reached `journal`.
    pub fn observe(&self, clock: Timestamp, journal: Timestamp) -> Timestamp {
        let mut state = self.state();
        state.latest = state.latest.max(journal);
        if let Some((from, since)) = state.running_on {
            let ran = from.after(since.elapsed());
            if state.latest > ran {
                // Another server was ahead: time runs on from there.
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

    /// Takes note of a reading of the database's clock, and between which moments it happened.
    pub fn note(&self, clock: Timestamp, asked: Uptime, answered: Uptime) {
        self.state().bounds.note(clock, asked, answered);
    }

    /// Takes note of a reading for which nothing else was asked of the database.
    pub fn note_round_trip(&self, clock: Timestamp, asked: Uptime, answered: Uptime) {
        self.state().bounds.note_round_trip(clock, asked, answered);
    }

    /// Forgets how the database's clock goes: another machine's may take its place.
    pub fn forget_clock(&self) {
        self.state().bounds.forget();
    }

    /// A time that the database's clock shows now at the latest, at most slightly ahead of it. None
    /// where the clock has to be read for that.
    pub fn clock_at_latest(&self) -> Option<Timestamp> {
        self.state().bounds.latest(Uptime::now())
    }

    /// Returns when the database's clock has reached `at`, when a batch was decided: its commands must
    /// not be answered before. Nearly always that is so already, since a commit takes longer than
    /// reading the clock.
    pub async fn reached(&self, at: Timestamp) {
        let wait = {
            let state = self.state();
            let behind = state.running_on.is_some();
            // A pool's time that runs on by itself is not the clock's.
            if behind { Duration::ZERO } else { state.bounds.until(at, Uptime::now()).min(STILL) }
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// How far the clock was behind when it was last looked at.
    pub fn behind(&self) -> Duration {
        self.state().behind
    }

    /// About what [`PoolTime::observe`] would say now, for those who only plan their sleep.
    pub fn estimate(&self) -> Timestamp {
        let state = self.state();
        state.latest.after(state.seen.elapsed())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn warn_start(behind: Duration) {
    if behind >= WORTH_A_WORD {
        let behind = HumanDuration(behind);
        warn!(%behind, "the clock is behind the journal; the pool's time runs on without it");
    }
}

fn warn_end() {
    tracing::debug!("the clock has caught up with the pool's time");
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_the_clock_while_that_runs_forward() {
        let time = PoolTime::new();
        assert_eq!(time.observe(at(100), at(90)), at(100));
        tokio::time::advance(Duration::from_secs(50)).await;
        assert_eq!(time.observe(at(101), at(100)), at(101));
        assert_eq!(time.observe(at(900), at(100)), at(900));
    }

    #[tokio::test(start_paused = true)]
    async fn it_runs_on_when_the_clock_is_behind_the_journal() {
        let time = PoolTime::new();
        assert_eq!(time.observe(at(100), at(3700)), at(3700));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(time.observe(at(105), at(3700)), at(3705));
        assert_eq!(time.observe(at(3800), at(3700)), at(3800), "the clock has caught up");
    }

    #[tokio::test(start_paused = true)]
    async fn it_runs_on_from_where_another_server_is() {
        let time = PoolTime::new();
        assert_eq!(time.observe(at(100), at(3700)), at(3700));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(time.observe(at(105), at(5000)), at(5000), "another server is further ahead");
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(time.observe(at(112), at(5000)), at(5007), "time never stands still");
    }

    #[tokio::test(start_paused = true)]
    async fn it_runs_on_when_the_clock_is_set_back() {
        let time = PoolTime::new();
        time.observe(at(5000), at(0));
        assert_eq!(time.observe(at(1400), at(5000)), at(5000));
        tokio::time::advance(Duration::from_mins(2)).await;
        assert_eq!(time.observe(at(1520), at(5000)), at(5120));
    }

    #[tokio::test(start_paused = true)]
    async fn it_stands_still_when_the_clock_is_hardly_behind() {
        let time = PoolTime::new();
        let clock = |micros: i64| Timestamp::from_micros(100_000_000 + micros);
        assert_eq!(time.observe(clock(0), clock(9_000)), clock(9_000));
        tokio::time::advance(Duration::from_millis(5)).await;
        assert_eq!(time.observe(clock(5_000), clock(9_000)), clock(9_000));
        tokio::time::advance(Duration::from_millis(5)).await;
        assert_eq!(time.observe(clock(10_000), clock(9_000)), clock(10_000));
    }
}
