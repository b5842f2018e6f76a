//! Examines a database for an operator. Changes nothing, and works while a server writes.

use std::fs;

use pool::{HumanDuration, Timestamp};
use rusqlite::Connection;

use crate::finding::refusals;
use crate::sqlite::admin::processes as users;
use crate::sqlite::admin::schema;
use crate::sqlite::disk::checkpoint::WAL_LIMIT;
use crate::sqlite::disk::failure::failed;
use crate::sqlite::disk::files::Files;
use crate::sqlite::read::snapshot;
use crate::wanted::all_pools;
use crate::{Error, Finding, Wanted, wanted};

/// Less free space than this is reported: several logs fit.
const LITTLE_SPACE: u64 = 4 * WAL_LIMIT;

/// A kind of fault: the query that counts it, and its description.
fn faults_to_count() -> [(&'static str, &'static str); 16] {
    [
        (sql!("audit/audit_overlap"), "leases began before an earlier one of their token was over"),
        (sql!("audit/audit_open"), "leases have no end although their token has a later one"),
        (sql!("audit/audit_rising"), "leases have a fence not above the one before it"),
        (sql!("audit/audit_chain"), "leases don't follow the one that their token had before"),
        (sql!("audit/audit_order"), "leases started before one with a smaller fence"),
        (sql!("audit/audit_longest"), "leases are longer than any pool ever allowed"),
        (
            sql!("audit/audit_users"),
            "leases are missing from the index of users, or gone from the history",
        ),
        (sql!("audit/audit_pools"), "leases are missing from the index of pools"),
        (sql!("audit/audit_latest"), "tokens don't lead to their latest lease"),
        (
            sql!("audit/audit_kept"),
            "leases are lost to their token's history, or gone and still expected there",
        ),
        (sql!("audit/audit_pool"), "leases are of no token of their pool"),
        (
            sql!("audit/audit_retiring"),
            "retired tokens have a running lease that no start would find",
        ),
        (
            sql!("audit/audit_names"),
            "names are those of several pools or API keys, or tokens of a pool",
        ),
        (sql!("audit/audit_deleted"), "leases or tickets are of deleted pools"),
        (sql!("audit/audit_access"), "sessions are of revoked API keys, or leases of unknown ones"),
        (sql!("audit/audit_journal"), "journal entries don't follow the one before"),
    ]
}

pub(crate) fn audit(files: &Files) -> Result<Vec<String>, Error> {
    let failed = failed("auditing");
    let connection = files.open_to_look()?;
    schema::check(&connection)?;
    let mut found = Vec::new();
    for (query, sentence) in faults_to_count() {
        let count: i64 = connection.query_row(query, (), |row| row.get(0)).map_err(&failed)?;
        if count > 0 {
            found.push(format!("{count} {sentence}"));
        }
    }
    let check: String =
        connection.query_row("pragma quick_check(1)", (), |row| row.get(0)).map_err(&failed)?;
    if check != "ok" {
        found.push(format!("SQLite finds the file damaged: {check}"));
    }
    Ok(found)
}

pub(crate) fn describe(files: &Files, now: Timestamp) -> Result<Vec<(String, String)>, Error> {
    let connection = files.open_to_look()?;
    let size = |path| fs::metadata(path).map_or(0, |file| file.len());
    let mut facts = vec![
        ("database", format!("SQLite {}", rusqlite::version())),
        ("file", files.database.display().to_string()),
        ("size on disk", format!("{} bytes", size(&files.database))),
        ("write-ahead log", format!("{} bytes", size(&files.wal))),
        ("schema version", schema::version(&connection)?.to_string()),
    ];
    facts.extend(describe_use(files, size(&files.wal)));
    if schema::check(&connection).is_ok() {
        facts.extend(describe_pool(&connection, now)?);
    }
    Ok(facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Why a server with these settings would refuse to start.
pub(crate) fn check(
    files: &Files,
    wanted: &Wanted,
    now: Timestamp,
    allow_clock_behind: bool,
) -> Result<Vec<Finding>, Error> {
    let connection = files.open_to_look()?;
    // The audit reports faults of the schema.
    if schema::check(&connection).is_err() {
        return Ok(Vec::new());
    }
    let Some(pool) = snapshot::pool(&connection)? else { return Ok(Vec::new()) };
    let newest = snapshot::newest(&connection)?;
    Ok(refusals(wanted, pool, (now, newest.at), allow_clock_behind))
}

/// Processes that use the database, and its free space. `doctor` knows the names of the facts that
/// are bad news.
fn describe_use(files: &Files, log: u64) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if users::is_served(files) {
        let holder = files.holder();
        let server = holder.map_or_else(|| "yes".to_owned(), |id| format!("yes, process {id}"));
        facts.push(("in use by a server", server));
    }
    let others = users::others(files);
    let shown = if others.is_empty() { "not known".to_owned() } else { others.join(", ") };
    if log > WAL_LIMIT {
        facts.push((
            "write-ahead log not emptied",
            format!("programs that keep it in use: {shown}"),
        ));
    } else if !others.is_empty() {
        facts.push(("other programs that use it", shown));
    }
    if let Ok(disk) = rustix::fs::statvfs(files.folder()) {
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let name = if free < LITTLE_SPACE { "disk nearly full" } else { "free space on disk" };
        facts.push((name, format!("{free} bytes")));
    }
    facts
}

fn describe_pool(
    connection: &Connection,
    now: Timestamp,
) -> Result<Vec<(&'static str, String)>, Error> {
    let Some((size, policy)) = snapshot::pool(connection)? else {
        return Ok(vec![("pools", "none yet".to_owned())]);
    };
    let newest = snapshot::newest(connection)?;
    let pools = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let pools: (i64, i64) =
        connection.query_row(sql!("pools/counts"), (), pools).map_err(failed("counting"))?;
    let count = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    let (leases, entries, tickets, keys): (i64, i64, i64, i64) =
        connection.query_row(sql!("audit/describe"), (), count).map_err(failed("counting"))?;
    let facts = [
        all_pools(pools),
        ("pool default", format!("{size} tokens, leases of {}", HumanDuration(policy.lease))),
        ("policy of default", wanted::in_words(policy)),
        ("leases kept", leases.to_string()),
        ("journal entries kept", entries.to_string()),
        ("tickets in the queue", tickets.to_string()),
        ("idempotency keys", keys.to_string()),
        (
            "newest journal entry",
            format!("{} (epoch {})", newest.position.version, newest.position.epoch),
        ),
        ("clock behind newest entry by", HumanDuration(newest.at.since(now)).to_string()),
    ];
    Ok(facts.into())
}
