//! Resumed event streams.

use std::sync::Arc;
use std::time::Duration;

use pool::{Policy, PoolId};
use serde_json::json;
use server::Settings;
use store::Wanted;

use crate::followers::{Follower, Hesitant, Message, allocate_often, place};
use crate::harness::{Serve as _, TestServer, text};
use crate::obstacle::Obstacle;
use testbed::{TestDb, on_both};

/// Events of batches of several sizes; and the ids to resume from, each with the number of events before.
async fn past(server: &TestServer) -> (Vec<Message>, Vec<(String, usize)>) {
    let mut follower = Follower::of(server).await;
    let mut ids = vec![(follower.message().await.unwrap().id().to_owned(), 0)];
    for user in ["a", "b", "c"] {
        server.allocate(user).await;
    }
    let renewed = server.allocate("d").await["lease_id"].clone();
    let renew = format!("/api/leases/{}/renew", text(&renewed));
    for _ in 0..2 {
        assert_eq!(server.post(&renew).await.status, 200);
    }
    server.delete("/api/tokens/clear-active").await;
    server.allocate("e").await;
    let events = follower.events(4 + 1 + 2 + 3 + 1).await;
    for (index, event) in events.iter().enumerate() {
        ids.push((event.id().to_owned(), index + 1));
        let (epoch, version, _) = place(event.id());
        if events.get(index + 1).is_none_or(|next| place(next.id()).1 > version) {
            ids.push((format!("{epoch}-{version}"), index + 1));
        }
    }
    (events, ids)
}

async fn assert_resumable(server: &TestServer, events: &[Message], ids: &[(String, usize)]) {
    for (id, seen) in ids {
        let mut follower = Follower::after(server, id).await;
        let rest = follower.events(events.len() - seen).await;
        assert_eq!(rest, events[*seen..], "after {id}");
        let query = format!("last_event_id={id}");
        let rest = Follower::with(server, &query).await.events(events.len() - seen).await;
        assert_eq!(rest, events[*seen..], "after {id}");
    }
}

#[on_both]
async fn a_stream_resumes_at_any_id(db: TestDb) {
    let policy = Policy {
        max_lease: Some(Duration::from_mins(5)),
        ..Policy::of_lease(Duration::from_mins(1))
    };
    let open = async || db.serve_policy(Some(3), policy, Settings::default()).await;
    let server = open().await;
    let (mut events, ids) = past(&server).await;
    assert_resumable(&server, &events, &ids).await;
    server.stop().await.unwrap();
    let server = open().await;
    assert_resumable(&server, &events, &ids).await;
    // Live events follow the replayed ones.
    let mut follower = Follower::after(&server, &ids[2].0).await;
    let mut live = Follower::of(&server).await;
    server.allocate("f").await;
    events.push(live.event().await);
    assert_eq!(follower.events(events.len() - ids[2].1).await, events[ids[2].1..]);
}

/// Pseudo-random small numbers, equal in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// All events up to that of the user `the last`, as a client gets them that reconnects repeatedly.
async fn followed_in_pieces(servers: &[Arc<TestServer>], from: String, seed: u64) -> Vec<Message> {
    let mut numbers = Numbers(seed);
    let (mut events, mut last) = (Vec::new(), from);
    loop {
        let server = &servers[usize::try_from(numbers.below(servers.len() as u64)).unwrap()];
        let mut follower = Follower::after(server, &last).await;
        for _ in 0..numbers.below(40) {
            let message = follower.message().await.unwrap();
            let user = (!message.event.is_empty()).then(|| message.json()["user"].clone());
            if user.is_some() {
                events.push(message);
            }
            if user == Some(json!("the last")) {
                return events;
            }
        }
        if !follower.last_id.is_empty() {
            last = follower.last_id;
        }
    }
}

/// Several clients reconnect repeatedly under load; one stays connected.
async fn assert_pieces_fit(servers: Vec<TestServer>) {
    let servers: Vec<Arc<TestServer>> = servers.into_iter().map(Arc::new).collect();
    let mut whole = Follower::of(&servers[0]).await;
    let from = whole.message().await.unwrap().id().to_owned();
    let pieces: Vec<_> = (0..6)
        .map(|seed| {
            let (servers, from) = (servers.clone(), from.clone());
            tokio::spawn(async move { followed_in_pieces(&servers, from, seed).await })
        })
        .collect();
    let mut numbers = Numbers(99);
    for round in 0..60 {
        let server = &servers[round % servers.len()];
        let users = (0..=numbers.below(8)).map(|user| user.to_string());
        let users: Vec<_> = users.map(|name| pool::User::new(&name).unwrap()).collect();
        let at_once = users.into_iter().map(|user| server.engine.allocate(user));
        for granted in futures_util::future::join_all(at_once).await {
            granted.unwrap().unwrap();
        }
        if numbers.below(10) == 0 {
            server.engine.clear(PoolId::DEFAULT).await.unwrap();
        }
    }
    servers[0].allocate("the last").await;
    let whole = whole.until_user("the last").await;
    assert!(whole.len() > 200 && whole.iter().all(|event| event.event != "resync"));
    assert!(whole.is_sorted_by(|one, other| place(one.id()) < place(other.id())));
    for pieces in pieces {
        assert_eq!(pieces.await.unwrap(), whole);
    }
}

#[on_both]
async fn resumed_streams_equal_an_uninterrupted_one(db: TestDb) {
    assert_pieces_fit(vec![db.serve_size(10).await]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_streams_the_events_of_all() {
    let db = TestDb::postgres().await;
    let servers = vec![db.serve_size(10).await, db.serve_size(10).await];
    let mut followers = Vec::new();
    for server in &servers {
        followers.push(Follower::of(server).await);
    }
    for round in 0..20 {
        servers[round % 2].allocate(&round.to_string()).await;
    }
    let seen = followers[0].events(30).await;
    assert_eq!(seen, followers[1].events(30).await);
    // An id of one server is valid at the other.
    let mut follower = Follower::after(&servers[1], seen[7].id()).await;
    assert_eq!(follower.events(22).await, seen[8..]);
    assert_pieces_fit(servers).await;
}

#[on_both]
async fn pruned_events_cause_a_resync(db: TestDb) {
    let engine_settings =
        engine::Settings { journal_max_entries: 5, ..engine::Settings::default() };
    let wanted = Wanted { size: Some(3), ..Wanted::default() };
    let server = db.serve_after(async {}, wanted, engine_settings, Settings::default());
    server.ready().await;
    let mut follower = Follower::of(&server).await;
    let first = follower.message().await.unwrap().id().to_owned();
    let user = pool::User::new("a").unwrap();
    let allocate = async || server.engine.allocate(user.clone()).await.unwrap().unwrap();
    for _ in 0..2_000 {
        allocate().await;
        if server.engine.journal(1, place(&first).1, 1).await.unwrap().is_none() {
            break;
        }
    }
    let mut late = Follower::after(&server, &first).await;
    assert_resync(&server, &mut late, "not-in-journal").await;
    assert_resync(
        &server,
        &mut Follower::after(&server, &format!("{first}-0")).await,
        "not-in-journal",
    )
    .await;
}

/// Asserts that the next message is a resync to the current position, and that the stream continues.
async fn assert_resync(server: &TestServer, follower: &mut Follower, reason: &str) {
    let now = server.engine.read(|view| view.stamp).await.unwrap();
    let resync = follower.event().await;
    let expected = json!({ "epoch": now.epoch, "version": now.version, "reason": reason });
    assert_eq!((resync.event.as_str(), resync.json()), ("resync", expected));
    assert_eq!(resync.id(), format!("{}-{}", now.epoch, now.version));
    server.engine.clear(PoolId::DEFAULT).await.unwrap();
    server.allocate("after it").await;
    let events = follower.until_user("after it").await;
    assert!(events.iter().all(|event| event.event != "resync"), "{events:?}");
    assert!(place(events[0].id()).1 > now.version);
}

#[on_both]
async fn an_outdated_id_causes_a_resync(db: TestDb) {
    let server = db.serve_size(3).await;
    server.allocate("a").await;
    let now = server.engine.read(|view| view.stamp).await.unwrap();
    for (id, reason) in [
        ("7-1".to_owned(), "other-epoch"),
        ("0-1-0".to_owned(), "other-epoch"),
        (format!("{}-0", now.epoch), "not-in-journal"),
        (format!("{}-{}-3", now.epoch, now.version + 1_000), "not-in-journal"),
    ] {
        let mut follower = Follower::after(&server, &id).await;
        assert_resync(&server, &mut follower, reason).await;
    }
    // This index was never sent, but lies after the whole batch.
    let now = server.engine.read(|view| view.stamp).await.unwrap();
    let id = format!("{}-{}-999", now.epoch, now.version);
    let mut follower = Follower::after(&server, &id).await;
    server.allocate("b").await;
    assert_eq!(follower.event().await.json()["user"], "b");
}

#[on_both]
async fn a_slow_reader_misses_nothing(db: TestDb) {
    let server = db.serve_size(10).await;
    let first = Follower::of(&server).await.message().await.unwrap();
    server.allocate("the first").await;
    allocate_often(&server, 5_000).await;
    let mut slow = Hesitant::of(&server, &format!("last_event_id={}", first.id())).await;
    let mut last = place(first.id());
    let mut fences = Vec::new();
    // More events happen than the server buffers for slow readers.
    allocate_often(&server, 8_000).await;
    server.allocate("the last but one").await;
    loop {
        let message = slow.message().await;
        assert_ne!(message.event, "resync", "{message:?}");
        assert!(place(message.id()) > last, "{message:?} after {last:?}");
        last = place(message.id());
        if message.event == "lease.started" {
            let data = message.json();
            fences.push(data["fence"].as_i64().unwrap());
            match data["user"].as_str().unwrap() {
                // The reader has caught up, and follows live.
                "the last but one" => drop(server.allocate("the last").await),
                "the last" => break,
                _ => {}
            }
        }
    }
    assert!(fences.iter().copied().eq(1..=13_003), "{} starts", fences.len());
}

#[on_both]
async fn a_large_backlog_arrives_in_parts(db: TestDb) {
    const TOKENS: usize = 10_000;
    let server = db.serve_size(TOKENS).await;
    allocate_often(&server, TOKENS).await;
    let mut follower = Follower::of(&server).await;
    let before = follower.message().await.unwrap();
    server.engine.clear(PoolId::DEFAULT).await.unwrap();
    assert_resync(&server, &mut follower, "too-much").await;
    let events = Follower::after(&server, before.id()).await.events(TOKENS + 1).await;
    assert!(events[..TOKENS].iter().all(|event| event.json()["reason"] == "cleared"));
    assert_eq!(events[TOKENS].json()["user"], "after it");
}

/// A server with an obstacle before its journal, an id, and the `count` events since then.
async fn obstructed(
    db: &TestDb,
    patience: Duration,
    comment_every: Duration,
    count: usize,
) -> (TestServer, Arc<Obstacle>, String, Vec<Message>) {
    let (database, obstacle) = Obstacle::before(db.database());
    let engine_settings = engine::Settings { timeout: patience, ..engine::Settings::default() };
    let settings = Settings { comment_every, ..Settings::default() };
    let wanted = Wanted { size: Some(1_000), ..Wanted::default() };
    let server = TestServer::of(database, async {}, wanted, engine_settings, settings);
    server.ready().await;
    let mut live = Follower::of(&server).await;
    let first = live.message().await.unwrap().id().to_owned();
    for number in 0..count {
        server.allocate(&number.to_string()).await;
    }
    let events = live.events(count).await;
    obstacle.allow_journal(0);
    (server, obstacle, first, events)
}

/// Reconnection delay in milliseconds.
const RETRY: std::ops::Range<u64> = 1_500..3_000;

#[on_both]
async fn streams_wait_for_the_journal(db: TestDb) {
    let (patience, comment_every) = (Duration::from_millis(500), Duration::from_secs(1));
    let (server, obstacle, first, events) = obstructed(&db, patience, comment_every, 10).await;
    let mut followers = Vec::new();
    for _ in 0..3 {
        followers.push(Follower::after(&server, &first).await);
    }
    // Before the first comment one stream failed to read, while the others waited.
    for follower in &mut followers {
        let beginning = follower.message().await.unwrap();
        let retry = beginning.retry.filter(|retry| RETRY.contains(retry));
        assert_eq!(beginning, Message { retry, ..Message::default() });
        assert!(retry.is_some());
        let comment = follower.message().await.unwrap();
        assert_eq!(comment, Message { comments: 1, ..Message::default() });
    }
    obstacle.allow_journal(1_000);
    for mut follower in followers {
        assert_eq!(follower.events(10).await, events);
    }
}

#[on_both]
async fn a_missing_journal_ends_the_stream(db: TestDb) {
    let (patience, comment_every) = (Duration::from_millis(500), Duration::from_millis(500));
    let (server, obstacle, first, events) = obstructed(&db, patience, comment_every, 10).await;
    for _ in 0..2 {
        let mut follower = Follower::after(&server, &first).await;
        while let Some(message) = follower.message().await {
            assert_eq!((message.event.as_str(), message.id), ("", None));
        }
    }
    obstacle.allow_journal(1_000);
    assert_eq!(Follower::after(&server, &first).await.events(10).await, events);
}

#[on_both]
async fn streams_at_one_position_share_reads(db: TestDb) {
    const READS: usize = 1_000;
    let (patience, comment_every) = (Duration::from_secs(20), Duration::from_secs(15));
    let (server, obstacle, first, events) = obstructed(&db, patience, comment_every, 300).await;
    let mut followers = Vec::new();
    for _ in 0..100 {
        followers.push(Follower::after(&server, &first).await);
    }
    obstacle.allow_journal(READS);
    let read = followers.into_iter().map(async |mut follower| follower.events(300).await);
    for read in futures_util::future::join_all(read).await {
        assert_eq!(read, events);
    }
    let reads = READS - obstacle.journal_allowed();
    assert!((1..=50).contains(&reads), "{reads} reads for 100 streams");
}

#[on_both]
async fn streams_that_wait_for_the_journal_end_when_the_server_stops(db: TestDb) {
    let (patience, comment_every) = (Duration::from_mins(1), Duration::from_secs(7));
    let (server, _obstacle, first, _) = obstructed(&db, patience, comment_every, 10).await;
    let mut followers = Vec::new();
    for _ in 0..3 {
        followers.push(Follower::after(&server, &first).await);
    }
    for follower in &mut followers {
        let retry = follower.message().await.unwrap().retry;
        assert!(retry.is_some_and(|retry| RETRY.contains(&retry)), "{retry:?}");
        assert_eq!(
            follower.message().await.unwrap().comments,
            1,
            "the stream sends comments meanwhile"
        );
    }
    let stopped = server.stop();
    for mut follower in followers {
        while let Some(message) = follower.message().await {
            assert_eq!((message.event.as_str(), message.comments), ("", 1));
        }
    }
    stopped.await.unwrap();
}

/// As after a failover that lost acknowledged batches.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_history_causes_a_resync() {
    let db = TestDb::postgres().await;
    let server = db.serve_size(3).await;
    let mut follower = Follower::of(&server).await;
    server.allocate("a").await;
    follower.until_user("a").await;
    let other = "update token_manager.batches set batch_id = gen_random_uuid()";
    testbed::Cluster::shared().execute(db.url(), other).await.unwrap();
    assert_resync(&server, &mut follower, "reloaded").await;
}
