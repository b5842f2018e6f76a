//! Waiting for a token, and clients that leave before the answer.

use std::time::Duration;

use pool::{Policy, WhenFull};
use serde_json::{Value, json};
use server::Settings;
use store::Wanted;

use crate::harness::{Serve as _, TestServer, client_builder, text};
use crate::obstacle::Obstacle;
use crate::raw::Wire;
use testbed::{TestDb, eventually, on_both};

const WAIT: Policy =
    Policy { when_full: WhenFull::Wait, ..Policy::of_lease(Duration::from_mins(2)) };

async fn open(db: &TestDb) -> TestServer {
    db.serve_policy(Some(1), WAIT, Settings::default()).await
}

/// Bytes of an allocation request.
fn allocation(body: &Value, header: &str) -> String {
    let body = body.to_string();
    format!(
        "POST /api/tokens/allocate HTTP/1.1\r\nHost: localhost\r\n{header}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Connection of a client that waits, once the queue has `count` entries.
async fn waiter(server: &TestServer, user: &str, waiting: usize) -> Wire {
    let mut wire = Wire::to(server.address).await;
    wire.send(&allocation(&json!({ "user_id": user, "wait_seconds": 60 }), "")).await;
    until_waiting(server, waiting).await;
    wire
}

async fn until_waiting(server: &TestServer, count: usize) {
    eventually("the queue has that length", async || {
        server.get("/api/pool").await.json()["waiting"] == count
    })
    .await;
}

/// Answer that a waiting client gets.
async fn got(wire: &mut Wire) -> Value {
    let answer = wire.until(r#","evicted":null}"#).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

async fn release(server: &TestServer, lease: &Value) {
    let answer = server.post(&format!("/api/leases/{}/release", text(&lease["lease_id"]))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

/// Users that had the only token, in order, and the end reasons of their leases.
async fn holders(server: &TestServer) -> Vec<(String, Option<String>)> {
    let id = server.ids("/api/tokens").await[0].clone();
    let history = server.get(&format!("/api/tokens/{id}/history")).await.json();
    let usages = history["history"].as_array().unwrap().iter().rev();
    let reason = |usage: &Value| usage["end_reason"].as_str().map(str::to_owned);
    usages.map(|usage| (text(&usage["user"]), reason(usage))).collect()
}

#[on_both]
async fn a_waiting_client_is_served(db: TestDb) {
    // All other time limits of connections and answers are shorter than the wait.
    let short = Duration::from_millis(500);
    let settings = Settings {
        header_timeout: short,
        body_timeout: short,
        idle_timeout: short,
        request_timeout: 3 * short,
        ..Settings::default()
    };
    let server = db.serve_policy(Some(1), WAIT, settings).await;
    let held = server.allocate("a").await;
    let mut wire = waiter(&server, "b", 1).await;
    // None of these limits ends the wait.
    tokio::time::sleep(5 * short).await;
    release(&server, &held).await;
    let granted = got(&mut wire).await;
    assert_eq!((&granted["user"], &granted["token_id"]), (&json!("b"), &held["token_id"]));
    assert_eq!(granted["expires_in"], 120, "the lease starts after the wait");
    assert_eq!(server.get("/api/pool").await.json()["waiting"], 0);
}

#[on_both]
async fn a_wait_that_times_out_reports_the_place(db: TestDb) {
    let server = open(&db).await;
    server.allocate("a").await;
    let _first = waiter(&server, "b", 1).await;
    let answer = server.send("application/json", r#"{"user_id":"c","wait_seconds":0.2}"#).await;
    answer.problem(503, "pool-full");
    let problem = answer.json();
    assert_eq!(
        (&problem["error"], &problem["position"]),
        (&json!("No tokens available"), &json!(2))
    );
    let retry_after: u64 = answer.header("retry-after").parse().unwrap();
    assert!((60..=120).contains(&retry_after), "{retry_after}");
    // A request may ask not to wait at all.
    let at_once = server.send("application/json", r#"{"user_id":"c","wait_seconds":0}"#).await;
    at_once.problem(503, "pool-full");
    until_waiting(&server, 1).await;
}

#[on_both]
async fn under_when_full_wait_every_request_waits(db: TestDb) {
    let server = open(&db).await;
    let held = server.allocate("a").await;
    let mut wire = Wire::to(server.address).await;
    wire.send(&allocation(&json!({ "user_id": "b" }), "")).await;
    until_waiting(&server, 1).await;
    release(&server, &held).await;
    assert_eq!(got(&mut wire).await["user"], "b");
}

#[on_both]
async fn a_client_that_disconnects_leaves_the_queue(db: TestDb) {
    let server = open(&db).await;
    let held = server.allocate("a").await;
    for http2 in [false, true] {
        let builder = client_builder();
        let client = if http2 { builder.http2_prior_knowledge() } else { builder }.build().unwrap();
        let request = client.post(format!("http://{}/api/tokens/allocate", server.address));
        let asking = tokio::spawn(request.json(&json!({ "user_id": "b" })).send());
        until_waiting(&server, 1).await;
        asking.abort();
        until_waiting(&server, 0).await;
    }
    release(&server, &held).await;
    assert_eq!(holders(&server).await, [("a".to_owned(), Some("released".to_owned()))]);
}

#[on_both]
async fn a_client_that_disconnects_after_more_data_leaves_the_queue(db: TestDb) {
    let server = open(&db).await;
    let held = server.allocate("a").await;
    let line = "\r\n".to_owned();
    let next = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned();
    // More than the server reads ahead.
    let many = next.repeat(800);
    for more in [&line, &next, &many] {
        let mut gone = Wire::to(server.address).await;
        let asked = allocation(&json!({ "user_id": "b", "wait_seconds": 60 }), "");
        gone.send(&format!("{asked}{more}")).await;
        until_waiting(&server, 1).await;
        let mut stays = waiter(&server, "c", 2).await;
        gone.send(more).await;
        drop(gone);
        until_waiting(&server, 1).await;
        stays.send(more).await;
        drop(stays);
        until_waiting(&server, 0).await;
    }
    let mut gone = Wire::to(server.address).await;
    gone.send(&format!("{}\r\n", allocation(&json!({ "user_id": "b" }), ""))).await;
    until_waiting(&server, 1).await;
    let mut stays = waiter(&server, "c", 2).await;
    stays.send(&next).await;
    drop(gone);
    until_waiting(&server, 1).await;
    release(&server, &held).await;
    assert_eq!(got(&mut stays).await["user"], "c");
    stays.until(r#"{"status":"live","#).await;
    let users: Vec<_> = holders(&server).await.into_iter().map(|(user, _)| user).collect();
    assert_eq!(users, ["a", "c"]);
}

#[on_both]
async fn an_allocation_without_wait_does_not_overtake_the_queue(db: TestDb) {
    // No lease is evictable for a while, so the default policy queues, too.
    let min_hold = Duration::from_secs(3);
    let policy = Policy { min_hold, ..Policy::of_lease(Duration::from_mins(2)) };
    let server = db.serve_policy(Some(1), policy, Settings::default()).await;
    let held = server.allocate("a").await;
    let mut wire = waiter(&server, "b", 1).await;
    let plain = server.send("application/json", r#"{"user_id":"c"}"#).await;
    plain.problem(503, "pool-full");
    assert_eq!(plain.json()["position"], 2);
    let answer = wire.until("}}").await;
    assert!(answer.contains(r#""user":"b""#), "{answer}");
    assert!(
        answer.contains(&text(&held["lease_id"])),
        "the answer names the evicted lease: {answer}"
    );
}

#[on_both]
async fn of_200_waiting_clients_half_leave_and_the_rest_is_served_in_order(db: TestDb) {
    let server = open(&db).await;
    let mut lease = server.allocate("holder").await;
    let mut waiters = Vec::new();
    for number in 0..200 {
        waiters.push(Some(waiter(&server, &format!("user {number}"), number + 1).await));
    }
    waiters.iter_mut().step_by(2).for_each(|waiter| drop(waiter.take()));
    until_waiting(&server, 100).await;
    let mut expected = vec![("holder".to_owned(), Some("released".to_owned()))];
    for (number, waiter) in waiters.iter_mut().enumerate() {
        let Some(wire) = waiter else { continue };
        release(&server, &lease).await;
        lease = got(wire).await;
        assert_eq!(text(&lease["user"]), format!("user {number}"));
        expected.push((text(&lease["user"]), Some("released".to_owned())));
    }
    release(&server, &lease).await;
    assert_eq!(holders(&server).await, expected, "clients that left never had the token");
    assert_eq!(server.active().await, 0);
}

#[on_both]
async fn waiting_requests_are_answered_at_shutdown(db: TestDb) {
    let server = open(&db).await;
    server.allocate("a").await;
    let mut wire = waiter(&server, "b", 1).await;
    let stopped = server.stop();
    let answer = wire.rest().await;
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains(r#""code":"stopping""#),
        "{answer}"
    );
    stopped.await.unwrap();
    let server = open(&db).await;
    assert_eq!(server.get("/api/pool").await.json()["waiting"], 0);
    assert_eq!(holders(&server).await, [("a".to_owned(), None)]);
}

/// A server whose database holds back the next commit, of an allocation whose connection is then closed.
async fn cut_before_the_answer(db: &TestDb, header: &str) -> TestServer {
    let (database, obstacle) = Obstacle::before(db.database());
    let wanted = Wanted { size: Some(1), ..Wanted::default() };
    let server = TestServer::of(
        database,
        async {},
        wanted,
        engine::Settings::default(),
        Settings::default(),
    );
    server.ready().await;
    obstacle.close();
    let mut wire = Wire::to(server.address).await;
    wire.send(&allocation(&json!({ "user_id": "a" }), header)).await;
    obstacle.committed().await;
    // The server closes its side once it notices.
    tokio::io::AsyncWriteExt::shutdown(&mut wire.0).await.unwrap();
    assert_eq!(wire.rest().await, "", "no answer was sent");
    obstacle.open();
    server
}

#[on_both]
async fn a_lease_whose_answer_is_lost_is_released(db: TestDb) {
    let server = cut_before_the_answer(&db, "").await;
    let released = [("a".to_owned(), Some("released".to_owned()))];
    eventually("the lease is released", async || holders(&server).await == released).await;
    assert_eq!(server.active().await, 0);
}

#[on_both]
async fn a_lost_answer_is_repeated_under_its_key(db: TestDb) {
    let server = cut_before_the_answer(&db, "Idempotency-Key: \"k\"\r\n").await;
    let again = server.allocate_once(&json!({ "user_id": "a" }), "k").await;
    assert_eq!(again.status, 200, "{}", again.text);
    let granted = again.json();
    assert_eq!((&granted["status"], &granted["fence"]), (&json!("active"), &json!(1)));
    assert_eq!(holders(&server).await, [("a".to_owned(), None)]);
    let leases = server.get("/api/leases?user=a").await.json();
    assert_eq!(leases["leases"][0]["lease_id"], granted["lease_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_have_one_queue() {
    let db = TestDb::postgres().await;
    let (one, two) = (open(&db).await, open(&db).await);
    let mut lease = one.allocate("holder").await;
    let mut waiters = Vec::new();
    for number in 0..6 {
        let server = if number % 2 == 0 { &one } else { &two };
        waiters.push(waiter(server, &format!("user {number}"), number + 1).await);
    }
    assert_eq!(one.get("/api/pool").await.json()["waiting"], 6);
    for (number, wire) in waiters.iter_mut().enumerate() {
        release(&two, &lease).await;
        lease = got(wire).await;
        assert_eq!(text(&lease["user"]), format!("user {number}"));
    }
}
