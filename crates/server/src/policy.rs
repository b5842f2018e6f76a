//! `GET /api/pool`: how the pool stands, and by which rules.

use axum::extract::State;
use axum::response::Response;
use engine::View;
use pool::{Lease, Policy};
use serde::Serialize;

use crate::answer::fleeting;
use crate::app::App;
use crate::lease_row::LeaseRow;
use crate::problem::Problem;
use crate::seconds::Seconds;

#[derive(Serialize)]
struct Shown<'a> {
    size: usize,
    active: usize,
    available: usize,
    waiting: usize,
    oldest_lease: Option<LeaseRow<'a>>,
    epoch: i64,
    version: i64,
    policy: Rules,
}

#[derive(Serialize)]
struct Rules {
    when_full: &'static str,
    lease_seconds: Seconds,
    max_lease_seconds: Seconds,
    min_hold_seconds: Seconds,
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

pub(crate) async fn show(State(app): State<App>) -> Result<Response, Problem> {
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
