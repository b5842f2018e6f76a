//! Reads API keys, sessions and the audit log.

use std::error::Error as Cause;
use std::pin::pin;

use futures_util::TryStreamExt;
use pool::{
    Act, Action, Actor, ApiKey, ApiKeyId, Patterns, PoolName, SecretHash, Session, Timestamp,
};
use tokio_postgres::types::{FromSql, ToSql, Type, accepts};
use tokio_postgres::{Error as PgError, GenericClient, Row};

use crate::document::SharedReader;
use crate::postgres::read::rows::{Moment, Read, moment, shared};
use crate::{AuditEntry, AuditQuery};

/// Reads the keys that were not revoked, row by row.
pub(crate) async fn api_keys(
    client: &impl GenericClient,
    mut each: impl FnMut(ApiKey),
) -> Result<(), PgError> {
    let none: [&(dyn ToSql + Sync); 0] = [];
    let mut rows = pin!(client.query_raw(sql!("access/api_keys"), none).await?);
    let mut patterns = SharedReader::default();
    while let Some(row) = rows.try_next().await? {
        each(api_key(&row, &mut patterns)?);
    }
    Ok(())
}

fn api_key(row: &Row, patterns: &mut SharedReader<Patterns>) -> Result<ApiKey, PgError> {
    let (Read(id), Read(name), Read(rights)) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let (pools, users) = (shared(row, 3, patterns)?, shared(row, 4, patterns)?);
    let Read(secrets) = row.try_get(5)?;
    let limit = |column| {
        let limit = row.try_get::<_, Option<i64>>(column);
        limit.map(|limit| limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)))
    };
    Ok(ApiKey {
        id,
        name,
        rights,
        pools,
        users,
        secrets,
        created_at: moment(row, 6)?,
        created_by: row.try_get::<_, Option<Read<_>>>(7)?.map(|Read(id)| id),
        expires_at: row.try_get::<_, Option<Moment>>(8)?.map(|Moment(at)| at),
        revoked_at: None,
        max_requests_per_second: limit(9)?,
        max_leases: limit(10)?,
    })
}

/// The sessions that go on after `at`.
pub(crate) async fn sessions(
    client: &impl GenericClient,
    at: Timestamp,
) -> Result<Vec<Session>, PgError> {
    let rows = client.query(sql!("access/sessions"), &[&Moment::within_range(at)]).await?;
    let session = |row: &Row| {
        let (Read(key), Read(kind)) = (row.try_get(1)?, row.try_get(2)?);
        let hash: Hash = row.try_get(0)?;
        let (started_at, expires_at) = (moment(row, 3)?, moment(row, 4)?);
        Ok(Session { hash: hash.0, key, kind, started_at, expires_at })
    };
    rows.iter().map(session).collect()
}

/// At most `limit` of the matching entries of the audit log.
pub(crate) async fn audit(
    client: &deadpool_postgres::Client,
    query: &AuditQuery,
    limit: usize,
) -> Result<Vec<AuditEntry>, PgError> {
    let sql =
        if query.oldest_first { sql!("access/audit_oldest") } else { sql!("access/audit_newest") };
    let sql = client.prepare_cached(sql).await?;
    let (start, key) = (query.start(), query.key.as_deref());
    let (action, pool) =
        (query.action.map(Action::as_str), query.pool.as_ref().map(PoolName::as_str));
    let (from, to) = (query.from.map(Moment::within_range), query.to.map(Moment::within_range));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let parameters: [&(dyn ToSql + Sync); 7] = [&start, &key, &action, &pool, &from, &to, &limit];
    client.query(&sql, &parameters).await?.iter().map(entry).collect()
}

fn entry(row: &Row) -> Result<AuditEntry, PgError> {
    let id: Option<Read<_>> = row.try_get(3)?;
    let name: Option<Read<_>> = row.try_get(4)?;
    let Read(action) = row.try_get(5)?;
    let act = Act {
        actor: id.zip(name).map(|(Read(id), Read(name))| Actor { id, name }),
        action,
        pool: row.try_get::<_, Option<Read<_>>>(6)?.map(|Read(pool)| pool),
        subject: row.try_get::<_, &str>(7)?.into(),
    };
    Ok(AuditEntry { number: row.try_get(0)?, at: moment(row, 1)?, version: row.try_get(2)?, act })
}

/// When these keys were last used, without those that never were.
pub(crate) async fn key_uses(
    client: &deadpool_postgres::Client,
    keys: &[ApiKeyId],
) -> Result<Vec<(ApiKeyId, Timestamp)>, PgError> {
    let sql = client.prepare_cached(sql!("access/key_uses")).await?;
    let keys: Vec<&str> = keys.iter().map(ApiKeyId::as_str).collect();
    let rows = client.query(&sql, &[&keys]).await?;
    let used = |row: &Row| {
        let Read(id) = row.try_get(0)?;
        Ok((id, moment(row, 1)?))
    };
    rows.iter().map(used).collect()
}

/// The hash of a secret.
struct Hash(SecretHash);

impl<'a> FromSql<'a> for Hash {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Cause + Sync + Send>> {
        Ok(Hash(SecretHash::from_bytes(raw.try_into()?)))
    }

    accepts!(BYTEA);
}
