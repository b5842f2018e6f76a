use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pool::Timestamp;
use tokio::time::Instant;
use tracing::warn;

/// A clock this far behind the journal is reported.
const WORTH_A_WORD: Duration = Duration::from_secs(1);

/// The pool's time: the database's clock, as long as that runs forward. Where it is behind the
/// journal or behind itself, the pool's time runs on by the monotonic clock until it is caught up
/// with, so that no lease lives longer for it and none starts before the one before it ended.
#[derive(Debug)]
pub(crate) struct PoolTime(Mutex<State>);

#[derive(Debug)]
struct State {
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
            latest: Timestamp::MIN,
            seen: Instant::now(),
            running_on: None,
            behind: Duration::ZERO,
        }))
    }

    /// The pool's time when the clock shows `clock` and the journal has reached `journal`.
    pub fn observe(&self, clock: Timestamp, journal: Timestamp) -> Timestamp {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = state.latest.max(journal);
        state.latest = latest;
        if let Some((from, since)) = state.running_on {
            let ran = from.after(since.elapsed());
            state.latest = latest.max(ran);
            if latest > ran {
                // Another server was ahead: time runs on from there.
                state.running_on = Some((latest, Instant::now()));
            }
        }
        if clock >= state.latest {
            state.latest = clock;
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

    /// How far the clock was behind when it was last looked at.
    pub fn behind(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).behind
    }

    /// About what [`PoolTime::observe`] would say now, for those who only plan their sleep.
    pub fn estimate(&self) -> Timestamp {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.latest.after(state.seen.elapsed())
    }
}

fn warn_start(behind: Duration) {
    if behind >= WORTH_A_WORD {
        warn!(?behind, "the clock is behind the journal; the pool's time runs on without it");
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
}
