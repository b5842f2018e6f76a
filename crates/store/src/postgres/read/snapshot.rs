//! Reads the whole ledger, without its history.

use std::pin::pin;

use futures_util::TryStreamExt;
use pool::{Counters, Fence, Inconsistent, Policy, PoolId, Restoring, Timestamp};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error as PgError, GenericClient, Row};

use crate::document::TokenDocuments;
use crate::postgres::read::{access, rows};
use crate::{Error, Position, Snapshot};

/// Whether the ledger was created.
pub(crate) async fn exists(client: &impl GenericClient) -> Result<bool, PgError> {
    client.query_one(sql!("ledger/exists"), &[]).await?.try_get(0)
}

/// Size and policy of the pool `default`; `None` before the ledger is created.
pub(crate) async fn pool(client: &impl GenericClient) -> Result<Option<(usize, Policy)>, PgError> {
    let row = client.query_opt(sql!("pools/pool"), &[]).await?;
    row.map(|row| rows::pool(&row)).transpose()
}

/// The journal's newest entry, without its changes.
pub(crate) struct Newest {
    /// The time by the database's clock.
    pub(crate) now: Timestamp,
    pub(crate) position: Position,
    pub(crate) at: Timestamp,
    pub(crate) fence: Fence,
    pub(crate) timeline: String,
}

/// Every ledger has one, unless it was deleted by hand. `failed` classifies errors.
pub(crate) async fn newest(
    client: &impl GenericClient,
    failed: impl Fn(PgError) -> Error,
) -> Result<Newest, Error> {
    let row = client.query_opt(sql!("journal/newest"), &[]).await.map_err(&failed)?;
    let Some(row) = row else {
        return Err(Error::Operator(
            "the ledger is damaged: its journal is empty, although it always has an entry. Its tables \
             were changed by hand, or only a part of them was restored: restore a backup"
                .to_owned(),
        ));
    };
    read_newest(&row).map_err(failed)
}

fn read_newest(row: &Row) -> Result<Newest, PgError> {
    Ok(Newest {
        now: rows::moment(row, 0)?,
        position: rows::position(row, [1, 2, 4])?,
        at: rows::moment(row, 3)?,
        fence: Fence::new(row.try_get(5)?),
        timeline: row.try_get(6)?,
    })
}

/// Reads the ledger while no other session can change it: under its lock, or in a transaction with
/// one snapshot. `failed` classifies errors.
pub(crate) async fn load(
    client: &impl GenericClient,
    failed: impl Fn(PgError) -> Error,
) -> Result<(Newest, Snapshot), Error> {
    if !exists(client).await.map_err(&failed)? {
        return Err(Error::Operator("the database holds no ledger".to_owned()));
    }
    let newest = newest(client, &failed).await?;
    let mut counters = Counters { fence: newest.fence, ..Counters::default() };
    let mut pools = Vec::new();
    for row in client.query(sql!("pools/pools"), &[]).await.map_err(&failed)? {
        let (record, positions) = rows::pool_record(&row).map_err(&failed)?;
        counters.positions.insert(record.id, positions);
        counters.last_pool = row.try_get(6).map(PoolId).map(Some).map_err(&failed)?;
        pools.push(record);
    }
    client.batch_execute(sql!("session/patient")).await.map_err(&failed)?;
    let mut ledger = Restoring::new(counters, pools).map_err(|error| damaged(&error))?;
    let mut documents = TokenDocuments::default();
    // Row by row, while the database looks for the next ones: a ledger may have a million tokens.
    let none: [&(dyn ToSql + Sync); 0] = [];
    let found = client.query_raw(sql!("leases/latest_leases"), none).await;
    let mut found = pin!(found.map_err(&failed)?);
    while let Some(row) = found.try_next().await.map_err(&failed)? {
        let latest = rows::lease_or_none(&row, rows::TOKEN).map_err(&failed)?;
        let token = rows::token(&row, &mut documents).map_err(&failed)?;
        ledger.add(token, latest).map_err(|error| damaged(&error))?;
    }
    client.batch_execute(sql!("session/impatient")).await.map_err(&failed)?;
    let tickets = client.query(sql!("tickets/tickets"), &[]).await;
    let tickets = tickets.map_err(&failed)?;
    let tickets = tickets
        .iter()
        .filter_map(|row| rows::ticket(row).transpose())
        .collect::<Result<Vec<_>, _>>();
    let tickets = tickets.map_err(&failed)?;
    let keys = access::api_keys(client, |key| ledger.add_key(key)).await;
    keys.map_err(&failed)?;
    let sessions = access::sessions(client, newest.at).await.map_err(&failed)?;
    let ledger = ledger.finish().and_then(|ledger| ledger.with_queue(tickets));
    let ledger = ledger.and_then(|ledger| ledger.with_access([], sessions));
    let ledger = ledger.map_err(|error| damaged(&error))?;
    let Newest { position, at, .. } = newest;
    Ok((newest, Snapshot { position, at, ledger }))
}

fn damaged(error: &Inconsistent) -> Error {
    Error::Operator(format!(
        "what the database holds can't be a pool: {error}; restore a backup, or ask `doctor`"
    ))
}
