mod read;
mod restore;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::state::Left;
use crate::waits::Waits;
use crate::{
    Access, Batch, BatchContext, Change, Fence, Inconsistent, Lease, LeaseId, Pool, PoolId,
    PoolName, PoolRecord, Ticket, Timestamp, Token, TokenId,
};

pub use restore::{Counters, Restoring};

/// The content of one database: pools of tokens, with one sequence of fences and of ticket numbers.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Copies of a ledger share the pools in which neither has changed since.
    pools: BTreeMap<PoolId, Arc<Pool>>,
    names: BTreeMap<PoolName, PoolId>,
    /// The pool of each token.
    tokens: HashMap<TokenId, PoolId>,
    /// The pool of each token's latest lease, and the token's place there.
    leases: HashMap<LeaseId, (PoolId, u32)>,
    /// The next deadline of each pool that has one.
    deadlines: BTreeSet<(Timestamp, PoolId)>,
    /// Largest number of a pool so far.
    last_pool: Option<PoolId>,
    fence: Fence,
    pub(crate) waits: Waits,
    pub(crate) access: Access,
}

impl Ledger {
    /// Maximum number of pools.
    pub const MAX_POOLS: usize = 10_000;

    /// Maximum number of tokens in all pools.
    pub const MAX_TOKENS: usize = 1_000_000;

    /// Begins a batch of commands at one moment. First ends the leases and taints that are past their
    /// deadline.
    pub fn batch(&mut self, context: impl Into<BatchContext>) -> Batch<'_> {
        Batch::begin(self, context.into())
    }

    /// Applies a change that was decided here or by another server.
    ///
    /// # Errors
    ///
    /// [`Inconsistent`] if the change does not fit this state; the ledger is then unchanged.
    pub fn apply(&mut self, change: &Change) -> Result<(), Inconsistent> {
        match change {
            Change::LeaseStarted(lease) => self.start(lease),
            Change::LeaseEnded { lease_id, fence, end } => {
                let (id, place) = self.place_of(*lease_id)?;
                let pool = self.pool_mut(id)?;
                let by = pool.view(place).latest.and_then(|lease| lease.by);
                let left = pool.end(place, *fence, *end)?;
                self.access.lease_ended(by);
                self.left(&left);
                self.reschedule(id)
            }
            Change::LeaseRenewed { lease_id, fence, expires_at } => {
                let (id, place) = self.place_of(*lease_id)?;
                self.pool_mut(id)?.renew(place, *fence, *expires_at)?;
                self.reschedule(id)
            }
            Change::PoolCreated(record) => self.create(record),
            Change::PoolChanged(record) => {
                let pool = self.pool_mut(record.id)?;
                if pool.record.name != record.name {
                    return Err(Inconsistent(format!("{:?} has another name", record.id)));
                }
                pool.record = record.clone();
                Ok(())
            }
            Change::PoolDeleted { pool, .. } => self.delete(*pool),
            Change::TokenAdded(token) => self.add(token),
            Change::TokenChanged(token) | Change::TokenTainted(token) => {
                self.pool_mut(token.pool)?.change(token)?;
                self.reschedule(token.pool)
            }
            Change::TokenRetired { token_id, at } => {
                let id = self.pool_of(*token_id)?;
                let left = self.pool_mut(id)?.retire(*token_id, *at)?;
                self.left(&left);
                self.reschedule(id)
            }
            Change::KeyChanged(key) => self.access.put(key),
            Change::SessionStarted(session) => self.access.start(session),
            Change::SessionEnded(hash) => {
                self.access.end(hash);
                Ok(())
            }
            // In the journal and the audit log only.
            Change::Acted(_) => Ok(()),
            wait => self.apply_wait(wait),
        }
    }

    fn apply_wait(&mut self, change: &Change) -> Result<(), Inconsistent> {
        match change {
            Change::WaitStarted(ticket) => {
                self.waits.check(ticket)?;
                self.pool_mut(ticket.pool)?.queue.add(ticket.clone())?;
                self.waits.add(ticket);
            }
            Change::WaitEnded { lease_id } => {
                self.remove_ticket(*lease_id)?;
            }
            Change::WaitTimedOut { lease_id, at } => {
                let ticket = self.remove_ticket(*lease_id)?;
                self.waits.time_out(&ticket, *at);
            }
            Change::WaitGivenUp { lease_id } => {
                self.remove_ticket(*lease_id)?;
                self.waits.give_up(*lease_id);
            }
            Change::WaitTimeoutDelivered { user, key } => self.waits.time_out_told(&key.of(*user)),
            Change::WaitMoved { lease_id, server, at } => {
                let pool = self.waits.pool_of(*lease_id).ok_or_else(|| no_ticket(*lease_id))?;
                self.pool_mut(pool)?.queue.transfer(*lease_id, *server, *at);
            }
            Change::ServerHeard { server, at } => {
                for id in self.waits.pools() {
                    if let Some(pool) = self.pools.get_mut(&id) {
                        Arc::make_mut(pool).queue.hear(*server, *at);
                    }
                }
            }
            other => unreachable!("{} is no change of a queue", other.name()),
        }
        Ok(())
    }

    fn start(&mut self, lease: &Lease) -> Result<(), Inconsistent> {
        if lease.fence <= self.fence {
            return Err(Inconsistent(format!("{:?} was given before", lease.fence)));
        }
        let Entry::Vacant(entry) = self.leases.entry(lease.id) else {
            return Err(Inconsistent(format!("lease {:?} occurs twice", lease.id)));
        };
        let pool = self.pools.get_mut(&lease.pool).ok_or_else(|| no_pool(lease.pool))?;
        let pool = Arc::make_mut(pool);
        let (place, before) = pool.start(lease)?;
        let is_next = pool.scheduled.is_none_or(|next| lease.expires_at < next);
        entry.insert((lease.pool, place));
        if let Some(before) = before {
            self.leases.remove(&before);
        }
        self.fence = lease.fence;
        self.access.lease_started(lease.by);
        if is_next { self.reschedule(lease.pool) } else { Ok(()) }
    }

    fn create(&mut self, record: &PoolRecord) -> Result<(), Inconsistent> {
        let PoolRecord { id, ref name, .. } = *record;
        if self.pools.contains_key(&id) || self.names.contains_key(name) {
            return Err(Inconsistent(format!("{id:?} or its name occurs twice")));
        }
        self.names.insert(name.clone(), id);
        self.pools.insert(id, Arc::new(Pool::new(record.clone())));
        self.last_pool = self.last_pool.max(Some(id));
        Ok(())
    }

    fn delete(&mut self, id: PoolId) -> Result<(), Inconsistent> {
        let pool = self.pool(id).ok_or_else(|| no_pool(id))?;
        if pool.running_leases().next().is_some() || !pool.queue.is_empty() {
            return Err(Inconsistent(format!("{id:?} is in use")));
        }
        let Some(pool) = self.pools.remove(&id) else { return Ok(()) };
        self.names.remove(pool.name());
        for view in pool.tokens(0) {
            self.tokens.remove(&view.token.id);
            if let Some(latest) = view.latest {
                self.leases.remove(&latest.id);
            }
        }
        if let Some(scheduled) = pool.scheduled {
            self.deadlines.remove(&(scheduled, id));
        }
        Ok(())
    }

    fn add(&mut self, token: &Token) -> Result<(), Inconsistent> {
        let Token { id, pool, position, .. } = *token;
        if self.tokens.contains_key(&id) {
            return Err(Inconsistent(format!("token {id:?} occurs twice")));
        }
        let pool = self.pool_mut(pool)?;
        if position < pool.next_position {
            return Err(Inconsistent(format!("position {position} was given before")));
        }
        pool.add(token.clone())?;
        self.tokens.insert(id, token.pool);
        self.reschedule(token.pool)
    }

    /// Forgets a token that left its pool.
    fn left(&mut self, left: &Left) {
        if let Left::Token(token, latest) = left {
            self.tokens.remove(token);
            if let Some(latest) = latest {
                self.leases.remove(latest);
            }
        }
    }

    fn remove_ticket(&mut self, lease_id: LeaseId) -> Result<Ticket, Inconsistent> {
        let pool = self.waits.pool_of(lease_id).ok_or_else(|| no_ticket(lease_id))?;
        let queue = &mut self.pool_mut(pool)?.queue;
        let ticket = queue.remove(lease_id).ok_or_else(|| no_ticket(lease_id))?;
        let is_empty = queue.is_empty();
        self.waits.remove(&ticket, is_empty);
        Ok(ticket)
    }

    /// Records the next deadline of a pool that changed.
    fn reschedule(&mut self, id: PoolId) -> Result<(), Inconsistent> {
        let pool = self.pools.get_mut(&id).ok_or_else(|| no_pool(id))?;
        let next = pool.next_deadline();
        if pool.scheduled != next {
            let before = std::mem::replace(&mut Arc::make_mut(pool).scheduled, next);
            // In this order, a set of one pool keeps its memory.
            self.deadlines.extend(next.map(|at| (at, id)));
            if let Some(before) = before {
                self.deadlines.remove(&(before, id));
            }
        }
        Ok(())
    }

    fn pool_mut(&mut self, id: PoolId) -> Result<&mut Pool, Inconsistent> {
        self.pools.get_mut(&id).map(Arc::make_mut).ok_or_else(|| no_pool(id))
    }

    fn pool_of(&self, token: TokenId) -> Result<PoolId, Inconsistent> {
        let pool = self.tokens.get(&token).copied();
        pool.ok_or_else(|| Inconsistent(format!("token {token:?} is in no pool")))
    }

    fn place_of(&self, lease_id: LeaseId) -> Result<(PoolId, u32), Inconsistent> {
        let place = self.leases.get(&lease_id).copied();
        place.ok_or_else(|| Inconsistent(format!("lease {lease_id:?} is the latest of no token")))
    }

    /// Skips `count` fences, so that a fence that may have been granted before is not granted again.
    ///
    /// Used when a failover may have lost grants that were acknowledged.
    pub fn skip_fences(&mut self, count: i64) {
        self.fence = self.fence.plus(count);
    }
}

fn no_pool(id: PoolId) -> Inconsistent {
    Inconsistent(format!("{id:?} does not exist"))
}

fn no_ticket(lease_id: LeaseId) -> Inconsistent {
    Inconsistent(format!("there is no ticket for lease {lease_id:?}"))
}
