//! Creates the ledger.

use crate::epoch;
use pool::{Change, Fence, Lease, Timestamp};
use rusqlite::Connection;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::sqlite::disk::failure::{failed, failed_commit};
use crate::sqlite::read::rows::{self, Written};
use crate::sqlite::read::snapshot;
use crate::sqlite::write::{members, store};
use crate::{
    Entry, Error, NetChanges, NewEpoch, NewPool, Position, ServerId, Snapshot, Wanted, new_pool,
    wanted,
};

/// Creates the pool `default` in an empty database, and otherwise compares it with the requested one.
pub(crate) fn open(
    connection: &mut Connection,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<Snapshot, Error> {
    let transaction = store::begin(connection)?;
    match snapshot::pool(&transaction)? {
        None => insert(&transaction, &wanted::new_pool(wanted, now)?, Fence::NONE)?,
        Some((size, policy)) => {
            if let Some(policy) = wanted::compare(size, policy, wanted)? {
                let Snapshot { position, at, ledger } = snapshot::snapshot(&transaction)?;
                let changes = wanted::change_policy(&ledger, policy);
                let next = (position.epoch, position.version + 1);
                append(&transaction, next, now.max(at), ledger.fence(), changes)?;
            }
        }
    }
    let snapshot = snapshot::snapshot(&transaction)?;
    transaction.commit().map_err(failed_commit)?;
    Ok(snapshot)
}

/// Creates the pool `default` from one of another system, whose history arrives through `parts`: an empty
/// part ends it.
pub(crate) fn import(
    connection: &mut Connection,
    new: &NewPool,
    mut parts: mpsc::Receiver<Result<Vec<Lease>, Error>>,
) -> Result<(), Error> {
    let failed = failed("importing");
    let transaction = store::begin(connection)?;
    if snapshot::pool(&transaction)?.is_some() {
        return Err(Error::Operator(
            "the database holds pools already: import into a new one".to_owned(),
        ));
    }
    insert_pool(&transaction, new)?;
    let (mut last, mut at) = (Fence::NONE, new.at);
    {
        let insert = sql!("leases/insert_lease");
        let mut insert = transaction.prepare_cached(insert).map_err(&failed)?;
        loop {
            let left = || Error::Operator("the import was given up".to_owned());
            let part = parts.blocking_recv().ok_or_else(left)??;
            let Some(newest) = part.last() else { break };
            // The ledger's time never goes back, so that later leases never start before earlier ones.
            (last, at) = (newest.fence, at.max(newest.started_at));
            for lease in &part {
                rows::insert_lease(&mut insert, lease).map_err(&failed)?;
            }
        }
    }
    transaction.execute(sql!("leases/update_latest"), (0,)).map_err(&failed)?;
    let longest = sql!("ledger/longest_kept");
    let longest: i64 = transaction.query_row(longest, (), |row| row.get(0)).map_err(&failed)?;
    transaction.execute(sql!("ledger/raise_longest"), (longest,)).map_err(&failed)?;
    append(&transaction, (1, 1), at, last, Vec::new())?;
    // Refuses a pool that later starts could not open.
    snapshot::snapshot(&transaction)?;
    transaction.commit().map_err(failed_commit)
}

/// Appends an entry that begins a new epoch.
pub(crate) fn begin_epoch(
    connection: &mut Connection,
    now: Timestamp,
    clock_may_be_behind: bool,
) -> Result<NewEpoch, Error> {
    let transaction = store::begin(connection)?;
    let newest = snapshot::snapshot(&transaction)?;
    let new = epoch::new_epoch(&newest, now, clock_may_be_behind)?;
    let at = now.max(newest.at);
    append(&transaction, (new.epoch, new.version), at, new.fence, Vec::new())?;
    transaction.commit().map_err(failed_commit)?;
    Ok(new)
}

fn insert(connection: &Connection, new: &NewPool, fence: Fence) -> Result<(), Error> {
    insert_pool(connection, new)?;
    append(connection, (1, 1), new.at, fence, Vec::new())
}

fn insert_pool(connection: &Connection, new: &NewPool) -> Result<(), Error> {
    let insert = sql!("ledger/insert_ledger");
    connection.execute(insert, ()).map_err(failed("making the ledger"))?;
    members::write(connection, &NetChanges::of(&new.changes()).members)
}

/// Appends a journal entry that is not a server's batch.
fn append(
    connection: &Connection,
    (epoch, version): (i64, i64),
    at: Timestamp,
    fence: Fence,
    changes: Vec<Change>,
) -> Result<(), Error> {
    let position = Position { epoch, version, batch: new_pool::batch_id() };
    let keys = Vec::new();
    let entry = Entry { position, server: ServerId(Uuid::nil()), at, fence, changes, keys };
    store::write(connection, &Written::from(&entry))
}
