use std::collections::HashMap;

use crate::{Change, Ledger, PoolId, PoolRecord, Timestamp, Token, TokenId};

/// Pools and tokens that changes of a plan are about, as they were before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Before {
    pools: HashMap<PoolId, PoolRecord>,
    /// With the deadline of the running lease.
    tokens: HashMap<TokenId, (Token, Option<Timestamp>)>,
}

impl Before {
    /// The record of a pool that existed.
    #[must_use]
    pub fn pool(&self, id: PoolId) -> Option<&PoolRecord> {
        self.pools.get(&id)
    }

    /// A token that existed and changes or is retired.
    #[must_use]
    pub fn token(&self, id: TokenId) -> Option<&Token> {
        self.tokens.get(&id).map(|(token, _)| token)
    }

    /// Deadline of the token's running lease.
    #[must_use]
    pub fn deadline(&self, id: TokenId) -> Option<Timestamp> {
        self.tokens.get(&id)?.1
    }
}

impl Ledger {
    /// What the changes of a plan at `now` are about, before they are applied.
    #[must_use]
    pub fn before(&self, changes: &[Change], now: Timestamp) -> Before {
        let mut before = Before::default();
        for change in changes {
            let (pool, token) = match change {
                Change::PoolChanged(record) => (record.id, None),
                Change::PoolDeleted { pool, .. } => (*pool, None),
                Change::TokenAdded(token) => (token.pool, None),
                Change::TokenChanged(token) => (token.pool, self.token(token.id)),
                Change::TokenRetired { token_id, .. } => match self.token(*token_id) {
                    Some(view) => (view.token.pool, Some(view)),
                    None => continue,
                },
                _ => continue,
            };
            if let Some(pool) = self.pool(pool) {
                before.pools.entry(pool.id()).or_insert_with(|| pool.record().clone());
            }
            if let Some(view) = token {
                let deadline = view.running(now).map(|lease| lease.expires_at);
                before.tokens.insert(view.token.id, (view.token.clone(), deadline));
            }
        }
        before
    }
}
