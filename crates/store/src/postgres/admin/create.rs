//! Creates the pool.

use std::time::Duration;

use pool::{Fence, Lease, Timestamp};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Transaction};
use uuid::Uuid;

use crate::journal::encode;
use crate::postgres::admin::audit;
use crate::postgres::connect::failure::at_start;
use crate::postgres::connect::lineage::Lineage;
use crate::postgres::connect::session::Session;
use crate::postgres::read::rows::{Moment, micros};
use crate::postgres::read::snapshot;
use crate::postgres::write::parameters::LeaseColumns;
use crate::{Error, ImportedPool, NewPool, new_pool, policy};

/// Number of tokens that one statement writes.
const PART: usize = 10_000;

/// Creates the pool, all or nothing. Returns its id.
pub(crate) async fn create(session: &mut Session, new: &NewPool) -> Result<i32, Error> {
    let failed = at_start("making the pool");
    let client: &mut Client = &mut session.client;
    let transaction = client.transaction().await.map_err(&failed)?;
    let pool = insert_tokens(&transaction, new).await?;
    begin_journal(&transaction, pool, (new.at, Fence::NONE), &session.lineage).await?;
    transaction.commit().await.map_err(&failed)?;
    Ok(pool)
}

/// Creates the pool from one of another system, all or nothing.
pub(crate) async fn import(session: &mut Session, from: ImportedPool<'_>) -> Result<(), Error> {
    let failed = at_start("importing");
    let client: &mut Client = &mut session.client;
    let transaction = client.transaction().await.map_err(&failed)?;
    if snapshot::pool_row(&transaction).await.map_err(&failed)?.is_some() {
        return Err(Error::Operator(
            "the database holds a pool already: import into a new one".to_owned(),
        ));
    }
    let pool = insert_tokens(&transaction, &from.new).await?;
    let insert = transaction.prepare(sql!("leases/insert_leases")).await;
    let insert = insert.map_err(&failed)?;
    let (mut last, mut longest) = (Fence::NONE, Duration::ZERO);
    loop {
        let part: Vec<Lease> = from.history.next().await?;
        let Some(newest) = part.last() else { break };
        last = newest.fence;
        let lengths = part.iter().map(|lease| lease.expires_at.since(lease.started_at));
        longest = lengths.fold(longest, Duration::max);
        let leases = LeaseColumns::of(&part);
        transaction
            .execute(&insert, &[&[&pool as &(dyn ToSql + Sync)], &leases.parameters()[..]].concat())
            .await
            .map_err(&failed)?;
    }
    let update = sql!("pools/update_longest_lease");
    transaction.execute(update, &[&pool, &micros(longest)]).await.map_err(&failed)?;
    begin_journal(&transaction, pool, (from.new.at, last), &session.lineage).await?;
    // Refuses a pool that later starts could not open, or that an audit would report.
    snapshot::load(&transaction, &failed).await?;
    if let Some(fault) = audit::faults(&transaction).await.map_err(&failed)?.first() {
        return Err(Error::Operator(format!("the data to import are inconsistent: {fault}")));
    }
    transaction.commit().await.map_err(&failed)
}

async fn insert_tokens(transaction: &Transaction<'_>, new: &NewPool) -> Result<i32, Error> {
    let failed = at_start("making the pool");
    let size = i32::try_from(new.tokens.len()).unwrap_or(i32::MAX);
    let (policy, longest) = (policy::document(&new.policy), micros(new.policy.max_lease()));
    let insert = sql!("pools/insert_pool");
    let row = transaction.query_one(insert, &[&size, &policy, &longest]).await;
    let pool: i32 = row.and_then(|row| row.try_get(0)).map_err(&failed)?;
    let insert = transaction.prepare(sql!("pools/insert_tokens")).await;
    let insert = insert.map_err(&failed)?;
    let mut position = 0_i32;
    for part in new.tokens.chunks(PART) {
        let ids: Vec<Uuid> = part.iter().map(|token| token.id.0).collect();
        let values: Vec<Uuid> = part.iter().map(|token| token.value.0).collect();
        let made: Vec<Moment> = part.iter().map(|token| Moment(token.inserted_at)).collect();
        let parameters: [&(dyn ToSql + Sync); 5] = [&pool, &position, &ids, &values, &made];
        transaction.execute(&insert, &parameters).await.map_err(&failed)?;
        position += i32::try_from(part.len()).expect("a part is small");
    }
    Ok(pool)
}

/// Writes the journal's first entry, which is not a server's batch.
async fn begin_journal(
    transaction: &Transaction<'_>,
    pool: i32,
    (at, fence): (Timestamp, Fence),
    lineage: &Lineage,
) -> Result<(), Error> {
    let (batch, no_server) = (new_pool::batch_id().0, Uuid::nil());
    let (fence, no_changes, timeline) = (fence.get(), encode(&[]), lineage.record(false));
    let parameters: [&(dyn ToSql + Sync); 9] =
        [&pool, &1_i64, &batch, &no_server, &Moment(at), &1_i64, &fence, &timeline, &no_changes];
    let inserted = transaction.execute(sql!("journal/insert_batch"), &parameters).await;
    inserted.map(drop).map_err(at_start("making the pool"))
}
