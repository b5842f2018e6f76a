//! Decides what a plan changes.

use std::collections::HashSet;

use super::tokens::Tokens;
use super::{Plan, PlanRefused, PlanRule, PoolWanted};
use crate::{
    Change, End, EndReason, Lease, Ledger, Membership, Policy, Pool, PoolId, PoolName, PoolRecord,
    Timestamp, TokenId,
};

impl Ledger {
    /// The changes by which `plan` becomes true at `now`. None if everything is as planned.
    ///
    /// # Errors
    ///
    /// [`PlanRefused`] if the plan breaks a rule.
    pub fn plan(&self, plan: &Plan, now: Timestamp) -> Result<Vec<Change>, PlanRefused> {
        let mut planner = Planner {
            ledger: self,
            plan,
            now,
            changes: Vec::new(),
            pools: self.pools().len(),
            tokens: self.size(),
            last_pool: self.last_pool().unwrap_or(PoolId::DEFAULT).max(PoolId::DEFAULT),
            fresh_ids: HashSet::new(),
        };
        let mut names: HashSet<&PoolName> = HashSet::new();
        // Deletions make room for other pools.
        let (deleted, wanted): (Vec<_>, Vec<_>) = plan.pools.iter().partition(|pool| pool.delete);
        for pool in deleted.into_iter().chain(wanted) {
            let refused = |refused: Refused| refused.of(&pool.name);
            if !names.insert(&pool.name) {
                return Err(refused(PlanRule::PoolTwice.into()));
            }
            planner.add(pool).map_err(refused)?;
        }
        Ok(planner.changes)
    }
}

/// A refusal, without the name of the pool.
pub(super) struct Refused {
    pub token: Option<String>,
    pub field: Option<&'static str>,
    pub rule: PlanRule,
}

impl From<PlanRule> for Refused {
    fn from(rule: PlanRule) -> Self {
        Refused { token: None, field: None, rule }
    }
}

impl Refused {
    fn of(self, pool: &PoolName) -> PlanRefused {
        let Refused { token, field, rule } = self;
        PlanRefused { pool: pool.clone(), token, field, rule }
    }
}

/// A plan and its effect so far.
struct Planner<'a> {
    ledger: &'a Ledger,
    plan: &'a Plan,
    now: Timestamp,
    changes: Vec<Change>,
    /// Number of pools.
    pools: usize,
    /// Number of tokens in all pools.
    tokens: usize,
    last_pool: PoolId,
    /// Ids of the new tokens.
    fresh_ids: HashSet<TokenId>,
}

impl Planner<'_> {
    fn add(&mut self, wanted: &PoolWanted) -> Result<(), Refused> {
        let pool = self.ledger.pool_named(&wanted.name);
        if !wanted.expected.is_met(pool.map(Pool::record)) {
            return Err(PlanRule::Unexpected.into());
        }
        match pool {
            None if wanted.delete => Err(PlanRule::UnknownPool.into()),
            Some(pool) if wanted.delete => self.delete(pool),
            _ => {
                let record = self.record(pool, wanted)?;
                self.add_tokens(pool, &record, wanted)
            }
        }
    }

    fn delete(&mut self, pool: &Pool) -> Result<(), Refused> {
        if pool.id() == PoolId::DEFAULT {
            return Err(PlanRule::DefaultPool.into());
        }
        if pool.policy().membership == Membership::Fixed {
            return Err(PlanRule::Fixed.into());
        }
        let running = pool.active(self.now);
        if running > 0 && !self.plan.end_leases {
            return Err(PlanRule::InUse { running }.into());
        }
        for lease in pool.running_leases() {
            let Lease { id: lease_id, fence, .. } = *lease;
            let cleared = End::new(self.now, EndReason::Cleared);
            let end = lease.end_at(self.now).unwrap_or(cleared);
            self.changes.push(Change::LeaseEnded { lease_id, fence, end });
        }
        for ticket in pool.tickets() {
            self.changes.push(Change::WaitGivenUp { lease_id: ticket.lease_id });
        }
        self.changes.push(Change::PoolDeleted { pool: pool.id(), at: self.now });
        self.pools -= 1;
        self.tokens -= pool.size();
        Ok(())
    }

    /// The pool's record by the plan.
    fn record(&mut self, pool: Option<&Pool>, wanted: &PoolWanted) -> Result<PoolRecord, Refused> {
        let before = pool.map(Pool::record);
        let policy = before.map_or_else(|| Policy::of_new(&wanted.name), |record| record.policy);
        let policy = wanted.policy.apply(policy).check().map_err(|invalid| {
            let (field, rule) = (Some(invalid.field), PlanRule::Policy(invalid));
            Refused { token: None, field, rule }
        })?;
        let description = wanted.description.clone();
        if let Some(before) = before {
            let description = description.unwrap_or_else(|| before.description.clone());
            let record = PoolRecord { description, policy, ..before.clone() };
            if record != *before {
                self.changes.push(Change::PoolChanged(record.clone()));
            }
            return Ok(record);
        }
        if self.pools >= Ledger::MAX_POOLS {
            return Err(PlanRule::TooManyPools.into());
        }
        self.pools += 1;
        let id = if wanted.name.is_default() && self.ledger.pool(PoolId::DEFAULT).is_none() {
            PoolId::DEFAULT
        } else {
            self.last_pool.0 += 1;
            self.last_pool
        };
        let description = description.unwrap_or_default();
        let name = wanted.name.clone();
        let record = PoolRecord { id, name, description, policy, created_at: self.now };
        self.changes.push(Change::PoolCreated(record.clone()));
        Ok(record)
    }

    fn add_tokens(
        &mut self,
        pool: Option<&Pool>,
        record: &PoolRecord,
        wanted: &PoolWanted,
    ) -> Result<(), Refused> {
        let Some(entries) = &wanted.tokens else { return Ok(()) };
        let prune = self.plan.prune && !wanted.keep_other_tokens;
        let tokens = Tokens::of(pool, entries, prune)?;
        let (room, now) = (Ledger::MAX_TOKENS.saturating_sub(self.tokens), self.now);
        let (left, new) = (tokens.leaving(now), tokens.new_count());
        if new > room + left {
            return Err(PlanRule::TooManyTokens.into());
        }
        self.tokens = self.tokens + new - left;
        let before = self.changes.len();
        self.changes.extend(tokens.changes(record.id, now));
        let fixed = |policy: Policy| policy.membership == Membership::Fixed;
        if pool.is_some_and(|pool| fixed(pool.policy())) && fixed(record.policy) {
            let name = self.changes[before..].iter().find_map(|change| match change {
                Change::TokenAdded(token) | Change::TokenChanged(token) => {
                    Some(token.name.to_string())
                }
                Change::TokenRetired { token_id, .. } => {
                    pool?.token(*token_id).map(|view| view.token.name.to_string())
                }
                _ => None,
            });
            if name.is_some() {
                return Err(Refused { token: name, field: None, rule: PlanRule::Fixed });
            }
        }
        for change in &self.changes[before..] {
            if let Change::TokenAdded(token) = change
                && (self.ledger.token(token.id).is_some() || !self.fresh_ids.insert(token.id))
            {
                let token = Some(token.name.to_string());
                return Err(Refused { token, field: None, rule: PlanRule::IdTaken });
            }
        }
        Ok(())
    }
}
