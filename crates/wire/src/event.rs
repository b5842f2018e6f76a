//! Data of the event stream.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{EndReason, ResyncReason, Time};

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
