//! Queries of a [`Handle`] about ended leases: answered from the ledger if it still has them, else
//! from the store.

use pool::{Fence, Lease, LeaseId, Ledger, PoolId, PoolName, Timestamp, TokenId, TokenName};
use store::{Cursor, LeaseQuery, LeaseRecord, LeaseStatus};

use crate::handle::{Handle, LeaseOutcome, View};
use crate::{Error, Scope};

/// A lease and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// The lease, with its end as of `now`.
    pub lease: Lease,
    /// Name of its pool.
    pub pool_name: PoolName,
    /// Name of its token.
    pub token_name: TokenName,
    /// The lease for which it was evicted, if any.
    pub evicted_by: Option<LeaseId>,
    /// The lease that its token has now.
    pub current: Option<Lease>,
    /// Time of this answer, in the ledger's time.
    pub now: Timestamp,
}

/// A page of leases, newest first; their ends are filled in as of the moment of reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The leases. A page of a search may have fewer than requested, even none, although more
    /// follow: see `next`.
    pub leases: Vec<LeaseRecord>,
    /// Where the next page begins. None if this is the last.
    pub next: Option<T>,
    /// Time of this answer, in the ledger's time.
    pub now: Timestamp,
}

/// Maximum number of look-ups of a lease that the copy lacks and whose record has no end. The
/// second one finds it, unless the tables were changed by hand.
const LOOKS: u32 = 4;

impl Handle {
    /// Returns the lease with that id, of any user and any age; None if it does not exist. A
    /// token's latest lease is answered from memory.
    ///
    /// # Errors
    ///
    /// As [`Handle::read`].
    pub async fn lease(&self, id: LeaseId) -> Result<Option<LeaseView>, Error> {
        for _ in 0..LOOKS {
            let look = |view: View<'_>| {
                let lease = view.ledger.lease(id)?.clone().seen_at(view.now);
                Some((record(view.ledger, lease)?, view.now))
            };
            let latest = self.read_of(Scope::Lease(id), look).await?;
            if let Some((LeaseRecord { lease, pool_name, token_name, .. }, now)) = latest {
                let (evicted_by, current) = (None, None);
                let view = LeaseView { lease, pool_name, token_name, evicted_by, current, now };
                return Ok(Some(view));
            }
            let Some(recorded) = self.recorded(id).await? else {
                return Ok(None);
            };
            let LeaseRecord { lease, evicted_by, pool_name, token_name } = recorded;
            if lease.end.is_none() {
                // It started after the look-up. From now on the copy has it, or the record has its
                // end.
                continue;
            }
            let look = |view: View<'_>| {
                let token = view.ledger.token(lease.token_id);
                let current = token.and_then(|token| token.running(view.now)).cloned();
                (current, view.now)
            };
            let (current, now) = self.read_of(Scope::Token(lease.token_id), look).await?;
            let view = LeaseView { lease, pool_name, token_name, evicted_by, current, now };
            return Ok(Some(view));
        }
        tracing::warn!(lease = %id.0, "a recorded lease runs, but is not its token's latest");
        Err(Error::not_done())
    }

    /// Returns a page of a token's history: its leases with a fence below `before`, at most
    /// `limit`. None if the pool never had such a token; it may be retired.
    ///
    /// # Errors
    ///
    /// As [`Handle::read`].
    pub async fn history(
        &self,
        pool: PoolId,
        token: TokenId,
        before: Option<Fence>,
        limit: usize,
    ) -> Result<Option<Page<Fence>>, Error> {
        let look = |view: View<'_>| {
            let is_known = view.pool(pool).is_some_and(|pool| pool.token(token).is_some());
            (is_known, view.now)
        };
        let (is_known, now) = self.read_of(Scope::Token(token), look).await?;
        if !is_known && self.recorded_pool(token).await? != Some(pool) {
            return Ok(None);
        }
        // One lease beyond the limit shows whether another page follows.
        let reader = self.shared.reader().await?;
        let read = reader.history(token, before, limit + 1);
        let mut leases = self.in_time("history was not read", read).await?;
        let more = leases.len() > limit;
        leases.truncate(limit);
        let next = more.then(|| leases.last().map(|last| last.lease.fence)).flatten();
        Ok(Some(Page { leases: seen_at(leases, now), next, now }))
    }

    /// Returns a page of the matching leases, at most `limit`.
    ///
    /// # Errors
    ///
    /// As [`Handle::read`].
    pub async fn search(&self, query: &LeaseQuery, limit: usize) -> Result<Page<Cursor>, Error> {
        if query.status == Some(LeaseStatus::Running) {
            return self.running(query, limit).await;
        }
        let now = self.read_of(scope_of(query), |view| view.now).await?;
        let reader = self.shared.reader().await?;
        let search = reader.search(query, now, limit);
        let found = self.in_time("leases were not searched", search).await?;
        Ok(Page { leases: seen_at(found.leases, now), next: found.next, now })
    }

    /// Returns a page of running leases, from memory.
    async fn running(&self, query: &LeaseQuery, limit: usize) -> Result<Page<Cursor>, Error> {
        let look = |view: View<'_>| {
            let (ledger, now) = (view.ledger, view.now);
            let before = query.after.map_or(ledger.fence().plus(1), |after| after.fence);
            match query.pool {
                Some(pool) => {
                    let running = ledger.pool(pool).map(|pool| pool.running(now, before));
                    page(ledger, running.into_iter().flatten(), query, limit, now)
                }
                None => page(ledger, ledger.running(now, before), query, limit, now),
            }
        };
        self.read_of(scope_of(query), look).await
    }

    /// Returns the pool with this name, also if it was deleted: then it is the one created last.
    ///
    /// # Errors
    ///
    /// As [`Handle::read`].
    pub async fn pool_named(&self, name: &str) -> Result<Option<PoolId>, Error> {
        let look = |view: View<'_>| view.ledger.pool_named(name).map(pool::Pool::id);
        if let Some(id) = self.read_of(Scope::Timeless, look).await? {
            return Ok(Some(id));
        }
        let reader = self.shared.reader().await?;
        self.in_time("a pool was not looked up", reader.pool_named(name)).await
    }

    /// Returns the token with this name, also if it was retired: then it is the one added last.
    ///
    /// # Errors
    ///
    /// As [`Handle::read`].
    pub async fn token_named(&self, pool: PoolId, name: &str) -> Result<Option<TokenId>, Error> {
        let look = |view: View<'_>| Some(view.pool(pool)?.token_named(name)?.token.id);
        if let Some(id) = self.read_of(Scope::Timeless, look).await? {
            return Ok(Some(id));
        }
        let reader = self.shared.reader().await?;
        self.in_time("a token was not looked up", reader.token_named(pool, name)).await
    }

    /// Returns the token with this name as [`Handle::token_named`] does, or else the one with this id,
    /// retired or not.
    ///
    /// # Errors
    ///
    /// As [`Handle::read`].
    pub async fn token_called(
        &self,
        pool: PoolId,
        name: &str,
        id: Option<TokenId>,
    ) -> Result<Option<TokenId>, Error> {
        let named = self.token_named(pool, name).await?;
        match (named, id) {
            (None, Some(id)) => Ok((self.recorded_pool(id).await? == Some(pool)).then_some(id)),
            (named, _) => Ok(named),
        }
    }

    /// Pool of a token that may be retired, or of a deleted pool.
    async fn recorded_pool(&self, token: TokenId) -> Result<Option<PoolId>, Error> {
        let reader = self.shared.reader().await?;
        let named = reader.token_names(std::slice::from_ref(&token));
        let named = self.in_time("a token was not looked up", named).await?;
        Ok(named.first().map(|(_, pool, _)| *pool))
    }

    /// Returns the pool with this name as of the newest journal entry that this server knows, without
    /// asking the database. It may have been deleted or, if it is unknown, created since.
    #[must_use]
    pub fn known_pool(&self, name: &str) -> Option<PoolId> {
        self.shared.copy().as_ref()?.ledger.pool_named(name).map(pool::Pool::id)
    }

    /// Outcome of a command for a lease that is not the latest of any token.
    pub(super) async fn over(&self, id: LeaseId) -> Result<LeaseOutcome, Error> {
        Ok(match self.recorded(id).await? {
            Some(record) if record.lease.end.is_some() && self.has_pool(&record.pool_name) => {
                let LeaseRecord { lease, evicted_by, .. } = record;
                LeaseOutcome::Over { lease, evicted_by }
            }
            // A running one started after the command was decided.
            _ => LeaseOutcome::Unknown,
        })
    }

    /// Whether the acting key, if there is one, applies to the pool. For its caller, other pools do not exist.
    fn has_pool(&self, name: &PoolName) -> bool {
        self.sender.key().is_none_or(|id| {
            let has = self.access(|access, _| access.key(id).is_some_and(|key| key.has_pool(name)));
            has.unwrap_or_default()
        })
    }

    async fn recorded(&self, id: LeaseId) -> Result<Option<LeaseRecord>, Error> {
        let reader = self.shared.reader().await?;
        self.in_time("a lease was not read", reader.lease(id)).await
    }

    /// Returns the store's answer, within the time limit of reads. Returns once the readers'
    /// replica has every batch that the answer may show, so that no later read shows an earlier
    /// state.
    pub(super) async fn in_time<T>(
        &self,
        what: &'static str,
        answer: impl Future<Output = Result<T, store::Error>>,
    ) -> Result<T, Error> {
        let answer = async {
            let answer = answer.await.map_err(|error| {
                tracing::warn!(error = &error as &dyn std::error::Error, "{what}");
                Error::not_done()
            })?;
            self.shared.reach_store().await?;
            Ok(answer)
        };
        let answer = tokio::time::timeout(self.shared.timeout, answer).await;
        answer.unwrap_or_else(|_| Err(Error::not_done()))
    }
}

fn seen_at(mut leases: Vec<LeaseRecord>, now: Timestamp) -> Vec<LeaseRecord> {
    for LeaseRecord { lease, .. } in &mut leases {
        lease.end = lease.end_at(now);
    }
    leases
}

fn scope_of(query: &LeaseQuery) -> Scope {
    let pool = || query.pool.map_or(Scope::Ledger, Scope::Pool);
    query.token.map_or_else(pool, Scope::Token)
}

/// A page of those of the `running` leases that match.
fn page<'a>(
    ledger: &Ledger,
    running: impl Iterator<Item = &'a Lease>,
    query: &LeaseQuery,
    limit: usize,
    now: Timestamp,
) -> Page<Cursor> {
    let mut fitting = running.filter(|lease| query.fits(lease, now));
    let leases: Vec<&Lease> = fitting.by_ref().take(limit).collect();
    let next = fitting.next().and(leases.last()).map(|last| Cursor::of(last));
    let leases = leases.into_iter().filter_map(|lease| record(ledger, lease.clone()));
    Page { leases: leases.collect(), next, now }
}

/// A lease of the ledger with its names.
fn record(ledger: &Ledger, lease: Lease) -> Option<LeaseRecord> {
    let pool = ledger.pool(lease.pool)?;
    let token_name = pool.token(lease.token_id)?.token.name.clone();
    Some(LeaseRecord { lease, evicted_by: None, pool_name: pool.name().clone(), token_name })
}
