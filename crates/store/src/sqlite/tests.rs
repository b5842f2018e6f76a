//! Tests that need access to internals.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use pool::{Allocation, Change, Command, Lease, LeaseId, Ledger, Policy, Timestamp, User};
use rusqlite::Connection;
use tempfile::TempDir;
use uuid::Uuid;

use crate::sqlite::admin::create;
use crate::sqlite::admin::schema;
use crate::sqlite::disk::checkpoint::WAL_LIMIT;
use crate::sqlite::write::housekeeper::SqliteHousekeeper;
use crate::sqlite::write::store::SqliteStore;
use crate::sqlite::write::writer::Writer;
use crate::{
    BatchId, Entry, Error, Housekeeper as _, ManualClock, News, Position, ServerId, Snapshot,
    Store, Wanted,
};

mod indexing;
mod large;
mod reading;

/// An open pool, usually of one token.
struct Fixture {
    directory: TempDir,
    store: SqliteStore,
    ledger: Ledger,
    position: Position,
    count: u128,
}

async fn fixture() -> Fixture {
    fixture_of(1).await
}

async fn fixture_of(size: usize) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let now = Timestamp::from_micros(1_600_000_000_000_001);
    let writer = Writer::start(&directory.path().join("pool.db")).unwrap();
    let policy = Policy::of_lease(Duration::from_mins(1)).into();
    let wanted = Wanted { size: Some(size), policy, update_policy: false };
    let open = writer.run(move |writing| {
        schema::migrate(writing.connection()?)?;
        create::open(writing.connection()?, &wanted, now)
    });
    let Snapshot { position, ledger, .. } = open.await.unwrap();
    let clock = Arc::new(ManualClock::new(now));
    let store = SqliteStore { writer: Arc::new(writer), clock, newest: Some(position) };
    Fixture { directory, store, ledger, position, count: 0 }
}

impl Fixture {
    /// An entry in which `user` is granted the token.
    async fn entry(&mut self, user: &str) -> Entry {
        let begun = self.store.begin(&self.position).await.unwrap();
        assert!(matches!(begun.news, News::Entries(entries) if entries.is_empty()));
        self.count += 1;
        let mut ledger = self.ledger.clone();
        let mut batch = ledger.batch(begun.now);
        let lease_id = LeaseId(Uuid::from_u128(self.count));
        let allocation = Allocation::new(lease_id, User::new(user).unwrap());
        batch.decide(&Command::Allocate(allocation)).unwrap();
        let changes = batch.finish().changes;
        let batch = BatchId(Uuid::from_u128(self.count));
        let position = Position { version: self.position.version + 1, batch, ..self.position };
        let server = ServerId(Uuid::nil());
        Entry { position, server, at: begun.now, fence: ledger.fence(), changes, keys: Vec::new() }
    }

    async fn commit(&mut self, entry: &Entry) {
        self.store.commit(entry).await.unwrap();
        self.position = entry.position;
        for change in &entry.changes {
            self.ledger.apply(change).unwrap();
        }
    }

    /// Runs a query on the writing connection.
    async fn run(&self, sql: &'static str) -> i64 {
        let run = self.store.writer.run(move |writing| {
            let connection = writing.connection()?;
            Ok(connection.query_row(sql, (), |row| row.get(0)).unwrap())
        });
        run.await.unwrap()
    }

    /// Does what [`Store::commit`] does beside inserting leases.
    async fn lead_to_latest(&self) {
        let update = self.store.writer.run(|writing| {
            writing.connection()?.execute(sql!("leases/update_latest"), (0,)).unwrap();
            Ok(())
        });
        update.await.unwrap();
    }

    /// Simulates a failure of the file during a commit.
    async fn lose_the_connection(&mut self) {
        let closed = self.store.writer.run(|writing| {
            writing.close();
            Ok(())
        });
        closed.await.unwrap();
        self.store.newest = None;
    }
}

#[test]
fn every_sql_file_fits_the_tables() {
    let mut connection = Connection::open_in_memory().unwrap();
    schema::migrate(&mut connection).unwrap();
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sqlite/sql");
    let mut count = 0;
    let entities = fs::read_dir(directory).unwrap();
    for file in entities.flat_map(|entity| fs::read_dir(entity.unwrap().path()).unwrap()) {
        let path = file.unwrap().path();
        let sql = super::sql::expand(&fs::read_to_string(&path).unwrap());
        connection.prepare(&sql).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        count += 1;
    }
    assert!(count > 20, "{count} files");
}

#[tokio::test]
async fn only_steps_that_may_be_repeated_do_not_wait_for_the_disk() {
    const FULL: i64 = 2;
    let fixture = fixture().await;
    assert_eq!(fixture.run("pragma synchronous").await, FULL);
    let mut housekeeper = SqliteHousekeeper(Arc::clone(&fixture.store.writer));
    housekeeper.prune(Timestamp::MIN, 0).await.unwrap();
    assert_eq!(fixture.run("pragma synchronous").await, FULL, "after a step");
    let failed = fixture.store.writer.run(|writing| {
        writing.without_sync(|connection| {
            let set =
                connection.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0));
            assert_eq!(set.unwrap(), FULL - 1, "during a step");
            Err::<(), _>(Error::Operator("it failed".to_owned()))
        })
    });
    assert!(failed.await.is_err());
    assert_eq!(fixture.run("pragma synchronous").await, FULL, "after a failed step");
}

#[tokio::test]
async fn after_a_lost_connection_the_journal_tells() {
    let mut fixture = fixture().await;
    let before = fixture.position;
    let entry = fixture.entry("Ada").await;
    fixture.commit(&entry).await;
    fixture.lose_the_connection().await;
    // A copy from before that commit learns its outcome.
    let begun = fixture.store.begin(&before).await.unwrap();
    let News::Entries(entries) = begun.news else { panic!("{:?}", begun.news) };
    assert_eq!(entries, std::slice::from_ref(&entry));
    assert_eq!(fixture.store.has(&entry.position).await.unwrap(), Some(true));
    let other = Position { batch: BatchId(Uuid::max()), ..entry.position };
    assert_eq!(fixture.store.has(&other).await.unwrap(), Some(false));
    assert_eq!(fixture.run("pragma user_version").await, 1, "one commit over what may lie there");
    let entry = fixture.entry("Bea").await;
    fixture.commit(&entry).await;
    assert_eq!(fixture.run("select count(*) from leases").await, 2);
}

#[tokio::test]
async fn a_full_disk_does_nothing_and_passes() {
    let mut fixture = fixture().await;
    let pages = fixture.run("pragma page_count").await;
    fixture.run("pragma max_page_count = 1").await;
    let fill = fixture.entry("Ada").await;
    // More than fits: one entry whose changes alone take several pages.
    let Change::LeaseStarted(lease) = &fill.changes[0] else { panic!("{fill:?}") };
    let name = "a".repeat(9 * 4096).as_str().into();
    let lease = Lease { user: User { name, ..lease.user.clone() }, ..lease.clone() };
    let entry = Entry { changes: vec![Change::LeaseStarted(lease)], ..fill.clone() };
    let refused = fixture.store.commit(&entry).await;
    assert!(matches!(refused, Err(Error::TryAgain { .. })), "{refused:?}");
    assert_eq!(fixture.run("select count(*) from leases").await, 0);
    assert_eq!(fixture.run("pragma page_count").await, pages);
    fixture.run("pragma max_page_count = 1000000").await;
    fixture.store.commit(&entry).await.unwrap();
}

#[tokio::test]
async fn a_large_log_is_emptied_once_readers_are_gone() {
    let fixture = fixture().await;
    let prompt = Connection::open(fixture.directory.path().join("pool.db")).unwrap();
    prompt.execute_batch("begin; select count(*) from tokens").unwrap();
    let grow = "insert into batches select 9, batch_id, server, at, epoch, fence,
                zeroblob(70000000) from batches returning version";
    assert_eq!(fixture.run(grow).await, 9);
    let wal = || fs::metadata(&fixture.store.writer.files.wal).unwrap().len();
    let measured = || fixture.store.writer.measured.get();
    for _ in 0..500 {
        // After each job the thread checks the log, maybe by a size from a moment ago.
        fixture.run("select 1").await;
        if measured().failures > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(wal() > WAL_LIMIT, "a person reads it");
    assert!(measured().bytes > WAL_LIMIT && measured().failures > 0, "{:?}", measured());
    prompt.execute_batch("rollback").unwrap();
    for _ in 0..500 {
        if wal() == 0 && measured().bytes == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        fixture.run("select 1").await;
    }
    panic!("the log still has {} bytes: {:?}", wal(), measured());
}
