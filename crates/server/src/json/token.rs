//! Tokens and allocations in JSON.

use std::sync::Arc;

use engine::{Allocated, LeaseRecord};
use pool::{Grant, Lease, Pool, ShowValues, Timestamp, Token, TokenView};
use wire::{
    Allocation, CurrentUser, EvictedLease, HistoryEntry, TokenDetails, TokenStatus, TokenValue,
};

use super::lease::{left, status};
use super::pools::taints;
use super::time;

/// A token of the pool as of `now`, with its value only if the caller may see it and the pool shows values to everyone.
pub(crate) fn token(
    pool: &Pool,
    view: TokenView<'_>,
    now: Timestamp,
    with_value: bool,
) -> wire::Token {
    let token = with_lease(view.token, view.running(now), view.updated_at(now));
    let shows = with_value && pool.policy().show_values == ShowValues::Everyone;
    let taints: Vec<_> = taints(view.token, now).collect();
    let taints = Some(taints).filter(|taints| !taints.is_empty());
    wire::Token { token: token.token.filter(|_| shows), taints, ..token }
}

/// A token with its running lease.
pub(crate) fn with_lease(
    token: &Token,
    running: Option<&Lease>,
    updated_at: Timestamp,
) -> wire::Token {
    wire::Token {
        id: token.id.0,
        token: Some(value(&token.value)),
        status: if running.is_some() { TokenStatus::ACTIVE } else { TokenStatus::AVAILABLE },
        activated_at: running.map(|lease| time(lease.started_at)),
        user_id: running.map(|lease| lease.user.id.0),
        inserted_at: time(token.inserted_at),
        updated_at: time(updated_at),
        lease_id: running.map(|lease| lease.id.0),
        user: running.map(|lease| Arc::clone(&lease.user.name)),
        expires_at: running.map(|lease| time(lease.expires_at)),
        fence: running.map(|lease| lease.fence.get()),
        number: Some(u64::from(token.position) + 1),
        taints: None,
    }
}

fn value(value: &pool::TokenValue) -> TokenValue {
    TokenValue::Text(value.clone().into())
}

/// A token and its holder as of `now`.
pub(crate) fn details(
    pool: &Pool,
    view: TokenView<'_>,
    now: Timestamp,
    with_value: bool,
) -> TokenDetails {
    let holder = |lease: &Lease| CurrentUser {
        user_id: lease.user.id.0,
        activated_at: time(lease.started_at),
        lease_id: lease.id.0,
        user: Arc::clone(&lease.user.name),
        expires_at: time(lease.expires_at),
        fence: lease.fence.get(),
    };
    TokenDetails {
        token: token(pool, view, now, with_value),
        current_user: view.running(now).map(holder),
    }
}

/// A granted lease and the value of its token.
pub(crate) fn allocation(allocated: &Allocated) -> Allocation {
    let Allocated { grant: Grant { lease, value: secret, evicted, .. }, at } = allocated;
    let evicted = evicted.as_ref().map(|lease| EvictedLease {
        lease_id: lease.id.0,
        user: Arc::clone(&lease.user.name),
        user_id: lease.user.id.0,
        fence: lease.fence.get(),
        started_at: time(lease.started_at),
    });
    Allocation {
        token_id: lease.token_id.0,
        user_id: Arc::clone(&lease.user.name),
        token_value: value(secret),
        status: status(lease),
        activated_at: time(lease.started_at),
        lease_id: lease.id.0,
        user: Arc::clone(&lease.user.name),
        expires_at: time(lease.expires_at),
        expires_in: left(lease, *at),
        fence: lease.fence.get(),
        evicted,
        ended_at: lease.end.map(|end| time(end.at)),
        end_reason: lease.end.map(|end| end.reason.as_str().into()),
    }
}

/// Approximate size of an allocation in JSON.
pub(crate) fn size(allocation: &Allocation) -> usize {
    let evicted = allocation.evicted.as_ref().map_or(0, |evicted| 256 + evicted.user.len());
    512 + 2 * allocation.user.len() + evicted
}

/// A lease in the history of a token.
pub(crate) fn history_entry(LeaseRecord { lease, evicted_by, .. }: &LeaseRecord) -> HistoryEntry {
    let ended_at = lease.end.map(|end| time(end.at));
    HistoryEntry {
        id: lease.id.0,
        token_id: lease.token_id.0,
        user_id: lease.user.id.0,
        started_at: time(lease.started_at),
        ended_at,
        inserted_at: time(lease.started_at),
        updated_at: ended_at.unwrap_or(time(lease.started_at)),
        lease_id: lease.id.0,
        user: Arc::clone(&lease.user.name),
        expires_at: time(lease.expires_at),
        fence: lease.fence.get(),
        end_reason: lease.end.map(|end| end.reason.as_str().into()),
        evicted_by: evicted_by.map(|by| by.0),
        by: lease.by.map(String::from),
        ended_by: lease.end.and_then(|end| end.by).map(String::from),
    }
}
