//! Leases in JSON, never with the token's value.

use pool::{Lease, LeaseId, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use super::seconds::Seconds;
use super::time::Time;

/// A lease, running or ended.
#[derive(Serialize)]
pub(crate) struct LeaseRow<'a> {
    lease_id: Uuid,
    token_id: Uuid,
    /// As sent.
    user: &'a str,
    user_id: Uuid,
    status: &'static str,
    started_at: Time,
    /// Deadline of the lease.
    expires_at: Time,
    expires_in: Seconds,
    fence: i64,
    /// Null while it runs.
    ended_at: Option<Time>,
    /// Null while it runs.
    end_reason: Option<&'static str>,
    /// Lease for which it was evicted, or null.
    evicted_by: Option<Uuid>,
}

impl<'a> LeaseRow<'a> {
    /// Approximate size of a row, in bytes.
    pub(crate) const BYTES: usize = 512;

    /// Creates the row of a lease whose end is filled in as of `now`.
    pub(crate) fn new(lease: &'a Lease, evicted_by: Option<LeaseId>, now: Timestamp) -> Self {
        LeaseRow {
            lease_id: lease.id.0,
            token_id: lease.token_id.0,
            user: &lease.user.name,
            user_id: lease.user.id.0,
            status: status(lease),
            started_at: Time(lease.started_at),
            expires_at: Time(lease.expires_at),
            expires_in: Seconds::left(lease, now),
            fence: lease.fence.get(),
            ended_at: lease.end.map(|end| Time(end.at)),
            end_reason: lease.end.map(|end| end.reason.as_str()),
            evicted_by: evicted_by.map(|by| by.0),
        }
    }
}

/// The lease that holds a token.
#[derive(Serialize)]
pub(crate) struct Current<'a> {
    lease_id: Uuid,
    user: &'a str,
    user_id: Uuid,
    fence: i64,
    started_at: Time,
    expires_at: Time,
}

impl<'a> From<&'a Lease> for Current<'a> {
    fn from(lease: &'a Lease) -> Self {
        Current {
            lease_id: lease.id.0,
            user: &lease.user.name,
            user_id: lease.user.id.0,
            fence: lease.fence.get(),
            started_at: Time(lease.started_at),
            expires_at: Time(lease.expires_at),
        }
    }
}

/// `active` or `ended`, for a lease whose end is filled in.
pub(crate) fn status(lease: &Lease) -> &'static str {
    if lease.end.is_none() { "active" } else { "ended" }
}
