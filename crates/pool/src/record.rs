use serde::{Deserialize, Serialize};

use crate::{Note, Policy, PoolName, Timestamp};

/// Number of a pool. It is never used again, even after the pool was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PoolId(pub i32);

impl PoolId {
    /// The pool `default`.
    pub const DEFAULT: PoolId = PoolId(1);
}

/// A pool without its tokens and leases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRecord {
    /// Number of the pool.
    pub id: PoolId,
    /// Name, unique in the ledger.
    pub name: PoolName,
    /// Description, for people.
    pub description: Note,
    /// The policy. Serialized without it: the journal appends its document, so that fields can be added.
    #[serde(skip)]
    pub policy: Policy,
    /// Creation time.
    pub created_at: Timestamp,
}

impl PoolRecord {
    /// A pool without a description.
    #[must_use]
    pub fn new(id: PoolId, name: PoolName, policy: Policy, created_at: Timestamp) -> Self {
        PoolRecord { id, name, description: Note::default(), policy, created_at }
    }
}
