//! Remembered idempotency keys.

use std::collections::HashMap;
use std::time::Duration;

use pool::{IdempotencyKey, Remembered, UserId};
use tokio_postgres::{Error as PgError, Row};

use crate::KeysFound;
use crate::postgres::read::rows::{self, Read};

/// First column of the lease in the rows of `keys.sql`.
const LEASE: usize = 8;

/// Reads the rows of `keys.sql`. Returns the number of the oldest key as well, 0 for none.
pub(crate) fn read(rows: &[Row]) -> Result<(i64, KeysFound), PgError> {
    let number =
        |column| rows.first().map_or(Ok(None), |row| row.try_get::<_, Option<i64>>(column));
    let (oldest, newest) = (number(0)?, number(1)?);
    let count = oldest.zip(newest).map_or(0, |(oldest, newest)| newest.abs_diff(oldest) + 1);
    let mut remembered = HashMap::new();
    for row in rows {
        let key: Option<&str> = row.try_get(2)?;
        // An invalid key was not requested either.
        let Some(Ok(key)) = key.map(IdempotencyKey::new) else { continue };
        let user = UserId(row.try_get(3)?);
        let Some(lease) = rows::lease_or_none(row, LEASE)? else { continue };
        let evicted = rows::lease_or_none(row, LEASE + rows::LEASE)?;
        let Some(Read(value)) = row.try_get(7)? else { continue };
        let (asked_lease, asked_wait) = (length(row, 4)?, length(row, 5)?);
        let asked_token = row.try_get(6)?;
        let record = Remembered { lease, value, evicted, asked_lease, asked_wait, asked_token };
        remembered.insert(key.of(user), record);
    }
    Ok((oldest.unwrap_or(0), KeysFound { remembered, count }))
}

fn length(row: &Row, column: usize) -> Result<Option<Duration>, PgError> {
    Ok(row.try_get::<_, Option<i64>>(column)?.map(rows::length))
}
