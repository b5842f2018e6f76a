//! Reads API keys, sessions and the audit log.

use pool::{
    Act, Action, Actor, ApiKey, ApiKeyId, KeyName, Patterns, PoolName, Rights, SecretHash, Session,
    SessionKind, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::document::SharedReader;
use crate::sqlite::disk::failure::failed;
use crate::sqlite::read::rows::{text, text_or_null};
use crate::{AuditEntry, AuditQuery, Error, api_key};

/// Reads `api_keys.sql`.
pub(crate) fn api_key(
    row: &Row<'_>,
    patterns: &mut SharedReader<Patterns>,
) -> rusqlite::Result<ApiKey> {
    Ok(ApiKey {
        id: text(row, 0, ApiKeyId::new)?,
        name: text(row, 1, KeyName::new)?,
        rights: text(row, 2, |word| Rights::from_word(word).ok_or(()))?,
        pools: text(row, 3, |text| patterns.read(text))?,
        users: text(row, 4, |text| patterns.read(text))?,
        secrets: text(row, 5, api_key::secrets)?,
        created_at: Timestamp::from_micros(row.get(6)?),
        created_by: text_or_null(row, 7, ApiKeyId::new)?,
        expires_at: row.get::<_, Option<_>>(8)?.map(Timestamp::from_micros),
        revoked_at: None,
        max_requests_per_second: row.get(9)?,
        max_leases: row.get(10)?,
    })
}

/// Reads `sessions.sql`.
pub(crate) fn session(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session {
        hash: SecretHash::from_bytes(row.get(0)?),
        key: text(row, 1, ApiKeyId::new)?,
        kind: text(row, 2, |word| SessionKind::from_word(word).ok_or(()))?,
        started_at: Timestamp::from_micros(row.get(3)?),
        expires_at: Timestamp::from_micros(row.get(4)?),
    })
}

/// At most `limit` of the matching entries of the audit log.
pub(crate) fn audit(
    connection: &Connection,
    query: &AuditQuery,
    limit: usize,
) -> Result<Vec<AuditEntry>, Error> {
    let failed = failed("reading the audit log");
    let sql =
        if query.oldest_first { sql!("access/audit_oldest") } else { sql!("access/audit_newest") };
    let parameters = (
        query.start(),
        query.key.as_deref(),
        query.action.map(Action::as_str),
        query.pool.as_ref().map(PoolName::as_str),
        query.from.map(Timestamp::as_micros),
        query.to.map(Timestamp::as_micros),
        i64::try_from(limit).unwrap_or(i64::MAX),
    );
    let mut select = connection.prepare_cached(sql).map_err(&failed)?;
    let entries = select.query_map(parameters, entry);
    entries.and_then(Iterator::collect).map_err(failed)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    let (id, name) = (text_or_null(row, 3, ApiKeyId::new)?, text_or_null(row, 4, KeyName::new)?);
    let act = Act {
        actor: id.zip(name).map(|(id, name)| Actor { id, name }),
        action: text(row, 5, |word| Action::from_word(word).ok_or(()))?,
        pool: text_or_null(row, 6, PoolName::new)?,
        subject: row.get_ref(7)?.as_str()?.into(),
    };
    let at = Timestamp::from_micros(row.get(1)?);
    Ok(AuditEntry { number: row.get(0)?, at, version: row.get(2)?, act })
}

/// When these keys were last used, without those that never were.
pub(crate) fn key_uses(
    connection: &Connection,
    keys: &[ApiKeyId],
) -> Result<Vec<(ApiKeyId, Timestamp)>, Error> {
    let failed = failed("reading when API keys were used");
    let mut select = connection.prepare_cached(sql!("access/key_use")).map_err(&failed)?;
    let mut found = Vec::new();
    for key in keys {
        let used = select.query_row((key.as_str(),), |row| row.get::<_, Option<i64>>(0)).optional();
        let used = used.map_err(&failed)?.flatten();
        found.extend(used.map(|at| (*key, Timestamp::from_micros(at))));
    }
    Ok(found)
}
