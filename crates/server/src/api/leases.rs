//! One lease: its details, release and renewal.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use engine::{Handle, LeaseOutcome};
use pool::{End, EndReason, Lease, LeaseId};
use wire::{LeaseDetails, LeaseOver, LeaseReleased, Released, RenewalLimit};

use crate::http::ids::PathId;
use crate::http::query::Query;
use crate::http::respond::{json, uncached, unknown_lease};
use crate::http::unsupported::EmptyBody;
use crate::json::lease::{BYTES, current, lease as row};
use crate::json::time;
use crate::problem::Problem;

/// Show a lease, running or ended
///
/// Read from memory while the lease is the latest of its token. Responses about leases never contain the
/// token's value.
pub(crate) async fn show(
    State(engine): State<Handle>,
    PathId { id, .. }: PathId<LeaseId>,
    Query(()): Query<()>,
) -> Result<Response, Problem> {
    let view = engine.lease(id).await?.ok_or_else(unknown_lease)?;
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
    State(engine): State<Handle>,
    PathId { id, .. }: PathId<LeaseId>,
    EmptyBody: EmptyBody,
) -> Result<Response, Problem> {
    let lease = match engine.release_lease(id).await? {
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
    Ok(json(&released, BYTES))
}

/// Renew a lease
///
/// Moves the deadline to now plus the duration for which the lease was granted, if that is later, but at
/// most to `max_lease_seconds` of the policy after its start.
pub(crate) async fn renew(
    State(engine): State<Handle>,
    PathId { id, .. }: PathId<LeaseId>,
    EmptyBody: EmptyBody,
) -> Result<Response, Problem> {
    match engine.renew(id).await? {
        LeaseOutcome::Done { lease, at } => Ok(json(&row(&lease, None, at), BYTES)),
        LeaseOutcome::AtLimit { lease, .. } => Err(at_limit(&lease)),
        LeaseOutcome::Over { lease, evicted_by } => Err(over(&lease, evicted_by)),
        LeaseOutcome::Unknown => Err(unknown_lease()),
    }
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
