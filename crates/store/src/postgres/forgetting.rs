//! Deletes what is old, a little at a time.

use pool::{Fence, Timestamp};
use tokio_postgres::types::ToSql;

use super::failure::running;
use super::rows::Moment;
use super::writing::Writing;
use crate::{Error, Swept};

/// How many journal entries are looked at by one [`Writing::prune`].
const STEP: i64 = 500;

/// Up to where what is old is known to be gone. Asking from there on saves walking over what an index
/// still holds of deleted rows.
#[derive(Default)]
pub(super) struct Forgotten {
    /// No journal entry before this version is left.
    versions: i64,
    /// No idempotency key with a number below this one is left.
    pub(super) keys: i64,
    /// A fence up to which leases were looked at, and when the lease with it started.
    leases: Option<(Fence, Timestamp)>,
}

impl Writing {
    pub(super) async fn prune(&mut self, before: Timestamp, keep: i64) -> Result<u64, Error> {
        let failed = running("deleting old journal entries");
        let (from, before) = (self.forgotten.versions, Moment::within_range(before));
        let parameters: [&(dyn ToSql + Sync); 5] = [&self.pool, &from, &before, &keep, &STEP];
        let rows = self.session.client.query(&self.statements.prune, &parameters).await;
        let rows = rows.map_err(&failed)?;
        for row in &rows {
            let version: i64 = row.try_get(0).map_err(&failed)?;
            self.forgotten.versions = self.forgotten.versions.max(version + 1);
        }
        Ok(rows.len() as u64)
    }

    pub(super) async fn forget_keys(&mut self, before: Timestamp) -> Result<u64, Error> {
        let failed = running("deleting old idempotency keys");
        let (from, before) = (self.forgotten.keys, Moment::within_range(before));
        let parameters: [&(dyn ToSql + Sync); 3] = [&self.pool, &from, &before];
        let rows = self.session.client.query(&self.statements.forget_keys, &parameters).await;
        Ok(rows.map_err(&failed)?.len() as u64)
    }

    pub(super) async fn forget_leases(
        &mut self,
        before: Timestamp,
        after: Fence,
    ) -> Result<Swept, Error> {
        let failed = running("deleting old leases");
        let known = self.forgotten.leases.filter(|(fence, _)| *fence == after);
        let from = Moment::within_range(known.map_or(Timestamp::MIN, |(_, started_at)| started_at));
        let (fence, before) = (after.get(), Moment::within_range(before));
        let parameters: [&(dyn ToSql + Sync); 4] = [&self.pool, &from, &fence, &before];
        let row = self.session.client.query_one(&self.statements.forget_leases, &parameters).await;
        let row = row.map_err(&failed)?;
        let (deleted, more): (i64, bool) =
            (row.try_get(0).map_err(&failed)?, row.try_get(1).map_err(&failed)?);
        let last: Option<Moment> = row.try_get(2).map_err(&failed)?;
        let fence: Option<i64> = row.try_get(3).map_err(&failed)?;
        let last = fence.map(Fence::new).zip(last.map(|Moment(at)| at));
        self.forgotten.leases = last.filter(|_| more);
        let up_to = self.forgotten.leases.map(|(fence, _)| fence);
        Ok(Swept { deleted: deleted.unsigned_abs(), up_to })
    }
}
