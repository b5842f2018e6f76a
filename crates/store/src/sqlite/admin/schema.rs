//! Applies the migrations of SQLite.

use rusqlite::Connection;

use crate::Error;
use crate::schema::Schema;
use crate::sqlite::disk::failure::{failed, failed_commit};
use crate::sqlite::write::store;

const SCHEMA: Schema<'_> =
    Schema(&[("V1__ledger", include_str!("../../../migrations/sqlite/V1__ledger.sql"))]);

/// Applies the missing migrations, all or nothing. Returns their names.
pub(crate) fn migrate(connection: &mut Connection) -> Result<Vec<String>, Error> {
    migrate_to(&SCHEMA, connection)
}

pub(crate) fn migrate_to(
    schema: &Schema<'_>,
    connection: &mut Connection,
) -> Result<Vec<String>, Error> {
    schema.refuse_newer(version(connection)?)?;
    let failed = failed("migrating");
    let transaction = store::begin(connection)?;
    transaction.execute_batch(sql!("schema/create_migrations")).map_err(&failed)?;
    let applied: Vec<(i64, String)> = {
        let mut read = transaction.prepare(sql!("schema/migrations")).map_err(&failed)?;
        let rows = read.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).map_err(&failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(&failed)?
    };
    let missing = schema.missing(&applied)?;
    for one in &missing {
        transaction.execute_batch(one.sql).map_err(&failed)?;
        let row = (one.number, one.name, one.sql);
        transaction.execute(sql!("schema/insert_migration"), row).map_err(&failed)?;
    }
    transaction.commit().map_err(failed_commit)?;
    Ok(missing.iter().map(|one| one.name.to_owned()).collect())
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

    #[test]
    fn every_migration_of_the_folder_is_applied() {
        assert!(crate::schema::is_complete(&SCHEMA, "sqlite"));
    }

    #[test]
    fn a_database_of_this_version_is_migrated_to_the_next() {
        // The schema of a later program, with one more migration.
        let dummy = ("dummy", "create table dummy (id integer primary key) strict;");
        let next = [SCHEMA.0, &[dummy]].concat();
        let next = Schema(&next);
        let mut connection = Connection::open_in_memory().unwrap();
        assert!(!migrate(&mut connection).unwrap().is_empty());
        let outdated = next.check(version(&connection).unwrap()).unwrap_err().to_string();
        assert!(outdated.contains("run `token-manager migrate`"), "{outdated}");
        assert_eq!(migrate_to(&next, &mut connection).unwrap(), ["dummy"]);
        assert_eq!(migrate_to(&next, &mut connection).unwrap(), [""; 0]);
        next.check(version(&connection).unwrap()).unwrap();
        connection.execute("insert into dummy values (1)", ()).unwrap();
        for refused in [check(&connection), migrate(&mut connection).map(drop)] {
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("use a newer program"), "{refused}");
        }
    }

    #[test]
    fn a_failed_migration_leaves_nothing() {
        let next =
            [SCHEMA.0, &[("dummy", "create table dummy (id); create table leases (id);")]].concat();
        let mut connection = Connection::open_in_memory().unwrap();
        migrate_to(&Schema(&next), &mut connection).unwrap_err();
        assert_eq!(version(&connection).unwrap(), 0);
        migrate(&mut connection).unwrap();
    }

    #[test]
    fn other_migrations_are_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        connection.execute("update migrations set statements = statements || ';'", ()).unwrap();
        let refused = migrate(&mut connection).unwrap_err().to_string();
        assert!(refused.contains("migration 1 of the database differs"), "{refused}");
    }
}
