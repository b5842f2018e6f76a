//! Reasons for refusals and errors.

use engine::{AllocateRequest, Error};
use pool::{ApiKeyId, Lease, Refusal, Rights, Ticket, Timestamp};

use super::{Moment, explained};
use crate::facts::{Ask, Request};
use crate::model::{Check, can_get, ensure, is_at_limit, is_permitted, may_end};
use crate::tables::Tables;
use crate::world::World;

/// Whether a refusal is right at a moment.
pub(super) fn refuses(
    world: &World,
    request: &Request,
    asked: &AllocateRequest,
    refusal: &Refusal,
    &Moment { tables, first: now, .. }: &Moment<'_>,
) -> bool {
    let policy = tables.pools.get(&asked.pool).map(|record| record.policy);
    let token = asked.token.and_then(|token| tables.tokens.get(&token));
    match refusal {
        Refusal::Full { .. } => {
            let ahead: Vec<&Ticket> =
                tables.queue(asked.pool).filter(|ticket| ticket.note != asked.note).collect();
            asked.key.is_some() || !can_get(tables, asked.pool, asked.token, &ahead, now)
        }
        Refusal::NoTokens => tables.tokens_of(asked.pool).all(|token| token.retired_at.is_some()),
        Refusal::UnknownToken | Refusal::TokenRetired => {
            token.is_none_or(|token| token.retired_at.is_some())
        }
        Refusal::GivenUp => {
            let ends = |ask: &Ask| matches!(ask, Ask::GiveUp(_) | Ask::Apply(_));
            world.facts.requests.iter().any(|other| ends(&other.ask))
        }
        Refusal::WaitNotOffered => {
            asked.wait.is_some()
                && policy.is_some_and(|policy| policy.when_full == pool::WhenFull::Reject)
        }
        Refusal::LeaseTooLong { longest } => {
            policy.is_some_and(|policy| policy.lease == *longest && asked.lease > Some(*longest))
        }
        Refusal::UserLimit { .. } | Refusal::ApiKeyLimit { .. } => {
            is_at_limit(tables, asked.pool, &asked.user, request.actor, now)
        }
        Refusal::KeyReused => {
            let mut others = world.facts.requests.iter().filter_map(Request::allocation);
            others.any(|other| {
                let differs = other.note != asked.note || other.pool != asked.pool;
                other.key == asked.key && other.user == asked.user && differs
            })
        }
        Refusal::QueueFull | Refusal::KeysFull { .. } | Refusal::UserKeysFull { .. } => false,
    }
}

/// Checks that a command failed for a reason, and did nothing.
pub(super) fn failed(world: &World, request: &Request, ask: &Ask, error: &Error) -> Check {
    match (error, ask) {
        (Error::Forbidden(_), _) => {
            let key = request.actor.ok_or("access: refused without a key")?;
            let is_refused = |moment: &Moment<'_>| {
                let Moment { tables, first, last } = *moment;
                [first, last].into_iter().any(|at| forbids(tables, key, ask, at))
            };
            ensure!(explained(world, request, is_refused), "access: {request:?} was refused");
        }
        (
            Error::UnknownPool,
            Ask::Release(pool, ..)
            | Ask::Clear(pool)
            | Ask::Taint(pool, ..)
            | Ask::Untaint(pool, ..),
        ) => {
            let is_unknown = |moment: &Moment<'_>| !moment.tables.pools.contains_key(pool);
            ensure!(explained(world, request, is_unknown), "answer: {pool:?} exists");
        }
        (
            Error::NotDone { .. } | Error::Busy { .. } | Error::Refused | Error::Stopping,
            Ask::Allocate(asked),
        ) if asked.key.is_none() => {
            let mut leases = world.newest().after.leases.values();
            let done = leases.find(|lease| lease.note == asked.note);
            ensure!(done.is_none(), "not done: {done:?} was granted");
        }
        _ => {}
    }
    Ok(())
}

/// Whether an API key may not do this.
fn forbids(tables: &Tables, key: ApiKeyId, ask: &Ask, at: Timestamp) -> bool {
    let lacks = |right, pool, user| !is_permitted(tables, key, right, (pool, user), at);
    let may_not_end = |lease: &Lease| !may_end(tables, key, lease.pool, &lease.user, at);
    match ask {
        Ask::Allocate(asked) => lacks(Rights::Use, Some(asked.pool), Some(&asked.user)),
        Ask::Release(pool, token, _) => {
            let latest = tables.latest_of(*token);
            latest.is_some_and(may_not_end) || lacks(Rights::Use, Some(*pool), None)
        }
        Ask::ReleaseLease(id) | Ask::Renew(id) => {
            tables.leases.get(id).is_some_and(may_not_end) || lacks(Rights::Use, None, None)
        }
        Ask::GiveUp(_) => true,
        Ask::Clear(pool) | Ask::Taint(pool, ..) | Ask::Untaint(pool, ..) => {
            lacks(Rights::Operate, Some(*pool), None)
        }
        Ask::Apply(_) | Ask::Access(_) => {
            // A key of one pool administers only that.
            let is_narrow =
                tables.api_keys.get(&key).is_none_or(|key| !key.pools.match_everything());
            is_narrow || lacks(Rights::Admin, None, None)
        }
        Ask::Read | Ask::Look(_) => false,
    }
}
