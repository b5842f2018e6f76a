//! Moment at which a read sees the ledger.
//!
//! A read shows the copy at one moment between request and response, with the deadlines that have
//! passed by then applied. A batch in flight may have been decided before such a deadline, and
//! renew that lease, or end it for another reason: then the read waits until the batch is settled.

use std::time::Duration;

use pool::{Lease, LeaseId, PoolId, Timestamp, TokenId, TokenView};
use tokio::time::{Instant, timeout, timeout_at};

use crate::Error;
use crate::replica::Replica;
use crate::shared::Shared;

/// Pause before the next wait for batches of other servers.
const PAUSE: Duration = Duration::from_millis(20);

/// Deadlines on which a read depends. A smaller scope has to wait less often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// No deadline: the read does not concern any lease's state.
    Timeless,
    /// The deadline of this lease.
    Lease(LeaseId),
    /// The deadlines of this token's latest lease and of its taints.
    Token(TokenId),
    /// All deadlines in this pool.
    Pool(PoolId),
    /// All deadlines.
    Ledger,
}

impl Scope {
    /// Whether a deadline between the two moments decides what the read shows.
    fn has_deadline(self, copy: &Replica, settled: Timestamp, now: Timestamp) -> bool {
        if settled >= now {
            return false;
        }
        let between = |deadline: Timestamp| settled < deadline && deadline <= now;
        let ends = |lease: &Lease| lease.end.is_none() && between(lease.expires_at);
        let changes = |TokenView { token, latest }: TokenView<'_>| {
            let mut untils = token.taints.iter().filter_map(|taint| taint.until);
            latest.is_some_and(ends) || untils.any(between)
        };
        let ledger = &copy.ledger;
        match self {
            Scope::Timeless => false,
            Scope::Lease(id) => ledger.lease(id).is_some_and(ends),
            Scope::Token(id) => ledger.token(id).is_some_and(changes),
            Scope::Pool(id) => ledger
                .pool(id)
                .and_then(|pool| pool.next_deadline_after(settled))
                .is_some_and(between),
            Scope::Ledger => ledger.next_deadline_after(settled).is_some_and(between),
        }
    }
}

impl Shared {
    /// Calls `look` with the copy and a moment between call and return, such that every end by a
    /// deadline in that scope is final. Waits, within the timeout, for batches in flight.
    pub async fn read<T>(
        &self,
        scope: Scope,
        look: impl FnOnce(&Replica, Timestamp) -> T,
    ) -> Result<T, Error> {
        let give_up_at = Instant::now() + self.timeout;
        // Created once: a batch that begins after this is decided later, so one wait is enough.
        let moment = self.catch_up().await?;
        let (is_shared, mut waited) = (self.is_shared(), false);
        loop {
            // Subscribe before reading the state whose changes it reports.
            let changed = self.in_flight.changed();
            let alone = (!is_shared).then(|| self.in_flight.decided_at().unwrap_or(moment));
            let has_copy = {
                let copy = self.copy();
                if let Some(copy) = copy.as_ref() {
                    let now = moment.max(copy.at);
                    let settled = alone.map_or(copy.settled, |settled| settled.max(copy.settled));
                    if !scope.has_deadline(copy, settled, now) {
                        return Ok(look(copy, now));
                    }
                }
                copy.is_some()
            };
            let wait = async {
                if !is_shared || !has_copy {
                    changed.await;
                    return Ok(());
                }
                if waited {
                    // The ledger's time is ahead of the database's clock. Then the engine has to
                    // write the end of the lease before it is final for all servers.
                    drop(timeout(PAUSE, changed).await);
                }
                self.settle_others().await.map(drop)
            };
            timeout_at(give_up_at, wait).await.unwrap_or_else(|_| Err(Error::not_done()))?;
            waited = true;
        }
    }

    /// Waits until the copy has every batch that an answer of the store may be based on: the
    /// database shows a batch slightly before it is published here.
    pub async fn reach_store(&self) -> Result<(), Error> {
        let Some(version) = self.reader().await?.version_read() else { return Ok(()) };
        loop {
            let changed = self.in_flight.changed();
            if self.position().version >= version {
                return Ok(());
            }
            changed.await;
        }
    }
}
