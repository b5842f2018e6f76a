//! Data of the event stream.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{EndReason, PoolPolicy, ResyncReason, Taint, Time};

/// Data of the event `lease.renewed`, and of every other event about a lease.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LeaseRenewed {
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
    /// Deadline of the lease.
    pub expires_at: Time,
    /// Name of the pool. Present if the stream names pools.
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
}

/// Data of the event `lease.started`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LeaseStarted {
    /// The lease.
    #[serde(flatten)]
    pub lease: LeaseRenewed,
    /// Id of the lease that was evicted for this one, or null.
    pub evicted: Option<Uuid>,
}

/// Data of the event `lease.ended`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LeaseEnded {
    /// The lease.
    #[serde(flatten)]
    pub lease: LeaseRenewed,
    /// End of the lease.
    pub ended_at: Time,
    /// Why the lease ended.
    pub reason: EndReason,
    /// Id of the lease for which this one was evicted, or null.
    pub evicted_by: Option<Uuid>,
    /// Id of the API key that ended the lease. Absent if no key did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
}

/// Data of the events `pool.created`, `pool.changed` and `pool.deleted`, of streams that name pools.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PoolEvent {
    /// Name of the pool.
    pub pool: Arc<str>,
    /// Description; absent if the pool was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Arc<str>>,
    /// The policy; absent if the pool was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PoolPolicy>,
    /// Id of the API key whose request changed it; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// Data of the events `token.added`, `token.changed`, `token.tainted` and `token.retired`, of streams that
/// name pools. It never contains the value of the token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TokenEvent {
    /// Name of the pool.
    pub pool: Arc<str>,
    /// Id of the token.
    pub token_id: Uuid,
    /// Name of the token.
    pub token_name: Arc<str>,
    /// Position of the token in the pool, from 1; absent if the token was retired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Labels; absent if the token was retired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<Arc<str>, Arc<str>>>,
    /// Taints; absent if the token was retired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taints: Option<Vec<Taint>>,
    /// Id of the API key whose request changed it; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// Data of the event `resync`: events before this one may be missing.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Resync {
    /// Epoch of the journal.
    pub epoch: i64,
    /// Version from which on the stream continues.
    pub version: i64,
    /// Why events may be missing.
    pub reason: ResyncReason,
}
