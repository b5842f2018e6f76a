//! Rows of the simulated database, as of one journal entry.

use std::collections::BTreeMap;
use std::sync::Arc;

use pool::{
    ApiKey, ApiKeyId, Change, Counters, Fence, KeyUse, Lease, LeaseId, Ledger, PoolId, PoolName,
    PoolRecord, Remembered, Restoring, Ticket, Timestamp, Token, TokenId, UserKey,
};
use store::Entry;
use uuid::Uuid;

/// An entry of the journal, with the rows as they are after it.
#[derive(Clone)]
pub struct Stored {
    /// The entry.
    pub entry: Entry,
    /// Number of failovers before it.
    pub timeline: u32,
    /// The rows.
    pub after: Arc<Tables>,
}

/// Identifies an idempotency key: the user, and the text.
pub type KeyText = (Uuid, String);

/// The rows. Nothing is ever deleted but tickets.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Pools.
    pub pools: BTreeMap<PoolId, PoolRecord>,
    /// Names of pools, of deleted ones too.
    pub names: BTreeMap<PoolId, PoolName>,
    /// Tokens, retired ones too.
    pub tokens: BTreeMap<TokenId, Token>,
    /// Leases, with the latest of each token.
    pub leases: BTreeMap<LeaseId, Lease>,
    /// The latest lease of each token.
    pub latest: BTreeMap<TokenId, LeaseId>,
    /// The queue, in the order of its numbers.
    pub tickets: BTreeMap<i64, Ticket>,
    /// Uses of idempotency keys.
    pub keys: BTreeMap<KeyText, KeyUse>,
    /// API keys, revoked ones too.
    pub api_keys: BTreeMap<ApiKeyId, ApiKey>,
    /// The lease evicted for each lease.
    pub evicted: BTreeMap<LeaseId, LeaseId>,
    /// The newest fence.
    pub fence: Fence,
    /// The largest number of a pool so far.
    pub last_pool: Option<PoolId>,
}

/// The text of a key.
#[must_use]
pub fn text(key: &UserKey) -> KeyText {
    (key.user.0, key.key.as_str().to_owned())
}

impl Tables {
    /// Writes a change.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::LeaseStarted(lease) => {
                if let Some(before) = self.latest.insert(lease.token_id, lease.id)
                    && self.leases[&before].end.is_some_and(|end| {
                        end.reason == pool::EndReason::Evicted && end.at == lease.started_at
                    })
                {
                    self.evicted.insert(lease.id, before);
                }
                self.fence = self.fence.max(lease.fence);
                self.leases.insert(lease.id, lease.clone());
            }
            Change::LeaseEnded { lease_id, end, .. } => {
                self.lease(*lease_id, |lease| lease.end = Some(*end));
            }
            Change::LeaseRenewed { lease_id, expires_at, .. } => {
                self.lease(*lease_id, |lease| lease.expires_at = *expires_at);
            }
            Change::PoolCreated(record) | Change::PoolChanged(record) => {
                self.pools.insert(record.id, record.clone());
                self.names.insert(record.id, record.name.clone());
                self.last_pool = self.last_pool.max(Some(record.id));
            }
            Change::PoolDeleted { pool, at } => {
                self.pools.remove(pool);
                let tokens = self.tokens.values_mut().filter(|token| token.pool == *pool);
                tokens.for_each(|token| token.retired_at = token.retired_at.or(Some(*at)));
            }
            Change::TokenAdded(token)
            | Change::TokenChanged(token)
            | Change::TokenTainted(token) => {
                self.tokens.insert(token.id, token.clone());
            }
            Change::TokenRetired { token_id, at } => {
                if let Some(token) = self.tokens.get_mut(token_id) {
                    token.retired_at = Some(*at);
                }
            }
            Change::WaitStarted(ticket) => {
                self.tickets.insert(ticket.number, ticket.clone());
            }
            Change::WaitEnded { lease_id }
            | Change::WaitTimedOut { lease_id, .. }
            | Change::WaitGivenUp { lease_id } => {
                self.tickets.retain(|_, ticket| ticket.lease_id != *lease_id);
            }
            Change::ServerHeard { server, at } => {
                let tickets = self.tickets.values_mut().filter(|ticket| ticket.server == *server);
                tickets.for_each(|ticket| ticket.heard_at = *at);
            }
            Change::WaitMoved { lease_id, server, at } => {
                let tickets =
                    self.tickets.values_mut().filter(|ticket| ticket.lease_id == *lease_id);
                tickets.for_each(|ticket| (ticket.server, ticket.heard_at) = (*server, *at));
            }
            Change::KeyChanged(key) => {
                self.api_keys.insert(key.id, key.clone());
            }
            Change::WaitTimeoutDelivered { .. }
            | Change::SessionStarted(_)
            | Change::SessionEnded(_)
            | Change::Acted(_) => {}
        }
    }

    fn lease(&mut self, id: LeaseId, change: impl FnOnce(&mut Lease)) {
        if let Some(lease) = self.leases.get_mut(&id) {
            change(lease);
        }
    }

    /// The token's latest lease.
    #[must_use]
    pub fn latest_of(&self, token: TokenId) -> Option<&Lease> {
        self.latest.get(&token).and_then(|id| self.leases.get(id))
    }

    /// The tokens of a pool, without retired ones whose lease is over.
    pub fn tokens_of(&self, pool: PoolId) -> impl Iterator<Item = &Token> {
        let open =
            |token: &Token| self.latest_of(token.id).is_some_and(|lease| lease.end.is_none());
        let tokens = self.tokens.values().filter(move |token| token.pool == pool);
        tokens.filter(move |token| token.retired_at.is_none() || open(token))
    }

    /// The running leases at a moment.
    pub fn running(&self, now: Timestamp) -> impl Iterator<Item = &Lease> {
        let latest = self.latest.values().filter_map(|id| self.leases.get(id));
        latest.filter(move |lease| lease.is_running(now))
    }

    /// The queue of a pool.
    pub fn queue(&self, pool: PoolId) -> impl Iterator<Item = &Ticket> {
        self.tickets.values().filter(move |ticket| ticket.pool == pool)
    }

    /// The ticket with this id.
    #[must_use]
    pub fn ticket(&self, id: LeaseId) -> Option<&Ticket> {
        self.tickets.values().find(|ticket| ticket.lease_id == id)
    }

    /// The record of a used key.
    #[must_use]
    pub fn remembered(&self, key: &UserKey) -> Option<Remembered> {
        let used = self.keys.get(&text(key))?;
        let lease = self.leases.get(&used.lease_id)?.clone();
        let evicted = self.evicted.get(&lease.id).and_then(|id| self.leases.get(id)).cloned();
        let value = self.tokens.get(&lease.token_id)?.value.clone();
        let KeyUse { asked_lease, asked_wait, asked_token, .. } = *used;
        Some(Remembered { lease, value, evicted, asked_lease, asked_wait, asked_token })
    }

    /// The ledger, as a server loads it.
    ///
    /// # Panics
    ///
    /// If the rows contradict each other, which the model reports before.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let mut positions = BTreeMap::new();
        for token in self.tokens.values() {
            let count: &mut u32 = positions.entry(token.pool).or_default();
            *count = (*count).max(token.position + 1);
        }
        let counters = Counters { fence: self.fence, last_pool: self.last_pool, positions };
        let mut restoring =
            Restoring::new(counters, self.pools.values().cloned()).expect("pools are distinct");
        for pool in self.pools.keys() {
            for token in self.tokens_of(*pool) {
                let latest = self.latest_of(token.id).cloned();
                restoring.add(token.clone(), latest).expect("tokens and leases are consistent");
            }
        }
        let keys = self.api_keys.values().filter(|key| key.revoked_at.is_none()).cloned();
        let ledger = restoring.finish().expect("the rows are consistent");
        let ledger =
            ledger.with_queue(self.tickets.values().cloned()).expect("tickets are distinct");
        ledger.with_access(keys, []).expect("names of API keys are distinct")
    }
}
