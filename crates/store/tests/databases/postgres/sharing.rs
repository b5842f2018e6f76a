//! Several servers on one database, and their failures.

use std::time::{Duration, Instant};

use pool::{Allocation, Change, Command, IdempotencyKey, Timestamp};
use store::{Error, News};

use super::{Fresh, fresh};
use crate::conformance::server::{
    Server, allocate, allocation, assert_data, facts, id, lease, tokens,
};

/// Ends every other session of the database.
pub const END_SESSIONS: &str = "select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()";

/// Applies the entries of other servers to the server's copy. Returns their number.
async fn catch_up(server: &mut Server) -> usize {
    let (now, count) = catch_up_with_the_future(server).await;
    assert!(server.at <= now);
    count
}

/// As [`catch_up`], for other servers that may be ahead of the database's time. Returns that time,
/// too.
async fn catch_up_with_the_future(server: &mut Server) -> (Timestamp, usize) {
    let (now, news) = server.reader.news(&server.position).await.unwrap();
    let News::Entries(entries) = news else { panic!("nothing is missing") };
    for entry in &entries {
        for change in &entry.changes {
            server.ledger.apply(change).unwrap();
        }
        (server.position, server.at) = (entry.position, entry.at);
    }
    (now, entries.len())
}

async fn two(db: &Fresh) -> (Server, Server) {
    (Server::alone(db, tokens(3)).await, Server::alone(db, tokens(3)).await)
}

#[tokio::test]
async fn each_server_sees_what_the_other_did() {
    let db = fresh().await;
    let (mut one, mut two) = two(&db).await;
    let ada = one.allocate("Ada").await;
    assert_eq!(catch_up(&mut two).await, 1);
    let bea = two.allocate("Bea").await;
    two.release(ada.token_id).await;
    assert_ne!(bea.token_id, ada.token_id);
    assert_eq!(catch_up(&mut one).await, 2);
    assert_eq!(one.facts(), two.facts());
    assert!(one.reader.shared() && one.reader.now().is_none());
}

#[tokio::test]
async fn only_one_server_at_a_time_is_within_a_batch() {
    let db = fresh().await;
    let (mut one, mut two) = two(&db).await;
    let (entry, _) = one.decide(&[allocate("Ada")]).await;
    let position = two.position;
    let mut waiting = tokio::spawn(async move { (two.store.begin(&position).await, two) });
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "the other server holds the lock");
    one.commit(&entry).await.unwrap();
    let (begun, _two) = waiting.await.unwrap();
    let begun = begun.unwrap();
    assert!(begun.now > entry.at, "the time is from after the wait");
    let News::Entries(entries) = begun.news else { panic!("nothing is missing") };
    assert_eq!(entries, [entry], "so are the entries");
}

#[tokio::test]
async fn a_server_that_stands_still_within_a_batch_loses_the_lock() {
    let db = fresh().await;
    let (mut one, mut two) = two(&db).await;
    let (entry, _) = one.decide(&[allocate("Ada")]).await;
    let start = Instant::now();
    two.allocate("Bea").await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let late = one.store.commit(&entry).await;
    assert!(matches!(late, Err(Error::TryAgain { .. } | Error::Unknown(_))), "{late:?}");
    assert_eq!(catch_up(&mut one).await, 1);
    one.allocate("Ada").await;
}

#[tokio::test]
async fn a_copy_that_is_behind_cannot_commit() {
    let db = fresh().await;
    let (mut one, mut two) = two(&db).await;
    let behind = two.position;
    let (mut entry, _) = one.decide(&[allocate("Ada")]).await;
    one.commit(&entry).await.unwrap();
    two.store.begin(&behind).await.unwrap();
    entry.position.batch = store::BatchId(id());
    assert_data(two.store.commit(&entry).await);
    two.store.abandon().await;
    assert_eq!(catch_up(&mut two).await, 1);
}

#[tokio::test]
async fn a_connection_lost_before_the_commit_is_replaced() {
    let db = fresh().await;
    let mut server = Server::alone(&db, tokens(3)).await;
    let (entry, outcomes) = server.decide(&[allocate("Ada")]).await;
    db.prompt().await.query(END_SESSIONS, &[]).await.unwrap();
    let lost = server.store.commit(&entry).await;
    assert!(matches!(lost, Err(Error::TryAgain { .. } | Error::Unknown(_))), "{lost:?}");
    let begun = server.store.begin(&server.position).await.unwrap();
    assert!(matches!(begun.news, News::Entries(entries) if entries.is_empty()));
    assert_eq!(server.store.has(&entry.position).await.unwrap(), Some(false));
    server.commit(&entry).await.unwrap();
    assert_eq!(server.history(lease(&outcomes[0]).token_id).await.len(), 1);
}

#[tokio::test]
async fn a_connection_lost_between_batches_is_not_noticed() {
    let db = fresh().await;
    let mut server = Server::alone(&db, tokens(3)).await;
    let ada = server.allocate("Ada").await;
    assert_eq!(server.history(ada.token_id).await.len(), 1);
    let prompt = db.prompt().await;
    prompt.query(END_SESSIONS, &[]).await.unwrap();
    let ended = "select count(*) from pg_stat_activity where datname = current_database()";
    while prompt.query_one(ended, &[]).await.unwrap().get::<_, i64>(0) > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The sockets are closed; both sides notice it within a moment.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.history(ada.token_id).await.len(), 1);
    server.allocate("Bea").await;
}

#[tokio::test]
async fn another_batch_at_the_same_version_replaces_the_copy() {
    let db = fresh().await;
    let mut server = Server::alone(&db, tokens(3)).await;
    server.allocate("Ada").await;
    let change = "update batches set batch_id = gen_random_uuid() where version = 2";
    assert_eq!(db.prompt().await.execute(change, &[]).await.unwrap(), 1);
    let begun = server.store.begin(&server.position).await.unwrap();
    server.store.abandon().await;
    let News::Whole(whole) = begun.news else { panic!("the copy is of another history") };
    assert_eq!(whole.position.version, server.position.version);
    assert_ne!(whole.position.batch, server.position.batch);
    let (_, news) = server.reader.news(&server.position).await.unwrap();
    let News::Whole(read) = news else { panic!("the copy is of another history") };
    assert_eq!(
        facts(&read.ledger, read.position, read.at),
        facts(&whole.ledger, whole.position, whole.at)
    );
}

#[tokio::test]
async fn entries_that_cannot_be_read_or_are_too_many_replace_the_copy() {
    let db = fresh().await;
    let mut server = Server::alone(&db, tokens(3)).await;
    let start = server.position;
    let prompt = db.prompt().await;
    server.allocate("Ada").await;
    assert_eq!(prompt.execute("update batches set changes = '\\x01ff'", &[]).await.unwrap(), 2);
    let (_, news) = server.reader.news(&start).await.unwrap();
    assert!(matches!(news, News::Whole(_)), "a newer server's change");
    let many = "insert into batches
        select version + n, gen_random_uuid(), server, at, epoch, fence, timeline, '\\x00'
        from batches, generate_series(1, 1001) as n where version = 2";
    let (position, news) = (server.position, async || server.reader.news(&server.position).await);
    assert!(matches!(news().await.unwrap().1, News::Entries(entries) if entries.is_empty()));
    prompt.execute(many, &[]).await.unwrap();
    let News::Whole(whole) = news().await.unwrap().1 else { panic!("1001 are too many") };
    assert_eq!(whole.position.version, position.version + 1001);
    prompt
        .execute("delete from batches where version = $1", &[&whole.position.version])
        .await
        .unwrap();
    assert!(matches!(news().await.unwrap().1, News::Entries(entries) if entries.len() == 1000));
}

#[tokio::test]
async fn a_new_timeline_begins_a_new_epoch() {
    let db = fresh().await;
    let mut server = Server::alone(&db, tokens(3)).await;
    server.allocate("Ada").await;
    let begun = server.store.begin(&server.position).await.unwrap();
    server.store.abandon().await;
    assert!(!begun.new_epoch);
    // As if the newest entry had been written before a failover.
    let change = "update batches set timeline = '000000FF' where version = 2";
    assert_eq!(db.prompt().await.execute(change, &[]).await.unwrap(), 1);
    let begun = server.store.begin(&server.position).await.unwrap();
    server.store.abandon().await;
    assert!(begun.new_epoch);
    let (mut entry, _) = server.decide(&[]).await;
    entry.position.epoch += 1;
    entry.position.version += store::EPOCH_GAP;
    entry.fence = entry.fence.plus(store::EPOCH_GAP);
    let before = server.position;
    server.commit(&entry).await.unwrap();
    let epoch = "select epoch from ledger";
    assert_eq!(db.prompt().await.query_one(epoch, &[]).await.unwrap().get::<_, i64>(0), 2);
    let begun = server.store.begin(&before).await.unwrap();
    server.store.abandon().await;
    assert!(!begun.new_epoch, "it has begun already");
    assert!(matches!(begun.news, News::Entries(entries) if entries == [entry]));
}

#[tokio::test]
async fn keys_are_counted_right_after_another_server_forgot_some() {
    let db = fresh().await;
    let (mut one, mut two) = two(&db).await;
    let key = |text: &str| IdempotencyKey::new(text).unwrap();
    let ada = allocation("Ada").user.id;
    let with_key =
        |text| Command::Allocate(Allocation { key: Some(key(text)), ..allocation("Ada") });
    let mut used_at = Vec::new();
    for text in ["a", "b", "c"] {
        one.wait(Duration::from_secs(1));
        used_at.push(one.run(&[with_key(text)]).await.0.at);
    }
    catch_up_with_the_future(&mut two).await;
    let mut counts = vec![two.keys(&[]).await.count];
    assert_eq!(one.housekeeper.forget_keys(used_at[2]).await.unwrap(), 2);
    counts.push(two.keys(&[]).await.count);
    assert_eq!(
        one.housekeeper.forget_keys(used_at[2].after(Duration::from_secs(1))).await.unwrap(),
        1
    );
    counts.push(two.keys(&[]).await.count);
    // The table is empty now. The numbers must not restart, since the other server has seen larger
    // ones.
    one.run(&[with_key("a")]).await;
    catch_up_with_the_future(&mut two).await;
    let found = two.keys(&["a", "c"].map(|text| key(text).of(ada))).await;
    counts.push(found.count);
    assert_eq!((counts, found.remembered.len()), (vec![3, 1, 0, 1], 1));
}

#[tokio::test]
async fn servers_that_have_long_been_silent_are_forgotten() {
    let db = fresh().await;
    let mut server = Server::alone(&db, tokens(1)).await;
    let prompt = db.prompt().await;
    let silent = "insert into servers
        select gen_random_uuid(), now() - n * interval '25 minutes' from generate_series(1, 3) as n";
    prompt.execute(silent, &[]).await.unwrap();
    let (mut entry, _) = server.decide(&[]).await;
    entry.changes = vec![Change::ServerHeard { server: server.id, at: entry.at }];
    server.commit(&entry).await.unwrap();
    let left = prompt.query_one("select count(*) from servers", &[]).await.unwrap();
    assert_eq!(left.get::<_, i64>(0), 3);
}
