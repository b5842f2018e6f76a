//! Reads the pool, and the changes since a copy was made.

use pool::{Fence, Policy, Pool, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use crate::sqlite::disk::failure::{damaged, failed};
use crate::sqlite::read::rows;
use crate::{Entry, Error, News, Position, Snapshot};

/// The journal's newest entry, without its changes.
pub(crate) struct Newest {
    pub(crate) position: Position,
    pub(crate) at: Timestamp,
    pub(crate) fence: Fence,
}

/// The pool's size and policy; `None` before the pool is created.
pub(crate) fn pool(connection: &Connection) -> Result<Option<(usize, Policy)>, Error> {
    let read = connection.query_row(sql!("pools/pool"), (), rows::pool);
    read.optional().map_err(failed("reading the pool"))
}

/// The journal's newest entry. Every pool has one.
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

/// The whole pool, without its history. Called only while no other process can write.
pub(crate) fn snapshot(connection: &Connection) -> Result<Snapshot, Error> {
    let failed = failed("reading the pool");
    let Some((_, policy)) = pool(connection)? else {
        return Err(Error::Operator("the database holds no pool".to_owned()));
    };
    let Newest { position, at, fence } = newest(connection)?;
    let mut tokens = connection.prepare(sql!("pools/tokens")).map_err(&failed)?;
    let tokens: Vec<_> =
        tokens.query_map((), rows::token).and_then(Iterator::collect).map_err(&failed)?;
    let mut latest = connection.prepare(sql!("leases/latest_leases")).map_err(&failed)?;
    let latest: Vec<_> =
        latest.query_map((), rows::lease).and_then(Iterator::collect).map_err(&failed)?;
    let mut tickets = connection.prepare(sql!("tickets/tickets")).map_err(&failed)?;
    let tickets: Vec<_> =
        tickets.query_map((), rows::ticket).and_then(Iterator::collect).map_err(&failed)?;
    let pool = Pool::restore(policy, tokens, latest, fence);
    let pool = pool.and_then(|pool| pool.with_queue(tickets)).map_err(|error| damaged(&error))?;
    Ok(Snapshot { position, at, pool })
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
