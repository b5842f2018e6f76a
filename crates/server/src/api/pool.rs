//! State and policy of the pool.

use axum::response::Response;
use engine::{Scope, View};
use wire::Pool;

use super::pool_of;
use crate::http::access::Acting;
use crate::http::query::Query;
use crate::http::respond::uncached;
use crate::json::count;
use crate::json::lease::lease;
use crate::json::pools::policy;
use crate::problem::Problem;

/// Show the state and policy of the pool
pub(crate) async fn show(acting: Acting, Query(()): Query<()>) -> Result<Response, Problem> {
    let id = acting.default_pool()?;
    let look = |view: View<'_>| {
        let pool = pool_of(view, id)?;
        Ok::<_, Problem>(Pool {
            size: count(pool.size()),
            active: count(pool.active(view.now)),
            available: count(pool.available_at(view.now)),
            waiting: count(view.waiting(pool)),
            oldest_lease: pool.oldest(view.now).map(|oldest| lease(oldest, None, view.now)),
            epoch: view.stamp.epoch,
            version: view.stamp.version,
            policy: policy(pool.policy()),
        })
    };
    Ok(uncached(&acting.engine.read_of(Scope::Pool(id), look).await??, 1024))
}
