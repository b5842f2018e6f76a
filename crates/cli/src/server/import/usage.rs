//! Converts usages of the original to leases.

use std::time::Duration;

use pool::{End, EndReason, Fence, Lease, LeaseId, Timestamp, TokenId, User, UserId};
use uuid::Uuid;

/// A row of the original's history, with its place in the token's chain.
#[derive(Clone, Debug)]
pub struct Usage {
    pub id: Uuid,
    pub token_id: Uuid,
    pub user_id: Uuid,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// Start of the token's next usage; none for the newest.
    pub next_started_at: Option<Timestamp>,
    pub fence: Fence,
    pub previous_fence: Fence,
    /// Whether the original has the token as in use.
    pub token_active: bool,
}

/// Counts of imported and repaired usages.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub usages: usize,
    pub running: usize,
    /// Ended before they started.
    pub reversed: usize,
    /// Without an end, but not running.
    pub left_open: usize,
}

impl Usage {
    /// Converts the usage to a lease, seen at `now` by the original's clock. `length` is the length of its
    /// leases.
    pub fn into_lease(self, length: Duration, now: Timestamp, tally: &mut Tally) -> Lease {
        let deadline = self.started_at.after(length);
        tally.usages += 1;
        let end = match (self.ended_at, self.next_started_at) {
            (Some(ended_at), _) => {
                tally.reversed += usize::from(ended_at < self.started_at);
                Some(ended_at)
            }
            (None, None) if self.token_active => {
                tally.running += 1;
                None
            }
            (None, next) => {
                tally.left_open += 1;
                Some(deadline.min(next.unwrap_or(deadline)).min(now))
            }
        };
        let end = end.map(|at| at.max(self.started_at));
        let expires_at = end.map_or(deadline, |at| at.max(deadline));
        let (id, token_id) = (LeaseId(self.id), TokenId(self.token_id));
        let user = User { name: self.user_id.to_string().into(), id: UserId(self.user_id) };
        let granted = Lease::granted(id, token_id, user, self.fence, self.started_at, expires_at);
        let end = end.map(|at| End::new(at, EndReason::Imported));
        Lease { previous_fence: self.previous_fence, end, ..granted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_mins(2);
    const START: i64 = 1_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn usage(ended: Option<i64>, next: Option<i64>, token_active: bool) -> Usage {
        let id = Uuid::from_u128(7);
        Usage {
            id,
            token_id: id,
            user_id: id,
            started_at: at(START),
            ended_at: ended.map(at),
            next_started_at: next.map(at),
            fence: Fence::new(1),
            previous_fence: Fence::NONE,
            token_active,
        }
    }

    /// The end and the deadline of the lease, in seconds after its start, and the tally.
    fn lease(usage: Usage, now: i64) -> (Option<i64>, i64, Tally) {
        let mut tally = Tally::default();
        let lease = usage.into_lease(LENGTH, at(now), &mut tally);
        let after = |moment: Timestamp| moment.as_micros() / 1_000_000 - START;
        assert_eq!(&*lease.user.name, "00000000-0000-0000-0000-000000000007");
        (lease.end.map(|end| after(end.at)), after(lease.expires_at), tally)
    }

    #[test]
    fn ended_usages_keep_their_end() {
        let one = Tally { usages: 1, ..Tally::default() };
        assert_eq!(lease(usage(Some(1_010), None, false), 9_999), (Some(10), 120, one));
        let (end, deadline, _) = lease(usage(Some(1_500), Some(1_200), true), 9_999);
        assert_eq!((end, deadline), (Some(500), 500), "ended late");
    }

    #[test]
    fn a_usage_that_ended_before_it_started_ends_at_its_start() {
        let reversed = Tally { usages: 1, reversed: 1, ..Tally::default() };
        assert_eq!(lease(usage(Some(990), None, false), 9_999), (Some(0), 120, reversed));
    }

    #[test]
    fn only_the_newest_open_usage_of_an_active_token_runs() {
        let running = Tally { usages: 1, running: 1, ..Tally::default() };
        assert_eq!(lease(usage(None, None, true), 1_001), (None, 120, running));
        let left_open = || Tally { usages: 1, left_open: 1, ..Tally::default() };
        assert_eq!(lease(usage(None, Some(1_030), true), 9_999), (Some(30), 120, left_open()));
        assert_eq!(lease(usage(None, Some(1_500), true), 9_999), (Some(120), 120, left_open()));
        assert_eq!(lease(usage(None, None, false), 9_999), (Some(120), 120, left_open()));
        assert_eq!(lease(usage(None, None, false), 1_060), (Some(60), 120, left_open()));
        assert_eq!(lease(usage(None, None, false), 900), (Some(0), 120, left_open()));
    }
}
