//! Brings the tables up to date, one server at a time.

use crate::postgres::connect::locks::MIGRATION_LOCK;
use pool::Timestamp;
use refinery_core::error::Kind;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error as PgError};

use crate::Error;
use crate::postgres::admin::checks;
use crate::postgres::connect::failure::{PROXY, Remedy, at_start, remedy};
use crate::postgres::connect::holders::{self, holders};
use crate::postgres::connect::session::{Access, Purpose, Session};
use crate::postgres::read::rows;
use crate::schema::{self, Schema};

const SCHEMA: Schema = Schema(|| {
    schema::runner(&[("V1__ledger", include_str!("../../../migrations/postgres/V1__ledger.sql"))])
});

/// Exclusive right to change the schema and to create the pool.
pub(crate) struct Control {
    /// The session that does the work.
    pub(crate) session: Session,
    /// Holds the lock, in a transaction that does nothing else.
    guard: Session,
}

impl Control {
    pub(crate) async fn take(access: &Access) -> Result<Self, Error> {
        let failed = at_start("waiting for another server to migrate");
        let session = access.session(Purpose::Long).await?;
        let before = backend(&session.client).await.map_err(&failed)?;
        let guard = access.session(Purpose::Long).await?;
        guard.client.batch_execute(sql!("session/begin")).await.map_err(&failed)?;
        lock(&guard.client).await?;
        refuse_one_backend(&session.client, before, &guard.client).await?;
        Ok(Control { session, guard })
    }

    /// Refuses a proxy that pools transactions, as [`Control::take`] does, but without the lock.
    pub(crate) async fn refuse_transaction_pooling(
        access: &Access,
        session: &Session,
    ) -> Result<(), Error> {
        let failed = at_start("looking for a proxy");
        let before = backend(&session.client).await.map_err(&failed)?;
        let guard = access.session(Purpose::Long).await?;
        guard.client.batch_execute(sql!("session/begin")).await.map_err(&failed)?;
        refuse_one_backend(&session.client, before, &guard.client).await
    }

    /// Refuses a role that lacks a right to use the existing tables.
    pub(crate) async fn refuse_without_rights(&self) -> Result<(), Error> {
        let missing = checks::missing_rights(&self.session.client).await;
        let missing = missing.map_err(at_start("looking up rights"))?;
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::Operator(checks::wanting(&missing)))
    }

    /// Releases the right. (So does dropping it, a moment later.)
    pub(crate) async fn release(self) {
        // When this fails, the connection is gone, and the lock with it.
        let _ = self.guard.client.batch_execute(sql!("session/rollback")).await;
    }

    /// The time by the database's clock.
    pub(crate) async fn now(&self) -> Result<Timestamp, Error> {
        let row = self.session.client.query_one(sql!("session/now"), &[]).await;
        row.and_then(|row| rows::moment(&row, 0)).map_err(at_start("reading the clock"))
    }

    /// Applies the missing migrations, each all or nothing. Returns their names.
    pub(crate) async fn migrate(&mut self) -> Result<Vec<String>, Error> {
        migrate_to(&SCHEMA, &mut self.session.client).await
    }
}

/// Takes the lock on the schema for the transaction that has begun.
async fn lock(client: &Client) -> Result<(), Error> {
    const WHAT: &str = "waiting for another server to migrate";
    let failed = at_start(WHAT);
    let (group, key) = MIGRATION_LOCK;
    let free = client.query_one(sql!("session/try_lock"), &[&group, &key]).await;
    if free.and_then(|row| row.try_get(0)).map_err(&failed)? {
        return Ok(());
    }
    let held = holders(client, MIGRATION_LOCK).await.map_err(&failed)?;
    let holders = holders::in_words(&held);
    tracing::info!(holders, "waiting for the lock on the schema");
    match client.query(sql!("session/lock"), &[&group, &key]).await {
        Ok(_) => Ok(()),
        Err(error) if remedy(&error) == Remedy::Wait => {
            let cause = format!("{error}: the lock on the schema is {holders}").into();
            Err(Error::TryAgain { what: WHAT, cause })
        }
        Err(error) => Err(failed(error)),
    }
}

/// Two connections at the same time have two backends, and each keeps its own, unless a proxy in
/// between pools transactions. `before`: the backend that `client` had before `other` was
/// connected.
async fn refuse_one_backend(client: &Client, before: i32, other: &Client) -> Result<(), Error> {
    let failed = at_start("looking for a proxy");
    let other = backend(other).await.map_err(&failed)?;
    let after = backend(client).await.map_err(&failed)?;
    if before != after || before == other {
        return Err(Error::Operator(PROXY.to_owned()));
    }
    Ok(())
}

async fn backend(client: &Client) -> Result<i32, PgError> {
    client.query_one(sql!("session/backend"), &[]).await?.try_get(0)
}

fn lacks_right(error: &refinery_core::Error) -> bool {
    let Kind::Connection(_, cause) = error.kind() else { return false };
    let cause = cause.downcast_ref::<PgError>();
    cause.and_then(PgError::code) == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
}

fn refused(error: refinery_core::Error) -> Error {
    schema::failed(error, |what, cause| {
        let cause = cause.downcast_ref::<PgError>()?;
        let said = cause.as_db_error().filter(|_| remedy(cause) != Remedy::Wait)?;
        Some(Error::Operator(format!("{what}: {}", said.message())))
    })
}

/// The number of the newest migration that the database has; 0 for an empty one.
pub(crate) async fn version(client: &Client) -> Result<i64, Error> {
    let failed = at_start("reading the schema's version");
    let exists = client.query_one(sql!("schema/history_exists"), &[]).await;
    if !exists.and_then(|row| row.try_get(0)).map_err(&failed)? {
        return Ok(0);
    }
    let version = client.query_one(sql!("schema/schema_version"), &[]).await;
    version.and_then(|row| row.try_get(0)).map_err(&failed)
}

/// Refuses a database whose schema is not the one of this program.
pub(crate) async fn check(client: &Client) -> Result<(), Error> {
    SCHEMA.check(version(client).await?)
}

/// Number of the newest migration in this program.
pub(crate) fn ours() -> i64 {
    SCHEMA.version()
}

/// Applies the missing migrations of a schema, each all or nothing. Returns their names.
async fn migrate_to(schema: &Schema, client: &mut Client) -> Result<Vec<String>, Error> {
    let failed = at_start("migrating");
    let version = version(client).await?;
    schema.refuse_newer(version)?;
    let exists = client.query_one(sql!("schema/schema_exists"), &[]).await;
    if !exists.and_then(|row| row.try_get(0)).map_err(&failed)? {
        client.batch_execute(sql!("schema/create_schema")).await.map_err(&failed)?;
    }
    match (schema.0)().set_grouped(false).run_async(client).await {
        Ok(report) => Ok(schema::applied(&report)),
        // Reading the applied migrations takes the right to create tables, which a role that only
        // uses them does not need.
        Err(error) if version == schema.version() && lacks_right(&error) => Ok(Vec::new()),
        Err(error) => Err(refused(error)),
    }
}

#[cfg(test)]
mod tests {
    use testbed::Cluster;
    use tokio_postgres::NoTls;

    use super::*;

    /// The schema of a later program, with one more migration.
    const NEXT: Schema = Schema(|| {
        let dummy = "create table token_manager.dummy (id integer primary key);";
        schema::with(&(SCHEMA.0)(), "V99__dummy", dummy)
    });

    #[test]
    fn every_migration_of_the_folder_is_applied() {
        assert!(schema::is_complete(&SCHEMA, "postgres"));
    }

    #[tokio::test]
    async fn a_database_of_this_version_is_migrated_to_the_next() {
        let url = Cluster::shared().database().await.unwrap();
        let (mut client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        // As in sessions of this program: the table of migrations belongs in the schema.
        client.batch_execute("set search_path = token_manager, pg_temp").await.unwrap();
        assert!(!migrate_to(&SCHEMA, &mut client).await.unwrap().is_empty());
        let outdated = NEXT.check(version(&client).await.unwrap()).unwrap_err().to_string();
        assert!(outdated.contains("run `token-manager migrate`"), "{outdated}");
        assert_eq!(migrate_to(&NEXT, &mut client).await.unwrap(), ["V99__dummy"]);
        assert_eq!(migrate_to(&NEXT, &mut client).await.unwrap(), [""; 0]);
        client.batch_execute("insert into token_manager.dummy values (1)").await.unwrap();
        let migrated = migrate_to(&SCHEMA, &mut client).await.map(drop);
        for refused in [check(&client).await, migrated] {
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("use a newer program"), "{refused}");
        }
    }
}
