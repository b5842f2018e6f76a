use std::collections::BTreeMap;

use crate::{
    ApiKey, Fence, Inconsistent, Lease, Ledger, PoolId, PoolRecord, Session, Ticket, Token,
};

use super::no_pool;

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

impl Ledger {
    /// Builds a ledger from its stored state: the pools, their tokens, and the latest lease of each token
    /// (running or over). Retired tokens are only part of it while their lease is running; others are
    /// skipped.
    ///
    /// # Errors
    ///
    /// [`Inconsistent`] if a pool, token or fence occurs twice, a token has no pool, a lease has no token,
    /// or a fence is larger than the last one.
    pub fn restore(
        counters: Counters,
        pools: impl IntoIterator<Item = PoolRecord>,
        tokens: impl IntoIterator<Item = Token>,
        latest: impl IntoIterator<Item = Lease>,
    ) -> Result<Self, Inconsistent> {
        let Counters { fence, last_pool, positions } = counters;
        let mut ledger = Ledger { fence, ..Ledger::default() };
        for record in pools {
            ledger.create(&record)?;
        }
        ledger.last_pool = ledger.last_pool.max(last_pool);
        for token in tokens {
            if ledger.tokens.insert(token.id, token.pool).is_some() {
                return Err(Inconsistent(format!("token {:?} occurs twice", token.id)));
            }
            ledger.pool_mut(token.pool)?.add(token)?;
        }
        for (id, count) in positions {
            // The pool may have been deleted.
            if let Ok(pool) = ledger.pool_mut(id) {
                pool.next_position = pool.next_position.max(count);
            }
        }
        for lease in latest {
            ledger.restore_latest(lease)?;
        }
        ledger.drop_retired()?;
        let ids: Vec<PoolId> = ledger.pools.keys().copied().collect();
        ids.into_iter().try_for_each(|id| ledger.reschedule(id))?;
        Ok(ledger)
    }

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

    fn restore_latest(&mut self, lease: Lease) -> Result<(), Inconsistent> {
        let Lease { id, pool, fence, end, by, .. } = lease;
        if fence > self.fence {
            return Err(Inconsistent(format!("lease {id:?} is newer than the newest fence")));
        }
        if self.leases.contains_key(&id) {
            return Err(Inconsistent(format!("lease {id:?} occurs twice")));
        }
        let pool_id = pool;
        let pool = self.pools.get_mut(&pool).ok_or_else(|| no_pool(pool))?;
        let place = pool.place(lease.token_id)?;
        if pool.running.contains_key(&fence) || pool.last.contains_key(&fence) {
            return Err(Inconsistent(format!("{fence:?} occurs twice")));
        }
        if pool.slots[place].latest.is_some() {
            return Err(Inconsistent(format!("lease {id:?} is not its token's only latest")));
        }
        pool.set_latest(place, lease);
        self.leases.insert(id, (pool_id, place));
        if end.is_none() {
            self.access.lease_started(by);
        }
        if let Some(end) = end {
            let left = pool.end(place, fence, end)?;
            self.left(&left);
        }
        Ok(())
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
