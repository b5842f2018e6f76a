use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use engine::{Handle, View};
use pool::{Plan, Pool, PoolId, PoolName, Rights};

use super::{Caller, Turn};
use crate::http::respond::unknown_pool;
use crate::problem::{Code, Problem};

/// The engine without a caller: for the server itself, and for routes without rights.
#[derive(Clone)]
pub(crate) struct Engine(pub(crate) Handle);

/// The engine for one request. Its commands are those of the caller's API key.
#[derive(Clone)]
pub(crate) struct Acting {
    pub(crate) engine: Handle,
    pub(crate) caller: Caller,
}

impl<S: Sync> FromRequestParts<S> for Acting
where
    Engine: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let missing =
            || Problem::new(Code::Internal, "The request was not checked for its rights.");
        let caller = parts.extensions.get::<Caller>().cloned().ok_or_else(missing)?;
        let Engine(engine) = Engine::from_ref(state);
        let mut acting = Acting::new(&engine, caller);
        if let Some(turn) = parts.extensions.get::<Arc<Turn>>().cloned() {
            acting.engine = acting.engine.on_queued(Arc::new(move || turn.end()));
        }
        Ok(acting)
    }
}

impl Acting {
    /// Longest time between two checks of the rights of a request that goes on.
    const CHECK_EVERY: Duration = Duration::from_mins(1);

    pub(crate) fn new(engine: &Handle, caller: Caller) -> Self {
        Acting { engine: engine.acting(caller.sender()), caller }
    }

    /// The pool with this name, unless it does not exist for the caller.
    pub(crate) fn find<'a>(&self, view: View<'a>, name: &str) -> Option<&'a Pool> {
        if self.caller.has_pool(name) { view.ledger.pool_named(name) } else { None }
    }

    /// The pool with this number, unless it does not exist for the caller.
    pub(crate) fn pool<'a>(&self, view: View<'a>, id: PoolId) -> Option<&'a Pool> {
        view.pool(id).filter(|pool| self.caller.has_pool(pool.name()))
    }

    /// The pool with this name, also if it was deleted.
    pub(crate) async fn pool_named(&self, name: &str) -> Result<PoolId, Problem> {
        if !self.caller.has_pool(name) {
            return Err(unknown_pool());
        }
        self.engine.pool_named(name).await?.ok_or_else(unknown_pool)
    }

    /// The pool of routes that name none. It can't be deleted.
    pub(crate) fn default_pool(&self) -> Result<PoolId, Problem> {
        let exists = self.caller.key().is_none() || self.caller.has_pool(&PoolName::default_pool());
        exists.then_some(PoolId::DEFAULT).ok_or_else(unknown_pool)
    }

    /// Refuses a plan about pools that don't exist for the caller.
    pub(crate) fn permit_plan(&self, plan: &Plan) -> Result<(), Problem> {
        let within = plan.pools.iter().all(|pool| self.caller.has_pool(&pool.name));
        within.then_some(()).ok_or_else(unknown_pool)
    }

    /// Whether lists have the values of tokens whose pool shows them to everyone.
    pub(crate) fn shows_values(&self) -> bool {
        self.caller.may(Rights::Use)
    }

    /// Whether the caller still has its rights, by this server's copy of the keys.
    pub(crate) fn is_valid(&self) -> bool {
        let valid = self.engine.access(|access, now| self.caller.is_valid(access, now));
        valid.unwrap_or(true)
    }

    /// Resolves when the rights of the caller have ended: at the latest a second after a change is known to this
    /// server.
    pub(crate) async fn revoked(&self) {
        let mut changes = self.engine.access_changes();
        loop {
            let rest = self.engine.access(|access, now| {
                let valid = self.caller.is_valid(access, now);
                let rest = self.caller.expires_at(access).map(|at| at.since(now));
                valid.then(|| rest.unwrap_or(Self::CHECK_EVERY).min(Self::CHECK_EVERY))
            });
            let Some(rest) = rest.unwrap_or(Some(Self::CHECK_EVERY)) else { return };
            // Times are microseconds, and a timer may be early by less than a millisecond.
            let rest = rest + Duration::from_millis(1);
            tokio::select! {
                known = changes.changed() => if known.is_err() {
                    std::future::pending::<()>().await;
                },
                () = tokio::time::sleep(rest) => {}
            }
        }
    }
}
