//! One lease: its details, release and renewal.

use std::sync::Arc;

use axum::response::Response;
use engine::{Error, LeaseOutcome};
use pool::{End, EndReason, Forbidden, Lease, LeaseId};
use wire::{LeaseDetails, LeaseOver, LeaseReleased, Released, RenewalLimit};

use crate::http::access::Acting;
use crate::http::ids::PathId;
use crate::http::query::Query;
use crate::http::respond::{json, log_user, uncached, unknown_lease};
use crate::http::unsupported::EmptyBody;
use crate::json::lease::{BYTES, current, lease as row};
use crate::json::time;
use crate::problem::Problem;

/// Show a lease, running or ended
///
/// Read from memory while the lease is the latest of its token. Responses about leases never contain the
/// token's value.
pub(crate) async fn show(
    acting: Acting,
    PathId { id, .. }: PathId<LeaseId>,
    Query(()): Query<()>,
) -> Result<Response, Problem> {
    let view = acting.engine.lease(id).await?;
    let view = view.filter(|view| acting.caller.has_pool(&view.pool_name));
    let view = view.ok_or_else(unknown_lease)?;
    let lease = wire::Lease {
        pool: Some(view.pool_name.into()),
        token_name: Some(view.token_name.into()),
        note: view.lease.note.clone().map(Arc::from),
        ..row(&view.lease, view.evicted_by, view.now)
    };
    let details = LeaseDetails { lease, current: view.current.as_ref().map(current) };
    Ok(uncached(&details, 2 * BYTES))
}

/// Release a lease
///
/// Never ends another lease of the same token. Idempotent.
pub(crate) async fn release(
    acting: Acting,
    PathId { id, .. }: PathId<LeaseId>,
    EmptyBody: EmptyBody,
) -> Result<Response, Problem> {
    let lease = match visible(&acting, acting.engine.release_lease(id).await).await? {
        LeaseOutcome::Done { lease, .. } | LeaseOutcome::AtLimit { lease, .. } => lease,
        LeaseOutcome::Over { lease, evicted_by } => return Err(over(&lease, evicted_by)),
        LeaseOutcome::Unknown => return Err(unknown_lease()),
    };
    let released = LeaseReleased {
        status: Released::RELEASED,
        lease_id: lease.id.0,
        token_id: lease.token_id.0,
        user: Arc::clone(&lease.user.name),
        user_id: lease.user.id.0,
        fence: lease.fence.get(),
        started_at: time(lease.started_at),
        ended_at: time(end(&lease).at),
    };
    Ok(log_user(json(&released, BYTES), &lease.user))
}

/// Renew a lease
///
/// Moves the deadline to now plus the duration for which the lease was granted, if that is later, but at
/// most to `max_lease_seconds` of the policy after its start.
pub(crate) async fn renew(
    acting: Acting,
    PathId { id, .. }: PathId<LeaseId>,
    EmptyBody: EmptyBody,
) -> Result<Response, Problem> {
    match visible(&acting, acting.engine.renew(id).await).await? {
        LeaseOutcome::Done { lease, at } => {
            Ok(log_user(json(&row(&lease, None, at), BYTES), &lease.user))
        }
        LeaseOutcome::AtLimit { lease, .. } => Err(at_limit(&lease)),
        LeaseOutcome::Over { lease, evicted_by } => Err(over(&lease, evicted_by)),
        LeaseOutcome::Unknown => Err(unknown_lease()),
    }
}

/// The outcome for a lease, which does not exist for callers whose key does not apply to its pool. The rules refuse to
/// change such a lease. They don't know leases that ended long ago.
pub(super) async fn visible(
    acting: &Acting,
    outcome: Result<LeaseOutcome, Error>,
) -> Result<LeaseOutcome, Problem> {
    let outcome = match outcome {
        Err(Error::Forbidden(Forbidden::Pool)) => return Ok(LeaseOutcome::Unknown),
        outcome => outcome?,
    };
    match &outcome {
        LeaseOutcome::Over { lease, .. } if !sees(acting, lease.id).await? => {
            Ok(LeaseOutcome::Unknown)
        }
        _ => Ok(outcome),
    }
}

/// Whether a recorded lease exists for the caller.
pub(super) async fn sees(acting: &Acting, id: LeaseId) -> Result<bool, Problem> {
    if acting.caller.has_all_pools() {
        return Ok(true);
    }
    let view = acting.engine.lease(id).await?;
    Ok(view.is_some_and(|view| acting.caller.has_pool(&view.pool_name)))
}

fn at_limit(lease: &Lease) -> Problem {
    let expires_at = time(lease.expires_at);
    let detail = format!(
        "This lease runs until {expires_at} and can't be renewed beyond: the pool's policy limits the \
         duration of a lease (setting max-lease)."
    );
    Problem::with(detail, &RenewalLimit { expires_at })
}

fn over(lease: &Lease, evicted_by: Option<LeaseId>) -> Problem {
    let End { at, reason, .. } = end(lease);
    let ended_at = time(at);
    let ended = reason.predicate();
    let detail = format!("The lease has ended: it {ended} at {ended_at}. Nothing was changed.");
    let (end_reason, evicted_by) = (reason.as_str().into(), evicted_by.map(|by| by.0));
    Problem::with(detail, &LeaseOver { ended_at, end_reason, evicted_by })
}

/// An ended lease has an end, unless only its deadline has passed.
fn end(lease: &Lease) -> End {
    lease.end.unwrap_or(End::new(lease.expires_at, EndReason::Expired))
}
