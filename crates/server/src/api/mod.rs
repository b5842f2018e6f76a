//! Handlers of the API and of the pages, by resource.

use ::pool::{Pool, PoolId};
use engine::{Error, View};

pub(crate) mod allocate;
pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod export;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod keys;
pub(crate) mod leases;
pub(crate) mod metrics;
pub(crate) mod pages;
pub(crate) mod pool;
pub(crate) mod pools;
pub(crate) mod queue;
pub(crate) mod release;
mod release_checks;
pub(crate) mod search;
pub(crate) mod search_query;
pub(crate) mod session;
pub(crate) mod token_lists;
pub(crate) mod token_pages;
pub(crate) mod tokens;

/// The pool of routes that name none; see also [`default_pool`](crate::http::access::Acting::default_pool).
const DEFAULT: PoolId = PoolId::DEFAULT;

fn pool_of(view: View<'_>, id: PoolId) -> Result<&Pool, Error> {
    view.pool(id).ok_or(Error::UnknownPool)
}
