//! Pools and their tokens in JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::View;
use pool::{Labels, Pool, ShowValues, Timestamp, Token, TokenView};
use wire::{
    Lease, Policy, PoolDetails, PoolPolicy, PoolStatus, PoolToken, PoolTokenLease, PoolTokenStatus,
    Seconds, TokenValue,
};

use super::lease::{current, lease};
use super::{count, time};

/// Approximate size of a pool in JSON.
pub(crate) const POOL_BYTES: usize = 512;

/// Approximate size of a token in JSON.
pub(crate) const TOKEN_BYTES: usize = 640;

/// A pool as of the view.
pub(crate) fn details(pool: &Pool, view: &View<'_>) -> PoolDetails {
    let record = pool.record();
    let (size, active) = (pool.size(), pool.active(view.now));
    let available = pool.available_at(view.now);
    PoolDetails {
        name: record.name.clone().into(),
        description: record.description.clone().into(),
        size: count(size),
        active: count(active),
        available: count(available),
        tainted: count(size.saturating_sub(active + available)),
        retiring: count(pool.retiring()),
        waiting: count(view.waiting(pool)),
        next_deadline: pool.next_deadline_after(view.now).map(time),
        policy: whole_policy(record.policy),
        created_at: time(record.created_at),
    }
}

/// A pool and its oldest lease as of the view.
pub(crate) fn status(pool: &Pool, view: &View<'_>) -> PoolStatus {
    let oldest = pool.oldest(view.now).map(|oldest| Lease {
        pool: Some(pool.name().clone().into()),
        token_name: pool.token(oldest.token_id).map(|token| token.token.name.clone().into()),
        note: oldest.note.clone().map(Arc::from),
        ..lease(oldest, None, view.now)
    });
    PoolStatus {
        pool: details(pool, view),
        oldest_lease: oldest,
        epoch: view.stamp.epoch,
        version: view.stamp.version,
    }
}

/// The rules of a policy about leases.
pub(crate) fn policy(policy: pool::Policy) -> Policy {
    Policy {
        when_full: policy.when_full.as_str().into(),
        lease_seconds: Seconds(policy.lease),
        max_lease_seconds: Seconds(policy.max_lease()),
        min_hold_seconds: Seconds(policy.min_hold),
        max_per_user: policy.max_per_user,
    }
}

/// A policy.
pub(crate) fn whole_policy(policy: pool::Policy) -> PoolPolicy {
    PoolPolicy {
        leases: self::policy(policy),
        membership: policy.membership.as_str().into(),
        show_values: policy.show_values.as_str().into(),
    }
}

/// A token of the pool as of `now`, with its value only if the caller may see it and the pool shows values to everyone.
pub(crate) fn token(
    pool: &Pool,
    view: TokenView<'_>,
    now: Timestamp,
    with_value: bool,
) -> PoolToken {
    let TokenView { token, .. } = view;
    let running = view.running(now);
    let shows = with_value && pool.policy().show_values == ShowValues::Everyone;
    PoolToken {
        id: token.id.0,
        name: token.name.clone().into(),
        number: u64::from(token.position) + 1,
        value: shows.then(|| TokenValue::Text(token.value.clone().into())),
        labels: labels(&token.labels),
        taints: taints(token, now).collect(),
        status: match running {
            Some(_) => PoolTokenStatus::ACTIVE,
            None if view.is_free(now) => PoolTokenStatus::AVAILABLE,
            None => PoolTokenStatus::TAINTED,
        },
        retiring: token.retired_at.is_some(),
        lease: running.map(|lease| PoolTokenLease {
            lease: current(lease),
            note: lease.note.clone().map(Arc::from),
        }),
        inserted_at: time(token.inserted_at),
    }
}

pub(crate) fn labels(labels: &Labels) -> BTreeMap<Arc<str>, Arc<str>> {
    labels.clone().into()
}

/// The taints of a token that have not ended.
pub(crate) fn taints(token: &Token, now: Timestamp) -> impl Iterator<Item = wire::Taint> {
    token.taints.iter().filter(move |taint| taint.applies(now)).map(taint)
}

pub(crate) fn taint(taint: &pool::Taint) -> wire::Taint {
    wire::Taint {
        name: taint.name.clone().into(),
        effect: taint.effect.as_str().into(),
        reason: taint.reason.clone().into(),
        by: taint.by.as_ref().map(|user| Arc::clone(&user.name)),
        since: time(taint.since),
        until: taint.until.map(time),
    }
}
