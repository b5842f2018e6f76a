//! Reads the whole ledger, without its history.

use pool::{Counters, Fence, Ledger, Policy, PoolId, Timestamp};
use tokio_postgres::{Error as PgError, GenericClient, Row};

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
    let found = client.query(sql!("leases/latest_leases"), &[]).await;
    let (mut tokens, mut leases) = (Vec::new(), Vec::new());
    for row in found.map_err(&failed)? {
        leases.extend(rows::lease_or_none(&row, rows::TOKEN).map_err(&failed)?);
        tokens.push(rows::token(&row).map_err(&failed)?);
    }
    let tickets = client.query(sql!("tickets/tickets"), &[]).await;
    let tickets = tickets.map_err(&failed)?;
    let tickets = tickets
        .iter()
        .filter_map(|row| rows::ticket(row).transpose())
        .collect::<Result<Vec<_>, _>>();
    let tickets = tickets.map_err(&failed)?;
    let keys = access::api_keys(client).await.map_err(&failed)?;
    let sessions = access::sessions(client, newest.at).await.map_err(&failed)?;
    let ledger = Ledger::restore(counters, pools, tokens, leases);
    let ledger = ledger.and_then(|ledger| ledger.with_queue(tickets));
    let ledger = ledger.and_then(|ledger| ledger.with_access(keys, sessions)).map_err(|error| {
        Error::Operator(format!(
            "what the database holds can't be a pool: {error}; restore a backup, or ask `doctor`"
        ))
    })?;
    let Newest { position, at, .. } = newest;
    Ok((newest, Snapshot { position, at, ledger }))
}
