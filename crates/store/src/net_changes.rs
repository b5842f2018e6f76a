use std::collections::{BTreeMap, HashMap};

use pool::{Change, End, Fence, Lease, LeaseId, Policy, ServerId, Ticket, Timestamp};

/// Net effect of a batch's changes on the tables: the statements run over these fields, in this
/// order.
#[derive(Debug, Default)]
pub struct NetChanges {
    /// Leases from before the batch whose deadline it moved, with the last deadline.
    pub renewed: Vec<(LeaseId, Fence, Timestamp)>,
    /// Leases from before the batch that it ended.
    pub closed: Vec<(LeaseId, Fence, End)>,
    /// Leases that started and ended within the batch, in fence order.
    pub over: Vec<Lease>,
    /// Leases that started in the batch and go on, in fence order.
    pub running: Vec<Lease>,
    /// Leases whose tickets are from before the batch and were deleted by it.
    pub left: Vec<LeaseId>,
    /// Tickets from before the batch that moved, with their server and the moment.
    pub moved: BTreeMap<LeaseId, (ServerId, Timestamp)>,
    /// New tickets.
    pub queued: Vec<Ticket>,
    /// Last heartbeat of the servers that have tickets.
    pub heard: Vec<(ServerId, Timestamp)>,
    /// The new policy, if it changed.
    pub policy: Option<Policy>,
}

impl NetChanges {
    /// Nets the changes of one batch.
    #[must_use]
    pub fn of(changes: &[Change]) -> Self {
        let mut net = NetChanges::default();
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
                Change::LeaseRenewed { lease_id, fence, expires_at } => {
                    if let Some(&index) = started.get(fence) {
                        net.running[index].expires_at = *expires_at;
                    } else {
                        net.renewed.retain(|(id, ..)| id != lease_id);
                        net.renewed.push((*lease_id, *fence, *expires_at));
                    }
                }
                Change::PolicyChanged(policy) => net.policy = Some(*policy),
                Change::WaitStarted(ticket) => net.queued.push(ticket.clone()),
                Change::WaitMoved { lease_id, server, at } => {
                    let mut new = net.queued.iter_mut();
                    if let Some(ticket) = new.find(|ticket| ticket.lease_id == *lease_id) {
                        (ticket.server, ticket.heard_at) = (*server, *at);
                    } else {
                        net.moved.insert(*lease_id, (*server, *at));
                    }
                }
                Change::WaitEnded { lease_id }
                | Change::WaitTimedOut { lease_id, .. }
                | Change::WaitGivenUp { lease_id } => {
                    net.moved.remove(lease_id);
                    let queued = net.queued.len();
                    net.queued.retain(|ticket| ticket.lease_id != *lease_id);
                    if net.queued.len() == queued {
                        net.left.push(*lease_id);
                    }
                }
                Change::ServerHeard { server, at } => {
                    let tickets = net.queued.iter_mut();
                    tickets.filter(|t| t.server == *server).for_each(|t| t.heard_at = *at);
                    net.heard.push((*server, *at));
                }
                // In the journal only.
                Change::WaitTimeoutDelivered { .. } => {}
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
        let id = LeaseId(Uuid::from_u128(u128::from(fence)));
        let (token, user) = (TokenId(Uuid::nil()), User::new("Ada").unwrap());
        Lease::granted(
            id,
            token,
            user,
            Fence::new(i64::from(fence)),
            AT,
            AT.after(Duration::from_micros(10)),
        )
    }

    const AT: Timestamp = Timestamp::from_micros(0);

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
        let policy = Change::PolicyChanged(Policy::of_lease(Duration::from_mins(1)));
        let changes =
            [ended(1), started(7), started(8), ended(2), ended(8), policy, started(9), ended(7)];
        let net = NetChanges::of(&changes);
        let ids = |numbers: [u32; 2]| numbers.map(|n| (lease(n).id, lease(n).fence, END));
        assert_eq!(net.closed, ids([1, 2]));
        assert_eq!(net.over, [7, 8].map(|n| Lease { end: Some(END), ..lease(n) }));
        assert_eq!(net.running, [lease(9)]);
        assert_eq!(net.policy, Some(Policy::of_lease(Duration::from_mins(1))));
    }

    #[test]
    fn a_renewal_of_a_lease_that_was_there_is_written_once() {
        let at = Timestamp::from_micros;
        let renewed = |fence: u32, to| {
            let Lease { id: lease_id, fence, .. } = lease(fence);
            Change::LeaseRenewed { lease_id, fence, expires_at: at(to) }
        };
        let net = NetChanges::of(&[
            renewed(1, 20),
            started(7),
            renewed(7, 30),
            renewed(2, 40),
            renewed(1, 50),
        ]);
        let Lease { id, fence, .. } = lease(1);
        assert_eq!(net.renewed.len(), 2);
        assert!(net.renewed.contains(&(id, fence, at(50))));
        assert_eq!(net.running, [Lease { expires_at: at(30), ..lease(7) }]);
    }

    #[test]
    fn a_ticket_that_came_and_went_leaves_nothing() {
        let server = ServerId(Uuid::from_u128(5));
        let ticket = |number: u32| Ticket {
            lease_id: lease(number).id,
            number: i64::from(number),
            server,
            heard_at: Timestamp::from_micros(0),
            since: Timestamp::from_micros(0),
            until: Timestamp::from_micros(9),
            user: User::new("Ada").unwrap(),
            key: None,
            asked_lease: None,
            asked_wait: None,
        };
        let left = |number| Change::WaitEnded { lease_id: lease(number).id };
        let changes = [
            Change::WaitStarted(ticket(1)),
            left(7),
            Change::WaitStarted(ticket(2)),
            left(1),
            Change::ServerHeard { server, at: Timestamp::from_micros(3) },
        ];
        let net = NetChanges::of(&changes);
        assert_eq!(net.left, [lease(7).id]);
        assert_eq!(net.queued, [Ticket { heard_at: Timestamp::from_micros(3), ..ticket(2) }]);
        assert_eq!(net.heard, [(server, Timestamp::from_micros(3))]);
    }

    #[test]
    fn a_ticket_is_moved_once_and_not_when_it_left() {
        let at = Timestamp::from_micros;
        let server = |number: u128| ServerId(Uuid::from_u128(number));
        let moved = |number, to, micros| {
            let lease_id = lease(number).id;
            Change::WaitMoved { lease_id, server: server(to), at: at(micros) }
        };
        let given_up = Change::WaitGivenUp { lease_id: lease(2).id };
        let net = NetChanges::of(&[moved(1, 5, 1), moved(2, 5, 1), moved(1, 6, 2), given_up]);
        assert_eq!(net.moved, BTreeMap::from([(lease(1).id, (server(6), at(2)))]));
        assert_eq!(net.left, [lease(2).id]);
    }

    #[test]
    fn nothing_comes_of_nothing() {
        let NetChanges { renewed, closed, over, running, left, moved, queued, heard, policy } =
            NetChanges::of(&[]);
        assert!(renewed.is_empty() && closed.is_empty() && over.is_empty() && running.is_empty());
        assert!(
            left.is_empty()
                && moved.is_empty()
                && queued.is_empty()
                && heard.is_empty()
                && policy.is_none()
        );
    }
}
