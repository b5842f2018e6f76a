//! Queries of a [`Handle`] about ended leases: answered from the pool if it still has them, else
//! from the store.

use pool::{Fence, Lease, LeaseId, Timestamp, TokenId};
use store::{Cursor, LeaseQuery, LeaseRecord, LeaseStatus};

use crate::events::EventBatch;
use crate::handle::{Handle, LeaseOutcome, View};
use crate::{Error, Scope};

/// A lease and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// The lease, with its end as of `now`.
    pub lease: Lease,
    /// The lease for which it was evicted, if any.
    pub evicted_by: Option<LeaseId>,
    /// The lease that its token has now.
    pub current: Option<Lease>,
    /// Time of this answer, in the pool's time.
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
    /// Time of this answer, in the pool's time.
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
                let latest = view.pool.lease(id).cloned();
                (latest.map(|lease| lease.seen_at(view.now)), view.now)
            };
            let (latest, now) = self.read_of(Scope::Lease(id), look).await?;
            if let Some(lease) = latest {
                return Ok(Some(LeaseView { lease, evicted_by: None, current: None, now }));
            }
            let Some(LeaseRecord { lease, evicted_by }) = self.recorded(id).await? else {
                return Ok(None);
            };
            if lease.end.is_none() {
                // It started after the look-up. From now on the copy has it, or the record has its
                // end.
                continue;
            }
            let look = |view: View<'_>| {
                let token = view.pool.token(lease.token_id);
                let current = token.and_then(|token| token.running(view.now)).cloned();
                (current, view.now)
            };
            let (current, now) = self.read_of(Scope::Token(lease.token_id), look).await?;
            return Ok(Some(LeaseView { lease, evicted_by, current, now }));
        }
        tracing::warn!(lease = %id.0, "a recorded lease runs, but is not its token's latest");
        Err(Error::not_done())
    }

    /// Returns a page of a token's history: its leases with a fence below `before`, at most
    /// `limit`. None if the pool has no such token.
    ///
    /// # Errors
    ///
    /// As [`Handle::read`].
    pub async fn history(
        &self,
        token: TokenId,
        before: Option<Fence>,
        limit: usize,
    ) -> Result<Option<Page<Fence>>, Error> {
        let look = |view: View<'_>| view.pool.token(token).map(|_| view.now);
        let Some(now) = self.read_of(Scope::Token(token), look).await? else {
            return Ok(None);
        };
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
        let scope = query.token.map_or(Scope::Pool, Scope::Token);
        let now = self.read_of(scope, |view| view.now).await?;
        let reader = self.shared.reader().await?;
        let search = reader.search(query, now, limit);
        let found = self.in_time("leases were not searched", search).await?;
        Ok(Page { leases: seen_at(found.leases, now), next: found.next, now })
    }

    /// Returns a page of running leases, from memory.
    async fn running(&self, query: &LeaseQuery, limit: usize) -> Result<Page<Cursor>, Error> {
        let look = |view: View<'_>| {
            let before = query.after.map_or(view.pool.fence().plus(1), |after| after.fence);
            let running = view.pool.running(view.now, before);
            let mut fitting = running.filter(|lease| query.fits(lease, view.now));
            let leases: Vec<Lease> = fitting.by_ref().take(limit).cloned().collect();
            let next = fitting.next().and(leases.last()).map(Cursor::of);
            (leases, next, view.now)
        };
        let scope = query.token.map_or(Scope::Pool, Scope::Token);
        let (leases, next, now) = self.read_of(scope, look).await?;
        let record = |lease| LeaseRecord { lease, evicted_by: None };
        Ok(Page { leases: leases.into_iter().map(record).collect(), next, now })
    }

    /// Returns the events of the journal's entries from that version of that epoch on, oldest
    /// first, of at most `limit` entries (1 at least); the first entry has exactly that version.
    /// None if the journal does not reach back that far, belongs to another history, or can't be
    /// read.
    ///
    /// # Errors
    ///
    /// As [`Handle::read`].
    pub async fn journal(
        &self,
        epoch: i64,
        version: i64,
        limit: usize,
    ) -> Result<Option<Vec<EventBatch>>, Error> {
        const WHAT: &str = "the journal was not read";
        let reader = self.shared.reader().await?;
        let Some(entries) = self.in_time(WHAT, reader.journal(epoch, version, limit)).await? else {
            return Ok(None);
        };
        let touched = |change: &pool::Change| match change {
            pool::Change::LeaseEnded { lease_id, .. }
            | pool::Change::LeaseRenewed { lease_id, .. } => Some(*lease_id),
            _ => None,
        };
        let ids: Vec<LeaseId> =
            entries.iter().flat_map(|entry| entry.changes.iter().filter_map(touched)).collect();
        let mut leases = std::collections::HashMap::new();
        for ids in ids.chunks(1_000) {
            let found = self.in_time(WHAT, reader.leases(ids)).await?;
            leases.extend(found.into_iter().map(|lease| (lease.id, lease)));
        }
        let published = |entry| EventBatch::of(entry, |id| leases.get(id).cloned());
        Ok(entries.iter().map(published).collect())
    }

    /// Outcome of a command for a lease that is not the latest of any token.
    pub(super) async fn over(&self, id: LeaseId) -> Result<LeaseOutcome, Error> {
        Ok(match self.recorded(id).await? {
            Some(LeaseRecord { lease, evicted_by }) if lease.end.is_some() => {
                LeaseOutcome::Over { lease, evicted_by }
            }
            // A running one started after the command was decided.
            _ => LeaseOutcome::Unknown,
        })
    }

    async fn recorded(&self, id: LeaseId) -> Result<Option<LeaseRecord>, Error> {
        let reader = self.shared.reader().await?;
        self.in_time("a lease was not read", reader.lease(id)).await
    }

    /// Returns the store's answer, within the time limit of reads. Returns once the readers'
    /// replica has every batch that the answer may show, so that no later read shows an earlier
    /// state.
    async fn in_time<T>(
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

fn seen_at(leases: Vec<LeaseRecord>, now: Timestamp) -> Vec<LeaseRecord> {
    let seen = |LeaseRecord { lease, evicted_by }| LeaseRecord {
        lease: Lease::seen_at(lease, now),
        evicted_by,
    };
    leases.into_iter().map(seen).collect()
}
