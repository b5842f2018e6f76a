//! Applies the migrations of SQLite.

use rusqlite::Connection;

use crate::Error;
use crate::schema::{self, Schema};
use crate::sqlite::disk::failure::{damaged, failed, is_damage};

const SCHEMA: Schema = Schema(|| {
    schema::runner(&[("V1__ledger", include_str!("../../../migrations/sqlite/V1__ledger.sql"))])
});

/// Applies the missing migrations, all or nothing. Returns their names.
pub(crate) fn migrate(connection: &mut Connection) -> Result<Vec<String>, Error> {
    migrate_to(&SCHEMA, connection)
}

pub(crate) fn migrate_to(
    schema: &Schema,
    connection: &mut Connection,
) -> Result<Vec<String>, Error> {
    schema.refuse_newer(version(connection)?)?;
    let report = (schema.0)().set_grouped(true).run(connection);
    let report = report.map_err(|error| {
        schema::failed(error, |_, cause| {
            let cause = cause.downcast_ref().filter(|cause| is_damage(cause));
            cause.map(|cause: &rusqlite::Error| damaged(cause))
        })
    })?;
    Ok(schema::applied(&report))
}

/// Number of the newest migration in the database; 0 for an empty one.
pub(crate) fn version(connection: &Connection) -> Result<i64, Error> {
    let read = || -> rusqlite::Result<i64> {
        let exists: bool =
            connection.query_row(sql!("schema/schema_exists"), (), |row| row.get(0))?;
        if !exists {
            return Ok(0);
        }
        connection.query_row(sql!("schema/schema_version"), (), |row| row.get(0))
    };
    read().map_err(failed("reading the schema's version"))
}

/// Refuses a database whose schema is not the one of this program.
pub(crate) fn check(connection: &Connection) -> Result<(), Error> {
    SCHEMA.check(version(connection)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The schema of a later program, with one more migration.
    const NEXT: Schema = Schema(|| {
        let dummy = "create table dummy (id integer primary key) strict;";
        schema::with(&(SCHEMA.0)(), "V99__dummy", dummy)
    });

    #[test]
    fn every_migration_of_the_folder_is_applied() {
        assert!(schema::is_complete(&SCHEMA, "sqlite"));
    }

    #[test]
    fn a_database_of_this_version_is_migrated_to_the_next() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert!(!migrate(&mut connection).unwrap().is_empty());
        let outdated = NEXT.check(version(&connection).unwrap()).unwrap_err().to_string();
        assert!(outdated.contains("run `token-manager migrate`"), "{outdated}");
        assert_eq!(migrate_to(&NEXT, &mut connection).unwrap(), ["V99__dummy"]);
        assert_eq!(migrate_to(&NEXT, &mut connection).unwrap(), [""; 0]);
        NEXT.check(version(&connection).unwrap()).unwrap();
        connection.execute("insert into dummy values (1)", ()).unwrap();
        for refused in [check(&connection), migrate(&mut connection).map(drop)] {
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("use a newer program"), "{refused}");
        }
    }
}
