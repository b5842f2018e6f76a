//! Brings the tables up to date, one server at a time.

use pool::Timestamp;
use refinery::error::Kind;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error as PgError};

use super::failure::{PROXY, Remedy, at_start, remedy};
use super::holders::{self, holders};
use super::session::{Access, Purpose, Session};
use super::{MIGRATION_LOCK, checks, rows};
use crate::Error;

mod embedded {
    refinery::embed_migrations!("migrations/postgres");
}

/// The right to change the schema and to make the pool; nobody else has it meanwhile.
pub(super) struct Control {
    /// Where the work is done.
    pub(super) session: Session,
    /// Holds the lock, in a transaction that does nothing else.
    guard: Session,
}

impl Control {
    pub(super) async fn take(access: &Access) -> Result<Self, Error> {
        let failed = at_start("waiting for another server to migrate");
        let session = access.session(Purpose::Long).await?;
        let before = backend(&session.client).await.map_err(&failed)?;
        let guard = access.session(Purpose::Long).await?;
        guard.client.batch_execute(include_str!("sql/begin.sql")).await.map_err(&failed)?;
        lock(&guard.client).await?;
        refuse_one_backend(&session.client, before, &guard.client).await?;
        Ok(Control { session, guard })
    }

    /// Refuses a proxy that deals out connections by the transaction, as [`Control::take`] does,
    /// but without the lock.
    pub(super) async fn refuse_transaction_pooling(
        access: &Access,
        session: &Session,
    ) -> Result<(), Error> {
        let failed = at_start("looking for a proxy");
        let before = backend(&session.client).await.map_err(&failed)?;
        let guard = access.session(Purpose::Long).await?;
        guard.client.batch_execute(include_str!("sql/begin.sql")).await.map_err(&failed)?;
        refuse_one_backend(&session.client, before, &guard.client).await
    }

    /// Refuses a role that lacks a right to use the tables that are there.
    pub(super) async fn refuse_without_rights(&self) -> Result<(), Error> {
        let missing = checks::missing_rights(&self.session.client).await;
        let missing = missing.map_err(at_start("looking up rights"))?;
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::Operator(checks::wanting(&missing)))
    }

    /// Lets others have it. (So does dropping it, a moment later.)
    pub(super) async fn release(self) {
        // When this fails, the connection is gone, and the lock with it.
        let _ = self.guard.client.batch_execute(include_str!("sql/rollback.sql")).await;
    }

    /// The time by the database's clock.
    pub(super) async fn now(&self) -> Result<Timestamp, Error> {
        let row = self.session.client.query_one(include_str!("sql/now.sql"), &[]).await;
        row.and_then(|row| rows::moment(&row, 0)).map_err(at_start("reading the clock"))
    }

    /// Applies what is missing, each migration all or nothing. Returns the names of what was applied.
    pub(super) async fn migrate(&mut self) -> Result<Vec<String>, Error> {
        let failed = at_start("migrating");
        let client: &mut Client = &mut self.session.client;
        let version = version(client).await?;
        refuse_newer(version)?;
        let exists = client.query_one(include_str!("sql/schema_exists.sql"), &[]).await;
        if !exists.and_then(|row| row.try_get(0)).map_err(&failed)? {
            let create = include_str!("sql/create_schema.sql");
            client.batch_execute(create).await.map_err(&failed)?;
        }
        let runner = embedded::migrations::runner().set_grouped(false);
        match runner.run_async(client).await {
            Ok(report) => Ok(report.applied_migrations().iter().map(ToString::to_string).collect()),
            // To look at what was applied takes the right to create tables, which a role does not
            // need that only uses them.
            Err(error) if version == ours() && lacks_right(&error) => Ok(Vec::new()),
            Err(error) => Err(refused(error)),
        }
    }
}

/// Takes the lock on the schema for the transaction that has begun.
async fn lock(client: &Client) -> Result<(), Error> {
    const WHAT: &str = "waiting for another server to migrate";
    let failed = at_start(WHAT);
    let (group, key) = MIGRATION_LOCK;
    let free = client.query_one(include_str!("sql/try_lock.sql"), &[&group, &key]).await;
    if free.and_then(|row| row.try_get(0)).map_err(&failed)? {
        return Ok(());
    }
    let held = holders(client, MIGRATION_LOCK).await.map_err(&failed)?;
    let holders = holders::in_words(&held);
    tracing::info!(holders, "waiting for the lock on the schema");
    match client.query(include_str!("sql/lock.sql"), &[&group, &key]).await {
        Ok(_) => Ok(()),
        Err(error) if remedy(&error) == Remedy::Wait => {
            let cause = format!("{error}: the lock on the schema is {holders}").into();
            Err(Error::TryAgain { what: WHAT, cause })
        }
        Err(error) => Err(failed(error)),
    }
}

/// Two connections at the same time have two backends, and each keeps its own, unless something in
/// between deals them out by the transaction. `before`: the backend that `client` had before
/// `other` was connected.
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
    client.query_one(include_str!("sql/backend.sql"), &[]).await?.try_get(0)
}

fn lacks_right(error: &refinery::Error) -> bool {
    let Kind::Connection(_, cause) = error.kind() else { return false };
    let cause = cause.downcast_ref::<PgError>();
    cause.and_then(PgError::code) == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
}

fn refused(error: refinery::Error) -> Error {
    match error.kind() {
        Kind::Connection(what, cause) => match cause.downcast_ref::<PgError>() {
            Some(cause) if cause.as_db_error().is_some() && remedy(cause) != Remedy::Wait => {
                Error::Operator(format!(
                    "{what}: {}",
                    cause.as_db_error().map_or("", |error| error.message())
                ))
            }
            _ => Error::TryAgain { what: "migrating", cause: Box::new(error) },
        },
        _ => Error::Operator(format!(
            "the database's migrations are not this program's ({error}): use the program that \
             made it, or another database"
        )),
    }
}

/// The number of the newest migration that the database has; 0 for an empty one.
pub(super) async fn version(client: &Client) -> Result<i64, Error> {
    let failed = at_start("reading the schema's version");
    let exists = client.query_one(include_str!("sql/history_exists.sql"), &[]).await;
    if !exists.and_then(|row| row.try_get(0)).map_err(&failed)? {
        return Ok(0);
    }
    let version = client.query_one(include_str!("sql/schema_version.sql"), &[]).await;
    version.and_then(|row| row.try_get(0)).map_err(&failed)
}

/// Refuses a database that is not exactly as this program would have it.
pub(super) async fn check(client: &Client) -> Result<(), Error> {
    let version = version(client).await?;
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
pub(super) fn ours() -> i64 {
    let runner = embedded::migrations::runner();
    let versions = runner.get_migrations().iter().map(|migration| i64::from(migration.version()));
    versions.max().unwrap_or(0)
}
