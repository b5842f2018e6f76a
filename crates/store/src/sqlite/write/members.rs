//! Pools and tokens.

use pool::Timestamp;
use rusqlite::{Connection, Params};

use crate::net_changes::MemberChanges;
use crate::sqlite::disk::failure::failed;
use crate::sqlite::read::rows::{self, micros};
use crate::{Error, document};

const WHAT: &str = "writing pools and tokens";

/// Writes the changes, in an order in which every name is free before it is used again.
pub(crate) fn write(connection: &Connection, members: &MemberChanges) -> Result<(), Error> {
    if members.is_empty() {
        return Ok(());
    }
    let failed = failed(WHAT);
    let deleted = members.pools_deleted.iter().map(|(pool, at)| (pool.0, at.as_micros()));
    each(connection, sql!("pools/delete_pool"), deleted)?;
    let changed = members.pools_changed.values();
    let changed = changed
        .map(|record| (record.id.0, record.description.as_str(), document::of(&record.policy)));
    each(connection, sql!("pools/change_pool"), changed)?;
    let created = members.pools_created.iter().map(|(record, deleted_at)| {
        let (policy, deleted_at) =
            (document::of(&record.policy), deleted_at.map(Timestamp::as_micros));
        let (name, description) = (record.name.as_str(), record.description.as_str());
        (record.id.0, name, description, policy, record.created_at.as_micros(), deleted_at)
    });
    each(connection, sql!("pools/insert_pool"), created)?;
    let retired = members.tokens_retired.iter().map(|(id, at)| (id.0.into_bytes(), at.as_micros()));
    each(connection, sql!("tokens/retire_token"), retired)?;
    let changed = members.tokens_changed.iter().map(|token| {
        let (name, value) = (token.name.as_str(), token.value.as_str());
        let (labels, taints) = (document::of(&token.labels), document::of(&token.taints));
        (token.id.0.into_bytes(), name, value, labels, taints)
    });
    each(connection, sql!("tokens/change_token"), changed)?;
    let insert = sql!("tokens/insert_token");
    let mut insert = connection.prepare_cached(insert).map_err(&failed)?;
    for token in &members.tokens_added {
        rows::insert_token(&mut insert, token).map_err(&failed)?;
    }
    if let Some(longest) = members.longest_lease() {
        let raise = sql!("ledger/raise_longest");
        connection.execute(raise, (micros(longest),)).map_err(&failed)?;
    }
    Ok(())
}

/// Notes the tokens that were retired while their lease runs, once the leases of the batch are written.
pub(crate) fn note_retiring(connection: &Connection, members: &MemberChanges) -> Result<(), Error> {
    let mut retired = members.retired().peekable();
    if retired.peek().is_none() {
        return Ok(());
    }
    let failed = failed(WHAT);
    connection.execute(sql!("tokens/delete_retiring"), ()).map_err(&failed)?;
    let insert = sql!("tokens/insert_retiring");
    let mut insert = connection.prepare_cached(insert).map_err(&failed)?;
    for token in retired {
        insert.execute((token.0.as_bytes(),)).map_err(&failed)?;
    }
    Ok(())
}

/// Runs a statement with each of these parameters; each run must change exactly one row.
fn each<P: Params>(
    connection: &Connection,
    sql: &str,
    rows: impl Iterator<Item = P>,
) -> Result<(), Error> {
    let failed = failed(WHAT);
    let mut statement = connection.prepare_cached(sql).map_err(&failed)?;
    for parameters in rows {
        if statement.execute(parameters).map_err(&failed)? != 1 {
            return Err(Error::Data("a pool or token to change does not exist".into()));
        }
    }
    Ok(())
}
