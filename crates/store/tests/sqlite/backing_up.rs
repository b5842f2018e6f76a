//! Copies that are made while a server runs.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::conformance::Place as _;
use crate::conformance::server::{ANY, Server, refusal, tokens};
use crate::fresh;

#[tokio::test]
async fn a_copy_is_the_pool_as_it_was() {
    let (place, elsewhere) = (fresh().await, fresh().await);
    let mut server = Server::start(&place, tokens(2)).await;
    let lease = server.allocate("Ada").await;
    let before = server.facts();
    let copy = place.database().backup(&elsewhere.file(), false).await.unwrap();
    assert_eq!((copy.position, copy.at, copy.fence), (server.position, server.at, lease.fence));
    let file = fs::metadata(elsewhere.file()).unwrap();
    assert_eq!((file.len(), file.permissions().mode() & 0o777), (copy.bytes, 0o600));
    server.allocate("Bea").await;
    let names = fs::read_dir(elsewhere.directory.path()).unwrap().count();
    assert_eq!(names, 1, "nothing else is left");

    assert_eq!(elsewhere.database().audit().await.unwrap(), [""; 0]);
    let restored = Server::start(&elsewhere, ANY).await;
    assert_eq!(restored.facts(), before);
    assert_eq!(restored.history(lease.token_id).await.len(), 1);
}

#[tokio::test]
async fn a_file_is_only_replaced_when_told() {
    let place = fresh().await;
    let mut server = Server::start(&place, tokens(2)).await;
    let copy = place.directory.path().join("copy.db");
    fs::write(&copy, "dear").unwrap();
    let sentence = refusal(place.database().backup(&copy, false).await);
    assert!(sentence.contains("copy.db is there already"), "{sentence}");
    assert_eq!(fs::read(&copy).unwrap(), b"dear");
    place.database().backup(&copy, true).await.unwrap();
    server.allocate("Ada").await;
    let again = place.database().backup(&copy, true).await.unwrap();
    assert_eq!(again.position, server.position);
    assert_eq!(place.at(&copy).audit().await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn copies_to_one_name_at_a_time_do_no_harm() {
    let place = fresh().await;
    let mut server = Server::start(&place, tokens(2)).await;
    server.allocate("Ada").await;
    let copy = place.directory.path().join("copy.db");
    // What could be in the way, and is nobody's business.
    fs::write(place.directory.path().join("dear"), "dear").unwrap();
    symlink("dear", place.directory.path().join("copy.db.part")).unwrap();
    let database = place.database();
    for _ in 0..10 {
        let backup = || database.backup(&copy, true);
        let (one, other, last) = tokio::join!(backup(), backup(), backup());
        assert_eq!(
            [one.unwrap(), other.unwrap(), last.unwrap()].map(|c| c.position),
            [server.position; 3]
        );
        assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(place.at(&copy).audit().await.unwrap(), [""; 0]);
        fs::remove_file(&copy).unwrap();
        let backup = || database.backup(&copy, false);
        let made = tokio::join!(backup(), backup(), backup());
        let made = [made.0, made.1, made.2];
        assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
        for made in made.into_iter().filter(Result::is_err) {
            assert!(refusal(made).contains("copy.db is there already"));
        }
        assert_eq!(place.at(&copy).audit().await.unwrap(), [""; 0]);
    }
    assert_eq!(fs::read(place.directory.path().join("dear")).unwrap(), b"dear");
}

#[tokio::test]
async fn a_running_servers_database_is_not_replaced() {
    let (place, elsewhere) = (fresh().await, fresh().await);
    let _server = Server::start(&place, tokens(2)).await;
    let other = Server::start(&elsewhere, tokens(2)).await;
    let file = elsewhere.file();
    let wal = file.with_file_name("pool.db-wal");
    // As after a checkpoint: nothing is in the log.
    fs::OpenOptions::new().write(true).open(&wal).unwrap().set_len(0).unwrap();
    let before = fs::read(&file).unwrap();
    let sentence = refusal(place.database().backup(&file, true).await);
    assert!(sentence.contains("is the database of another server"), "{sentence}");
    assert_eq!(fs::read(&file).unwrap(), before);
    drop(other);
    place.database().backup(&file, true).await.unwrap();
}

#[tokio::test]
async fn a_copy_never_harms_a_database() {
    let place = fresh().await;
    let sentence = refusal(place.database().backup(&place.directory.path().join("x"), true).await);
    assert!(sentence.contains("there is no database"), "{sentence}");
    let mut server = Server::start(&place, tokens(2)).await;
    for suffix in ["", "-wal", "-shm", "-journal", ".lock"] {
        let name = place.directory.path().join(format!("pool.db{suffix}"));
        let sentence = refusal(place.database().backup(&name, true).await);
        assert!(sentence.contains("belongs to the database itself"), "{sentence}");
    }
    // A log beside the copy would count as a part of it.
    let copy = place.directory.path().join("copy.db");
    for log in ["copy.db-wal", "copy.db-journal"] {
        let log = place.directory.path().join(log);
        fs::write(&log, "of another").unwrap();
        let sentence = refusal(place.database().backup(&copy, true).await);
        assert!(sentence.contains("is of another database"), "{sentence}");
        fs::remove_file(log).unwrap();
    }
    let nowhere = place.directory.path().join("nowhere/copy.db");
    let sentence = refusal(place.database().backup(&nowhere, false).await);
    assert!(sentence.contains("directory must exist"), "{sentence}");
    server.allocate("Ada").await;
}

#[tokio::test]
async fn no_epoch_begins_while_a_server_runs() {
    let place = fresh().await;
    let sentence = refusal(place.database().begin_epoch().await);
    assert!(sentence.contains("there is no database"), "{sentence}");
    assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 0, "and none is made");
    let mut server = Server::start(&place, tokens(2)).await;
    let sentence = refusal(place.database().begin_epoch().await);
    assert!(sentence.contains("in use by another server"), "{sentence}");
    server.allocate("Ada").await;
}
