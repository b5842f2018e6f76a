//! Behaviour specific to SQLite.

mod auditing;
mod backing_up;
mod foreign;
mod importing;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use crate::conformance::AnyDb as _;
use crate::conformance::server::{ANY, Server, refusal, tokens, under};
use pool::{Policy, Timestamp};
use rusqlite::{Connection, OpenFlags};
use store::{Clock as _, Database, DatabaseUrl, ManualClock, SystemClock, database};
use testbed::TestDb;

/// A directory with a database file in it.
pub struct Directory {
    db: TestDb,
    clock: Arc<ManualClock>,
}

impl Directory {
    pub fn of(db: TestDb) -> Self {
        let clock = ManualClock::new(Timestamp::from_micros(1_590_000_000_123_457));
        Directory { db, clock: Arc::new(clock) }
    }

    fn folder(&self) -> &Path {
        self.db.folder()
    }

    fn file(&self) -> PathBuf {
        self.folder().join("pool.db")
    }

    fn at(&self, path: impl Into<PathBuf>) -> Box<dyn Database> {
        database(&DatabaseUrl::Sqlite(path.into()), self.clock.clone())
    }

    /// A connection as of a person at a SQL prompt.
    fn prompt(&self) -> Connection {
        Connection::open_with_flags(self.file(), OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap()
    }

    pub fn follow_the_clock(&self) {
        self.clock.set(SystemClock.now());
    }

    pub fn read(&self, sql: &str) -> Vec<String> {
        let prompt = self.prompt();
        let mut select = prompt.prepare(sql).unwrap();
        select.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }
}

impl crate::conformance::AnyDb for Directory {
    fn database(&self) -> Box<dyn Database> {
        self.at(self.file())
    }

    fn catch_up(&self) {
        let index = "insert or ignore into user_leases select user_id, fence from leases;
                     insert or ignore into pool_leases select fence >> 14, pool, fence from leases;
                     update ledger set indexed_fence = (select max(fence) from leases)";
        self.prompt().execute_batch(index).unwrap();
    }
}

async fn fresh() -> Directory {
    Directory::of(TestDb::sqlite())
}

#[tokio::test]
async fn a_second_server_is_refused_while_reading_stays_open() {
    let db = fresh().await;
    let mut server = Server::alone(&db, tokens(2)).await;
    server.allocate("Ada").await;

    let link = db.folder().join("link.db");
    #[cfg(unix)]
    std::os::unix::fs::symlink("pool.db", &link).unwrap();
    let up = env::current_dir().unwrap().components().skip(1).map(|_| "../").collect::<String>();
    let relative = Path::new(&up).join(db.file().strip_prefix("/").unwrap());
    assert!(relative.is_relative() && relative.exists());
    let databases = [db.database(), db.at(link), db.at(relative)];
    let [one, two, three] = databases.each_ref().map(|other| other.open(ANY));
    let (one, two, three, four) = tokio::join!(one, two, three, databases[0].migrate());
    for sentence in [refusal(one), refusal(two), refusal(three), refusal(four)] {
        assert!(sentence.contains("pool.db is in use by another server"), "{sentence}");
    }

    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let prompt = Connection::open_with_flags(db.file(), flags).unwrap();
    let count = || prompt.query_row("select count(*) from leases", (), |row| row.get::<_, i64>(0));
    assert_eq!(count().unwrap(), 1);
    assert_eq!(databases[1].audit().await.unwrap(), [""; 0]);
    assert!(!databases[2].describe().await.unwrap().is_empty());
    server.allocate("Bea").await;
    assert_eq!(count().unwrap(), 2);
}

#[tokio::test]
async fn a_server_that_is_just_stopping_is_waited_for() {
    let db = fresh().await;
    let first = Server::alone(&db, tokens(2)).await;
    let stop = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(first);
    };
    let ((), second) = tokio::join!(stop, Server::alone(&db, tokens(2)));
    assert_eq!(second.pool().size(), 2);
}

#[tokio::test]
async fn a_stop_leaves_everything_in_the_one_file() {
    let db = fresh().await;
    let mut server = Server::alone(&db, tokens(2)).await;
    let token = server.allocate("Ada").await.token_id;
    let history = server.history(token).await;
    assert_eq!(history.len(), 1);
    // Abandoned requests may keep their reader a little longer than the writer lives.
    let reader = Arc::clone(&server.reader);
    drop(server);
    assert!(reader.history(token, None, 1).await.is_err(), "it would make the files again");
    let files = fs::read_dir(db.folder()).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["pool.db", "pool.db.lock"]);

    let copy = fresh().await;
    fs::copy(db.file(), copy.file()).unwrap();
    assert_eq!(Server::alone(&copy, ANY).await.history(token).await, history);
}

#[tokio::test]
async fn a_stop_empties_the_log_although_another_program_is_there() {
    let db = fresh().await;
    let mut server = Server::alone(&db, tokens(2)).await;
    let prompt = db.prompt();
    server.allocate("Ada").await;
    let count = prompt.query_row("select count(*) from leases", (), |row| row.get::<_, i64>(0));
    assert_eq!(count, Ok(1));
    drop(server);
    assert_eq!(fs::metadata(db.folder().join("pool.db-wal")).unwrap().len(), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let db = fresh().await;
    let mut server = Server::alone(&db, tokens(2)).await;
    server.allocate("Ada").await;
    let mut names = Vec::new();
    for entry in fs::read_dir(db.folder()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["pool.db", "pool.db-shm", "pool.db-wal", "pool.db.lock"]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_to_what_is_not_there_yet_is_followed() {
    let db = fresh().await;
    let link = db.folder().join("link.db");
    std::os::unix::fs::symlink("pool.db", &link).unwrap();
    let facts = Server::of(db.at(&link).open(tokens(2)).await.unwrap()).facts();
    assert!(!db.folder().join("link.db.lock").exists());
    assert_eq!(Server::alone(&db, ANY).await.facts(), facts);
}

#[tokio::test]
async fn unusable_paths_are_explained() {
    let db = fresh().await;
    let sentence = refusal(db.at(":memory:").open(ANY).await);
    assert!(sentence.contains("would forget"), "{sentence}");
    let nowhere = db.folder().join("nowhere/pool.db");
    let sentence = refusal(db.at(nowhere).open(ANY).await);
    assert!(sentence.contains("nowhere/pool.db") && sentence.contains("directory"), "{sentence}");
    fs::create_dir(db.file()).unwrap();
    refusal(db.database().open(ANY).await);
    refusal(db.at("/").open(ANY).await);
}

#[tokio::test]
async fn looking_makes_no_database() {
    let db = fresh().await;
    refusal(db.database().audit().await);
    refusal(db.database().describe().await);
    assert_eq!(fs::read_dir(db.folder()).unwrap().count(), 0);
    db.database().migrate().await.unwrap();
    assert_eq!(db.database().audit().await.unwrap(), [""; 0], "there is no pool yet");
    db.database().describe().await.unwrap();
}

#[tokio::test]
async fn a_damaged_file_is_explained() {
    let db = fresh().await;
    drop(Server::alone(&db, tokens(1000)).await);
    let file = fs::File::options().write(true).open(db.file()).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    drop(file);
    let sentence = refusal(db.database().open(ANY).await);
    assert!(sentence.contains("damaged or not one of"), "{sentence}");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let db = fresh().await;
    drop(Server::alone(&db, ANY).await);
    let newer = "insert into migrations values (99, 'newer', '')";
    assert_eq!(db.prompt().execute(newer, ()).unwrap(), 1);
    let database = db.database();
    let refused = [
        refusal(database.open(ANY).await),
        refusal(database.migrate().await),
        refusal(database.audit().await),
    ];
    for sentence in refused {
        assert!(
            sentence.contains("version 99") && sentence.contains("versions up to "),
            "{sentence}"
        );
    }
    assert!(database.describe().await.unwrap().iter().any(|(_, value)| value == "99"));
}

#[tokio::test]
async fn the_views_know_deadlines_and_are_readable() {
    let db = fresh().await;
    // The clock of these tests is years behind the one that the views ask.
    let mut server = Server::alone(&db, tokens(2)).await;
    let over = server.allocate("Ada").await;
    let running = server.allocate("Bea").await;

    let prompt = db.prompt();
    let year_2100 = 4_102_444_800_000_000_i64;
    let prolong = "update leases set expires_at = ?1 where id = ?2";
    assert_eq!(prompt.execute(prolong, (year_2100, running.id.0.as_bytes())).unwrap(), 1);
    let read = |sql: &str| -> Vec<Vec<Option<String>>> {
        let mut select = prompt.prepare(sql).unwrap();
        let columns = select.column_count();
        let row = |row: &rusqlite::Row<'_>| (0..columns).map(|i| row.get(i)).collect();
        select.query_map((), row).unwrap().map(Result::unwrap).collect()
    };
    let text = |text: &str| Some(text.to_owned());
    let status = "select id, value, status, user_name, activated_at from token_status
                  order by position";
    let tokens: Vec<_> = server.pool().tokens(0).map(|view| view.token.clone()).collect();
    let expected = [
        [tokens[0].id.0.to_string(), tokens[0].value.as_str().to_owned(), "available".to_owned()],
        [tokens[1].id.0.to_string(), tokens[1].value.as_str().to_owned(), "active".to_owned()],
    ];
    let seen = read(status);
    for (row, expected) in seen.iter().zip(expected) {
        assert_eq!(row[..3], expected.map(Some));
    }
    assert_eq!(seen[0][3..], [None, None]);
    assert_eq!(seen[1][3..], [text("Bea"), text("2020-05-20T18:40:00.123457Z")]);
    let history =
        "select id, token_id, status, user_id, started_at, expires_at, ended_at, end_reason
                   from token_history order by cast(fence as integer)";
    let seen = read(history);
    let ids =
        |lease: &pool::Lease| [lease.id.0.to_string(), lease.token_id.0.to_string()].map(Some);
    assert_eq!((&seen[0][..2], &seen[1][..2]), (&ids(&over)[..], &ids(&running)[..]));
    let deadline = text("2020-05-20T18:41:00.123457Z");
    assert_eq!(seen[0][2..4], [text("over"), Some(over.user.id.0.to_string())]);
    assert_eq!(seen[0][5..], [deadline.clone(), deadline, text("expired")]);
    assert_eq!(seen[1][2], text("active"));
    assert_eq!(seen[1][6..], [None, None]);
    let names = "select pool, token_name, note from token_history where user_name = 'Bea'";
    assert_eq!(read(names), [[text("default"), text("2"), None]]);
    let names = "select pool, name, labels, taints, retired_at, status from token_status
                 order by position";
    let member =
        |name, status| [text("default"), text(name), text("{}"), text("[]"), None, text(status)];
    assert_eq!(read(names), [member("1", "available"), member("2", "active")]);
    let taint = r#"[{"effect": "end-lease", "until": null}]"#;
    assert_eq!(prompt.execute("update tokens set taints = ?1", (taint,)).unwrap(), 2);
    let status = || read("select status from token_status order by position").concat();
    assert_eq!(status(), [text("tainted"), text("active")]);
    for over in [taint.replace("null", "1"), taint.replace("end-lease", "note")] {
        assert_eq!(prompt.execute("update tokens set taints = ?1", (over,)).unwrap(), 2);
        assert_eq!(status(), [text("available"), text("active")]);
    }
    // Of the retired tokens, only those in use are shown.
    assert_eq!(prompt.execute("update tokens set retired_at = 1", ()).unwrap(), 2);
    assert_eq!(status(), [text("active")]);
    assert_eq!(prompt.execute("update pools set deleted_at = 1", ()).unwrap(), 1);
    assert_eq!(status(), []);
}

#[tokio::test]
async fn the_views_follow_the_clock_to_the_millisecond() {
    let db = fresh().await;
    db.clock.set(SystemClock.now());
    let wanted = under(Policy::of_lease(Duration::from_millis(200)), 1);
    let deadline = Server::alone(&db, wanted).await.allocate("Ada").await.expires_at;
    let prompt = db.prompt();
    let read = |view| prompt.query_row(view, (), |row| row.get::<_, String>(0)).unwrap();
    let mut seen_over = 0;
    while seen_over < 3 {
        for view in ["select status from token_status", "select status from token_history"] {
            let (before, status, after) = (SystemClock.now(), read(view), SystemClock.now());
            let (early, late) = (deadline.since(after), before.since(deadline));
            if status == "active" {
                assert!(late <= Duration::from_millis(1), "{view}: {late:?} late");
            } else {
                assert!(early.is_zero(), "{view}: {status} {early:?} early");
                seen_over += 1;
            }
        }
    }
}

#[test]
fn the_views_ask_for_nothing_that_older_versions_lack() {
    // unixepoch() came with 3.38, its 'subsec' with 3.42; before that format() was printf().
    let migrations = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite");
    for file in fs::read_dir(migrations).unwrap() {
        let sql = fs::read_to_string(file.unwrap().path()).unwrap();
        for newer in ["subsec", "unixepoch(", " format(", "(format("] {
            assert!(!sql.contains(newer), "{newer}");
        }
    }
}
