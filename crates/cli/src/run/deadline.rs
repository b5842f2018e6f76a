//! Until when a lease is good, and when to ask for more. No clock, no server: only what is decided.

use std::time::Duration;

use super::clock::Moment;

/// What the server said about how long the lease has still to run.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    /// When it was asked.
    pub asked: Moment,
    /// When the answer came.
    pub answered: Moment,
    /// How long, from some moment between the two, in whole milliseconds rounded down.
    pub left: Duration,
}

impl Said {
    /// The deadline is no earlier than this.
    pub const fn earliest(&self) -> Moment {
        self.asked.after(self.left)
    }

    /// The deadline is no later than this.
    pub const fn latest(&self) -> Moment {
        self.answered.after(self.left).after(Duration::from_millis(1))
    }
}

/// The moment until which a lease is known to run: never later than the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Moment);

impl Deadline {
    /// The one that the first answer gives.
    pub const fn of(said: &Said) -> Self {
        Deadline(said.earliest())
    }

    /// The moment.
    pub const fn at(self) -> Moment {
        self.0
    }

    /// What it is after a further answer. An answer that was under way for long says little, and
    /// takes nothing back of what was known better.
    #[must_use]
    pub fn knowing(self, said: &Said) -> Self {
        Deadline(self.0.clamp(said.earliest(), said.latest()))
    }
}

/// Default time that a command has from SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

/// How long before the deadline everything is over.
const MARGIN: Duration = Duration::from_millis(100);

/// When a command is told to end, and when it is killed, if its lease is not renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// From SIGTERM to the deadline.
    pub stop_before: Duration,
    /// From SIGTERM to SIGKILL, at most.
    pub grace: Duration,
    /// How long before the deadline SIGKILL comes at the latest; none when it may come later.
    kill_before: Option<Duration>,
}

impl Plan {
    /// The plan for a lease of that length. By default the grace time ends with the lease, and takes no
    /// more than an eighth of it: the rest is for the command, and for renewing.
    pub fn of(lease: Duration, grace: Option<Duration>, stop_before: Option<Duration>) -> Self {
        let (chosen, grace) = (grace.is_some(), grace.unwrap_or(GRACE));
        if let Some(stop_before) = stop_before {
            return Plan { stop_before, grace, kill_before: None };
        }
        let margin = MARGIN.min(lease / 20);
        let whole = grace.saturating_add(margin);
        let stop_before = if chosen { whole } else { whole.min(lease / 8) };
        Plan { stop_before, grace, kill_before: Some(margin) }
    }

    /// When a command is killed that is told to end now, since the deadline is near.
    pub fn kill_at(&self, now: Moment, deadline: Moment) -> Moment {
        let by_grace = now.after(self.grace);
        self.kill_before.map_or(by_grace, |before| by_grace.min(deadline.before(before)))
    }

    /// Whether the deadline ends the grace time.
    pub const fn ends_by_deadline(&self) -> bool {
        self.kill_before.is_some()
    }
}

/// When to ask for a renewal, if what was asked at `asked` is good until `until`: after half of it,
/// so that the other half is there for a server that is away.
pub fn renewal(asked: Moment, until: Moment) -> Moment {
    asked.after(until.since(asked) / 2)
}

/// How long to wait before the next attempt after one in vain. Only when time is short is a server
/// that has trouble asked more than a few times a second.
pub fn pause(now: Moment, until: Moment) -> Duration {
    let left = until.since(now);
    let least = if left < Duration::from_secs(2) { 50 } else { 250 };
    (left / 8).clamp(Duration::from_millis(least), Duration::from_secs(5))
}

/// How long to wait for an answer before there is another attempt beside the one under way.
pub fn patience(now: Moment, until: Moment) -> Duration {
    (until.since(now) / 3).clamp(Duration::from_millis(250), Duration::from_secs(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn said(asked: u64, answered: u64, left: u64) -> Said {
        Said {
            asked: Moment::at(asked),
            answered: Moment::at(answered),
            left: Duration::from_millis(left),
        }
    }

    #[test]
    fn a_deadline_is_reckoned_from_when_it_was_asked() {
        assert_eq!(Deadline::of(&said(1_000, 1_400, 2_000)).at(), Moment::at(3_000));
    }

    #[test]
    fn a_renewal_moves_it() {
        let deadline = Deadline::of(&said(0, 10, 2_000));
        assert_eq!(deadline.knowing(&said(1_000, 1_010, 2_000)).at(), Moment::at(3_000));
    }

    #[test]
    fn a_slow_answer_takes_nothing_back() {
        let deadline = Deadline::of(&said(0, 1, 10_000));
        // It says that the deadline lies between 5.5 s and 10.5 s.
        assert_eq!(deadline.knowing(&said(1_000, 6_000, 4_500)), deadline);
    }

    #[test]
    fn an_answer_that_contradicts_counts() {
        let deadline = Deadline::of(&said(0, 1, 10_000));
        assert_eq!(deadline.knowing(&said(1_000, 1_001, 2_000)).at(), Moment::at(3_002));
        assert_eq!(deadline.knowing(&said(1_000, 1_001, 0)).at(), Moment::at(1_002));
    }

    #[test]
    fn half_of_the_time_is_left_for_renewing() {
        assert_eq!(renewal(Moment::at(1_000), Moment::at(3_000)), Moment::at(2_000));
        assert_eq!(renewal(Moment::at(1_000), Moment::at(500)), Moment::at(1_000));
    }

    #[test]
    fn the_grace_time_ends_with_the_lease() {
        let millis = Duration::from_millis;
        let plan = |lease, grace, stop_before| {
            let plan = Plan::of(millis(lease), grace, stop_before);
            let told = Moment::at(lease).before(plan.stop_before);
            let kill_at = plan.kill_at(told, Moment::at(lease));
            (Moment::at(lease).since(told), Moment::at(lease).since(kill_at))
        };
        assert_eq!(plan(120_000, None, None), (millis(10_100), millis(100)));
        assert_eq!(plan(8_000, None, None), (millis(1_000), millis(100)));
        assert_eq!(plan(1_000, None, None), (millis(125), millis(50)));
        assert_eq!(plan(60_000, Some(millis(30_000)), None), (millis(30_100), millis(100)));
        assert_eq!(plan(60_000, Some(millis(0)), None), (millis(100), millis(100)));
        // Who says when to stop may let the command use its grace time after the deadline.
        assert_eq!(plan(60_000, None, Some(millis(100))), (millis(100), millis(0)));
        let late = Plan::of(millis(60_000), None, None);
        let woken = Moment::at(90_000);
        assert!(
            late.kill_at(woken, Moment::at(60_000)) < woken,
            "after a machine's sleep: at once"
        );
    }

    /// From half of a lease on, with a server that does not answer, or refuses at once.
    #[test]
    fn there_are_several_attempts_before_the_deadline() {
        for millis in [1_000, 3_000, 120_000, 86_400_000] {
            let until = Moment::at(millis);
            for answers in [false, true] {
                let (mut now, mut attempts) = (renewal(Moment::at(0), until), 0);
                while now < until {
                    attempts += 1;
                    let waited = if answers { Duration::ZERO } else { patience(now, until) };
                    now = now.after(waited);
                    now = now.after(pause(now, until));
                }
                assert!(attempts >= 2, "{attempts} for {millis} ms");
            }
        }
    }
}
