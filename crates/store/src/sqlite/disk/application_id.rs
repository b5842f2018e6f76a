//! Whether an SQLite database is one of this program's.

use std::path::Path;

use rusqlite::Connection;

use crate::Error;
use crate::sqlite::disk::failure::failed;

/// The number that the migration writes into the header of the file (`TokM`).
const ID: i32 = 0x546F_6B4D;

const WHAT: &str = "reading whose database it is";

/// Refuses a database of another program, without changing it.
///
/// # Errors
///
/// [`Error::Operator`] when it is another program's, or no SQLite database at all.
pub(crate) fn identify(connection: &Connection, path: &Path) -> Result<(), Error> {
    let id = id(connection)?;
    if id == ID || (id == 0 && is_new(connection)?) {
        return Ok(());
    }
    Err(Error::Operator(format!(
        "{} is an SQLite database of another program (application id {id:#x}, tables: {}). Nothing \
         was changed. Name another file",
        path.display(),
        tables(connection)?
    )))
}

fn id(connection: &Connection) -> Result<i32, Error> {
    let id = connection.pragma_query_value(None, "application_id", |row| row.get(0));
    id.map_err(failed(WHAT))
}

/// Whether a database without an id is new.
fn is_new(connection: &Connection) -> Result<bool, Error> {
    connection.query_row(sql!("schema/is_empty"), (), |row| row.get(0)).map_err(failed(WHAT))
}

/// The names of some of its tables.
fn tables(connection: &Connection) -> Result<String, Error> {
    let failed = failed(WHAT);
    let mut tables = connection.prepare(sql!("schema/some_tables")).map_err(&failed)?;
    let names = tables.query_map((), |row| row.get::<_, String>(0)).map_err(&failed)?;
    let names: Vec<String> = names.filter_map(Result::ok).map(|name| format!("{name:?}")).collect();
    Ok(if names.is_empty() { "none".to_owned() } else { names.join(", ") })
}
