use pool::{
    Change, Labels, Lease, Policy, PoolId, PoolName, PoolRecord, Taints, Timestamp, Token, TokenId,
    TokenName, TokenValue,
};
use uuid::Uuid;

use crate::{BatchId, Error};

/// The pool `default` of a new ledger.
#[derive(Clone, Debug)]
pub struct NewPool {
    /// The policy.
    pub policy: Policy,
    /// The tokens, in the order of their positions.
    pub tokens: Vec<Token>,
    /// When it is made: the ledger's time of the journal's first entry.
    pub at: Timestamp,
}

impl NewPool {
    /// A pool of `size` new tokens, whose values can't be guessed (122 random bits from the
    /// operating system's generator).
    ///
    /// Ids rise with the position. Tokens that are granted together are mostly adjacent, so the index of
    /// leases by token gets its new entries on few pages, even when it has outgrown the memory for it.
    #[expect(clippy::disallowed_methods, reason = "tokens are made here and nowhere else")]
    #[must_use]
    pub fn random(size: usize, policy: Policy, at: Timestamp) -> Self {
        let mut ids: Vec<Uuid> = (0..size).map(|_| Uuid::new_v4()).collect();
        ids.sort_unstable();
        let token = |(position, id)| Token {
            id: TokenId(id),
            pool: PoolId::DEFAULT,
            position,
            name: TokenName::of_position(position),
            value: TokenValue::of_uuid(Uuid::new_v4()),
            labels: Labels::default(),
            taints: Taints::default(),
            inserted_at: at,
            retired_at: None,
        };
        NewPool { policy, tokens: (0..).zip(ids).map(token).collect(), at }
    }

    /// The changes that make the pool. They are not in the journal, since no copy is from before them.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let name = PoolName::default_pool();
        let record = PoolRecord::new(PoolId::DEFAULT, name, self.policy, self.at);
        let tokens = self.tokens.iter().cloned().map(Change::TokenAdded);
        std::iter::once(Change::PoolCreated(record)).chain(tokens).collect()
    }
}

/// Pool imported from another system.
pub struct ImportedPool<'a> {
    /// The policy, tokens and time.
    pub new: NewPool,
    /// The whole history, in fence order and with `previous_fence` set, a part at a time; `None`
    /// at its end. An error from here makes the whole import fail and leaves nothing behind.
    pub history: &'a mut (dyn LeaseSource + 'a),
}

/// Source of a history, a part at a time.
#[async_trait::async_trait]
pub trait LeaseSource: Send {
    /// The next leases, at most a few thousand; empty at the end.
    ///
    /// # Errors
    /// The failure of the source, as [`Error::Operator`] or [`Error::TryAgain`].
    async fn next(&mut self) -> Result<Vec<Lease>, Error>;
}

/// Names a journal entry that is written outside a server's batches: the first one, or a change of the
/// policy of `default`.
#[expect(clippy::disallowed_methods, reason = "such entries are made in this crate")]
pub(crate) fn batch_id() -> BatchId {
    BatchId(Uuid::new_v4())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_two_tokens_are_alike() {
        let at = Timestamp::from_micros(5);
        let new = NewPool::random(1000, Policy::of_lease(Duration::from_secs(1)), at);
        assert!(new.tokens.is_sorted_by_key(|token| token.id));
        let ids = new.tokens.iter().map(|token| token.id.0);
        let values = new.tokens.iter().map(|token| token.value.as_str());
        assert_eq!(values.collect::<HashSet<_>>().len(), 1000);
        assert_eq!(ids.collect::<HashSet<_>>().len(), 1000);
        assert_eq!((new.tokens[9].position, new.tokens[9].name.as_str()), (9, "10"));
        assert!(new.tokens.iter().all(|token| token.inserted_at == at));
        assert_ne!(batch_id(), batch_id());
    }
}
