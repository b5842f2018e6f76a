//! One lease: `GET /api/leases/{lease_id}`, and its release and renewal.

use axum::extract::State;
use axum::response::Response;
use engine::OfLease;
use pool::{EndReason, Lease, LeaseId};
use serde::Serialize;
use uuid::Uuid;

use crate::answer::{Time, fleeting, json};
use crate::app::{App, SentId, unknown_lease};
use crate::lease_row::{Current, LeaseRow};
use crate::problem::{Code, Problem};

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    lease: LeaseRow<'a>,
    /// Who has the token now that this lease is over.
    current: Option<Current<'a>>,
}

pub(crate) async fn show(State(app): State<App>, id: SentId) -> Result<Response, Problem> {
    let view = app.engine.lease(id.lease()).await?.ok_or_else(unknown_lease)?;
    let shown = Shown {
        lease: LeaseRow::new(&view.lease, view.evicted_by, view.now),
        current: view.current.as_ref().map(Current::from),
    };
    Ok(fleeting(&shown, 2 * LeaseRow::BYTES))
}

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

pub(crate) async fn release(State(app): State<App>, id: SentId) -> Result<Response, Problem> {
    let lease = match app.engine.release_lease(id.lease()).await? {
        OfLease::Done { lease, .. } | OfLease::AtLimit { lease, .. } => lease,
        OfLease::Over { lease, evicted_by } => return Err(over(&lease, evicted_by)),
        OfLease::Unknown => return Err(unknown_lease()),
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

pub(crate) async fn renew(State(app): State<App>, id: SentId) -> Result<Response, Problem> {
    match app.engine.renew(id.lease()).await? {
        OfLease::Done { lease, at } => Ok(json(&LeaseRow::new(&lease, None, at), LeaseRow::BYTES)),
        OfLease::AtLimit { lease, .. } => Err(at_limit(&lease)),
        OfLease::Over { lease, evicted_by } => Err(over(&lease, evicted_by)),
        OfLease::Unknown => Err(unknown_lease()),
    }
}

fn at_limit(lease: &Lease) -> Problem {
    let expires_at = Time(lease.expires_at);
    let detail = format!(
        "This lease runs until {expires_at} and can't be renewed beyond: the pool's policy lets no \
         lease last longer from its start (setting max-lease)."
    );
    Problem::new(Code::RenewalLimit, detail).with("expires_at", &expires_at)
}

fn over(lease: &Lease, evicted_by: Option<LeaseId>) -> Problem {
    let problem = match lease.end {
        Some(end) => {
            let at = Time(end.at);
            let ended = match end.reason {
                EndReason::Released => "was released",
                EndReason::Expired => "expired",
                EndReason::Evicted => "was evicted for another lease",
                EndReason::Cleared => "was ended together with all others",
                EndReason::Imported => "ended in the system that it was taken over from,",
            };
            let detail =
                format!("The lease was over already, so nothing was done: it {ended} at {at}.");
            let reason = end.reason.as_str();
            Problem::new(Code::LeaseOver, detail).with("ended_at", &at).with("end_reason", &reason)
        }
        // Not to be expected.
        None => Problem::new(Code::LeaseOver, "The lease was over already, so nothing was done."),
    };
    problem.with("evicted_by", &evicted_by.map(|by| by.0))
}
