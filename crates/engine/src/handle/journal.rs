//! Events of earlier journal entries.

use std::collections::{HashMap, HashSet};

use pool::{Change, Lease, LeaseId, Ledger, PoolId, PoolName, TokenId, TokenName};
use store::Entry;

use crate::Error;
use crate::events::{Context, EventBatch, EventMaker};
use crate::handle::Handle;

/// Number of leases or tokens that one query looks up.
const AT_ONCE: usize = 1_000;

const WHAT: &str = "the journal was not read";

impl Handle {
    /// Returns the events of the journal's entries from that version of that epoch on, oldest
    /// first, of at most `limit` entries (1 at least); the first entry has exactly that version.
    /// None if the journal does not reach back that far, belongs to another history, or can't be
    /// read. Names are those that pools and tokens have now, or had last.
    ///
    /// # Errors
    ///
    /// As [`Handle::read`].
    pub async fn journal(
        &self,
        epoch: i64,
        version: i64,
        limit: usize,
    ) -> Result<Option<Vec<EventBatch>>, Error> {
        let reader = self.shared.reader().await?;
        let Some(entries) = self.in_time(WHAT, reader.journal(epoch, version, limit)).await? else {
            return Ok(None);
        };
        let recorded = self.recorded_for(&entries).await?;
        let mut maker = EventMaker::new(&recorded);
        Ok(entries.iter().map(|entry| maker.events(entry)).collect())
    }

    /// Looks up what the entries refer to.
    async fn recorded_for(&self, entries: &[Entry]) -> Result<Recorded, Error> {
        let reader = self.shared.reader().await?;
        let changes = || entries.iter().flat_map(|entry| &entry.changes);
        let touched = |change: &Change| match change {
            Change::LeaseEnded { lease_id, .. } | Change::LeaseRenewed { lease_id, .. } => {
                Some(*lease_id)
            }
            _ => None,
        };
        let mut recorded = Recorded::default();
        let ids: Vec<LeaseId> = changes().filter_map(touched).collect();
        for ids in ids.chunks(AT_ONCE) {
            let found = self.in_time(WHAT, reader.leases(ids)).await?;
            recorded.leases.extend(found.into_iter().map(|lease| (lease.id, lease)));
        }
        let (mut pools, mut tokens) = recorded.referred(changes());
        if let Some(copy) = self.shared.copy().as_ref() {
            recorded.take_names(&copy.ledger, &pools, &tokens);
        }
        // The rest was deleted or retired meanwhile.
        tokens.retain(|token| !recorded.tokens.contains_key(token));
        let tokens: Vec<TokenId> = tokens.into_iter().collect();
        for tokens in tokens.chunks(AT_ONCE) {
            for (token, pool, name) in self.in_time(WHAT, reader.token_names(tokens)).await? {
                recorded.tokens.insert(token, (pool, name));
                pools.insert(pool);
            }
        }
        pools.retain(|pool| !recorded.pools.contains_key(pool));
        if !pools.is_empty() {
            let pools: Vec<PoolId> = pools.into_iter().collect();
            let names = self.in_time(WHAT, reader.pool_names(&pools)).await?;
            recorded.pools.extend(names);
        }
        Ok(recorded)
    }
}

/// What journal entries refer to.
#[derive(Default)]
struct Recorded {
    leases: HashMap<LeaseId, Lease>,
    pools: HashMap<PoolId, PoolName>,
    tokens: HashMap<TokenId, (PoolId, TokenName)>,
}

impl Recorded {
    /// Pools and tokens whose names events of these changes have.
    fn referred<'a>(
        &self,
        changes: impl Iterator<Item = &'a Change>,
    ) -> (HashSet<PoolId>, HashSet<TokenId>) {
        let (mut pools, mut tokens) = (HashSet::new(), HashSet::new());
        for change in changes {
            let (pool, token) = match change {
                Change::LeaseStarted(lease) => (Some(lease.pool), Some(lease.token_id)),
                Change::LeaseEnded { lease_id, .. } | Change::LeaseRenewed { lease_id, .. } => {
                    let lease = self.leases.get(lease_id);
                    (lease.map(|lease| lease.pool), lease.map(|lease| lease.token_id))
                }
                Change::PoolDeleted { pool, .. } => (Some(*pool), None),
                Change::TokenAdded(token)
                | Change::TokenChanged(token)
                | Change::TokenTainted(token) => (Some(token.pool), None),
                Change::TokenRetired { token_id, .. } => (None, Some(*token_id)),
                _ => (None, None),
            };
            pools.extend(pool);
            tokens.extend(token);
        }
        (pools, tokens)
    }

    /// Takes the names that the ledger has.
    fn take_names(&mut self, ledger: &Ledger, pools: &HashSet<PoolId>, tokens: &HashSet<TokenId>) {
        for token in tokens {
            if let Some(named) = ledger.name_of_token(*token) {
                self.tokens.insert(*token, named);
            }
        }
        let of_tokens = self.tokens.values().map(|(pool, _)| pool);
        for pool in of_tokens.chain(pools) {
            if let Some(name) = ledger.name_of_pool(*pool) {
                self.pools.insert(*pool, name);
            }
        }
    }
}

impl Context for Recorded {
    fn lease(&self, id: LeaseId) -> Option<Lease> {
        self.leases.get(&id).cloned()
    }

    fn name_of_pool(&self, id: PoolId) -> Option<PoolName> {
        self.pools.get(&id).cloned()
    }

    fn name_of_token(&self, id: TokenId) -> Option<(PoolId, TokenName)> {
        self.tokens.get(&id).cloned()
    }
}
