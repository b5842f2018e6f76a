//! Number of idempotency keys, and their users.

use pool::UserId;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use crate::key_sample::sampled;
use crate::postgres::connect::failure::running;
use crate::postgres::read::rows;
use crate::postgres::write::statements::Statements;
use crate::{Error, KeyUsage};

/// The usage without a sample, and the newest number. No key before the number `first` is left.
pub(crate) async fn of_ends(
    client: &Client,
    key_ends: &Statement,
    first: &mut i64,
) -> Result<(KeyUsage, i64), Error> {
    let failed = running("counting idempotency keys");
    let parameters: [&(dyn ToSql + Sync); 1] = [first];
    let ends = client.query(key_ends, &parameters).await.map_err(&failed)?;
    let Some(end) = ends.first() else { return Ok((KeyUsage::default(), 0)) };
    let number = |column| end.try_get::<_, i64>(column).map_err(&failed);
    let (oldest, last) = (number(0)?, number(3)?);
    *first = oldest.max(*first);
    let moments = |row: &Row| Ok((rows::moment(row, 1)?, rows::moment(row, 2)?));
    let count = last.abs_diff(oldest) + 1;
    let oldest = ends.iter().map(moments).collect::<Result<_, _>>().map_err(&failed)?;
    Ok((KeyUsage { count, oldest, sample: Vec::new() }, last))
}

/// The usage with a sample of at most that number of users.
pub(crate) async fn with_sample(
    client: &Client,
    statements: &Statements,
    first: &mut i64,
    sample: u64,
) -> Result<KeyUsage, Error> {
    let failed = running("counting idempotency keys");
    let (mut usage, last) = of_ends(client, &statements.key_ends, first).await?;
    if usage.count > 0 && sample > 0 {
        let oldest = last.saturating_sub_unsigned(usage.count - 1);
        let numbers = sampled(oldest, last, sample);
        let parameters: [&(dyn ToSql + Sync); 1] = [&numbers];
        let users = client.query(&statements.key_users, &parameters).await.map_err(&failed)?;
        let user = |row: &Row| row.try_get(0).map(UserId).map_err(&failed);
        usage.sample = users.iter().map(user).collect::<Result<_, _>>()?;
    }
    Ok(usage)
}
