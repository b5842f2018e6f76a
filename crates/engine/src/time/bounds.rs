use std::time::Duration;

use pool::Timestamp;
use store::Uptime;

/// Maximum drift between the two clocks: one microsecond per this number of microseconds. Both may
/// be adjusted by their time services, at 500 ppm each.
const DRIFT: i64 = 1_000;

/// How much wider the bounds may be than one round trip to the database, in microseconds. Wider
/// bounds are not used: responses would have to wait for longer than a commit takes.
const SLACK: i64 = 250;

/// Bounds of the difference between the database's clock and this machine's [`Uptime`], in
/// microseconds. Each reading of the clock gives an interval; all readings together give a narrower
/// one. A slow reading, or one during which this process was stopped, gives a wide interval, which
/// is harmless.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    known: Option<Interval>,
    /// Approximate time that a bare reading of the database's clock takes.
    round_trip: i64,
}

#[derive(Clone, Copy, Debug)]
struct Interval {
    lower: i64,
    upper: i64,
    /// When these bounds were correct.
    at: i64,
}

impl Interval {
    /// The bounds at a later moment, widened by the drift.
    fn by(self, at: i64) -> Self {
        let drift = (at - self.at).max(0) / DRIFT + 1;
        Interval { lower: self.lower - drift, upper: self.upper + drift, at: at.max(self.at) }
    }

    fn width(self) -> i64 {
        self.upper - self.lower
    }
}

impl Bounds {
    /// Records a clock reading that happened between these two moments.
    pub fn note(&mut self, clock: Timestamp, asked: Uptime, answered: Uptime) {
        // All three are rounded down.
        let (clock, asked, answered) =
            (clock.as_micros(), asked.as_micros(), answered.as_micros() + 1);
        let new = Interval { lower: clock - answered, upper: clock + 1 - asked, at: answered };
        let both = self.known.map(|known| {
            let (known, new) = (known.by(answered), new.by(known.at));
            let (lower, upper) = (known.lower.max(new.lower), known.upper.min(new.upper));
            Interval { lower, upper, at: known.at }
        });
        // If no difference fits both, the clock was set.
        self.known = Some(both.filter(|both| both.lower <= both.upper).unwrap_or(new));
    }

    /// As [`Bounds::note`], for a reading that was the only request to the database.
    pub fn note_round_trip(&mut self, clock: Timestamp, asked: Uptime, answered: Uptime) {
        self.note(clock, asked, answered);
        let took = answered.as_micros() - asked.as_micros();
        // A reading that happened to be slow says little.
        self.round_trip = took.min(2 * self.round_trip.max(SLACK));
    }

    /// Forgets everything: the database may be another machine's by now.
    pub fn forget(&mut self) {
        *self = Bounds::default();
    }

    /// Time that the database's clock shows at `now` at the latest, and that it will show very soon
    /// if it does not yet. None if the bounds are too wide for that.
    pub fn latest(&self, now: Uptime) -> Option<Timestamp> {
        let now = now.as_micros() + 1;
        let interval = self.known.map(|known| known.by(now));
        let narrow = interval.filter(|it| it.width() <= self.round_trip + SLACK);
        narrow.map(|it| Timestamp::from_micros(now + it.upper))
    }

    /// How long after `now` the database's clock will certainly show `at`.
    pub fn until(&self, at: Timestamp, now: Uptime) -> Duration {
        let now = now.as_micros();
        let lower = self.known.map(|known| now + known.by(now).lower);
        lower.map_or(Duration::ZERO, |lower| at.since(Timestamp::from_micros(lower)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The database's clock is this much ahead of the uptime.
    const AHEAD: i64 = 5_000_000_000;

    fn up(micros: i64) -> Uptime {
        Uptime::from_micros(u64::try_from(micros).unwrap())
    }

    fn clock(uptime: i64) -> Timestamp {
        Timestamp::from_micros(uptime + AHEAD)
    }

    #[test]
    fn a_decision_is_not_before_the_clock_and_waits_for_less_than_a_round_trip() {
        let mut bounds = Bounds::default();
        assert_eq!(bounds.latest(up(0)), None);
        bounds.note_round_trip(clock(1_100), up(1_000), up(1_200));
        let latest = bounds.latest(up(2_000)).unwrap();
        assert!(latest >= clock(2_000) && latest <= clock(2_110), "{latest:?}");
        let wait = bounds.until(latest, up(2_000));
        assert!(
            wait >= latest.since(clock(2_000)) && wait < Duration::from_micros(210),
            "{wait:?}"
        );
        assert_eq!(bounds.until(latest, up(2_210)), Duration::ZERO, "a commit takes longer");
    }

    #[test]
    fn a_stopped_reading_does_not_spoil_a_good_one() {
        let mut bounds = Bounds::default();
        bounds.note_round_trip(clock(1_100), up(1_000), up(1_200));
        // Read at once, but recorded 0.4 s later; and the other way round.
        bounds.note(clock(2_000), up(1_990), up(402_000));
        bounds.note(clock(900_000), up(500_000), up(900_010));
        let latest = bounds.latest(up(901_000));
        assert!(latest.is_none_or(|latest| latest >= clock(901_000)));
        bounds.note(clock(901_050), up(901_000), up(901_100));
        let latest = bounds.latest(up(901_100)).unwrap();
        assert!(latest >= clock(901_100) && latest <= clock(901_200), "{latest:?}");
    }

    #[test]
    fn an_old_reading_is_not_enough() {
        let mut bounds = Bounds::default();
        bounds.note_round_trip(clock(1_100), up(1_000), up(1_200));
        assert!(bounds.latest(up(1_000_000)).is_none());
        // Even for a distant database.
        bounds.note_round_trip(clock(2_000_000), up(1_990_000), up(2_010_000));
        assert!(bounds.latest(up(2_010_000)).is_none(), "one slow reading may be an accident");
        for round in 1..8 {
            let at = 2_000_000 + round * 20_000;
            bounds.note_round_trip(clock(at), up(at - 10_000), up(at + 10_000));
        }
        assert!(bounds.latest(up(2_160_000)).is_some());
    }

    #[test]
    fn a_clock_that_was_set_is_believed() {
        let mut bounds = Bounds::default();
        bounds.note(clock(1_100), up(1_000), up(1_200));
        let ahead = |at| clock(at).after(Duration::from_secs(1));
        bounds.note(ahead(5_100), up(5_000), up(5_200));
        assert!(bounds.latest(up(5_300)).unwrap() >= ahead(5_300));
        bounds.note(clock(6_100), up(6_000), up(6_200));
        assert!(bounds.latest(up(6_300)).unwrap() <= clock(6_700));
        bounds.forget();
        assert_eq!(bounds.latest(up(6_300)), None);
    }
}
