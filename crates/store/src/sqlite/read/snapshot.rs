//! Reads the ledger, and the changes since a copy was made.

use pool::{Counters, Fence, Policy, PoolId, Restoring, Timestamp};
use rusqlite::{Connection, OptionalExtension, Params, Row};

use crate::document::{SharedReader, TokenDocuments};
use crate::sqlite::disk::failure::{damaged, failed};
use crate::sqlite::read::{access, rows};
use crate::{Entry, Error, News, Position, Snapshot};

/// The journal's newest entry, without its changes.
pub(crate) struct Newest {
    pub(crate) position: Position,
    pub(crate) at: Timestamp,
    pub(crate) fence: Fence,
}

/// Size and policy of the pool `default`; `None` before the ledger is created.
pub(crate) fn pool(connection: &Connection) -> Result<Option<(usize, Policy)>, Error> {
    let read = connection.query_row(sql!("pools/pool"), (), rows::pool);
    read.optional().map_err(failed("reading the pool"))
}

/// The journal's newest entry. Every ledger has one.
pub(crate) fn newest(connection: &Connection) -> Result<Newest, Error> {
    let failed = failed("reading the journal");
    let newest = sql!("journal/newest_entry");
    let mut newest = connection.prepare_cached(newest).map_err(&failed)?;
    let newest = newest.query_row((), |row| {
        Ok(Newest {
            position: rows::position(row)?,
            at: Timestamp::from_micros(row.get(3)?),
            fence: Fence::new(row.get(4)?),
        })
    });
    newest.map_err(&failed)
}

/// The whole ledger, without its history. Called only while no other process can write.
pub(crate) fn snapshot(connection: &Connection) -> Result<Snapshot, Error> {
    let failed = failed("reading the ledger");
    let last_pool: Option<i32> =
        connection.query_row(sql!("pools/last_pool"), (), |row| row.get(0)).map_err(&failed)?;
    if last_pool.is_none() {
        return Err(Error::Operator("the database holds no ledger".to_owned()));
    }
    let Newest { position, at, fence } = newest(connection)?;
    let pools = all(connection, sql!("pools/pools"), (), rows::record).map_err(&failed)?;
    let tickets = all(connection, sql!("tickets/tickets"), (), rows::ticket).map_err(&failed)?;
    let going_on = (at.as_micros(),);
    let sessions = all(connection, sql!("access/sessions"), going_on, access::session);
    let sessions = sessions.map_err(&failed)?;
    let positions = pools.iter().map(|(record, positions)| (record.id, *positions)).collect();
    let counters = Counters { fence, last_pool: last_pool.map(PoolId), positions };
    let pools = pools.into_iter().map(|(record, _)| record);
    let mut ledger = Restoring::new(counters, pools).map_err(|error| damaged(&error))?;
    let mut patterns = SharedReader::default();
    let mut api_keys = connection.prepare(sql!("access/api_keys")).map_err(&failed)?;
    let key = |row: &Row<'_>| access::api_key(row, &mut patterns);
    for key in api_keys.query_map((), key).map_err(&failed)? {
        ledger.add_key(key.map_err(&failed)?);
    }
    let mut tokens = connection.prepare(sql!("tokens/tokens")).map_err(&failed)?;
    let mut documents = TokenDocuments::default();
    let token = |row: &Row<'_>| rows::token(row, &mut documents);
    for row in tokens.query_map((), token).map_err(&failed)? {
        let (token, latest) = row.map_err(&failed)?;
        ledger.add(token, latest).map_err(|error| damaged(&error))?;
    }
    let ledger = ledger.finish().and_then(|ledger| ledger.with_queue(tickets));
    let ledger = ledger.and_then(|ledger| ledger.with_access([], sessions));
    Ok(Snapshot { position, at, ledger: ledger.map_err(|error| damaged(&error))? })
}

/// All rows of a query.
fn all<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(sql)?.query_map(parameters, read)?.collect()
}

/// The changes since the copy at `known`, and the end of the journal.
pub(crate) fn news(connection: &Connection, known: &Position) -> Result<(Position, News), Error> {
    let entries = entries_from(connection, known.version, i64::MAX)?;
    let mut entries = entries.unwrap_or_default().into_iter();
    // The row at the copy's own version shows whether the copy is of this history at all.
    if entries.next().is_some_and(|entry| entry.position == *known) {
        let entries: Vec<_> = entries.collect();
        let newest = entries.last().map_or(*known, |entry| entry.position);
        return Ok((newest, News::Entries(entries)));
    }
    let whole = snapshot(connection)?;
    Ok((whole.position, News::Whole(Box::new(whole))))
}

/// The journal's entries from that version on, at most `limit`; `None` when a newer server wrote one
/// of them.
pub(crate) fn entries_from(
    connection: &Connection,
    version: i64,
    limit: i64,
) -> Result<Option<Vec<Entry>>, Error> {
    let failed = failed("reading the journal");
    let entries = sql!("journal/entries_from");
    let mut entries = connection.prepare_cached(entries).map_err(&failed)?;
    let entries = entries.query_map((version, limit), rows::entry);
    entries.and_then(Iterator::collect).map_err(&failed)
}
