//! Deletes old rows, a few at a time, and indexes leases by pool, on a connection of its own. Batches wait for it only when keys are
//! short, for [`Cleaning::forget_keys_early`].

use async_trait::async_trait;
use pool::{ApiKeyId, Fence, Timestamp};
use tokio_postgres::types::ToSql;

use crate::postgres::connect::failure::running;
use crate::postgres::connect::flight::{Step, flight};
use crate::postgres::connect::locks::LEDGER_LOCK;
use crate::postgres::connect::session::{Access, Purpose, Session};
use crate::postgres::read::rows::Moment;
use crate::postgres::read::search::BLOCK_BITS;
use crate::postgres::write::key_usage;
use crate::postgres::write::statements::HousekeepingStatements;
use crate::postgres::write::store::within;
use crate::{Error, Housekeeper, Swept};

/// Number of journal entries that one step examines.
const STEP: i64 = 500;

/// Deletes old rows of a ledger in PostgreSQL.
pub(crate) struct PostgresHousekeeper {
    access: Access,
    /// `None` until it is needed, and after a failure.
    cleaning: Option<Cleaning>,
}

impl PostgresHousekeeper {
    pub(crate) fn new(access: Access) -> Self {
        PostgresHousekeeper { access, cleaning: None }
    }

    /// The connection; a new one if it is missing or was lost. Callers put it back only after
    /// success.
    async fn take(&mut self) -> Result<Cleaning, Error> {
        match self.cleaning.take().filter(|cleaning| !cleaning.session.client.is_closed()) {
            Some(cleaning) => Ok(cleaning),
            None => within(Cleaning::open(&self.access)).await,
        }
    }
}

#[async_trait]
impl Housekeeper for PostgresHousekeeper {
    async fn prune(&mut self, before: Timestamp, keep: i64) -> Result<u64, Error> {
        let mut cleaning = self.take().await?;
        let pruned = within(cleaning.prune(before, keep)).await?;
        self.cleaning = Some(cleaning);
        Ok(pruned)
    }

    async fn forget_keys(&mut self, before: Timestamp) -> Result<u64, Error> {
        let mut cleaning = self.take().await?;
        let forgotten = within(cleaning.forget_keys(before)).await?;
        self.cleaning = Some(cleaning);
        Ok(forgotten)
    }

    async fn forget_keys_early(&mut self, before: Timestamp) -> Result<u64, Error> {
        let mut cleaning = self.take().await?;
        let forgotten = within(cleaning.forget_keys_early(before)).await?;
        self.cleaning = Some(cleaning);
        Ok(forgotten)
    }

    async fn key_count(&mut self) -> Result<u64, Error> {
        let mut cleaning = self.take().await?;
        let Cleaning { session, statements, forgotten } = &mut cleaning;
        let ends = &statements.key_ends;
        let usage = within(key_usage::of_ends(&session.client, ends, &mut forgotten.keys));
        let (usage, _) = usage.await?;
        self.cleaning = Some(cleaning);
        Ok(usage.count)
    }

    async fn forget_leases(&mut self, before: Timestamp, after: Fence) -> Result<Swept, Error> {
        let mut cleaning = self.take().await?;
        let swept = within(cleaning.forget_leases(before, after)).await?;
        self.cleaning = Some(cleaning);
        Ok(swept)
    }

    async fn forget_acts(&mut self, keep: i64) -> Result<u64, Error> {
        let cleaning = self.take().await?;
        let deleted = within(cleaning.forget_acts(keep)).await?;
        self.cleaning = Some(cleaning);
        Ok(deleted)
    }

    async fn forget_sessions(&mut self, now: Timestamp) -> Result<u64, Error> {
        let cleaning = self.take().await?;
        let deleted = within(cleaning.forget_sessions(now)).await?;
        self.cleaning = Some(cleaning);
        Ok(deleted)
    }

    async fn note_key_uses(&mut self, uses: &[(ApiKeyId, Timestamp)]) -> Result<(), Error> {
        let cleaning = self.take().await?;
        within(cleaning.note_key_uses(uses)).await?;
        self.cleaning = Some(cleaning);
        Ok(())
    }

    async fn index_leases(&mut self) -> Result<bool, Error> {
        let mut cleaning = self.take().await?;
        let indexed = within(cleaning.index_leases()).await?;
        self.cleaning = Some(cleaning);
        Ok(indexed)
    }
}

/// The connection.
struct Cleaning {
    session: Session,
    statements: HousekeepingStatements,
    forgotten: Forgotten,
}

/// Positions below which all old rows are known to be deleted. Starting from there skips the
/// entries of deleted rows that an index still holds.
#[derive(Default)]
struct Forgotten {
    /// No journal entry before this version is left.
    versions: i64,
    /// No idempotency key with a number below this one is left.
    keys: i64,
    /// The last lease that this round examined.
    looked: Option<Place>,
    /// Whether the round began with the first remaining lease.
    from_first: bool,
    /// The first lease that this round spared.
    spared: Option<Place>,
    /// No lease before this one is left.
    leases: Option<Place>,
}

/// A lease's fence, and when it started.
type Place = (Fence, Timestamp);

impl Cleaning {
    async fn open(access: &Access) -> Result<Self, Error> {
        let session = access.session(Purpose::Clean).await?;
        let statements = HousekeepingStatements::prepare(&session.client).await;
        let statements = statements.map_err(running("connecting"))?;
        Ok(Cleaning { session, statements, forgotten: Forgotten::default() })
    }

    async fn prune(&mut self, before: Timestamp, keep: i64) -> Result<u64, Error> {
        let failed = running("deleting old journal entries");
        let (from, before) = (self.forgotten.versions, Moment::within_range(before));
        let parameters: [&(dyn ToSql + Sync); 4] = [&from, &before, &keep, &STEP];
        let rows = self.session.client.query(&self.statements.prune, &parameters).await;
        let rows = rows.map_err(&failed)?;
        for row in &rows {
            let version: i64 = row.try_get(0).map_err(&failed)?;
            self.forgotten.versions = self.forgotten.versions.max(version + 1);
        }
        Ok(rows.len() as u64)
    }

    async fn forget_keys(&mut self, before: Timestamp) -> Result<u64, Error> {
        let failed = running("deleting old idempotency keys");
        let (from, before) = (self.forgotten.keys, Moment::within_range(before));
        let parameters: [&(dyn ToSql + Sync); 2] = [&from, &before];
        let row = self.session.client.query_one(&self.statements.forget_keys, &parameters).await;
        let row = row.map_err(&failed)?;
        let first: Option<i64> = row.try_get(1).map_err(&failed)?;
        self.forgotten.keys = self.forgotten.keys.max(first.unwrap_or(0));
        row.try_get(0).map(i64::unsigned_abs).map_err(&failed)
    }

    async fn forget_keys_early(&mut self, before: Timestamp) -> Result<u64, Error> {
        let failed = running("deleting idempotency keys early");
        let (statements, before) = (&self.statements, Moment::within_range(before));
        let steps: [Step<'_>; 4] = [
            (&statements.begin, Vec::new()),
            // The lock of batches: no other server may assign the same numbers meanwhile.
            (&statements.lock, vec![&LEDGER_LOCK.0, &LEDGER_LOCK.1]),
            (&statements.forget_keys_early, vec![&self.forgotten.keys, &before]),
            (&statements.commit, Vec::new()),
        ];
        let mut answers = Vec::new();
        for answer in flight(&self.session.client, &steps).await {
            answers.push(answer.map_err(&failed)?);
        }
        let Some(row) = answers[2].first() else { return Ok(0) };
        let first: Option<i64> = row.try_get(2).map_err(&failed)?;
        self.forgotten.keys = self.forgotten.keys.max(first.unwrap_or(0));
        row.try_get(0).map(i64::unsigned_abs).map_err(&failed)
    }

    async fn forget_leases(&mut self, before: Timestamp, after: Fence) -> Result<Swept, Error> {
        let failed = running("deleting old leases");
        let round = self.forgotten.looked.filter(|(fence, _)| *fence == after);
        // A new round begins with the first remaining lease.
        let first = self.forgotten.leases.map(|(fence, started_at)| (fence.plus(-1), started_at));
        let first = first.filter(|(fence, _)| *fence > after).unwrap_or((after, Timestamp::MIN));
        let (fence, from) = round.unwrap_or(first);
        if round.is_none() {
            self.forgotten.from_first = after == Fence::NONE;
            self.forgotten.spared = None;
        }
        let (fence, from) = (fence.get(), Moment::within_range(from));
        let before = Moment::within_range(before);
        let parameters: [&(dyn ToSql + Sync); 3] = [&from, &fence, &before];
        let row = self.session.client.query_one(&self.statements.forget_leases, &parameters).await;
        let row = row.map_err(&failed)?;
        let (deleted, more): (i64, bool) =
            (row.try_get(0).map_err(&failed)?, row.try_get(1).map_err(&failed)?);
        let place = |columns: [usize; 2]| {
            let started_at: Option<Moment> = row.try_get(columns[0])?;
            let fence: Option<i64> = row.try_get(columns[1])?;
            Ok(fence.map(Fence::new).zip(started_at.map(|Moment(at)| at)))
        };
        let (last, spared) = (place([2, 3]).map_err(&failed)?, place([4, 5]).map_err(&failed)?);
        let (block, next) = (fence >> BLOCK_BITS, last.map(|(last, _)| last.get() >> BLOCK_BITS));
        if let Some(next) = next.filter(|next| *next > block) {
            let passed: [&(dyn ToSql + Sync); 2] = [&block, &next];
            let tidied = self.session.client.execute(&self.statements.tidy_pools, &passed).await;
            tidied.map_err(&failed)?;
        }
        let forgotten = &mut self.forgotten;
        forgotten.spared = forgotten.spared.or(spared);
        if forgotten.from_first {
            forgotten.leases = forgotten.spared.or(last).or(forgotten.leases);
        }
        forgotten.looked = last.filter(|_| more);
        let up_to = forgotten.looked.map(|(fence, _)| fence);
        Ok(Swept { deleted: deleted.unsigned_abs(), up_to })
    }

    async fn forget_acts(&self, keep: i64) -> Result<u64, Error> {
        let deleted = self.session.client.execute(&self.statements.forget_acts, &[&keep]).await;
        deleted.map_err(running("deleting old entries of the audit log"))
    }

    async fn forget_sessions(&self, now: Timestamp) -> Result<u64, Error> {
        let now = Moment::within_range(now);
        let deleted = self.session.client.execute(&self.statements.forget_sessions, &[&now]).await;
        deleted.map_err(running("deleting sessions"))
    }

    async fn note_key_uses(&self, uses: &[(ApiKeyId, Timestamp)]) -> Result<(), Error> {
        let (ids, moments): (Vec<&str>, Vec<Moment>) =
            uses.iter().map(|(id, at)| (id.as_str(), Moment(*at))).unzip();
        let note = &self.statements.note_key_uses;
        let noted = self.session.client.execute(note, &[&ids, &moments]).await;
        noted.map(drop).map_err(running("writing when API keys were used"))
    }

    async fn index_leases(&mut self) -> Result<bool, Error> {
        let indexed = self.session.client.query_opt(&self.statements.index_pools, &[]).await;
        indexed.map(|row| row.is_some()).map_err(running("indexing leases by pool"))
    }
}
