//! Brings the tables up to date.

use refinery::error::Kind;
use rusqlite::Connection;

use super::application;
use super::refusal::{damaged, failed, is_damage};
use crate::Error;

mod embedded {
    refinery::embed_migrations!("migrations/sqlite");
}

/// Applies what is missing, all or nothing. Returns the names of what was applied.
pub(super) fn migrate(connection: &mut Connection) -> Result<Vec<String>, Error> {
    refuse_newer(version(connection)?)?;
    let report = embedded::migrations::runner().set_grouped(true).run(connection);
    let report = report.map_err(|error| match error.kind() {
        Kind::Connection(_, cause) => match cause.downcast_ref() {
            Some(cause) if is_damage(cause) => damaged(cause),
            _ => Error::TryAgain { what: "migrating", cause: Box::new(error) },
        },
        _ => Error::Operator(format!(
            "the database's migrations are not this program's ({error}): use the program that \
             made it, or another database"
        )),
    })?;
    application::mark(connection)?;
    Ok(report.applied_migrations().iter().map(ToString::to_string).collect())
}

/// The number of the newest migration that the database has; 0 for an empty one.
pub(super) fn version(connection: &Connection) -> Result<i64, Error> {
    let read = || -> rusqlite::Result<i64> {
        let exists = include_str!("sql/schema_exists.sql");
        if connection.query_row(exists, (), |row| row.get(0))? {
            return connection
                .query_row(include_str!("sql/schema_version.sql"), (), |row| row.get(0));
        }
        Ok(0)
    };
    read().map_err(failed("reading the schema's version"))
}

/// Refuses a database that is not exactly as this program would have it.
pub(super) fn check(connection: &Connection) -> Result<(), Error> {
    let version = version(connection)?;
    refuse_newer(version)?;
    if version < ours() {
        return Err(Error::Operator(format!(
            "the database's schema has version {version}, this program's {}: migrate first",
            ours()
        )));
    }
    Ok(())
}

fn refuse_newer(version: i64) -> Result<(), Error> {
    if version > ours() {
        return Err(Error::Operator(format!(
            "the database's schema has version {version}, but this program knows only up to {}: \
             use a newer program",
            ours()
        )));
    }
    Ok(())
}

/// The number of the newest migration that this program has.
fn ours() -> i64 {
    let runner = embedded::migrations::runner();
    let versions = runner.get_migrations().iter().map(|migration| i64::from(migration.version()));
    versions.max().unwrap_or(0)
}

/// The name of this program's first migration.
pub(super) fn first() -> String {
    let runner = embedded::migrations::runner();
    let first = runner.get_migrations().iter().min_by_key(|migration| migration.version());
    first.map(|first| first.name().to_owned()).unwrap_or_default()
}
