//! The event stream: its content, its limits, its end.

use std::time::{Duration, Instant};

use pool::Policy;
use reqwest::Method;
use serde_json::{Value, json};
use server::Settings;
use store::Clock;

use crate::followers::{Follower, Hesitant, Message, allocate_often, place};
use crate::harness::{Answer, Serve as _, TestServer, client_builder, fields, text};
use crate::raw::{Http2, Wire};
use testbed::{TestDb, eventually, on_both};

const SHORT: Duration = Duration::from_millis(300);

/// Settings with frequent comments.
fn talkative() -> Settings {
    Settings { comment_every: Duration::from_millis(50), ..Settings::default() }
}

#[on_both]
async fn all_events_arrive_in_order(db: TestDb) {
    let lease = Policy::of_lease(Duration::from_mins(1));
    let policy = Policy { max_lease: Some(Duration::from_mins(5)), ..lease };
    let server = db.serve_policy(Some(2), policy, Settings::default()).await;
    let mut follower = Follower::of(&server).await;
    let ada = server.allocate("Ada").await;
    let bob = server.allocate("Bob").await;
    let cyd = server.allocate("Cyd\n\n\u{2028}é").await;
    let path = |what| format!("/api/leases/{}/{what}", text(&bob["lease_id"]));
    let renewed = server.post(&path("renew")).await.json();
    assert_eq!(server.post(&path("release")).await.status, 200);
    assert_eq!(server.delete("/api/tokens/clear-active").await.status, 200);
    let events = follower.events(7).await;
    let expected = [
        ("started", &ada, json!({ "evicted": null })),
        ("started", &bob, json!({ "evicted": null })),
        ("ended", &ada, json!({ "reason": "evicted", "evicted_by": cyd["lease_id"] })),
        ("started", &cyd, json!({ "evicted": ada["lease_id"] })),
        ("renewed", &bob, json!({ "expires_at": renewed["expires_at"] })),
        ("ended", &bob, json!({ "reason": "released", "evicted_by": null })),
        ("ended", &cyd, json!({ "reason": "cleared", "evicted_by": null })),
    ];
    let common = "lease_id token_id user user_id fence started_at expires_at";
    for (event, (what, lease, more)) in events.iter().zip(expected) {
        assert_eq!(event.event, format!("lease.{what}"), "{event:?}");
        let mut data = event.json();
        for (field, value) in more.as_object().unwrap() {
            assert_eq!(data[field], *value, "{field} of {event:?}");
        }
        for field in ["lease_id", "token_id", "user", "fence"] {
            assert_eq!(data[field], lease[field], "{field} of {event:?}");
        }
        assert_eq!(data["started_at"], lease["activated_at"], "{event:?}");
        let names = match what {
            "started" => format!("{common} evicted"),
            "renewed" => common.to_owned(),
            _ => format!("{common} ended_at reason evicted_by"),
        };
        assert_eq!(fields(&event.data).join(" "), names);
        assert!(what != "ended" || crate::harness::is_time(&data["ended_at"].take()));
        assert!(!event.data.contains(&text(&lease["token_value"])), "{event:?}");
    }
    let places: Vec<_> = events.iter().map(|event| place(event.id())).collect();
    assert!(places.is_sorted_by(|one, other| one < other), "{places:?}");
    assert_eq!((places[2].0, places[2].1), (places[3].0, places[3].1), "an eviction is one batch");
}

#[on_both]
async fn an_expiry_is_reported_promptly(db: TestDb) {
    let lease = Duration::from_millis(400);
    let server = db.serve_leasing(Some(20), lease, Settings::default()).await;
    let mut follower = Follower::of(&server).await;
    for attempt in 1.. {
        let late = lateness_of_ten(&server, &mut follower).await;
        assert!(late[0] >= 0, "before the deadline: {late:?}");
        // A busy machine delays some.
        if late[5] < 250_000 {
            break;
        }
        assert!(attempt < 5, "microseconds after the deadline: {late:?}");
    }
}

/// Microseconds between the deadlines of ten leases and their events, sorted.
async fn lateness_of_ten(server: &TestServer, follower: &mut Follower) -> Vec<i64> {
    for number in 0..10 {
        server.allocate(&number.to_string()).await;
        // Each lease expires alone.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut late = Vec::new();
    while late.len() < 10 {
        let event = follower.event().await;
        if event.event == "lease.ended" {
            let now = store::SystemClock.now().as_micros();
            let ended = event.json();
            assert_eq!(
                (&ended["reason"], &ended["ended_at"]),
                (&json!("expired"), &ended["expires_at"])
            );
            late.push(now - micros(&ended["expires_at"]));
        }
    }
    late.sort_unstable();
    late
}

fn micros(time: &Value) -> i64 {
    text(time).parse::<jiff::Timestamp>().unwrap().as_microsecond()
}

#[on_both]
async fn a_stream_starts_at_the_current_position(db: TestDb) {
    let server = db.serve().await;
    server.allocate("before").await;
    let mut follower = Follower::of(&server).await;
    let first = follower.message().await.unwrap();
    assert_eq!(first.event, "");
    let retry = first.retry.expect("a pause before reconnecting");
    assert!((1_500..3_000).contains(&retry), "{retry}");
    let another = Follower::of(&server).await.message().await.unwrap();
    assert_ne!(another.retry, Some(retry), "browsers must not reconnect all at once");
    let position = first.id().to_owned();
    server.allocate("after").await;
    let event = follower.event().await;
    assert_eq!(event.json()["user"], "after");
    assert!(place(event.id()) > place(&position));
    // A client that loses its connection before the first event resumes there.
    assert_eq!(Follower::after(&server, &position).await.event().await, event);
}

#[on_both]
async fn filters_drop_other_events(db: TestDb) {
    let server = db.serve_size(2).await;
    let tokens = server.ids("/api/tokens").await;
    let id = "0198C1B2-7a43-7cc0-8f0e-0123456789ab";
    let asked = [
        "user=Ada".to_owned(),
        format!("user={}", id.to_lowercase()),
        format!("token_id={}", tokens[0]),
        format!("user=Ada&token_id={}", tokens[0].to_uppercase()),
    ];
    let mut followers = Vec::new();
    for query in &asked {
        followers.push(Follower::with(&server, query).await);
    }
    let mut all = Follower::of(&server).await;
    for user in ["Ada", id, "Bob", "Ada", "Ada", "the last"] {
        server.allocate(user).await;
    }
    server.delete("/api/tokens/clear-active").await;
    let all = all.events(12).await;
    let is = |event: &Message, field: &str, value: &str| event.json()[field] == value;
    let fitting: [&dyn Fn(&Message) -> bool; 4] = [
        &|event| is(event, "user", "Ada"),
        &|event| is(event, "user", id),
        &|event| is(event, "token_id", &tokens[0]),
        &|event| is(event, "token_id", &tokens[0]) && is(event, "user", "Ada"),
    ];
    for ((follower, fits), query) in followers.iter_mut().zip(fitting).zip(&asked) {
        let expected: Vec<_> = all.iter().filter(|event| fits(event)).cloned().collect();
        assert!(!expected.is_empty() && expected.len() < all.len());
        assert_eq!(follower.events(expected.len()).await, expected, "{query}");
        // The same events, read from the journal.
        let first = place(all[0].id());
        let last = format!("{}-{}", first.0, first.1 - 1);
        let mut later = Follower::with(&server, &format!("{query}&last_event_id={last}")).await;
        assert_eq!(later.events(expected.len()).await, expected, "{query}");
    }
}

#[on_both]
async fn a_filtered_stream_reports_its_position(db: TestDb) {
    let server = db.serve_with(Some(5), talkative()).await;
    let mut all = Follower::of(&server).await;
    let mut ada = Follower::with(&server, "user=Ada").await;
    server.allocate("Bob").await;
    let bob = all.event().await;
    let position = ada.position(bob.id()).await;
    assert_eq!(place(&position).2, i64::MAX, "the position covers the whole batch");
    server.allocate("Ada").await;
    let event = ada.event().await;
    assert_eq!(event, all.event().await);
    for last in [&position, bob.id()] {
        let request = server.request(Method::GET, "/api/events?user=Ada");
        let mut again = Follower::to(request.header("last-event-id", last)).await;
        assert_eq!(again.event().await, event);
    }
}

#[on_both]
async fn a_stream_is_neither_compressed_nor_cached(db: TestDb) {
    let server = db.serve_with(Some(5), talkative()).await;
    let request =
        || server.request(Method::GET, "/api/events").header("accept-encoding", "gzip, br");
    let mut follower = Follower::to(request()).await;
    assert_eq!(follower.header("content-type"), Some("text/event-stream"));
    assert_eq!(follower.header("cache-control"), Some("no-store"));
    assert_eq!(follower.header("x-accel-buffering"), Some("no"));
    assert_eq!(follower.header("content-encoding"), None);
    server.allocate(&"é".repeat(255)).await;
    follower.event().await;
    let mut comments = 0;
    while comments < 3 {
        comments += follower.message().await.unwrap().comments;
    }
    let head = Answer::to(server.request(Method::HEAD, "/api/events")).await;
    assert_eq!((head.status.as_u16(), head.header("content-type")), (200, "text/event-stream"));
    let client = client_builder().http2_prior_knowledge().build().unwrap();
    let url = format!("http://{}/api/events", server.address);
    let mut follower = Follower::to(client.get(url)).await;
    server.allocate("a").await;
    assert_eq!(follower.event().await.json()["user"], "a");
}

#[on_both]
async fn invalid_filters_are_rejected(db: TestDb) {
    let server = db.serve().await;
    for (query, says) in [
        ("user=", "user must not be empty"),
        ("user=%00", "NUL"),
        ("user=%", "malformed"),
        ("token_id=1", "token_id must be"),
        ("last_event_id=1", "last_event_id must be"),
        ("last_event_id=1-2-3-4", "last_event_id must be"),
        ("user=a&user=a", "user may be given only once"),
        ("since=1-2", "Known parameters: user, token_id, last_event_id, pool."),
        ("User=a", "Did you mean user?"),
    ] {
        let answer = server.get(&format!("/api/events?{query}")).await;
        let detail = answer.problem(400, "invalid-parameter");
        assert!(detail.contains(says), "{query}: {detail}");
    }
    for id in ["x", "1", "1-", "1-2-", "-1-2", "é"] {
        let request = server.request(Method::GET, "/api/events").header("last-event-id", id);
        let detail = Answer::to(request).await.problem(400, "invalid-parameter");
        assert!(detail.contains("Last-Event-ID must be"), "{id}: {detail}");
    }
    let unknown = "/api/events?token_id=01234567-89ab-cdef-0123-456789abcdef";
    server.get(unknown).await.problem(404, "unknown-token");
    server.post("/api/events").await.problem(405, "wrong-method");
}

#[on_both]
async fn cross_origin_streams_are_rejected(db: TestDb) {
    let server = db.serve().await;
    for path in ["/api/events", "//api/events/"] {
        for site in ["cross-site", "same-site"] {
            let request = server.request(Method::GET, path).header("sec-fetch-site", site);
            Answer::to(request).await.problem(403, "cross-origin");
        }
        let request = server.request(Method::GET, path).header("sec-fetch-site", "same-origin");
        Follower::to(request).await;
    }
}

#[on_both]
async fn the_number_of_streams_is_limited(db: TestDb) {
    let server = db.serve_with(Some(5), Settings { streams: 2, ..talkative() }).await;
    let one = Follower::of(&server).await;
    let _two = Follower::with(&server, "user=Ada").await;
    let refused = server.get("/api/events").await;
    refused.problem(503, "too-many-streams");
    assert_eq!(refused.header("retry-after"), "1");
    drop(one);
    eventually("a stream is accepted again", async || {
        server.request(Method::GET, "/api/events").send().await.unwrap().status() == 200
    })
    .await;
}

#[on_both]
async fn a_stream_is_not_closed_as_idle(db: TestDb) {
    let settings = Settings {
        header_timeout: SHORT,
        idle_timeout: SHORT,
        request_timeout: SHORT,
        comment_every: 3 * SHORT,
        ..Settings::default()
    };
    let server = db.serve_with(Some(5), settings).await;
    let mut follower = Follower::of(&server).await;
    assert_eq!(follower.message().await.unwrap().comments, 0);
    for _ in 0..2 {
        assert_eq!(follower.message().await.unwrap().comments, 1);
    }
    server.allocate("a").await;
    assert_eq!(follower.event().await.json()["user"], "a");
}

#[on_both]
async fn a_client_that_closes_its_http2_window_is_disconnected(db: TestDb) {
    let settings =
        Settings { answer_timeout: 6 * SHORT, comment_every: SHORT, ..Settings::default() };
    let server = db.serve_with(Some(5), settings).await;
    let client = client_builder().http2_prior_knowledge().build().unwrap();
    let url = format!("http://{}/api/events", server.address);
    let mut reading = Follower::to(client.get(url)).await;
    let begun = Instant::now();
    let mut shut = Http2::to(server.address, 0).await;
    shut.get("/api/events", [1].into_iter()).await;
    assert!(shut.ping(60 * SHORT).await, "the server closes the connection");
    assert!(begun.elapsed() >= 6 * SHORT, "{:?}", begun.elapsed());
    // A client that reads stays connected.
    for _ in 0..8 {
        reading.message().await.unwrap();
    }
    server.allocate("a").await;
    assert_eq!(reading.event().await.json()["user"], "a");
}

#[on_both]
async fn streams_end_when_the_server_stops(db: TestDb) {
    let server = db.serve().await;
    let request = "GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut wires = Vec::new();
    for _ in 0..3 {
        let mut wire = Wire::to(server.address).await;
        wire.send(request).await;
        wire.until("\n\n").await;
        wires.push(wire);
    }
    let mut resuming = Follower::with(&server, "user=a&last_event_id=1-1").await;
    let stopped = server.stop();
    for mut wire in wires {
        let rest = wire.rest().await;
        assert!(rest.ends_with("0\r\n\r\n"), "the chunked body is complete: {rest:?}");
    }
    while resuming.message().await.is_some() {}
    stopped.await.unwrap();
}

#[on_both]
async fn a_stalled_reader_does_not_delay_others(db: TestDb) {
    const TIMES: usize = 10_000;
    const PARTS: usize = 20;
    let server = db.serve().await;
    allocate_often(&server, TIMES).await;
    let mut stuck = Hesitant::of(&server, "").await;
    let first = stuck.message().await;
    let mut reading = Follower::of(&server).await;
    let mut read = 0;
    // In parts, so that a reader on a busy machine does not fall behind, too.
    for part in 0..PARTS {
        allocate_often(&server, TIMES / PARTS).await;
        let last = format!("the last of {part}");
        server.allocate(&last).await;
        read += reading.until_user(&last).await.len();
    }
    assert_eq!(read, 2 * (TIMES + PARTS), "others miss nothing");
    // Once it reads again it gets a resync, and continues.
    let mut last = place(first.id());
    let mut resyncs = 0;
    loop {
        let message = stuck.message().await;
        if message.event.is_empty() {
            // On a slow machine, a quiet stream repeats its position.
            continue;
        }
        let place = place(message.id());
        assert!(place > last, "{message:?} after {last:?}");
        last = place;
        let data = message.json();
        if message.event == "resync" {
            assert_eq!(data["reason"], "too-slow");
            resyncs += 1;
            server.allocate("after it").await;
        } else if data["user"] == "after it" {
            break;
        }
    }
    assert_eq!(resyncs, 1);
}
