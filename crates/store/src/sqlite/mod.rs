//! SQLite: a file with one writing process.
//! One thread has the only writing connection, and an operating-system lock on a file beside the
//! database keeps other servers out; programs that only read may open the database at any time.

#[macro_use]
mod sql;

mod admin;
mod columns;
mod disk;
mod read;
mod write;

use crate::sqlite::admin::audit;
use crate::sqlite::admin::backup;
use crate::sqlite::admin::create;
use crate::sqlite::admin::schema;
use crate::sqlite::disk::system_errors as trouble;
use crate::sqlite::disk::threads;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::sqlite::disk::files::Files;
use crate::sqlite::write::housekeeper::SqliteHousekeeper;
use crate::sqlite::write::store::SqliteStore;
use crate::sqlite::write::writer::{Writer, Writing};
use crate::{
    Backup, Clock, Database, Durability, Error, Finding, ImportedPool, LeaseSource, NewEpoch,
    Notifier, Opened, Wanted,
};

/// Maximum number of parts of an imported history that wait to be written.
const PARTS: usize = 2;

/// A database in a file.
pub(crate) struct Sqlite {
    path: PathBuf,
    clock: Arc<dyn Clock>,
}

impl Sqlite {
    /// Opens nothing yet.
    pub(crate) fn new(path: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Sqlite { path, clock }
    }

    async fn writer(&self) -> Result<Writer, Error> {
        let path = self.path.clone();
        threads::run_on_own(move || Writer::start(&path)).await
    }

    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Files) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let path = self.path.clone();
        threads::run_on_own(move || {
            let files = Files::find(&path)?;
            look(&files).map_err(|error| trouble::explain(&files, error))
        })
        .await
    }
}

#[async_trait]
impl Database for Sqlite {
    async fn migrate(&self) -> Result<Vec<String>, Error> {
        let writer = self.writer().await?;
        writer.run(|writing| schema::migrate(writing.connection()?)).await
    }

    async fn open(&self, wanted: Wanted) -> Result<Opened, Error> {
        let writer = self.writer().await?;
        let now = self.clock.now();
        let open = move |writing: &mut Writing| {
            let connection = writing.connection()?;
            schema::migrate(connection)?;
            create::open(connection, &wanted, now)
        };
        let snapshot = writer.run(open).await?;
        let reader = writer.reader(Arc::clone(&self.clock))?;
        let newest = Some(snapshot.position);
        let writer = Arc::new(writer);
        let housekeeper = Box::new(SqliteHousekeeper(Arc::clone(&writer)));
        let store = SqliteStore { writer, clock: Arc::clone(&self.clock), newest };
        let notifier = Notifier::none();
        let (store, reader, durability) =
            (Box::new(store), Arc::new(reader), Durability::of(vec![("synchronous", false)]));
        Ok(Opened { store, housekeeper, reader, snapshot, now, notifier, durability })
    }

    async fn import(&self, pool: ImportedPool<'_>) -> Result<(), Error> {
        let ImportedPool { new, history } = pool;
        let writer = self.writer().await?;
        let (parts, queue) = mpsc::channel(PARTS);
        let import = move |writing: &mut Writing| {
            let connection = writing.connection()?;
            schema::migrate(connection)?;
            create::import(connection, &new, queue)
        };
        let (imported, ()) = tokio::join!(writer.run(import), feed(history, parts));
        imported
    }

    async fn audit(&self) -> Result<Vec<String>, Error> {
        self.look(audit::audit).await
    }

    async fn describe(&self) -> Result<Vec<(String, String)>, Error> {
        let now = self.clock.now();
        self.look(move |files| audit::describe(files, now)).await
    }

    async fn check(
        &self,
        wanted: &Wanted,
        allow_clock_behind: bool,
    ) -> Result<Vec<Finding>, Error> {
        let (wanted, now) = (*wanted, self.clock.now());
        self.look(move |files| audit::check(files, &wanted, now, allow_clock_behind)).await
    }

    async fn begin_epoch(&self, clock_may_be_behind: bool) -> Result<NewEpoch, Error> {
        // A writing connection would create a missing file.
        self.look(|files| schema::check(&files.open_to_look()?)).await?;
        let now = self.clock.now();
        let writer = self.writer().await?;
        let begin = move |writing: &mut Writing| {
            create::begin_epoch(writing.connection()?, now, clock_may_be_behind)
        };
        writer.run(begin).await
    }

    async fn backup(&self, to: &Path, replace: bool) -> Result<Backup, Error> {
        let to = to.to_owned();
        self.look(move |files| backup::backup(files, &to, replace)).await
    }
}

/// Passes a history on until its end, its first error, or until the receiver is dropped.
async fn feed(history: &mut dyn LeaseSource, parts: mpsc::Sender<Result<Vec<pool::Lease>, Error>>) {
    loop {
        let part = history.next().await;
        let more = matches!(&part, Ok(leases) if !leases.is_empty());
        if parts.send(part).await.is_err() || !more {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
