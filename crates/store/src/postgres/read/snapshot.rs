//! Reads the whole pool, without its history.

use pool::{Fence, Policy, Pool, Timestamp};
use tokio_postgres::{Error as PgError, GenericClient, Row};

use crate::postgres::read::rows;
use crate::{Error, Position, Snapshot};

/// The pool's row.
pub(crate) struct PoolRow {
    pub(crate) id: i32,
    pub(crate) policy: Policy,
}

/// The pool's row; `None` before the pool is created.
pub(crate) async fn pool_row(client: &impl GenericClient) -> Result<Option<PoolRow>, PgError> {
    let row = client.query_opt(sql!("pools/pool"), &[]).await?;
    row.map(|row| Ok(PoolRow { id: row.try_get(0)?, policy: rows::policy(&row, 1)? })).transpose()
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

/// Every pool has one, unless it was deleted by hand. `failed` classifies errors.
pub(crate) async fn newest(
    client: &impl GenericClient,
    pool: i32,
    failed: impl Fn(PgError) -> Error,
) -> Result<Newest, Error> {
    let row = client.query_opt(sql!("journal/newest"), &[&pool]).await.map_err(&failed)?;
    let Some(row) = row else {
        return Err(Error::Operator(
            "the pool is damaged: its journal is empty, although it always has an entry. Its tables \
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

/// Reads the pool while no other session can change it: under its lock, or in a transaction with
/// one snapshot. `failed` classifies errors.
pub(crate) async fn load(
    client: &impl GenericClient,
    failed: impl Fn(PgError) -> Error,
) -> Result<(Newest, Snapshot), Error> {
    let row = pool_row(client).await.map_err(&failed)?;
    let row = row.ok_or_else(|| Error::Operator("the database holds no pool".to_owned()))?;
    let newest = newest(client, row.id, &failed).await?;
    let found = client.query(sql!("leases/latest_leases"), &[&row.id]).await;
    let (mut tokens, mut leases) = (Vec::new(), Vec::new());
    for row in found.map_err(&failed)? {
        leases.extend(rows::lease_or_none(&row, 3).map_err(&failed)?);
        tokens.push(rows::token(&row).map_err(&failed)?);
    }
    let tickets = client.query(sql!("tickets/tickets"), &[&row.id]).await;
    let tickets = tickets.map_err(&failed)?;
    let tickets = tickets
        .iter()
        .filter_map(|row| rows::ticket(row).transpose())
        .collect::<Result<Vec<_>, _>>();
    let tickets = tickets.map_err(&failed)?;
    let pool = Pool::restore(row.policy, tokens, leases, newest.fence);
    let pool = pool.and_then(|pool| pool.with_queue(tickets)).map_err(|error| {
        Error::Operator(format!(
            "what the database holds can't be a pool: {error}; restore a backup, or ask `doctor`"
        ))
    })?;
    let Newest { position, at, .. } = newest;
    Ok((newest, Snapshot { position, at, pool }))
}
