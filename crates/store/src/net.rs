use std::collections::HashMap;

use pool::{Change, End, Fence, Lease, LeaseId};

/// What a batch's changes come to for the `leases` table: the statements run over these, in this
/// order.
#[derive(Debug, Default)]
pub struct Net {
    /// Leases that were there before the batch, and have ended in it.
    pub closed: Vec<(LeaseId, Fence, End)>,
    /// Leases that started and ended within the batch, in fence order.
    pub over: Vec<Lease>,
    /// Leases that started in the batch and go on, in fence order.
    pub running: Vec<Lease>,
}

impl Net {
    /// Nets the changes of one batch.
    #[must_use]
    pub fn of(changes: &[Change]) -> Self {
        let mut net = Net::default();
        let mut started: HashMap<Fence, usize> = HashMap::new();
        for change in changes {
            match change {
                Change::LeaseStarted(lease) => {
                    started.insert(lease.fence, net.running.len());
                    net.running.push(lease.clone());
                }
                Change::LeaseEnded { lease_id, fence, end } => match started.get(fence) {
                    Some(&index) => net.running[index].end = Some(*end),
                    None => net.closed.push((*lease_id, *fence, *end)),
                },
                Change::PolicyChanged(_) => {}
            }
        }
        (net.over, net.running) = net.running.into_iter().partition(|lease| lease.end.is_some());
        net
    }
}

#[cfg(test)]
mod tests {
    use pool::{EndReason, Policy, Timestamp, TokenId, User};
    use std::time::Duration;
    use uuid::Uuid;

    use super::*;

    fn lease(fence: u32) -> Lease {
        Lease {
            id: LeaseId(Uuid::from_u128(u128::from(fence))),
            token_id: TokenId(Uuid::nil()),
            user: User::new("Ada").unwrap(),
            fence: Fence::new(i64::from(fence)),
            previous_fence: Fence::NONE,
            started_at: Timestamp::from_micros(0),
            expires_at: Timestamp::from_micros(10),
            end: None,
        }
    }

    const END: End = End { at: Timestamp::from_micros(5), reason: EndReason::Released };

    fn started(fence: u32) -> Change {
        Change::LeaseStarted(lease(fence))
    }

    fn ended(fence: u32) -> Change {
        let Lease { id: lease_id, fence, .. } = lease(fence);
        Change::LeaseEnded { lease_id, fence, end: END }
    }

    #[test]
    fn each_lease_is_written_once() {
        let policy = Change::PolicyChanged(Policy { lease: Duration::from_mins(1) });
        let changes =
            [ended(1), started(7), started(8), ended(2), ended(8), policy, started(9), ended(7)];
        let net = Net::of(&changes);
        let ids = |numbers: [u32; 2]| numbers.map(|n| (lease(n).id, lease(n).fence, END));
        assert_eq!(net.closed, ids([1, 2]));
        assert_eq!(net.over, [7, 8].map(|n| Lease { end: Some(END), ..lease(n) }));
        assert_eq!(net.running, [lease(9)]);
    }

    #[test]
    fn nothing_comes_of_nothing() {
        let Net { closed, over, running } = Net::of(&[]);
        assert!(closed.is_empty() && over.is_empty() && running.is_empty());
    }
}
