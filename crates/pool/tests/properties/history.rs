//! Invariants of every history, checked on the changes alone.

use std::collections::{BTreeMap, HashMap, HashSet};

use pool::{
    Change, Counters, End, EndReason, Fence, KeyUse, Lease, LeaseId, Ledger, PoolId, PoolRecord,
    Restoring, Ticket, Timestamp, Token, TokenId, UserId, UserKey, WhenFull,
};

/// All recorded changes.
#[derive(Default)]
pub struct History {
    pools: BTreeMap<PoolId, PoolRecord>,
    last_pool: Option<PoolId>,
    positions: BTreeMap<PoolId, u32>,
    tokens: HashMap<TokenId, Token>,
    leases: HashMap<LeaseId, Lease>,
    latest: HashMap<TokenId, LeaseId>,
    fence: Fence,
    waiting: Vec<Ticket>,
    numbers: HashMap<LeaseId, i64>,
    /// The ticket that left a queue last, and the tickets before it.
    left: Option<(LeaseId, Vec<Ticket>)>,
    keys: HashMap<UserKey, LeaseId>,
}

impl History {
    /// Checks and records the changes of a batch at `now`.
    pub fn record(&mut self, now: Timestamp, changes: &[Change], keys: &[KeyUse]) {
        let (fence_before, mut numbers) = (self.fence, HashSet::new());
        numbers.extend(self.waiting.iter().map(|ticket| ticket.number));
        for change in changes {
            match change {
                Change::LeaseStarted(lease) => {
                    self.start(now, lease);
                    let here = self.left.take().filter(|(left, _)| *left == lease.id);
                    let before = here.map_or_else(|| self.queue(lease.pool), |(_, before)| before);
                    self.check_claims(now, lease, &before, fence_before);
                }
                Change::LeaseEnded { lease_id, fence, end } => {
                    self.end(now, *lease_id, *fence, *end);
                }
                Change::LeaseRenewed { lease_id, fence, expires_at } => {
                    let lease = self.leases.get_mut(lease_id).expect("a granted lease is renewed");
                    assert_eq!((lease.fence, lease.end), (*fence, None), "it is not revived");
                    assert!(*expires_at > lease.expires_at, "a deadline never moves back");
                    let most = lease.started_at.after(self.pools[&lease.pool].policy.max_lease());
                    assert!(*expires_at <= most, "nor beyond the policy's limit");
                    lease.expires_at = *expires_at;
                }
                Change::WaitStarted(ticket) => {
                    assert!(ticket.until > now && ticket.heard_at == now && ticket.since == now);
                    assert!(
                        numbers.insert(ticket.number),
                        "nor is a number given twice in a batch"
                    );
                    assert!(self.pools.contains_key(&ticket.pool));
                    self.numbers.insert(ticket.lease_id, ticket.number);
                    self.waiting.push(ticket.clone());
                }
                Change::WaitMoved { lease_id, at, .. } => {
                    assert!(self.waiting().contains(lease_id) && *at == now);
                }
                Change::WaitTimeoutDelivered { .. } => {}
                Change::WaitEnded { lease_id }
                | Change::WaitTimedOut { lease_id, .. }
                | Change::WaitGivenUp { lease_id } => {
                    let index = self.waiting.iter().position(|one| one.lease_id == *lease_id);
                    let index = index.expect("who leaves the queue was in it");
                    let ticket = self.waiting.remove(index);
                    let before = self.waiting[..index].iter();
                    let before = before.filter(|other| other.pool == ticket.pool).cloned();
                    self.left = Some((*lease_id, before.collect()));
                }
                // Forbidden commands, which the model does not have, must not add any.
                Change::Acted(act) => assert_eq!(act.actor, None),
                Change::ServerHeard { at, .. } => assert!(*at <= now, "heard in the future"),
                other => self.record_admin(now, other),
            }
        }
        for KeyUse { key, lease_id, .. } in keys {
            assert!(self.leases.contains_key(lease_id));
            assert_eq!(self.keys.insert(key.clone(), *lease_id), None, "a key gives one lease");
        }
    }

    fn record_admin(&mut self, now: Timestamp, change: &Change) {
        match change {
            Change::PoolCreated(record) => {
                assert!(record.id == PoolId::DEFAULT || Some(record.id) > self.last_pool);
                assert!(self.pools.values().all(|other| other.name != record.name));
                assert_eq!(record.created_at, now);
                self.last_pool = self.last_pool.max(Some(record.id));
                self.pools.insert(record.id, record.clone());
            }
            Change::PoolChanged(record) => {
                let before = self.pools.insert(record.id, record.clone()).unwrap();
                assert_ne!(before, *record, "a change changes something");
                assert_eq!(
                    (before.name, before.created_at),
                    (record.name.clone(), record.created_at)
                );
            }
            Change::PoolDeleted { pool, at } => {
                assert_eq!(*at, now);
                assert!(self.pools.remove(pool).is_some());
                assert!(self.running().all(|lease| lease.pool != *pool));
                assert!(self.queue(*pool).is_empty());
                let tokens = self.tokens.values_mut().filter(|token| token.pool == *pool);
                tokens.for_each(|token| token.retired_at = token.retired_at.or(Some(now)));
            }
            Change::TokenAdded(token) => {
                assert!(self.pools.contains_key(&token.pool));
                let next = self.positions.entry(token.pool).or_default();
                assert!(token.position >= *next, "positions grow");
                *next = token.position + 1;
                assert!(token.retired_at.is_none() && token.inserted_at == now);
                assert!(self.tokens.insert(token.id, token.clone()).is_none(), "an id is new");
                self.check_names(token.pool);
            }
            Change::TokenChanged(token) | Change::TokenTainted(token) => {
                let before = self.tokens.insert(token.id, token.clone()).unwrap();
                assert_ne!(before, *token, "a change changes something");
                let kept = |token: &Token| (token.pool, token.position, token.retired_at);
                assert_eq!(kept(&before), kept(token));
                self.check_names(token.pool);
            }
            Change::TokenRetired { token_id, at } => {
                let token = self.tokens.get_mut(token_id).unwrap();
                assert_eq!(token.retired_at.replace(*at), None, "a token is retired once");
                assert_eq!(*at, now);
            }
            other => panic!("{other:?}"),
        }
    }

    fn check_names(&self, pool: PoolId) {
        let tokens = self.tokens.values().filter(|token| token.pool == pool);
        let live = tokens.filter(|token| token.retired_at.is_none());
        let names: Vec<_> = live.map(|token| &token.name).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{names:?}");
    }

    fn start(&mut self, now: Timestamp, lease: &Lease) {
        assert!(lease.fence > self.fence, "fences only grow");
        self.fence = lease.fence;
        let (token, policy) = (&self.tokens[&lease.token_id], self.pools[&lease.pool].policy);
        assert_eq!(token.pool, lease.pool, "a lease stays in its pool");
        assert!(token.is_available(), "the token is available");
        assert_eq!((lease.started_at, lease.end), (now, None));
        assert_eq!(lease.granted_until, lease.expires_at);
        assert!(lease.length() <= policy.lease);
        assert!(!self.waiting().contains(&lease.id), "a holder does not wait for its lease");
        let before = self.latest.insert(lease.token_id, lease.id).map(|id| &self.leases[&id]);
        assert_eq!(lease.previous_fence, before.map_or(Fence::NONE, |before| before.fence));
        let over = before.is_none_or(|before| before.end.is_some_and(|end| end.at <= now));
        assert!(over, "leases of a token never overlap");
        assert!(self.leases.insert(lease.id, lease.clone()).is_none());
        let held = self.held_by(lease.pool, lease.user.id);
        assert!(policy.max_per_user.is_none_or(|limit| held <= limit as usize));
    }

    fn end(&mut self, now: Timestamp, lease_id: LeaseId, fence: Fence, end: End) {
        let lease = self.leases.get_mut(&lease_id).expect("a granted lease ends");
        let policy = self.pools[&lease.pool].policy;
        assert_eq!((lease.fence, lease.end), (fence, None), "a lease ends once");
        assert!(lease.started_at <= end.at && end.at <= lease.expires_at);
        assert!(end.at <= now);
        if end.reason == EndReason::Expired {
            assert_eq!(end.at, lease.expires_at);
        }
        if end.reason == EndReason::Evicted {
            assert_eq!(policy.when_full, WhenFull::EvictOldest);
            assert!(lease.started_at.after(policy.min_hold) <= now, "held too short");
            assert!(self.tokens[&lease.token_id].is_available(), "evicted for nothing");
        }
        lease.end = Some(end);
    }

    /// Checks that the tickets `before` a lease that has just started are left the tokens that they could
    /// use.
    fn check_claims(&self, now: Timestamp, lease: &Lease, before: &[Ticket], fence_before: Fence) {
        let named: HashSet<TokenId> = before.iter().filter_map(|ticket| ticket.token).collect();
        assert!(!named.contains(&lease.token_id), "an earlier ticket waits for this token");
        let any = before.iter().filter(|ticket| ticket.token.is_none()).count();
        let mut there = self.there(lease.pool, now, fence_before);
        there.retain(|token| !named.contains(token));
        assert!(there.len() >= any, "only {there:?} left for {any} before");
    }

    /// Number of the user's leases that have not ended.
    fn held_by(&self, pool: PoolId, user: UserId) -> usize {
        self.running().filter(|lease| lease.user.id == user && lease.pool == pool).count()
    }

    fn running(&self) -> impl Iterator<Item = &Lease> {
        let leases = self.latest.values().map(|id| &self.leases[id]);
        leases.filter(|lease| lease.end.is_none())
    }

    /// The ledger, from what a store keeps of these changes.
    pub fn restored(&self) -> Ledger {
        let (fence, last_pool) = (self.fence, self.last_pool);
        let counters = Counters { fence, last_pool, positions: self.positions.clone() };
        let is_held = |id: &TokenId| self.running().any(|lease| lease.token_id == *id);
        let tokens = self.tokens.values();
        let tokens = tokens.filter(|token| token.retired_at.is_none() || is_held(&token.id));
        let mut ledger = Restoring::new(counters, self.pools.values().cloned()).unwrap();
        for token in tokens {
            let latest = self.latest.get(&token.id).map(|id| self.leases[id].clone());
            ledger.add(token.clone(), latest).unwrap();
        }
        ledger.finish().unwrap()
    }

    /// Queued requests of all pools, in the order of their arrival.
    pub fn waiting(&self) -> Vec<LeaseId> {
        self.waiting.iter().map(|ticket| ticket.lease_id).collect()
    }

    /// The queue of a pool.
    pub fn queue(&self, pool: PoolId) -> Vec<Ticket> {
        self.waiting.iter().filter(|ticket| ticket.pool == pool).cloned().collect()
    }

    /// Tokens available for the queue at `now`, without evicting leases granted after `fence_before`.
    pub fn there(&self, pool: PoolId, now: Timestamp, fence_before: Fence) -> Vec<TokenId> {
        let policy = self.pools[&pool].policy;
        let may_be_evicted = |lease: &Lease| {
            policy.when_full == WhenFull::EvictOldest
                && lease.started_at.after(policy.min_hold) <= now
                && lease.fence <= fence_before
        };
        let latest = |token: &TokenId| self.latest.get(token).map(|id| &self.leases[id]);
        let tokens = self.tokens.values().filter(|token| token.pool == pool);
        let tokens = tokens.filter(|token| token.is_available()).map(|token| token.id);
        tokens
            .filter(|token| {
                latest(token).is_none_or(|lease| lease.end.is_some() || may_be_evicted(lease))
            })
            .collect()
    }
}
