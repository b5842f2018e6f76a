//! `GET /api/pool`: how the pool stands, and by which rules.

use axum::extract::State;
use axum::response::Response;
use engine::View;
use pool::{Lease, Policy};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::fleeting;
use crate::app::App;
use crate::lease_row::LeaseRow;
use crate::openapi::words;
use crate::problem::{self, Code, Problem};
use crate::seconds::Seconds;
use crate::wishes::NoQuery;

/// How full the pool is, and its policy.
#[derive(Serialize, ToSchema)]
#[schema(as = Pool)]
struct Shown<'a> {
    /// How many tokens there are.
    size: usize,
    /// How many of them have a holder.
    active: usize,
    /// How many of them have none.
    available: usize,
    /// How many requests wait for a token, at all servers of the pool.
    waiting: usize,
    /// The lease that has run longest, which is the first to be evicted; null when none runs.
    #[schema(required = true)]
    oldest_lease: Option<LeaseRow<'a>>,
    /// The era of the pool's journal: a new one begins after a failover.
    #[schema(minimum = 0)]
    epoch: i64,
    /// The number of the journal's newest batch.
    #[schema(minimum = 0)]
    version: i64,
    policy: Rules,
}

/// The rules that the pool's owner has chosen.
#[derive(Serialize, ToSchema)]
#[schema(as = Policy)]
struct Rules {
    /// What a request gets while every token is held.
    #[schema(value_type = words::WhenFull)]
    when_full: &'static str,
    /// How long a lease lasts, unless a shorter one is asked for.
    lease_seconds: Seconds,
    /// How long after its start a lease may be renewed to last.
    max_lease_seconds: Seconds,
    /// How long a lease runs before it may be evicted.
    min_hold_seconds: Seconds,
    /// How many leases a user may have at the same time; null for any number.
    #[schema(required = true, minimum = 1)]
    max_per_user: Option<u32>,
}

impl From<Policy> for Rules {
    fn from(policy: Policy) -> Self {
        Rules {
            when_full: policy.when_full.as_str(),
            lease_seconds: Seconds::of(policy.lease),
            max_lease_seconds: Seconds::of(policy.max_lease()),
            min_hold_seconds: Seconds::of(policy.min_hold),
            max_per_user: policy.max_per_user,
        }
    }
}

/// Show how full the pool is, and its policy
#[utoipa::path(
    get,
    path = "/api/pool",
    operation_id = "getPool",
    tag = "Pool",
    responses((status = 200, description = "The pool as it stands", body = Shown<'_>,
        headers(("Cache-Control" = String, description = "`no-store`")))),
    extensions(("x-problems" = json!(problem::read(&[Code::InvalidParameter])))),
)]
pub(crate) async fn show(State(app): State<App>, _: NoQuery) -> Result<Response, Problem> {
    let look = |view: View<'_>| {
        let oldest: Option<Lease> = view.pool.oldest(view.now).cloned();
        (
            view.pool.size(),
            view.pool.active(view.now),
            view.waiting(),
            oldest,
            view.stamp,
            view.pool.policy(),
            view.now,
        )
    };
    let (size, active, waiting, oldest, stamp, policy, now) = app.engine.read(look).await?;
    let shown = Shown {
        size,
        active,
        available: size - active,
        waiting,
        oldest_lease: oldest.as_ref().map(|lease| LeaseRow::new(lease, None, now)),
        epoch: stamp.epoch,
        version: stamp.version,
        policy: policy.into(),
    };
    Ok(fleeting(&shown, 1024))
}
