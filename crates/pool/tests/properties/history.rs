//! Invariants of every history, checked on the changes alone.

use std::collections::{HashMap, HashSet};

use pool::{
    Change, EndReason, Fence, KeyUse, Lease, LeaseId, Policy, Timestamp, TokenId, UserId, UserKey,
    WhenFull,
};

/// All recorded changes, and the current policy.
pub struct History {
    size: usize,
    policy: Policy,
    leases: HashMap<LeaseId, Lease>,
    latest: HashMap<TokenId, LeaseId>,
    fence: Fence,
    waiting: Vec<LeaseId>,
    numbers: HashMap<LeaseId, i64>,
    /// The ticket that left the queue last, and the number of tickets before it.
    left: Option<(LeaseId, usize)>,
    keys: HashMap<UserKey, LeaseId>,
}

impl History {
    pub fn new(size: usize, policy: Policy) -> Self {
        let (leases, latest, waiting, numbers, left, keys) = Default::default();
        History { size, policy, leases, latest, fence: Fence::NONE, waiting, numbers, left, keys }
    }

    /// Checks and records the changes of a batch at `now`.
    pub fn record(&mut self, now: Timestamp, changes: &[Change], keys: &[KeyUse]) {
        let (fence_before, mut numbers) = (self.fence, HashSet::new());
        numbers.extend(self.waiting.iter().map(|lease_id| self.numbers[lease_id]));
        for change in changes {
            match change {
                Change::LeaseStarted(lease) => {
                    self.start(now, lease);
                    let here = self.left.take().filter(|(left, _)| *left == lease.id);
                    let before = here.map_or(self.waiting.len(), |(_, before)| before);
                    let there = self.there(now, fence_before);
                    assert!(there >= before, "only {there} tokens left for {before} before");
                }
                Change::LeaseEnded { lease_id, fence, end } => {
                    let policy = self.policy;
                    let lease = self.leases.get_mut(lease_id).expect("a granted lease ends");
                    assert_eq!((lease.fence, lease.end), (*fence, None), "a lease ends once");
                    assert!(lease.started_at <= end.at && end.at <= lease.expires_at);
                    assert!(end.at <= now);
                    if end.reason == EndReason::Expired {
                        assert_eq!(end.at, lease.expires_at);
                    }
                    if end.reason == EndReason::Evicted {
                        assert_eq!(policy.when_full, WhenFull::EvictOldest);
                        assert!(lease.started_at.after(policy.min_hold) <= now, "held too short");
                    }
                    lease.end = Some(*end);
                }
                Change::LeaseRenewed { lease_id, fence, expires_at } => {
                    let lease = self.leases.get_mut(lease_id).expect("a granted lease is renewed");
                    assert_eq!((lease.fence, lease.end), (*fence, None), "it is not revived");
                    assert!(*expires_at > lease.expires_at, "a deadline never moves back");
                    let most = lease.started_at.after(self.policy.max_lease());
                    assert!(*expires_at <= most, "nor beyond the policy's limit");
                    lease.expires_at = *expires_at;
                }
                Change::PolicyChanged(policy) => self.policy = *policy,
                Change::WaitStarted(ticket) => {
                    assert!(ticket.until > now && ticket.heard_at == now && ticket.since == now);
                    assert!(
                        numbers.insert(ticket.number),
                        "nor is a number given twice in a batch"
                    );
                    self.numbers.insert(ticket.lease_id, ticket.number);
                    self.waiting.push(ticket.lease_id);
                }
                Change::WaitMoved { lease_id, at, .. } => {
                    assert!(self.waiting.contains(lease_id) && *at == now);
                }
                Change::WaitTimeoutDelivered { .. } => {}
                Change::WaitEnded { lease_id }
                | Change::WaitTimedOut { lease_id, .. }
                | Change::WaitGivenUp { lease_id } => {
                    let before = self.waiting.iter().position(|waiting| waiting == lease_id);
                    let before = before.expect("who leaves the queue was in it");
                    self.waiting.remove(before);
                    self.left = Some((*lease_id, before));
                }
                Change::ServerHeard { at, .. } => assert!(*at <= now, "heard in the future"),
            }
        }
        for KeyUse { key, lease_id, .. } in keys {
            assert!(self.leases.contains_key(lease_id));
            assert_eq!(self.keys.insert(key.clone(), *lease_id), None, "a key gives one lease");
        }
    }

    fn start(&mut self, now: Timestamp, lease: &Lease) {
        assert!(lease.fence > self.fence, "fences only grow");
        self.fence = lease.fence;
        assert_eq!((lease.started_at, lease.end), (now, None));
        assert_eq!(lease.granted_until, lease.expires_at);
        assert!(lease.length() <= self.policy.lease);
        assert!(!self.waiting.contains(&lease.id), "a holder does not wait for its lease");
        let before = self.latest.insert(lease.token_id, lease.id).map(|id| &self.leases[&id]);
        assert_eq!(lease.previous_fence, before.map_or(Fence::NONE, |before| before.fence));
        let over = before.is_none_or(|before| before.end.is_some_and(|end| end.at <= now));
        assert!(over, "leases of a token never overlap");
        assert!(self.leases.insert(lease.id, lease.clone()).is_none());
        let held = self.held_by(lease.user.id);
        assert!(self.policy.max_per_user.is_none_or(|limit| held <= limit as usize));
    }

    /// Number of the user's leases that have not ended.
    fn held_by(&self, user: UserId) -> usize {
        let leases = self.latest.values().map(|id| &self.leases[id]);
        leases.filter(|lease| lease.user.id == user && lease.end.is_none()).count()
    }

    /// Latest lease of each token, as a store keeps them.
    pub fn latest(&self) -> Vec<Lease> {
        self.latest.values().map(|id| self.leases[id].clone()).collect()
    }

    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// Queued requests, in the order of their arrival.
    pub fn waiting(&self) -> &[LeaseId] {
        &self.waiting
    }

    /// Number of tokens available for the queue at `now`, without evicting leases granted after
    /// `fence_before`.
    pub fn there(&self, now: Timestamp, fence_before: Fence) -> usize {
        let running = self.latest.values().map(|id| &self.leases[id]).filter(|l| l.end.is_none());
        let may_be_evicted = |lease: &&Lease| {
            self.policy.when_full == WhenFull::EvictOldest
                && lease.started_at.after(self.policy.min_hold) <= now
                && lease.fence <= fence_before
        };
        self.size - running.clone().count() + running.filter(may_be_evicted).count()
    }
}
