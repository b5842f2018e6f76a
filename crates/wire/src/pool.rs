//! The pool of the old routes.

use serde::{Deserialize, Serialize};

use crate::{Lease, Policy};

/// Usage and policy of the pool.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Pool {
    /// Number of tokens.
    pub size: u64,
    /// Number of tokens with a running lease.
    pub active: u64,
    /// Number of tokens that the next allocations can get at once.
    pub available: u64,
    /// Number of requests that wait for a token, on all servers.
    pub waiting: u64,
    /// The lease that has run longest, which is the first to be evicted; null if none runs.
    pub oldest_lease: Option<Lease>,
    /// Epoch of the journal. A new one begins when entries may have been lost, such as after a failover.
    pub epoch: i64,
    /// Number of the newest entry of the journal.
    pub version: i64,
    /// The policy.
    pub policy: Policy,
}
