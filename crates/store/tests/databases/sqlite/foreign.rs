//! Databases of other programs, and files that are not databases.

use std::fs;
use std::path::Path;

use rusqlite::Connection;

use super::{Directory, fresh};
use crate::conformance::AnyDb as _;
use crate::conformance::server::{ANY, Server, refusal, tokens};

const ID: &str = "pragma application_id";

fn id(file: &Path) -> i64 {
    Connection::open(file).unwrap().query_row(ID, (), |row| row.get(0)).unwrap()
}

/// Every operation refuses this database, and leaves it unchanged.
async fn assert_refused(db: &Directory, because: &str) {
    let before = fs::read(db.file()).unwrap();
    let database = db.database();
    let copy = db.folder().join("copy.db");
    for sentence in [
        refusal(database.open(ANY).await),
        refusal(database.migrate().await),
        refusal(database.audit().await),
        refusal(database.describe().await),
        refusal(database.begin_epoch(false).await),
        refusal(database.backup(&copy, false).await),
    ] {
        assert!(sentence.contains(because), "{sentence}");
        assert!(!sentence.contains("create table"), "no text of a migration: {sentence}");
    }
    assert_eq!(fs::read(db.file()).unwrap(), before);
    assert!(!copy.exists());
}

#[tokio::test]
async fn a_database_of_another_program_is_refused() {
    for sql in [
        "create table pools (depth real)",
        "create table notes (text); create view tokens as select text from notes",
        "pragma application_id = 1196444487",
        // Other programs may call their table so, too.
        "create table migrations (number integer primary key, name text, statements text);
         insert into migrations values (1, 'notes', '')",
    ] {
        for wal in [false, true] {
            let db = fresh().await;
            let other = Connection::open(db.file()).unwrap();
            if wal {
                other.pragma_update(None, "journal_mode", "wal").unwrap();
            }
            other.execute_batch(sql).unwrap();
            other.close().unwrap();
            assert_refused(&db, "is an SQLite database of another program").await;
        }
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let random: Vec<u8> =
        (0..40_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for content in [&b"x\n"[..], b"this is no database\n", &[0; 10_000], &random] {
        let db = fresh().await;
        fs::write(db.file(), content).unwrap();
        assert_refused(&db, "is not an SQLite database").await;
    }
}

#[tokio::test]
async fn an_empty_file_becomes_a_database() {
    let db = fresh().await;
    fs::write(db.file(), "").unwrap();
    drop(Server::alone(&db, tokens(2)).await);
    assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn databases_are_marked_as_this_programs() {
    let db = fresh().await;
    db.database().migrate().await.unwrap();
    assert_eq!(id(&db.file()), 0x546F_6B4D);
    drop(Server::alone(&db, tokens(2)).await);
    let copy = db.folder().join("copy.db");
    db.database().backup(&copy, false).await.unwrap();
    assert_eq!(id(&copy), 0x546F_6B4D);
}
