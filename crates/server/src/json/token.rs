//! Tokens and allocations in JSON, with members in the order that clients know.

use std::sync::Arc;

use engine::{Allocated, LeaseRecord};
use pool::{Grant, Lease, Timestamp, Token, TokenView};
use serde::Serialize;
use uuid::Uuid;

use super::lease::status;
use super::seconds::Seconds;
use super::time::Time;

/// A token and its lease.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TokenRow {
    id: Uuid,
    /// The value that a lease hands out.
    #[serde(rename = "token")]
    value: Uuid,
    /// `active` while a lease holds it.
    status: &'static str,
    /// Start of its lease; null while it is available.
    activated_at: Option<Time>,
    /// Identity of its holder; null while it is available.
    user_id: Option<Uuid>,
    /// Time at which the token was created.
    inserted_at: Time,
    /// Start or end of its latest lease.
    updated_at: Time,
    /// Its lease; null while it is available.
    lease_id: Option<Uuid>,
    /// Its holder, as sent; null while it is available.
    user: Option<Arc<str>>,
    /// End of its lease, unless renewed; null while it is available.
    expires_at: Option<Time>,
    /// Fence of its lease; null while it is available.
    fence: Option<i64>,
    /// Position of the token in the pool, from 1. It never changes; the dashboard names tokens by it.
    number: usize,
}

impl TokenRow {
    pub(crate) fn of(view: TokenView<'_>, now: Timestamp) -> Self {
        TokenRow::new(view.token, view.place + 1, view.running(now), view.updated_at(now))
    }

    pub(crate) fn new(
        token: &Token,
        number: usize,
        running: Option<&Lease>,
        updated_at: Timestamp,
    ) -> Self {
        TokenRow {
            id: token.id.0,
            value: token.value.0,
            status: if running.is_some() { "active" } else { "available" },
            activated_at: running.map(|lease| Time(lease.started_at)),
            user_id: running.map(|lease| lease.user.id.0),
            inserted_at: Time(token.inserted_at),
            updated_at: Time(updated_at),
            lease_id: running.map(|lease| lease.id.0),
            user: running.map(|lease| Arc::clone(&lease.user.name)),
            expires_at: running.map(|lease| Time(lease.expires_at)),
            fence: running.map(|lease| lease.fence.get()),
            number,
        }
    }
}

/// A token and its holder.
#[derive(Serialize)]
pub(crate) struct TokenDetails {
    token: TokenRow,
    /// Null while the token is available.
    current_user: Option<CurrentUser>,
}

/// Holder of a token.
#[derive(Serialize)]
struct CurrentUser {
    user_id: Uuid,
    /// Start of the lease.
    activated_at: Time,
    lease_id: Uuid,
    /// As sent.
    user: Arc<str>,
    /// End of the lease, unless renewed.
    expires_at: Time,
    fence: i64,
}

impl TokenDetails {
    pub(crate) fn of(view: TokenView<'_>, now: Timestamp) -> Self {
        let holder = |lease: &Lease| CurrentUser {
            user_id: lease.user.id.0,
            activated_at: Time(lease.started_at),
            lease_id: lease.id.0,
            user: Arc::clone(&lease.user.name),
            expires_at: Time(lease.expires_at),
            fence: lease.fence.get(),
        };
        TokenDetails { token: TokenRow::of(view, now), current_user: view.running(now).map(holder) }
    }
}

/// The lease that an allocation grants.
#[derive(Serialize)]
pub(crate) struct Granted<'a> {
    token_id: Uuid,
    /// As sent.
    user_id: &'a str,
    /// Value of the token.
    token_value: Uuid,
    /// `ended` only if an idempotency key was repeated and its lease has ended.
    status: &'static str,
    /// Start of the lease.
    activated_at: Time,
    /// Id of the lease.
    lease_id: Uuid,
    /// As sent.
    user: &'a str,
    /// End of the lease, unless renewed.
    expires_at: Time,
    expires_in: Seconds,
    /// Fencing number: larger than those of all earlier leases of the pool.
    fence: i64,
    /// Lease that was evicted for this one, or null.
    evicted: Option<Evicted<'a>>,
    /// Only if the lease has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Time>,
    /// Only if the lease has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    end_reason: Option<&'static str>,
}

/// A lease that was evicted for another.
#[derive(Serialize)]
struct Evicted<'a> {
    lease_id: Uuid,
    user: &'a str,
    user_id: Uuid,
    fence: i64,
    started_at: Time,
}

impl<'a> From<&'a Allocated> for Granted<'a> {
    fn from(Allocated { grant, at }: &'a Allocated) -> Self {
        let Grant { lease, value, evicted } = grant;
        let evicted = evicted.as_ref().map(|lease| Evicted {
            lease_id: lease.id.0,
            user: &lease.user.name,
            user_id: lease.user.id.0,
            fence: lease.fence.get(),
            started_at: Time(lease.started_at),
        });
        Granted {
            token_id: lease.token_id.0,
            user_id: &lease.user.name,
            token_value: value.0,
            status: status(lease),
            activated_at: Time(lease.started_at),
            lease_id: lease.id.0,
            user: &lease.user.name,
            expires_at: Time(lease.expires_at),
            expires_in: Seconds::left(lease, *at),
            fence: lease.fence.get(),
            evicted,
            ended_at: lease.end.map(|end| Time(end.at)),
            end_reason: lease.end.map(|end| end.reason.as_str()),
        }
    }
}

impl Granted<'_> {
    /// Approximate size, in bytes.
    pub(crate) fn size(&self) -> usize {
        let evicted = self.evicted.as_ref().map_or(0, |evicted| 256 + evicted.user.len());
        512 + 2 * self.user_id.len() + evicted
    }
}

/// A row of a token's history.
#[derive(Serialize)]
pub(crate) struct HistoryEntry<'a> {
    /// The same as `lease_id`.
    id: Uuid,
    token_id: Uuid,
    user_id: Uuid,
    started_at: Time,
    /// Null while the lease runs.
    ended_at: Option<Time>,
    inserted_at: Time,
    updated_at: Time,
    lease_id: Uuid,
    /// As sent.
    user: &'a str,
    /// Deadline of the lease.
    expires_at: Time,
    fence: i64,
    /// Why the lease ended; null while it runs.
    end_reason: Option<&'static str>,
    /// Lease for which it was evicted, or null.
    evicted_by: Option<Uuid>,
}

impl<'a> From<&'a LeaseRecord> for HistoryEntry<'a> {
    fn from(LeaseRecord { lease, evicted_by }: &'a LeaseRecord) -> Self {
        let ended_at = lease.end.map(|end| Time(end.at));
        HistoryEntry {
            id: lease.id.0,
            token_id: lease.token_id.0,
            user_id: lease.user.id.0,
            started_at: Time(lease.started_at),
            ended_at,
            inserted_at: Time(lease.started_at),
            updated_at: ended_at.unwrap_or(Time(lease.started_at)),
            lease_id: lease.id.0,
            user: &lease.user.name,
            expires_at: Time(lease.expires_at),
            fence: lease.fence.get(),
            end_reason: lease.end.map(|end| end.reason.as_str()),
            evicted_by: evicted_by.map(|by| by.0),
        }
    }
}
