//! One lease: its details, release and renewal.

use axum::extract::State;
use axum::response::Response;
use engine::{Handle, LeaseOutcome};
use pool::{End, EndReason, Lease, LeaseId};
use serde::Serialize;
use uuid::Uuid;

use crate::http::ids::PathId;
use crate::http::query::Query;
use crate::http::respond::{json, uncached, unknown_lease};
use crate::http::unsupported::EmptyBody;
use crate::json::lease::{Current, LeaseRow};
use crate::json::time::Time;
use crate::problem::{LeaseOver, Problem, RenewalLimit};

/// A lease, and the lease that holds its token now.
#[derive(Serialize)]
struct LeaseDetails<'a> {
    #[serde(flatten)]
    lease: LeaseRow<'a>,
    /// The lease that holds the token after this one ended, or null.
    current: Option<Current<'a>>,
}

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
    let details = LeaseDetails {
        lease: LeaseRow::new(&view.lease, view.evicted_by, view.now),
        current: view.current.as_ref().map(Current::from),
    };
    Ok(uncached(&details, 2 * LeaseRow::BYTES))
}

/// A lease that was released.
#[derive(Serialize)]
struct Released<'a> {
    status: &'static str,
    lease_id: Uuid,
    token_id: Uuid,
    user: &'a str,
    user_id: Uuid,
    fence: i64,
    started_at: Time,
    ended_at: Option<Time>,
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
    let released = Released {
        status: "released",
        lease_id: lease.id.0,
        token_id: lease.token_id.0,
        user: &lease.user.name,
        user_id: lease.user.id.0,
        fence: lease.fence.get(),
        started_at: Time(lease.started_at),
        ended_at: lease.end.map(|end| Time(end.at)),
    };
    Ok(json(&released, LeaseRow::BYTES))
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
        LeaseOutcome::Done { lease, at } => {
            Ok(json(&LeaseRow::new(&lease, None, at), LeaseRow::BYTES))
        }
        LeaseOutcome::AtLimit { lease, .. } => Err(at_limit(&lease)),
        LeaseOutcome::Over { lease, evicted_by } => Err(over(&lease, evicted_by)),
        LeaseOutcome::Unknown => Err(unknown_lease()),
    }
}

fn at_limit(lease: &Lease) -> Problem {
    let expires_at = Time(lease.expires_at);
    let detail = format!(
        "This lease runs until {expires_at} and can't be renewed beyond: the pool's policy limits the \
         duration of a lease (setting max-lease)."
    );
    Problem::with(detail, &RenewalLimit { expires_at })
}

fn over(lease: &Lease, evicted_by: Option<LeaseId>) -> Problem {
    // An ended lease has an end, unless only its deadline has passed.
    let expired = End { at: lease.expires_at, reason: EndReason::Expired };
    let End { at, reason } = lease.end.unwrap_or(expired);
    let ended_at = Time(at);
    let ended = match reason {
        EndReason::Released => "was released",
        EndReason::Expired => "expired",
        EndReason::Evicted => "was evicted for another lease",
        EndReason::Cleared => "was ended with all others",
        EndReason::Imported => "ended before it was imported,",
    };
    let detail = format!("The lease has ended: it {ended} at {ended_at}. Nothing was changed.");
    let (end_reason, evicted_by) = (reason.as_str(), evicted_by.map(|by| by.0));
    Problem::with(detail, &LeaseOver { ended_at, end_reason, evicted_by })
}
