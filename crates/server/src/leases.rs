//! One lease: `GET /api/leases/{lease_id}`, and its release and renewal.

use axum::extract::State;
use axum::response::Response;
use engine::LeaseOutcome;
use pool::{End, EndReason, Lease, LeaseId};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::answer::{Time, fleeting, json};
use crate::app::{App, SentId, unknown_lease};
use crate::lease_row::{Current, LeaseRow};
use crate::openapi::words;
use crate::problem::{self, Code, LeaseOver, Problem, RenewalLimit};
use crate::wishes::{Empty, NoQuery};

/// A lease, and who has its token if that is another one by now.
#[derive(Serialize, ToSchema)]
#[schema(as = LeaseShown)]
struct Shown<'a> {
    #[serde(flatten)]
    lease: LeaseRow<'a>,
    /// Who has the token now that this lease is over, or null.
    #[schema(required = true)]
    current: Option<Current<'a>>,
}

/// Tell whether a lease runs, and what became of it
///
/// Answered from memory while it runs and while it is its token's latest. The token's value is in no
/// answer about leases.
#[utoipa::path(
    get,
    path = "/api/leases/{id}",
    operation_id = "getLease",
    tag = "Leases",
    params(("id" = Uuid, Path, description = "The lease's id")),
    responses((status = 200, description = "The lease", body = Shown<'_>,
        headers(("Cache-Control" = String, description = "`no-store`")))),
    extensions(("x-problems" = json!(problem::read(&[
        Code::InvalidLeaseId, Code::InvalidParameter, Code::UnknownLease,
    ])))),
)]
pub(crate) async fn show(
    State(app): State<App>,
    id: SentId,
    _: NoQuery,
) -> Result<Response, Problem> {
    let view = app.engine.lease(id.lease()).await?.ok_or_else(unknown_lease)?;
    let shown = Shown {
        lease: LeaseRow::new(&view.lease, view.evicted_by, view.now),
        current: view.current.as_ref().map(Current::from),
    };
    Ok(fleeting(&shown, 2 * LeaseRow::BYTES))
}

/// A lease that was released.
#[derive(Serialize, ToSchema)]
#[schema(as = LeaseReleased)]
struct Released<'a> {
    #[schema(schema_with = words::released)]
    status: &'static str,
    lease_id: Uuid,
    token_id: Uuid,
    user: &'a str,
    user_id: Uuid,
    #[schema(minimum = 1)]
    fence: i64,
    started_at: Time,
    #[schema(required = true, nullable = false)]
    ended_at: Option<Time>,
}

/// End exactly this lease
///
/// Never another one of the same token. Twice is no error.
#[utoipa::path(
    post,
    path = "/api/leases/{id}/release",
    operation_id = "releaseLease",
    tag = "Leases",
    params(("id" = Uuid, Path, description = "The lease's id")),
    responses((status = 200, description = "It is over", body = Released<'_>)),
    extensions(("x-problems" = json!(problem::write(&[
        Code::InvalidLeaseId, Code::InvalidParameter, Code::UnsupportedContentType,
        Code::UnknownLease, Code::LeaseOver,
    ])))),
)]
pub(crate) async fn release(
    State(app): State<App>,
    id: SentId,
    _: Empty,
) -> Result<Response, Problem> {
    let lease = match app.engine.release_lease(id.lease()).await? {
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

/// Move a lease's deadline
///
/// To as far from now as the lease was granted for, if that is later, but never to more than the
/// policy's `max_lease_seconds` after its start.
#[utoipa::path(
    post,
    path = "/api/leases/{id}/renew",
    operation_id = "renewLease",
    tag = "Leases",
    params(("id" = Uuid, Path, description = "The lease's id")),
    responses((status = 200, description = "The lease, with its new deadline", body = LeaseRow<'_>)),
    extensions(("x-problems" = json!(problem::write(&[
        Code::InvalidLeaseId, Code::InvalidParameter, Code::UnsupportedContentType,
        Code::UnknownLease, Code::LeaseOver, Code::RenewalLimit,
    ])))),
)]
pub(crate) async fn renew(
    State(app): State<App>,
    id: SentId,
    _: Empty,
) -> Result<Response, Problem> {
    match app.engine.renew(id.lease()).await? {
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
        "This lease runs until {expires_at} and can't be renewed beyond: the pool's policy lets no \
         lease last longer from its start (setting max-lease)."
    );
    Problem::with(detail, &RenewalLimit { expires_at })
}

fn over(lease: &Lease, evicted_by: Option<LeaseId>) -> Problem {
    // It has an end; without one it would be past its deadline.
    let expired = End { at: lease.expires_at, reason: EndReason::Expired };
    let End { at, reason } = lease.end.unwrap_or(expired);
    let ended_at = Time(at);
    let ended = match reason {
        EndReason::Released => "was released",
        EndReason::Expired => "expired",
        EndReason::Evicted => "was evicted for another lease",
        EndReason::Cleared => "was ended together with all others",
        EndReason::Imported => "ended in the system that it was taken over from,",
    };
    let detail =
        format!("The lease was over already, so nothing was done: it {ended} at {ended_at}.");
    let (end_reason, evicted_by) = (reason.as_str(), evicted_by.map(|by| by.0));
    Problem::with(detail, &LeaseOver { ended_at, end_reason, evicted_by })
}
