//! Batches begun together with the commit of the one before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use store::{BatchId, Error, News, Position, Uptime};
use uuid::Uuid;

use super::{Fresh, fresh};
use crate::conformance::server::{Server, allocate, assert_data, tokens};

async fn two(db: &Fresh) -> (Server, Server) {
    (Server::alone(db, tokens(3)).await, Server::alone(db, tokens(3)).await)
}

/// Commits an allocation and begins the next batch with it.
async fn allocate_and_begin(server: &mut Server, user: &str) {
    let (entry, _) = server.decide(&[allocate(user)]).await;
    server.store.commit_and_begin(&entry).await.unwrap();
    for change in &entry.changes {
        server.ledger.apply(change).unwrap();
    }
    (server.position, server.at) = (entry.position, entry.at);
}

#[tokio::test]
async fn the_lock_is_held_until_the_batch_ends() {
    let db = fresh().await;
    let (mut one, mut two) = two(&db).await;
    allocate_and_begin(&mut one, "Ada").await;
    one.store.begin(&one.position).await.unwrap();
    let position = two.position;
    let mut waiting = tokio::spawn(async move { two.store.begin(&position).await });
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "the next batch has begun");
    one.store.abandon().await;
    let News::Entries(entries) = waiting.await.unwrap().unwrap().news else { panic!("one entry") };
    assert_eq!(entries.len(), 1, "the commit is not undone with the batch after it");
}

#[tokio::test]
async fn a_batch_begun_ahead_has_an_older_reading_of_the_clock() {
    let db = fresh().await;
    let (mut one, _) = two(&db).await;
    let before = Uptime::now();
    let begun = one.store.begin(&one.position).await.unwrap();
    assert!(before <= begun.asked && begun.asked <= begun.answered);
    one.store.abandon().await;
    allocate_and_begin(&mut one, "Ada").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let called = Uptime::now();
    let begun = one.store.begin(&one.position).await.unwrap();
    assert!(before <= begun.asked && begun.asked < called);
    assert!(begun.now.after(Duration::from_millis(30)) < one.store.read_clock().await.unwrap());
    one.store.abandon().await;
}

#[tokio::test]
async fn a_batch_that_was_begun_and_is_not_wanted_can_be_abandoned() {
    let db = fresh().await;
    let (mut one, mut two) = two(&db).await;
    allocate_and_begin(&mut one, "Ada").await;
    one.store.abandon().await;
    let News::Entries(entries) = two.store.begin(&two.position).await.unwrap().news else {
        panic!("one entry")
    };
    assert_eq!(entries.len(), 1);
}

#[tokio::test]
async fn a_server_waiting_for_the_lock_comes_first_and_delays_no_commit() {
    let db = fresh().await;
    let (mut one, mut two) = two(&db).await;
    let (entry, _) = one.decide(&[allocate("Ada")]).await;
    let (position, within) = (two.position, Arc::new(AtomicBool::new(false)));
    let flag = Arc::clone(&within);
    let waiting = tokio::spawn(async move {
        two.store.begin(&position).await.unwrap();
        flag.store(true, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(500)).await;
        flag.store(false, Ordering::SeqCst);
        two.store.abandon().await;
    });
    db.until_a_session_waits_for_the_lock().await;
    let start = Instant::now();
    one.store.commit_and_begin(&entry).await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(400), "it waited for the other's batch");
    one.store.begin(&entry.position).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(500), "the other was in front");
    assert!(!within.load(Ordering::SeqCst), "the other is done");
    waiting.await.unwrap();
}

#[tokio::test]
async fn after_refused_data_nothing_is_under_way() {
    let db = fresh().await;
    let (mut one, mut two) = two(&db).await;
    let (entry, _) = one.decide(&[allocate("Ada")]).await;
    one.store.commit_and_begin(&entry).await.unwrap();
    one.store.begin(&entry.position).await.unwrap();
    assert_data(one.store.commit_and_begin(&entry).await);
    let begun = tokio::time::timeout(Duration::from_secs(1), two.store.begin(&two.position)).await;
    assert!(begun.expect("the lock is free").is_ok());
}

#[tokio::test]
async fn a_batch_begun_on_a_connection_that_is_gone_is_begun_again() {
    let db = fresh().await;
    let (mut one, mut two) = two(&db).await;
    allocate_and_begin(&mut one, "Ada").await;
    // The answers arrive before the connection ends, as in a stalled process.
    tokio::time::sleep(Duration::from_millis(300)).await;
    db.prompt().await.query(super::sharing::END_SESSIONS, &[]).await.unwrap();
    two.position = loop {
        if let Ok(begun) = two.store.begin(&two.position).await {
            let News::Entries(entries) = begun.news else { panic!("one entry") };
            for change in entries.iter().flat_map(|entry| &entry.changes) {
                two.ledger.apply(change).unwrap();
            }
            two.at = entries[0].at;
            two.store.abandon().await;
            break entries[0].position;
        }
    };
    two.allocate("Bea").await;
    let begun = loop {
        match one.store.begin(&one.position).await {
            Ok(begun) => break begun,
            Err(error) => assert!(matches!(error, Error::TryAgain { .. }), "{error:?}"),
        }
    };
    let News::Entries(entries) = begun.news else { panic!("one entry") };
    assert_eq!(entries.len(), 1, "what happened since is seen");
    let position = two.position;
    let mut waiting = tokio::spawn(async move { two.store.begin(&position).await });
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "the lock is held again");
    one.store.abandon().await;
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test]
async fn another_copy_than_the_expected_is_served_too() {
    let db = fresh().await;
    let mut server = Server::alone(&db, tokens(3)).await;
    let before = server.position;
    allocate_and_begin(&mut server, "Ada").await;
    let begun = server.store.begin(&before).await.unwrap();
    assert!(matches!(begun.news, News::Entries(entries) if entries.len() == 1));
    server.store.abandon().await;
    allocate_and_begin(&mut server, "Bea").await;
    let nowhere = Position { epoch: 0, version: 0, batch: BatchId(Uuid::nil()) };
    let begun = server.store.begin(&nowhere).await.unwrap();
    assert!(matches!(begun.news, News::Whole(_)));
    server.store.abandon().await;
    server.allocate("Cleo").await;
}
