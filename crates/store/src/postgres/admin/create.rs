//! Creates the ledger.

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
use crate::postgres::write::members::Members;
use crate::postgres::write::parameters::LeaseColumns;
use crate::postgres::write::statements::Statements;
use crate::{Error, ImportedPool, NetChanges, NewPool, new_pool};

/// Creates the ledger with the pool `default`, all or nothing.
pub(crate) async fn create(session: &mut Session, new: &NewPool) -> Result<(), Error> {
    let failed = at_start("making the ledger");
    let client: &mut Client = &mut session.client;
    let transaction = client.transaction().await.map_err(&failed)?;
    insert(&transaction, new).await?;
    begin_journal(&transaction, (new.at, Fence::NONE), &session.lineage).await?;
    transaction.commit().await.map_err(&failed)
}

/// Creates the ledger with the pool `default` from one of another system, all or nothing.
pub(crate) async fn import(session: &mut Session, from: ImportedPool<'_>) -> Result<(), Error> {
    let failed = at_start("importing");
    let client: &mut Client = &mut session.client;
    let transaction = client.transaction().await.map_err(&failed)?;
    if snapshot::exists(&transaction).await.map_err(&failed)? {
        return Err(Error::Operator(
            "the database holds pools already: import into a new one".to_owned(),
        ));
    }
    insert(&transaction, &from.new).await?;
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
        transaction.execute(&insert, &leases.parameters()).await.map_err(&failed)?;
    }
    let raise = sql!("ledger/raise_longest");
    transaction.execute(raise, &[&micros(longest)]).await.map_err(&failed)?;
    begin_journal(&transaction, (from.new.at, last), &session.lineage).await?;
    // Refuses a pool that later starts could not open, or that an audit would report.
    snapshot::load(&transaction, &failed).await?;
    if let Some(fault) = audit::faults(&transaction).await.map_err(&failed)?.first() {
        return Err(Error::Operator(format!("the data to import are inconsistent: {fault}")));
    }
    transaction.commit().await.map_err(&failed)
}

async fn insert(transaction: &Transaction<'_>, new: &NewPool) -> Result<(), Error> {
    let failed = at_start("making the ledger");
    let insert = sql!("ledger/insert_ledger");
    transaction.execute(insert, &[]).await.map_err(&failed)?;
    let statements = Statements::prepare(transaction.client()).await.map_err(&failed)?;
    let net = NetChanges::of(&new.changes());
    // One after another, so that only a part of the tokens is in a message.
    for (statement, parameters) in Members::of(&net.members).steps(&statements) {
        transaction.execute(statement, &parameters).await.map_err(&failed)?;
    }
    Ok(())
}

/// Writes the journal's first entry, which is not a server's batch.
async fn begin_journal(
    transaction: &Transaction<'_>,
    (at, fence): (Timestamp, Fence),
    lineage: &Lineage,
) -> Result<(), Error> {
    let (batch, no_server) = (new_pool::batch_id().0, Uuid::nil());
    let (fence, no_changes, timeline) = (fence.get(), encode(&[]), lineage.record(false));
    let parameters: [&(dyn ToSql + Sync); 8] =
        [&1_i64, &batch, &no_server, &Moment(at), &1_i64, &fence, &timeline, &no_changes];
    let inserted = transaction.execute(sql!("journal/insert_batch"), &parameters).await;
    inserted.map(drop).map_err(at_start("making the ledger"))
}
