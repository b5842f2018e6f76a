//! Second implementation of the rules: too slow to use, and too simple to be wrong.

use std::collections::HashMap;
use std::time::Duration;

use pool::{
    Allocation, Effect, End, EndReason, Fence, HEARTBEAT_INTERVAL, IdempotencyKeys, Lease, LeaseId,
    MAX_COUNTED_GAP, Outcome, Policy, PoolId, PoolRecord, Remembered, SERVER_TIMEOUT, ServerId,
    TICKET_GRACE, Timestamp, Token, TokenId, UserKey, WhenFull,
};

/// Whole history of a ledger.
#[derive(Clone)]
pub struct Model {
    pub now: Timestamp,
    /// All pools ever created, with the moment of their deletion.
    pub pools: Vec<(PoolRecord, Option<Timestamp>)>,
    /// All tokens ever created.
    pub tokens: Vec<Token>,
    pub shared: bool,
    pub most_keys: u64,
    /// All granted leases, in the order of granting.
    pub leases: Vec<Lease>,
    /// The queues of all pools, in the order of arrival.
    pub queue: Vec<Waiting>,
    pub keys: HashMap<UserKey, Used>,
    pub given_up: Vec<LeaseId>,
    /// Clients that still have to receive the response that their wait timed out, as each server knows
    /// them. A server that has just started knows none.
    pub timed_out: HashMap<ServerId, HashMap<UserKey, Timestamp>>,
    /// Server that decides the batch, and the last fence before the batch.
    pub server: ServerId,
    pub fence_before: Fence,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub lease_id: LeaseId,
    pub server: ServerId,
    pub heard_at: Timestamp,
    pub since: Timestamp,
    pub until: Timestamp,
    pub key: Option<UserKey>,
    pub asked: Parameters,
}

/// Parameters that are the same in all requests with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    pub pool: PoolId,
    pub token: Option<TokenId>,
    pub lease: Option<Duration>,
    pub wait: Option<Duration>,
    pub note: Option<String>,
}

impl Parameters {
    pub fn of(asked: &Allocation) -> Self {
        let Allocation { pool, token, lease, wait, .. } = *asked;
        let note = asked.note.as_ref().map(ToString::to_string);
        Parameters { pool, token, lease, wait, note }
    }
}

impl Waiting {
    pub fn told(&self, position: usize) -> Outcome {
        let Waiting { lease_id: ticket, since, until, .. } = *self;
        Outcome::Queued(pool::Waiting { ticket, position, since, until })
    }
}

#[derive(Clone)]
pub struct Used {
    pub lease_id: LeaseId,
    pub evicted: Option<LeaseId>,
    pub asked: Allocation,
}

impl Model {
    pub fn new(shared: bool, most_keys: u64) -> Self {
        let (now, server) = (Timestamp::from_micros(0), ServerId(uuid::Uuid::nil()));
        let (pools, tokens, leases, queue, keys, given_up, timed_out) = Default::default();
        let fence_before = Fence::NONE;
        Model {
            now,
            pools,
            tokens,
            shared,
            most_keys,
            leases,
            queue,
            keys,
            given_up,
            timed_out,
            server,
            fence_before,
        }
    }

    /// Pools that are not deleted.
    pub fn present(&self) -> impl Iterator<Item = &PoolRecord> {
        self.pools.iter().filter(|(_, deleted)| deleted.is_none()).map(|(record, _)| record)
    }

    pub fn record(&self, pool: PoolId) -> Option<&PoolRecord> {
        self.present().find(|record| record.id == pool)
    }

    pub fn policy(&self, pool: PoolId) -> Policy {
        self.record(pool).unwrap().policy
    }

    /// Tokens of the pool, with those that are being retired, in order.
    pub fn tokens_of(&self, pool: PoolId) -> Vec<&Token> {
        let is_there = |token: &&Token| {
            let running = self.latest(token.id).is_some_and(|lease| lease.end.is_none());
            token.pool == pool && (token.retired_at.is_none() || running)
        };
        let there = self.record(pool).is_some();
        let mut tokens: Vec<&Token> = self.tokens.iter().filter(is_there).collect();
        tokens.retain(|_| there);
        tokens.sort_by_key(|token| token.position);
        tokens
    }

    pub fn token(&self, pool: PoolId, id: TokenId) -> Option<&Token> {
        self.tokens_of(pool).into_iter().find(|token| token.id == id)
    }

    /// Tokens of the pool that may get a new lease, once they have none.
    fn available(&self, pool: PoolId) -> Vec<&Token> {
        let mut tokens = self.tokens_of(pool);
        tokens.retain(|token| {
            let blocked = token.taints.iter().any(|taint| taint.effect != Effect::Note);
            token.retired_at.is_none() && !blocked
        });
        tokens
    }

    pub fn fence(&self) -> Fence {
        self.leases.last().map_or(Fence::NONE, |lease| lease.fence)
    }

    pub fn latest(&self, id: TokenId) -> Option<&Lease> {
        self.leases.iter().rev().find(|lease| lease.token_id == id)
    }

    /// The token with this id, in any pool or none.
    pub fn any_token(&self, id: TokenId) -> &Token {
        self.tokens.iter().find(|token| token.id == id).unwrap()
    }

    pub fn lease(&self, id: LeaseId) -> Option<&Lease> {
        self.leases.iter().find(|lease| lease.id == id)
    }

    /// Running leases, oldest first.
    pub fn running(&self, pool: PoolId) -> Vec<&Lease> {
        let leases = self.leases.iter().filter(|lease| lease.pool == pool);
        leases.filter(|lease| lease.is_running(self.now)).collect()
    }

    /// Available tokens without a running lease, longest-free first.
    pub fn free(&self, pool: PoolId) -> Vec<&Token> {
        let mut free = vec![];
        for token in self.available(pool) {
            match self.latest(token.id).map(|lease| (lease.fence, lease.end_at(self.now))) {
                None => free.push((Timestamp::MIN, Fence::NONE, token)),
                Some((fence, Some(end))) => free.push((end.at, fence, token)),
                Some((_, None)) => {}
            }
        }
        free.sort_by_key(|&(at, fence, token)| (at, fence, token.position));
        free.into_iter().map(|(.., token)| token).collect()
    }

    /// Running leases whose end would make a token available, oldest first.
    pub fn useful(&self, pool: PoolId) -> Vec<&Lease> {
        let tokens = self.available(pool);
        let mut leases = self.running(pool);
        leases.retain(|lease| tokens.iter().any(|token| token.id == lease.token_id));
        leases
    }

    /// Running leases that may be evicted, oldest first, each with the time from which it may be.
    pub fn evictable(&self, pool: PoolId) -> Vec<(&Lease, Timestamp)> {
        let Policy { when_full, min_hold, .. } = self.policy(pool);
        let running = self.useful(pool).into_iter();
        let running = running.filter(|_| when_full == WhenFull::EvictOldest);
        running.map(|lease| (lease, lease.started_at.after(min_hold))).collect()
    }

    /// The queue of a pool.
    pub fn queue_of(&self, pool: PoolId) -> Vec<&Waiting> {
        self.queue.iter().filter(|waiting| waiting.asked.pool == pool).collect()
    }

    /// Number of tickets before this one in its pool.
    pub fn position_of(&self, lease_id: LeaseId) -> Option<usize> {
        let pool = self.queue.iter().find(|waiting| waiting.lease_id == lease_id)?.asked.pool;
        self.queue_of(pool).iter().position(|waiting| waiting.lease_id == lease_id)
    }

    /// The newest lease that has to be evicted, for a request or for the tickets before it, to serve the
    /// request for that token, or for any. `None` if it can't be served now.
    pub fn available_for(
        &self,
        pool: PoolId,
        token: Option<TokenId>,
        before: &[&Waiting],
    ) -> Option<Fence> {
        let free = self.free(pool).into_iter().map(|token| (Fence::NONE, token.id));
        let old = self.evictable(pool).into_iter().filter(|(_, from)| *from <= self.now);
        let old = old.map(|(lease, _)| (lease.fence, lease.token_id));
        let named: Vec<TokenId> = before.iter().filter_map(|w| w.asked.token).collect();
        let any = before.iter().filter(|waiting| waiting.asked.token.is_none()).count();
        let mut there: Vec<_> = free.chain(old).collect();
        there.retain(|(_, id)| !named.contains(id));
        let (needed, _) = *there.get(any)?;
        match token {
            None => Some(needed),
            Some(token) => {
                let own = there.iter().find(|(_, id)| *id == token).map(|(fence, _)| *fence);
                own.map(|own| own.max(needed))
            }
        }
    }

    /// All remembered keys, as a store would find them.
    pub fn remembered(&self) -> IdempotencyKeys {
        let found = self.keys.iter().map(|(key, used)| {
            let lease = self.lease(used.lease_id).unwrap().clone();
            let evicted = used.evicted.map(|id| self.lease(id).unwrap().clone());
            let (asked_lease, asked_wait) = (used.asked.lease, used.asked.wait);
            let value = self.any_token(lease.token_id).value.clone();
            let asked_token = used.asked.token.is_some();
            let remembered =
                Remembered { lease, value, evicted, asked_lease, asked_wait, asked_token };
            (key.clone(), remembered)
        });
        let room = self.most_keys - self.keys.len() as u64;
        IdempotencyKeys { found: found.collect(), room, ..IdempotencyKeys::default() }
    }

    /// Subtracts outages from every server's silence: time since the newest journal entry counts only
    /// up to a limit.
    pub fn forgive(&mut self, journal_at: Timestamp) {
        let beyond = self.now.since(journal_at).saturating_sub(MAX_COUNTED_GAP);
        if !self.shared || beyond.is_zero() {
            return;
        }
        let heard = self.queue.clone();
        for waiting in &mut self.queue {
            let same = heard.iter().filter(|other| other.server == waiting.server);
            waiting.heard_at = same.map(|other| other.heard_at).max().unwrap().after(beyond);
        }
    }

    pub fn begin(&mut self, server: ServerId, journal_at: Timestamp) {
        self.forgive(journal_at);
        (self.server, self.fence_before) = (server, self.fence());
        for lease in &mut self.leases {
            lease.end = lease.end_at(self.now);
        }
        let (now, shared) = (self.now, self.shared);
        for token in &mut self.tokens {
            let left = token.taints.iter().filter(|taint| taint.until.is_none_or(|at| at > now));
            token.taints = left.cloned().collect();
        }
        for waiting in self.queue.iter_mut().filter(|w| !shared && w.key.is_some()) {
            if waiting.server != server {
                (waiting.server, waiting.heard_at) = (server, now);
            }
        }
        for over in self.queue.iter().filter(|waiting| waiting.until <= now) {
            for known in self.timed_out.values_mut() {
                known.extend(over.key.clone().map(|key| (key, now)));
            }
        }
        for known in self.timed_out.values_mut() {
            known.retain(|_, at| at.after(TICKET_GRACE + MAX_COUNTED_GAP) > now);
        }
        self.queue.retain(|waiting| {
            let most = if waiting.key.is_some() {
                TICKET_GRACE + HEARTBEAT_INTERVAL + MAX_COUNTED_GAP
            } else {
                SERVER_TIMEOUT
            };
            let heard = shared && waiting.heard_at.after(most) > now;
            waiting.until > now && (waiting.server == server || heard)
        });
    }

    /// First ticket of the deciding server for which a token is available.
    pub fn next_in_queue(&self, connected: impl Fn(LeaseId) -> bool) -> Option<LeaseId> {
        let mut pools: Vec<PoolId> = self.present().map(|record| record.id).collect();
        pools.sort();
        for pool in pools {
            let queue = self.queue_of(pool);
            for (rank, waiting) in queue.iter().enumerate() {
                let needed = self.available_for(pool, waiting.asked.token, &queue[..rank]);
                let is_here = waiting.server == self.server && connected(waiting.lease_id);
                if is_here && needed.is_some_and(|fence| fence <= self.fence_before) {
                    return Some(waiting.lease_id);
                }
            }
        }
        None
    }

    pub fn give_up(&mut self, lease_id: LeaseId) {
        self.queue.retain(|waiting| waiting.lease_id != lease_id);
        self.given_up.push(lease_id);
    }

    pub fn leave(&mut self, lease_id: LeaseId) {
        self.queue.retain(|waiting| waiting.lease_id != lease_id);
    }

    /// The lease, if it is the latest of a token that is still there.
    pub fn if_latest(&self, id: LeaseId) -> Option<Lease> {
        let lease = self.lease(id)?;
        self.token(lease.pool, lease.token_id)?;
        (self.latest(lease.token_id)?.id == id).then(|| lease.clone())
    }

    pub fn end(&mut self, id: LeaseId, reason: EndReason) -> Lease {
        let lease = self.leases.iter_mut().find(|lease| lease.id == id).unwrap();
        lease.end = Some(End::new(self.now, reason));
        lease.clone()
    }
}
