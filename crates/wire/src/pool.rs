//! The pool and its policy.

use serde::{Deserialize, Serialize};

use crate::{Lease, Seconds, WhenFull};

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

/// Rules that the owner of the pool has chosen.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Policy {
    /// What the pool does with a request while all tokens are in use.
    pub when_full: WhenFull,
    /// Default and maximum duration that a request may ask for.
    pub lease_seconds: Seconds,
    /// Maximum duration of a lease from its start, with all renewals.
    pub max_lease_seconds: Seconds,
    /// Leases younger than this are never evicted.
    pub min_hold_seconds: Seconds,
    /// Maximum number of leases of one user at a time; null if unlimited.
    pub max_per_user: Option<u32>,
}
