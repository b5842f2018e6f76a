//! API keys, sessions and the audit log.

use pool::{ApiKeyId, PoolName, Timestamp};
use rusqlite::{Connection, Params};

use crate::net_changes::AccessChanges;
use crate::sqlite::disk::failure::failed;
use crate::{Error, api_key, document};

/// Writes the changes of a batch: keys before their sessions.
pub(crate) fn write(
    connection: &Connection,
    changes: &AccessChanges,
    (at, version): (Timestamp, i64),
) -> Result<(), Error> {
    if changes.is_empty() {
        return Ok(());
    }
    let keys = changes.keys.iter().map(|key| {
        (
            key.id.as_str(),
            key.name.as_str(),
            key.rights.as_str(),
            document::of(&key.pools),
            document::of(&key.users),
            api_key::of_secrets(&key.secrets),
            key.created_at.as_micros(),
            key.created_by.as_ref().map(ApiKeyId::as_str),
            key.expires_at.map(Timestamp::as_micros),
            key.revoked_at.map(Timestamp::as_micros),
            key.max_requests_per_second,
            key.max_leases,
        )
    });
    each(connection, sql!("access/change_key"), keys)?;
    // Some may be deleted already, because they are over.
    let ended = changes.sessions_ended.iter().map(|hash| (hash.as_bytes(),));
    each(connection, sql!("access/end_session"), ended)?;
    let revoked = changes.revoked().map(|key| (key.id.as_str(),));
    each(connection, sql!("access/end_sessions_of"), revoked)?;
    let started = changes.sessions_started.iter().map(|session| {
        let (hash, key, kind) = (session.hash.as_bytes(), session.key.as_str(), session.kind);
        let (from, until) = (session.started_at.as_micros(), session.expires_at.as_micros());
        (hash, key, kind.as_str(), from, until)
    });
    each(connection, sql!("access/start_session"), started)?;
    let acts = changes.acts.iter().map(|act| {
        let actor = act.actor.as_ref().map(|actor| (actor.id.as_str(), actor.name.as_str()));
        let (id, name) = actor.unzip();
        let pool = act.pool.as_ref().map(PoolName::as_str);
        (at.as_micros(), version, id, name, act.action.as_str(), pool, &*act.subject)
    });
    each(connection, sql!("access/append_act"), acts)
}

/// Writes when keys were last used.
pub(crate) fn note_uses(
    connection: &Connection,
    uses: &[(ApiKeyId, Timestamp)],
) -> Result<(), Error> {
    let uses = uses.iter().map(|(id, at)| (id.as_str(), at.as_micros()));
    each(connection, sql!("access/note_key_use"), uses)
}

/// Runs a statement with each of these parameters.
fn each<P: Params>(
    connection: &Connection,
    sql: &str,
    rows: impl Iterator<Item = P>,
) -> Result<(), Error> {
    let failed = failed("writing API keys, sessions or the audit log");
    let mut statement = connection.prepare_cached(sql).map_err(&failed)?;
    for parameters in rows {
        statement.execute(parameters).map_err(&failed)?;
    }
    Ok(())
}
