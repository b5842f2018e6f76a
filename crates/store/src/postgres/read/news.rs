//! Journal entries since a copy was made.

use pool::{Fence, Timestamp};
use tokio_postgres::{Error as PgError, Row};

use crate::journal::decode;
use crate::postgres::read::rows;
use crate::{EPOCH_GAP, Entry, Position, ServerId};

/// Maximum number of entries; a copy that lacks more loads the whole pool.
const MOST: usize = 1_000;

/// Maximum number of rows of `news.sql`: those entries, the one at the copy's own version, and one
/// more that shows that the limit is exceeded.
pub(crate) const ROWS: i64 = 1_002;

/// The answer of `news.sql`.
pub(crate) struct Answer {
    /// The time by the database's clock.
    pub(crate) now: Timestamp,
    /// Start of the reading transaction, before its snapshot.
    pub(crate) begun: Timestamp,
    /// `None` when the copy is of another history, or lacks too much.
    pub(crate) news: Option<News>,
}

/// The entries that a copy lacks, and the timeline of the journal's newest entry.
pub(crate) struct News {
    pub(crate) entries: Vec<Entry>,
    pub(crate) newest: Position,
    pub(crate) timeline: String,
}

/// Reads the rows of `news.sql`, asked from the copy's own version on.
pub(crate) fn read(known: &Position, rows: &[Row]) -> Result<Answer, PgError> {
    // The query always returns a row; the earliest time would expire nothing without it.
    let moment = |column| rows.first().map_or(Ok(Timestamp::MIN), |row| rows::moment(row, column));
    Ok(Answer { now: moment(0)?, begun: moment(9)?, news: read_news(known, rows)? })
}

fn read_news(known: &Position, rows: &[Row]) -> Result<Option<News>, PgError> {
    let Some((own, others)) = rows.split_first() else { return Ok(None) };
    // The row at the copy's own version shows whether the copy is of this history at all.
    let version: Option<i64> = own.try_get(1)?;
    if version.is_none() || position(own, 1)? != *known || others.len() > MOST {
        return Ok(None);
    }
    let Some(entries) = entries(known, others, 1)? else { return Ok(None) };
    let newest = entries.last().map_or(*known, |entry| entry.position);
    let timeline = others.last().unwrap_or(own).try_get(7)?;
    Ok(Some(News { entries, newest, timeline }))
}

/// Reads the rows of `journal.sql`. `None` without rows, or if one of them can't be read.
pub(crate) fn read_journal(rows: &[Row]) -> Result<Option<Vec<Entry>>, PgError> {
    let Some(first) = rows.first() else { return Ok(None) };
    let Position { epoch, version, batch } = position(first, 0)?;
    entries(&Position { epoch, version: version - 1, batch }, rows, 0)
}

fn position(row: &Row, first: usize) -> Result<Position, PgError> {
    rows::position(row, [first, first + 1, first + 4])
}

/// The entries in rows whose columns from `first` on are version, batch id, server, time, epoch,
/// fence, timeline and changes. `None` if one of them does not follow the one before, or has a
/// change by a newer server that is unknown to this one.
fn entries(before: &Position, rows: &[Row], first: usize) -> Result<Option<Vec<Entry>>, PgError> {
    let (mut newest, mut entries) = (*before, Vec::with_capacity(rows.len()));
    for row in rows {
        let position = position(row, first)?;
        let changes = decode(row.try_get(first + 7)?);
        let Some(changes) = changes.filter(|_| follows(&newest, &position)) else {
            return Ok(None);
        };
        newest = position;
        entries.push(Entry {
            position,
            server: ServerId(row.try_get(first + 2)?),
            at: rows::moment(row, first + 3)?,
            fence: Fence::new(row.try_get(first + 5)?),
            changes,
            keys: Vec::new(),
        });
    }
    Ok(Some(entries))
}

/// Whether no entry is missing between the two.
fn follows(before: &Position, next: &Position) -> bool {
    let begins_epoch = next.epoch == before.epoch + 1;
    let step = next.version - before.version;
    if begins_epoch { step > EPOCH_GAP } else { next.epoch == before.epoch && step == 1 }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::BatchId;

    fn at(epoch: i64, version: i64) -> Position {
        Position { epoch, version, batch: BatchId(Uuid::nil()) }
    }

    #[test]
    fn versions_grow_by_one_and_by_more_where_an_epoch_begins() {
        assert!(follows(&at(1, 5), &at(1, 6)));
        assert!(follows(&at(1, 5), &at(2, 6 + EPOCH_GAP)));
        assert!(follows(&at(1, 5), &at(2, 7 + EPOCH_GAP)), "more after a longer outage");
        for next in [at(1, 7), at(1, 5), at(2, 6), at(1, 6 + EPOCH_GAP), at(3, 6 + EPOCH_GAP)] {
            assert!(!follows(&at(1, 5), &next), "{next:?}");
        }
    }
}
