//! Plans: how pools and their tokens are to be.

mod before;
mod pools;
mod tokens;

pub use before::Before;

use crate::{
    InvalidPolicy, Labels, Ledger, Note, PolicyPatch, PoolName, PoolRecord, TokenId, TokenName,
    TokenValue,
};

/// Wanted state of some pools. Applied as a whole or not at all; applying it again changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The pools, each at most once. Others stay as they are.
    pub pools: Vec<PoolWanted>,
    /// Whether tokens that the plan does not name are retired, in the pools whose tokens it names.
    pub prune: bool,
    /// Whether running leases of deleted pools are ended. Otherwise the plan is refused.
    pub end_leases: bool,
}

/// Wanted state of a pool, which is created if necessary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolWanted {
    /// Name of the pool.
    pub name: PoolName,
    /// Description. `None` leaves it unchanged, or empty for a new pool.
    pub description: Option<Note>,
    /// Changes to the policy; of a new pool, to that of [`Policy::of_new`](crate::Policy::of_new).
    pub policy: PolicyPatch,
    /// Tokens. `None` leaves them unchanged.
    pub tokens: Option<Vec<TokenWanted>>,
    /// Whether the pool is deleted instead. Then the members above have no effect.
    pub delete: bool,
    /// Whether other tokens of this pool stay even if [`Plan::prune`] is set.
    pub keep_other_tokens: bool,
    /// Condition on the present pool.
    pub expected: Expected,
}

/// Condition on a pool before a plan, without which the plan is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// None.
    #[default]
    Any,
    /// The pool exists.
    Present,
    /// The pool does not exist.
    Absent,
    /// The pool has this record.
    Same(Box<PoolRecord>),
}

impl Expected {
    pub(crate) fn is_met(&self, record: Option<&PoolRecord>) -> bool {
        match self {
            Expected::Any => true,
            Expected::Present => record.is_some(),
            Expected::Absent => record.is_none(),
            Expected::Same(expected) => record == Some(expected),
        }
    }
}

/// Wanted state of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenWanted {
    /// Which token, and whether it is created, changed or retired.
    pub intent: Intent,
    /// Name. See [`Intent::Put`] for a token without one.
    pub name: Option<TokenName>,
    /// Value. `None` leaves it unchanged, or takes `fresh_value` for a new token.
    pub value: Option<TokenValue>,
    /// Labels. `None` leaves them unchanged, or empty for a new token.
    pub labels: Option<Labels>,
    /// Id of the token, if it is new. Never used before.
    pub fresh_id: TokenId,
    /// Value of the token, if it is new and the plan names none.
    pub fresh_value: TokenValue,
}

/// Meaning of a [`TokenWanted`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Intent {
    /// The token with this name, or a new one. Without a name, it is a token with the same value that no
    /// other entry means, or any such token if the entry has no value either; and otherwise a new token,
    /// named after its position.
    #[default]
    Put,
    /// A new token. Its name must not be in use. Without a name, it is named after its position.
    Create,
    /// The token with this id, which gets the name, if there is one.
    Change(TokenId),
    /// The token with this id is retired. The members have no effect.
    Retire(TokenId),
}

/// A plan that breaks a rule. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pool {pool}{}: {rule}", token.as_ref().map(|token| format!(", token {token}")).unwrap_or_default())]
pub struct PlanRefused {
    /// The pool.
    pub pool: PoolName,
    /// Name or, without one, id of the token, if the rule is about a token.
    pub token: Option<String>,
    /// The member, if the rule is about one: `name`, or that of a policy's field.
    pub field: Option<&'static str>,
    /// The rule.
    pub rule: PlanRule,
}

/// Rule that a plan breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanRule {
    /// The plan has the pool twice.
    #[error("the plan has this pool twice")]
    PoolTwice,
    /// The present pool does not meet the condition of the plan.
    #[error("the pool is not as expected: it was changed, created or deleted")]
    Unexpected,
    /// The plan deletes a pool that does not exist.
    #[error("this pool does not exist")]
    UnknownPool,
    /// The plan deletes the pool `default`.
    #[error("the pool `default` can't be deleted, because requests that name no pool use it")]
    DefaultPool,
    /// The plan deletes a pool with running leases.
    #[error("{running} of its leases run: release them first, or end them with `end_leases`")]
    InUse {
        /// Number of running leases.
        running: usize,
    },
    /// The plan changes the tokens of a pool with fixed membership, or deletes it.
    #[error("its tokens are fixed: set `membership` to `open` first")]
    Fixed,
    /// The policy is invalid.
    #[error("{0}")]
    Policy(InvalidPolicy),
    /// The plan has the token twice.
    #[error("the plan has this token twice")]
    TokenTwice,
    /// The pool has no token with this id.
    #[error("the pool has no such token")]
    UnknownToken,
    /// The token is being retired.
    #[error("the token is being retired")]
    Retired,
    /// Another token of the pool has the name.
    #[error("another token has this name")]
    NameTaken,
    /// The id of a new token is not new.
    #[error("a token with the id of this new token exists")]
    IdTaken,
    /// The ledger would have too many pools.
    #[error("the limit is {} pools", Ledger::MAX_POOLS)]
    TooManyPools,
    /// The ledger would have too many tokens.
    #[error("the limit is {} tokens in all pools", Ledger::MAX_TOKENS)]
    TooManyTokens,
}

impl PoolWanted {
    /// A pool with this name, with nothing else wanted.
    #[must_use]
    pub fn new(name: PoolName) -> Self {
        PoolWanted {
            name,
            description: None,
            policy: PolicyPatch::NONE,
            tokens: None,
            delete: false,
            keep_other_tokens: false,
            expected: Expected::Any,
        }
    }
}

impl TokenWanted {
    /// A token with this name, if any, with nothing else wanted.
    #[must_use]
    pub fn new(name: Option<TokenName>, fresh_id: TokenId, fresh_value: TokenValue) -> Self {
        let (intent, value, labels) = (Intent::Put, None, None);
        TokenWanted { intent, name, value, labels, fresh_id, fresh_value }
    }
}
