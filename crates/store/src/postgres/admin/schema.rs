//! Brings the tables up to date, one server at a time.

use crate::postgres::connect::locks::MIGRATION_LOCK;
use pool::Timestamp;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error as PgError};

use crate::Error;
use crate::postgres::admin::checks;
use crate::postgres::connect::failure::{PROXY, Remedy, at_start, remedy};
use crate::postgres::connect::holders::{self, holders};
use crate::postgres::connect::session::{Access, Purpose, Session};
use crate::postgres::read::rows;
use crate::schema::{Missing, Schema};

const SCHEMA: Schema<'_> =
    Schema(&[("V1__ledger", include_str!("../../../migrations/postgres/V1__ledger.sql"))]);

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

/// The number of the newest migration that the database has; 0 for an empty one.
pub(crate) async fn version(client: &Client) -> Result<i64, Error> {
    let failed = at_start("reading the schema's version");
    if !is_true(client, sql!("schema/migrations_exist")).await.map_err(&failed)? {
        return Ok(0);
    }
    let version = client.query_one(sql!("schema/schema_version"), &[]).await;
    version.and_then(|row| row.try_get(0)).map_err(&failed)
}

async fn is_true(client: &Client, question: &str) -> Result<bool, PgError> {
    client.query_one(question, &[]).await?.try_get(0)
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
async fn migrate_to(schema: &Schema<'_>, client: &mut Client) -> Result<Vec<String>, Error> {
    let failed = at_start("migrating");
    schema.refuse_newer(version(client).await?)?;
    if !is_true(client, sql!("schema/schema_exists")).await.map_err(&failed)? {
        client.batch_execute(sql!("schema/create_schema")).await.map_err(&failed)?;
    }
    if !is_true(client, sql!("schema/migrations_exist")).await.map_err(&failed)? {
        client.batch_execute(sql!("schema/create_migrations")).await.map_err(&failed)?;
    }
    let applied = client.query(sql!("schema/migrations"), &[]).await.map_err(&failed)?;
    let applied = applied.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let applied = applied.collect::<Result<Vec<_>, _>>().map_err(&failed)?;
    let missing = schema.missing(&applied)?;
    for one in &missing {
        apply(client, one).await.map_err(&failed)?;
    }
    Ok(missing.iter().map(|one| one.name.to_owned()).collect())
}

async fn apply(client: &mut Client, one: &Missing<'_>) -> Result<(), PgError> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(one.sql).await?;
    let row: [&(dyn ToSql + Sync); 3] = [&one.number, &one.name, &one.sql];
    transaction.execute(sql!("schema/insert_migration"), &row).await?;
    transaction.commit().await
}

#[cfg(test)]
mod tests {
    use testbed::Cluster;
    use tokio_postgres::NoTls;

    use super::*;

    #[test]
    fn every_migration_of_the_folder_is_applied() {
        assert!(crate::schema::is_complete(&SCHEMA, "postgres"));
    }

    #[tokio::test]
    async fn a_database_of_this_version_is_migrated_to_the_next() {
        // The schema of a later program, with one more migration.
        let dummy = ("dummy", "create table token_manager.dummy (id integer primary key);");
        let next = [SCHEMA.0, &[dummy]].concat();
        let next = Schema(&next);
        let mut client = empty().await;
        assert!(!migrate_to(&SCHEMA, &mut client).await.unwrap().is_empty());
        let outdated = next.check(version(&client).await.unwrap()).unwrap_err().to_string();
        assert!(outdated.contains("run `token-manager migrate`"), "{outdated}");
        assert_eq!(migrate_to(&next, &mut client).await.unwrap(), ["dummy"]);
        assert_eq!(migrate_to(&next, &mut client).await.unwrap(), [""; 0]);
        client.batch_execute("insert into token_manager.dummy values (1)").await.unwrap();
        let migrated = migrate_to(&SCHEMA, &mut client).await.map(drop);
        for refused in [check(&client).await, migrated] {
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("use a newer program"), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_failed_migration_leaves_nothing() {
        let dummy = "create table token_manager.dummy (id integer); select 1 / 0;";
        let next = [SCHEMA.0, &[("dummy", dummy)]].concat();
        let mut client = empty().await;
        migrate_to(&Schema(&next), &mut client).await.unwrap_err();
        check(&client).await.unwrap();
        assert!(
            !is_true(&client, "select to_regclass('token_manager.dummy') is not null")
                .await
                .unwrap()
        );
    }

    #[tokio::test]
    async fn other_migrations_are_refused() {
        let mut client = empty().await;
        migrate_to(&SCHEMA, &mut client).await.unwrap();
        let other = "update token_manager.migrations set statements = statements || ';'";
        client.batch_execute(other).await.unwrap();
        let refused = migrate_to(&SCHEMA, &mut client).await.unwrap_err().to_string();
        assert!(refused.contains("migration 1 of the database differs"), "{refused}");
    }

    /// A connection to an empty database.
    async fn empty() -> Client {
        let url = Cluster::shared().database().await.unwrap();
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}
