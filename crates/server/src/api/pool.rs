//! State and policy of the pool.

use axum::extract::State;
use axum::response::Response;
use engine::{Handle, View};
use pool::{Lease, Policy};
use serde::Serialize;

use crate::http::query::Query;
use crate::http::respond::uncached;
use crate::json::lease::LeaseRow;
use crate::json::seconds::Seconds;
use crate::problem::Problem;

/// State and policy of the pool.
#[derive(Serialize)]
struct Shown<'a> {
    /// Number of tokens.
    size: usize,
    /// Number of tokens in use.
    active: usize,
    /// Number of available tokens.
    available: usize,
    /// Number of requests that wait for a token, on all servers of the pool.
    waiting: usize,
    /// The lease that started first, which is evicted next; null if none runs.
    oldest_lease: Option<LeaseRow<'a>>,
    /// Epoch of the pool's journal; increases after a failover.
    epoch: i64,
    /// Number of the journal's newest batch.
    version: i64,
    policy: Rules,
}

/// Rules of the pool, as its operator configured them.
#[derive(Serialize)]
struct Rules {
    /// What happens to requests while all tokens are in use.
    when_full: &'static str,
    /// Duration of a lease, unless the request has a shorter one.
    lease_seconds: Seconds,
    /// Maximum duration of a lease, including renewals.
    max_lease_seconds: Seconds,
    /// Leases younger than this are never evicted.
    min_hold_seconds: Seconds,
    /// Maximum number of running leases per user; null without a limit.
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

/// Show the state and policy of the pool
pub(crate) async fn show(
    State(engine): State<Handle>,
    Query(()): Query<()>,
) -> Result<Response, Problem> {
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
    let (size, active, waiting, oldest, stamp, policy, now) = engine.read(look).await?;
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
    Ok(uncached(&shown, 1024))
}
