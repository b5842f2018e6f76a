//! Timing rules: the known deadline of a lease, and when to renew, stop and kill. Pure functions.

use std::time::Duration;

use client::Moment;

/// Remaining time of a lease in a reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeaseReading {
    /// Time just before the request.
    pub requested: Moment,
    /// Time just after the reply.
    pub received: Moment,
    /// Remaining time at some moment between the two, in milliseconds, rounded down.
    pub left: Duration,
}

impl LeaseReading {
    /// Returns the earliest possible deadline.
    pub const fn earliest(&self) -> Moment {
        self.requested.after(self.left)
    }

    /// Returns the latest possible deadline.
    pub const fn latest(&self) -> Moment {
        self.received.after(self.left).after(Duration::from_millis(1))
    }
}

/// Time until which a lease certainly runs: never later than the server's deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline(Moment);

impl Deadline {
    /// Returns the deadline of the first reply.
    pub const fn of(reading: &LeaseReading) -> Self {
        Deadline(reading.earliest())
    }

    /// Returns the time.
    pub const fn at(self) -> Moment {
        self.0
    }

    /// Returns the deadline after a further reply. A slow reply tells little and does not move an earlier, more
    /// exact value.
    #[must_use]
    pub fn updated(self, reading: &LeaseReading) -> Self {
        Deadline(self.0.clamp(reading.earliest(), reading.latest()))
    }
}

/// Default grace period.
const GRACE_PERIOD: Duration = Duration::from_secs(10);

/// Time between SIGKILL and the deadline.
const MARGIN: Duration = Duration::from_millis(100);

/// Times at which a command is stopped and killed if its lease is not renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Time from SIGTERM to the deadline.
    pub stop_before: Duration,
    /// Maximum time from SIGTERM to SIGKILL.
    pub grace: Duration,
    /// Minimum time from SIGKILL to the deadline; None if SIGKILL may come later.
    kill_before: Option<Duration>,
}

impl Plan {
    /// Returns the plan for a lease of this length. By default the grace period ends at the deadline and takes at
    /// most an eighth of the lease: the rest is for the command and for renewals.
    pub fn of(lease: Duration, grace: Option<Duration>, stop_before: Option<Duration>) -> Self {
        let (chosen, grace) = (grace.is_some(), grace.unwrap_or(GRACE_PERIOD));
        if let Some(stop_before) = stop_before {
            return Plan { stop_before, grace, kill_before: None };
        }
        let margin = MARGIN.min(lease / 20);
        let whole = grace.saturating_add(margin);
        let stop_before = if chosen { whole } else { whole.min(lease / 8) };
        Plan { stop_before, grace, kill_before: Some(margin) }
    }

    /// Returns when to kill a command that is stopped now because the deadline is near.
    pub fn kill_at(&self, now: Moment, deadline: Moment) -> Moment {
        let by_grace = now.after(self.grace);
        self.kill_before.map_or(by_grace, |before| by_grace.min(deadline.before(before)))
    }

    /// Returns whether the deadline ends the grace period.
    pub const fn ends_by_deadline(&self) -> bool {
        self.kill_before.is_some()
    }
}

/// Returns when to renew a lease that was read at `requested` and runs until `until`: after half of that time,
/// so that the other half is left for an outage of the server.
pub(crate) fn renewal(requested: Moment, until: Moment) -> Moment {
    requested.after(until.since(requested) / 2)
}

/// Returns the delay after a failed attempt: a few attempts per second at most, until time is short.
pub(crate) fn retry_delay(now: Moment, until: Moment) -> Duration {
    let left = until.since(now);
    let least = if left < Duration::from_secs(2) { 50 } else { 250 };
    (left / 8).clamp(Duration::from_millis(least), Duration::from_secs(5))
}

/// Returns the time to wait for a reply before another attempt is sent in parallel.
pub(crate) fn retry_timeout(now: Moment, until: Moment) -> Duration {
    (until.since(now) / 3).clamp(Duration::from_millis(250), Duration::from_secs(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn reading(requested: u64, received: u64, left: u64) -> LeaseReading {
        LeaseReading {
            requested: Moment::from_millis(requested),
            received: Moment::from_millis(received),
            left: Duration::from_millis(left),
        }
    }

    #[test]
    fn a_deadline_is_counted_from_the_request() {
        assert_eq!(Deadline::of(&reading(1_000, 1_400, 2_000)).at(), Moment::from_millis(3_000));
    }

    #[test]
    fn a_renewal_moves_the_deadline() {
        let deadline = Deadline::of(&reading(0, 10, 2_000));
        assert_eq!(
            deadline.updated(&reading(1_000, 1_010, 2_000)).at(),
            Moment::from_millis(3_000)
        );
    }

    #[test]
    fn a_slow_reply_does_not_move_the_deadline() {
        let deadline = Deadline::of(&reading(0, 1, 10_000));
        // The deadline lies between 5.5 s and 10.5 s.
        assert_eq!(deadline.updated(&reading(1_000, 6_000, 4_500)), deadline);
    }

    #[test]
    fn a_contradicting_reply_counts() {
        let deadline = Deadline::of(&reading(0, 1, 10_000));
        assert_eq!(
            deadline.updated(&reading(1_000, 1_001, 2_000)).at(),
            Moment::from_millis(3_002)
        );
        assert_eq!(deadline.updated(&reading(1_000, 1_001, 0)).at(), Moment::from_millis(1_002));
    }

    #[test]
    fn half_of_the_time_is_left_for_renewals() {
        assert_eq!(
            renewal(Moment::from_millis(1_000), Moment::from_millis(3_000)),
            Moment::from_millis(2_000)
        );
        assert_eq!(
            renewal(Moment::from_millis(1_000), Moment::from_millis(500)),
            Moment::from_millis(1_000)
        );
    }

    #[test]
    fn the_grace_period_ends_with_the_lease() {
        let millis = Duration::from_millis;
        let plan = |lease, grace, stop_before| {
            let plan = Plan::of(millis(lease), grace, stop_before);
            let told = Moment::from_millis(lease).before(plan.stop_before);
            let kill_at = plan.kill_at(told, Moment::from_millis(lease));
            (Moment::from_millis(lease).since(told), Moment::from_millis(lease).since(kill_at))
        };
        assert_eq!(plan(120_000, None, None), (millis(10_100), millis(100)));
        assert_eq!(plan(8_000, None, None), (millis(1_000), millis(100)));
        assert_eq!(plan(1_000, None, None), (millis(125), millis(50)));
        assert_eq!(plan(60_000, Some(millis(30_000)), None), (millis(30_100), millis(100)));
        assert_eq!(plan(60_000, Some(millis(0)), None), (millis(100), millis(100)));
        // With an explicit `stop_before` the grace period may extend beyond the deadline.
        assert_eq!(plan(60_000, None, Some(millis(100))), (millis(100), millis(0)));
        let late = Plan::of(millis(60_000), None, None);
        let woken = Moment::from_millis(90_000);
        assert!(
            late.kill_at(woken, Moment::from_millis(60_000)) < woken,
            "at once after the machine slept"
        );
    }

    /// From half of a lease on, with a server that does not reply, or fails at once.
    #[test]
    fn there_are_several_attempts_before_the_deadline() {
        for millis in [1_000, 3_000, 120_000, 86_400_000] {
            let until = Moment::from_millis(millis);
            for replies in [false, true] {
                let (mut now, mut attempts) = (renewal(Moment::from_millis(0), until), 0);
                while now < until {
                    attempts += 1;
                    let waited = if replies { Duration::ZERO } else { retry_timeout(now, until) };
                    now = now.after(waited);
                    now = now.after(retry_delay(now, until));
                }
                assert!(attempts >= 2, "{attempts} for {millis} ms");
            }
        }
    }
}
