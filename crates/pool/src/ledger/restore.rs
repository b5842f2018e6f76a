use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{
    ApiKey, Fence, Inconsistent, Lease, Ledger, PoolId, PoolRecord, Session, Ticket, Token,
};

/// What a ledger never uses again.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Last granted fence.
    pub fence: Fence,
    /// Largest number of a pool, of deleted ones too. `None` if no pool was ever created.
    pub last_pool: Option<PoolId>,
    /// Number of positions that each pool has given, to retired tokens too. A pool without an entry has
    /// only given those of the restored tokens.
    pub positions: BTreeMap<PoolId, u32>,
}

/// A ledger that is being built from its stored state, token by token.
#[derive(Debug)]
pub struct Restoring {
    ledger: Ledger,
    positions: BTreeMap<PoolId, u32>,
    keys: Vec<Arc<ApiKey>>,
}

impl Restoring {
    /// Begins with these pools, without tokens.
    ///
    /// # Errors
    ///
    /// [`Inconsistent`] if a number or name occurs twice.
    pub fn new(
        counters: Counters,
        pools: impl IntoIterator<Item = PoolRecord>,
    ) -> Result<Self, Inconsistent> {
        let Counters { fence, last_pool, positions } = counters;
        let mut ledger = Ledger { fence, ..Ledger::default() };
        for record in pools {
            ledger.create(&record)?;
        }
        ledger.last_pool = ledger.last_pool.max(last_pool);
        // Too much if many tokens are retired; `finish` returns what is left.
        let mut all: usize = 0;
        for (id, count) in &positions {
            if let Ok(pool) = ledger.pool_mut(*id) {
                let count = usize::try_from(*count).unwrap_or(usize::MAX);
                let count = count.min(Ledger::MAX_TOKENS - all);
                pool.reserve(count);
                all += count;
            }
        }
        ledger.tokens.reserve(all);
        ledger.leases.reserve(all);
        Ok(Restoring { ledger, positions, keys: Vec::new() })
    }

    /// Adds a token with its latest lease, running or over.
    ///
    /// # Errors
    ///
    /// [`Inconsistent`] if the token, its name or the lease occurs twice, the pool does not exist, the lease
    /// is of another token, or its fence is larger than the last one.
    pub fn add(&mut self, token: Token, latest: Option<Lease>) -> Result<(), Inconsistent> {
        let ledger = &mut self.ledger;
        let Token { id: token_id, pool: pool_id, .. } = token;
        if ledger.tokens.insert(token_id, pool_id).is_some() {
            return Err(Inconsistent(format!("token {token_id:?} occurs twice")));
        }
        let lease = latest.as_ref().map(|lease| lease.id);
        if let Some(Lease { end: None, by, .. }) = latest {
            ledger.access.lease_started(by);
        }
        if let Some(Lease { id, pool, token_id: of, fence, .. }) = &latest {
            if *fence > ledger.fence {
                return Err(Inconsistent(format!("lease {id:?} is newer than the newest fence")));
            }
            if (*pool, *of) != (pool_id, token_id) {
                return Err(Inconsistent(format!("lease {id:?} is not of token {token_id:?}")));
            }
        }
        let place = ledger.pool_mut(pool_id)?.restore(token, latest)?;
        if let Some(id) = lease
            && ledger.leases.insert(id, (pool_id, place)).is_some()
        {
            return Err(Inconsistent(format!("lease {id:?} occurs twice")));
        }
        Ok(())
    }

    /// Adds a key that was not revoked.
    pub fn add_key(&mut self, key: ApiKey) {
        self.keys.push(Arc::new(key));
    }

    /// The ledger. Retired tokens are only part of it while their lease is running; others are dropped.
    ///
    /// # Errors
    ///
    /// [`Inconsistent`] if the ledger contradicts itself.
    pub fn finish(self) -> Result<Ledger, Inconsistent> {
        let Restoring { mut ledger, positions, keys } = self;
        ledger.access.set(keys)?;
        ledger.tokens.shrink_to_fit();
        ledger.leases.shrink_to_fit();
        ledger.pools.values_mut().try_for_each(|pool| Arc::make_mut(pool).sort())?;
        for (id, count) in positions {
            // The pool may have been deleted.
            if let Ok(pool) = ledger.pool_mut(id) {
                pool.next_position = pool.next_position.max(count);
            }
        }
        ledger.drop_retired()?;
        let ids: Vec<PoolId> = ledger.pools.keys().copied().collect();
        ids.into_iter().try_for_each(|id| ledger.reschedule(id))?;
        Ok(ledger)
    }
}

impl Ledger {
    /// Fills the empty queues with these `tickets`, given in any order.
    ///
    /// # Errors
    ///
    /// [`Inconsistent`] if a number, lease or key occurs twice, or a ticket has no pool.
    pub fn with_queue(
        mut self,
        tickets: impl IntoIterator<Item = Ticket>,
    ) -> Result<Self, Inconsistent> {
        let mut tickets: Vec<Ticket> = tickets.into_iter().collect();
        tickets.sort_by_key(|ticket| ticket.number);
        if let Some(twice) = tickets.windows(2).find(|pair| pair[0].number == pair[1].number) {
            return Err(Inconsistent(format!("ticket {} occurs twice", twice[0].number)));
        }
        for ticket in tickets {
            self.waits.check(&ticket)?;
            self.pool_mut(ticket.pool)?.queue.add(ticket.clone())?;
            self.waits.add(&ticket);
        }
        Ok(self)
    }

    /// Adds these keys, without revoked ones, and these sessions.
    ///
    /// # Errors
    ///
    /// [`Inconsistent`] if a name or secret occurs twice.
    pub fn with_access(
        mut self,
        keys: impl IntoIterator<Item = ApiKey>,
        sessions: impl IntoIterator<Item = Session>,
    ) -> Result<Self, Inconsistent> {
        keys.into_iter().try_for_each(|key| self.access.put(&key))?;
        sessions.into_iter().try_for_each(|session| self.access.start(&session))?;
        Ok(self)
    }

    /// Removes the retired tokens without a running lease.
    fn drop_retired(&mut self) -> Result<(), Inconsistent> {
        let pools = self.pools.values().filter(|pool| pool.retiring() > 0);
        let tokens = pools.flat_map(|pool| pool.tokens(0));
        let retired = tokens.filter(|view| view.token.retired_at.is_some());
        let retired: Vec<_> = retired.map(|view| (view.token.pool, view.token.id)).collect();
        for (id, token) in retired {
            let pool = self.pool_mut(id)?;
            let left = pool.drop_retired(pool.place(token)?);
            self.left(&left);
        }
        Ok(())
    }
}
