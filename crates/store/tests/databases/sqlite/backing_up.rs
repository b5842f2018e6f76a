//! Copies made while a server runs.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::fresh;
use crate::conformance::AnyDb as _;
use crate::conformance::server::{ANY, Server, refusal, tokens};

#[tokio::test]
async fn a_copy_is_the_pool_as_it_was() {
    let (db, elsewhere) = (fresh().await, fresh().await);
    let mut server = Server::alone(&db, tokens(2)).await;
    let lease = server.allocate("Ada").await;
    let before = server.facts();
    let copy = db.database().backup(&elsewhere.file(), false).await.unwrap();
    assert_eq!((copy.position, copy.at, copy.fence), (server.position, server.at, lease.fence));
    let file = fs::metadata(elsewhere.file()).unwrap();
    assert_eq!((file.len(), file.permissions().mode() & 0o777), (copy.bytes, 0o600));
    server.allocate("Bea").await;
    let names = fs::read_dir(elsewhere.folder()).unwrap().count();
    assert_eq!(names, 1, "nothing else is left");

    assert_eq!(elsewhere.database().audit().await.unwrap(), [""; 0]);
    let restored = Server::alone(&elsewhere, ANY).await;
    assert_eq!(restored.facts(), before);
    assert_eq!(restored.history(lease.token_id).await.len(), 1);
}

#[tokio::test]
async fn a_file_is_only_replaced_when_told() {
    let db = fresh().await;
    let mut server = Server::alone(&db, tokens(2)).await;
    let copy = db.folder().join("copy.db");
    fs::write(&copy, "dear").unwrap();
    let sentence = refusal(db.database().backup(&copy, false).await);
    assert!(sentence.contains("copy.db is there already"), "{sentence}");
    assert_eq!(fs::read(&copy).unwrap(), b"dear");
    db.database().backup(&copy, true).await.unwrap();
    server.allocate("Ada").await;
    let again = db.database().backup(&copy, true).await.unwrap();
    assert_eq!(again.position, server.position);
    assert_eq!(db.at(&copy).audit().await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn concurrent_copies_to_one_name_are_safe() {
    let db = fresh().await;
    let mut server = Server::alone(&db, tokens(2)).await;
    server.allocate("Ada").await;
    let copy = db.folder().join("copy.db");
    // An obstacle at a possible temporary name; it must stay untouched.
    fs::write(db.folder().join("dear"), "dear").unwrap();
    symlink("dear", db.folder().join("copy.db.part")).unwrap();
    let database = db.database();
    for _ in 0..10 {
        let backup = || database.backup(&copy, true);
        let (one, other, last) = tokio::join!(backup(), backup(), backup());
        assert_eq!(
            [one.unwrap(), other.unwrap(), last.unwrap()].map(|c| c.position),
            [server.position; 3]
        );
        assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(db.at(&copy).audit().await.unwrap(), [""; 0]);
        fs::remove_file(&copy).unwrap();
        let backup = || database.backup(&copy, false);
        let made = tokio::join!(backup(), backup(), backup());
        let made = [made.0, made.1, made.2];
        assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
        for made in made.into_iter().filter(Result::is_err) {
            assert!(refusal(made).contains("copy.db is there already"));
        }
        assert_eq!(db.at(&copy).audit().await.unwrap(), [""; 0]);
    }
    assert_eq!(fs::read(db.folder().join("dear")).unwrap(), b"dear");
}

#[tokio::test]
async fn a_running_servers_database_is_not_replaced() {
    let (db, elsewhere) = (fresh().await, fresh().await);
    let _server = Server::alone(&db, tokens(2)).await;
    let other = Server::alone(&elsewhere, tokens(2)).await;
    let file = elsewhere.file();
    let wal = file.with_file_name("pool.db-wal");
    // As after a checkpoint: the log is empty.
    fs::OpenOptions::new().write(true).open(&wal).unwrap().set_len(0).unwrap();
    let before = fs::read(&file).unwrap();
    let sentence = refusal(db.database().backup(&file, true).await);
    assert!(sentence.contains("is the database of another server"), "{sentence}");
    assert_eq!(fs::read(&file).unwrap(), before);
    drop(other);
    db.database().backup(&file, true).await.unwrap();
}

#[tokio::test]
async fn a_copy_never_harms_a_database() {
    let db = fresh().await;
    let sentence = refusal(db.database().backup(&db.folder().join("x"), true).await);
    assert!(sentence.contains("there is no database"), "{sentence}");
    let mut server = Server::alone(&db, tokens(2)).await;
    for suffix in ["", "-wal", "-shm", "-journal", ".lock"] {
        let name = db.folder().join(format!("pool.db{suffix}"));
        let sentence = refusal(db.database().backup(&name, true).await);
        assert!(sentence.contains("belongs to the database itself"), "{sentence}");
    }
    // SQLite would treat a log beside the copy as a part of it.
    let copy = db.folder().join("copy.db");
    for log in ["copy.db-wal", "copy.db-journal"] {
        let log = db.folder().join(log);
        fs::write(&log, "of another").unwrap();
        let sentence = refusal(db.database().backup(&copy, true).await);
        assert!(sentence.contains("belongs to another database"), "{sentence}");
        fs::remove_file(log).unwrap();
    }
    let nowhere = db.folder().join("nowhere/copy.db");
    let sentence = refusal(db.database().backup(&nowhere, false).await);
    assert!(sentence.contains("directory must exist"), "{sentence}");
    server.allocate("Ada").await;
}

#[tokio::test]
async fn no_epoch_begins_while_a_server_runs() {
    let db = fresh().await;
    let sentence = refusal(db.database().begin_epoch(false).await);
    assert!(sentence.contains("there is no database"), "{sentence}");
    assert_eq!(fs::read_dir(db.folder()).unwrap().count(), 0, "and none is made");
    let mut server = Server::alone(&db, tokens(2)).await;
    let sentence = refusal(db.database().begin_epoch(false).await);
    assert!(sentence.contains("in use by another server"), "{sentence}");
    server.allocate("Ada").await;
}
