//! Leases. Answers about leases never contain the value of a token.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{EndReason, LeaseStatus, Released, Seconds, Time};

/// A lease, running or ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Lease {
    /// Id of the lease.
    pub lease_id: Uuid,
    /// Id of its token.
    pub token_id: Uuid,
    /// Name of the holder as sent.
    pub user: Arc<str>,
    /// Identity of the holder.
    pub user_id: Uuid,
    /// `active` while the lease runs.
    pub status: LeaseStatus,
    /// Start of the lease.
    pub started_at: Time,
    /// Deadline of the lease.
    pub expires_at: Time,
    /// Time left until the deadline; 0 after the end.
    pub expires_in: Seconds,
    /// Fencing number: larger than that of every earlier lease of the pool.
    pub fence: i64,
    /// End of the lease; null while it runs.
    pub ended_at: Option<Time>,
    /// Why the lease ended; null while it runs.
    pub end_reason: Option<EndReason>,
    /// Id of the lease for which this one was evicted, or null.
    pub evicted_by: Option<Uuid>,
    /// Name of the pool. Present if the request names a pool or a single lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Arc<str>>,
    /// Name of the token. Present if `pool` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_name: Option<Arc<str>>,
    /// Note of the request for the lease. Present if `pool` is and the request had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Arc<str>>,
    /// Id of the API key that allocated the lease. Absent if no key did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Id of the API key that ended the lease. Absent if no key did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
}

/// A lease, and the current lease of its token if that is another one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LeaseDetails {
    /// The lease.
    #[serde(flatten)]
    pub lease: Lease,
    /// The lease that holds the token after this one ended, or null.
    pub current: Option<CurrentLease>,
}

/// The running lease of a token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CurrentLease {
    /// Id of the lease.
    pub lease_id: Uuid,
    /// Name of the holder as sent.
    pub user: Arc<str>,
    /// Identity of the holder.
    pub user_id: Uuid,
    /// Fencing number of the lease.
    pub fence: i64,
    /// Start of the lease.
    pub started_at: Time,
    /// Deadline of the lease.
    pub expires_at: Time,
}

/// Answer to the release of a lease.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LeaseReleased {
    /// Always `released`.
    pub status: Released,
    /// Id of the lease.
    pub lease_id: Uuid,
    /// Id of its token.
    pub token_id: Uuid,
    /// Name of the holder as sent.
    pub user: Arc<str>,
    /// Identity of the holder.
    pub user_id: Uuid,
    /// Fencing number of the lease.
    pub fence: i64,
    /// Start of the lease.
    pub started_at: Time,
    /// End of the lease.
    pub ended_at: Time,
}

/// A page of a search.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LeasePage {
    /// The leases, newest first. A page may have fewer than `limit` leases, even none, although a next
    /// page exists.
    pub leases: Vec<Lease>,
    /// Path of the next page with the same parameters; null on the last page.
    pub next: Option<String>,
}
