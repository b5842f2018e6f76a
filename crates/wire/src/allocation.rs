//! Allocations.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{EndReason, LeaseStatus, Seconds, Time, TokenValue, WaitingStatus};

/// Request for a token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AllocationRequest {
    /// Name of the user, without NUL. A UUID, in any letter case, is that identity. For any other text the
    /// identity is the UUID whose hex digits are the MD5 of the text.
    #[cfg_attr(
        test,
        schemars(length(min = 1, max = ::pool::User::MAX_CHARS), regex(pattern = "^[^\\u0000]*$"), example = &"Edivan")
    )]
    pub user_id: String,
    /// Duration of the lease, at most the `lease_seconds` of the policy, which is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(range(min = ::pool::SHORTEST_LEASE.as_secs_f64()), with = "Option<f64>", example = 90))]
    pub lease_seconds: Option<Seconds>,
    /// Time to wait while all tokens are in use. The default is 30 if `when_full` is `wait`, else 0. Not
    /// allowed if `when_full` is `reject`. More than 60 needs an `Idempotency-Key` and takes several
    /// requests: see the answer 202.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(range(min = 0, max = ::pool::Allocation::MAX_KEPT_WAIT.as_secs()), with = "Option<f64>", example = 10))]
    pub wait_seconds: Option<Seconds>,
}

/// A granted lease and the value of its token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Allocation {
    /// Id of the token.
    pub token_id: Uuid,
    /// Name of the user as sent.
    pub user_id: Arc<str>,
    /// Value of the token.
    pub token_value: TokenValue,
    /// `active`, or `ended` if an `Idempotency-Key` was repeated after the end of its lease.
    pub status: LeaseStatus,
    /// Start of the lease.
    pub activated_at: Time,
    /// Id of the lease.
    pub lease_id: Uuid,
    /// Name of the user as sent.
    pub user: Arc<str>,
    /// Deadline of the lease, unless it is renewed.
    pub expires_at: Time,
    /// Time left until the deadline.
    pub expires_in: Seconds,
    /// Fencing number: larger than that of every earlier lease of the pool.
    pub fence: i64,
    /// The lease that was evicted for this one, or null.
    pub evicted: Option<EvictedLease>,
    /// End of the lease. Present only if `status` is `ended`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// Why the lease ended. Present only if `status` is `ended`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<EndReason>,
}

/// A lease that was evicted for another one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EvictedLease {
    /// Id of the lease.
    pub lease_id: Uuid,
    /// Name of its holder as sent.
    pub user: Arc<str>,
    /// Identity of its holder.
    pub user_id: Uuid,
    /// Fencing number of the lease.
    pub fence: i64,
    /// Start of the lease.
    pub started_at: Time,
}

/// Answer to an allocation that waits in the queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Waiting {
    /// Always `waiting`.
    pub status: WaitingStatus,
    /// Id of the ticket, and of the lease that it becomes.
    pub ticket: Uuid,
    /// Position in the queue, from 1.
    pub position: u64,
    /// Number of tickets ahead in the queue.
    pub ahead: u64,
    /// Start of the wait.
    pub since: Time,
    /// End of the wait.
    pub until: Time,
    /// Seconds after which to send the request again. The ticket lapses after 15 seconds without a request.
    pub retry_after: u16,
}
