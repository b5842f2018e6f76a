//! Whether an SQLite database is one of this program's.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::refusal::{failed, is_damage};
use super::schema;
use crate::Error;

/// Written into the file's header (`TokM`), where `file` and other programs look for it.
const ID: i32 = 0x546F_6B4D;

const WHAT: &str = "reading whose database it is";

/// Refuses a database of another program, of which nothing is changed.
///
/// # Errors
///
/// [`Error::Operator`] when it is another program's, or no SQLite database at all.
pub(super) fn identify(connection: &Connection, path: &Path) -> Result<(), Error> {
    let id = id(connection)?;
    if id == ID || (id == 0 && is_empty_or_ours(connection)?) {
        return Ok(());
    }
    Err(Error::Operator(format!(
        "{} is an SQLite database of another program (application id {id:#x}, tables: {}). Nothing \
         was changed. Name another file",
        path.display(),
        tables(connection)?
    )))
}

/// Marks the database as this program's, where it is not marked yet.
pub(super) fn mark(connection: &Connection) -> Result<(), Error> {
    if id(connection)? == ID {
        return Ok(());
    }
    let failed = failed("marking the database as this program's");
    connection.pragma_update(None, "application_id", ID).map_err(failed)
}

fn id(connection: &Connection) -> Result<i32, Error> {
    let id = connection.pragma_query_value(None, "application_id", |row| row.get(0));
    id.map_err(failed(WHAT))
}

/// Whether a database without an id has no tables, or was made by a version of this program that
/// did not mark databases.
fn is_empty_or_ours(connection: &Connection) -> Result<bool, Error> {
    let failed = failed(WHAT);
    let count = include_str!("sql/count_objects.sql");
    let (all, migrations): (i64, i64) =
        connection.query_row(count, (), |row| Ok((row.get(0)?, row.get(1)?))).map_err(&failed)?;
    if migrations == 0 {
        return Ok(all == 0);
    }
    let first = connection
        .query_row(include_str!("sql/first_migration.sql"), (), |row| row.get::<_, String>(0));
    match first.optional() {
        Ok(Some(first)) => Ok(first == schema::first()),
        // The first migration was interrupted.
        Ok(None) => Ok(all == 1),
        // Other programs keep their migrations in a table of that name, too, with other columns.
        Err(error) if is_damage(&error) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

/// The names of some of its tables.
fn tables(connection: &Connection) -> Result<String, Error> {
    let failed = failed(WHAT);
    let mut tables = connection.prepare(include_str!("sql/some_tables.sql")).map_err(&failed)?;
    let names = tables.query_map((), |row| row.get::<_, String>(0)).map_err(&failed)?;
    let names: Vec<String> = names.filter_map(Result::ok).map(|name| format!("{name:?}")).collect();
    Ok(if names.is_empty() { "none".to_owned() } else { names.join(", ") })
}
