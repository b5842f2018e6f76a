//! Those who wait for a token, and those who go away: without it, or just before they are answered.

use std::time::{Duration, Instant};

use pool::{Policy, WhenFull};
use serde_json::{Value, json};
use server::Settings;
use store::Wanted;

use crate::house::{Home, House, client_builder, on_both, text, until};
use crate::obstacle::Obstacle;
use crate::wire::Wire;

on_both! {
    whoever_waits_is_served,
    whoever_waits_in_vain_is_told_the_place,
    a_pool_that_lets_wait_does_so_unasked,
    whoever_gives_up_leaves_the_queue,
    whoever_gives_up_leaves_the_queue_whatever_else_it_sent,
    a_plain_allocation_goes_behind_those_who_wait,
    of_two_hundred_half_leave_and_the_others_are_served_in_order,
    those_who_wait_are_told_when_the_server_stops,
    a_lease_whose_answer_was_lost_is_released,
    a_lost_answer_is_given_again_under_its_key,
}

/// On one database, several servers have one queue.
mod together {
    #[tokio::test(flavor = "multi_thread")]
    async fn two_servers_have_one_queue() {
        super::one_queue(crate::house::Home::postgres().await).await;
    }
}

const WAIT: Policy =
    Policy { when_full: WhenFull::Wait, ..Policy::of_lease(Duration::from_mins(2)) };

async fn open(home: &Home) -> House {
    home.open_under(Some(1), WAIT, Settings::default()).await
}

/// An allocation as it goes over the wire.
fn allocation(body: &Value, header: &str) -> String {
    let body = body.to_string();
    format!(
        "POST /api/tokens/allocate HTTP/1.1\r\nHost: localhost\r\n{header}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Somebody who has begun to wait for a token, with that many in the queue then.
async fn waiter(house: &House, user: &str, waiting: usize) -> Wire {
    let mut wire = Wire::to(house.address).await;
    wire.send(&allocation(&json!({ "user_id": user, "wait_seconds": 60 }), "")).await;
    until_waiting(house, waiting).await;
    wire
}

async fn until_waiting(house: &House, count: usize) {
    until("so many wait", async || house.get("/api/pool").await.json()["waiting"] == count).await;
}

/// What somebody who waited has got.
async fn got(wire: &mut Wire) -> Value {
    let answer = wire.until(r#","evicted":null}"#).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

async fn release(house: &House, lease: &Value) {
    let answer = house.post(&format!("/api/leases/{}/release", text(&lease["lease_id"]))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

/// The users who have had the only token, in their order, and why their leases ended.
async fn holders(house: &House) -> Vec<(String, Option<String>)> {
    let id = house.ids("/api/tokens").await[0].clone();
    let history = house.get(&format!("/api/tokens/{id}/history")).await.json();
    let usages = history["history"].as_array().unwrap().iter().rev();
    let reason = |usage: &Value| usage["end_reason"].as_str().map(str::to_owned);
    usages.map(|usage| (text(&usage["user"]), reason(usage))).collect()
}

async fn whoever_waits_is_served(home: Home) {
    // All limits that a connection and an answer have otherwise are shorter than the wait.
    let short = Duration::from_millis(500);
    let settings = Settings {
        header_timeout: short,
        body_timeout: short,
        idle_timeout: short,
        request_timeout: 3 * short,
        ..Settings::default()
    };
    let house = home.open_under(Some(1), WAIT, settings).await;
    let held = house.allocate("a").await;
    let mut wire = waiter(&house, "b", 1).await;
    tokio::time::sleep(5 * short).await;
    release(&house, &held).await;
    let granted = got(&mut wire).await;
    assert_eq!((&granted["user"], &granted["token_id"]), (&json!("b"), &held["token_id"]));
    assert_eq!(granted["expires_in"], 120, "it begins when the wait is over");
    assert_eq!(house.get("/api/pool").await.json()["waiting"], 0);
}

async fn whoever_waits_in_vain_is_told_the_place(home: Home) {
    let house = open(&home).await;
    house.allocate("a").await;
    let _first = waiter(&house, "b", 1).await;
    let answer = house.send("application/json", r#"{"user_id":"c","wait_seconds":0.2}"#).await;
    answer.problem(503, "pool-full");
    let problem = answer.json();
    assert_eq!(
        (&problem["error"], &problem["position"]),
        (&json!("No tokens available"), &json!(2))
    );
    let retry_after: u64 = answer.header("retry-after").parse().unwrap();
    assert!((60..=120).contains(&retry_after), "{retry_after}");
    // Not to wait at all can be asked for, too.
    let at_once = house.send("application/json", r#"{"user_id":"c","wait_seconds":0}"#).await;
    at_once.problem(503, "pool-full");
    until_waiting(&house, 1).await;
}

async fn a_pool_that_lets_wait_does_so_unasked(home: Home) {
    let house = open(&home).await;
    let held = house.allocate("a").await;
    let mut wire = Wire::to(house.address).await;
    wire.send(&allocation(&json!({ "user_id": "b" }), "")).await;
    until_waiting(&house, 1).await;
    release(&house, &held).await;
    assert_eq!(got(&mut wire).await["user"], "b");
}

async fn whoever_gives_up_leaves_the_queue(home: Home) {
    let house = open(&home).await;
    let held = house.allocate("a").await;
    for http2 in [false, true] {
        let builder = client_builder();
        let client = if http2 { builder.http2_prior_knowledge() } else { builder }.build().unwrap();
        let request = client.post(format!("http://{}/api/tokens/allocate", house.address));
        let asking = tokio::spawn(request.json(&json!({ "user_id": "b" })).send());
        until_waiting(&house, 1).await;
        asking.abort();
        until_waiting(&house, 0).await;
    }
    release(&house, &held).await;
    assert_eq!(holders(&house).await, [("a".to_owned(), Some("released".to_owned()))]);
}

async fn whoever_gives_up_leaves_the_queue_whatever_else_it_sent(home: Home) {
    let house = open(&home).await;
    let held = house.allocate("a").await;
    let line = "\r\n".to_owned();
    let next = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned();
    // More than is read ahead.
    let many = next.repeat(800);
    for more in [&line, &next, &many] {
        let mut gone = Wire::to(house.address).await;
        let asked = allocation(&json!({ "user_id": "b", "wait_seconds": 60 }), "");
        gone.send(&format!("{asked}{more}")).await;
        until_waiting(&house, 1).await;
        let mut stays = waiter(&house, "c", 2).await;
        gone.send(more).await;
        drop(gone);
        until_waiting(&house, 1).await;
        stays.send(more).await;
        drop(stays);
        until_waiting(&house, 0).await;
    }
    let mut gone = Wire::to(house.address).await;
    gone.send(&format!("{}\r\n", allocation(&json!({ "user_id": "b" }), ""))).await;
    until_waiting(&house, 1).await;
    let mut stays = waiter(&house, "c", 2).await;
    stays.send(&next).await;
    drop(gone);
    until_waiting(&house, 1).await;
    release(&house, &held).await;
    assert_eq!(got(&mut stays).await["user"], "c");
    stays.until(r#"{"status":"live","#).await;
    let users: Vec<_> = holders(&house).await.into_iter().map(|(user, _)| user).collect();
    assert_eq!(users, ["a", "c"]);
}

async fn a_plain_allocation_goes_behind_those_who_wait(home: Home) {
    // Nothing may be evicted for a second, so that even with the default policy one waits.
    let min_hold = Duration::from_secs(1);
    let policy = Policy { min_hold, ..Policy::of_lease(Duration::from_mins(2)) };
    let house = home.open_under(Some(1), policy, Settings::default()).await;
    let held = house.allocate("a").await;
    let mut wire = waiter(&house, "b", 1).await;
    let plain = house.send("application/json", r#"{"user_id":"c"}"#).await;
    plain.problem(503, "pool-full");
    assert_eq!(plain.json()["position"], 2);
    let answer = wire.until("}}").await;
    assert!(answer.contains(r#""user":"b""#), "{answer}");
    assert!(answer.contains(&text(&held["lease_id"])), "it says whom it evicted: {answer}");
}

async fn of_two_hundred_half_leave_and_the_others_are_served_in_order(home: Home) {
    let house = open(&home).await;
    let mut lease = house.allocate("holder").await;
    let mut waiters = Vec::new();
    for number in 0..200 {
        waiters.push(Some(waiter(&house, &format!("user {number}"), number + 1).await));
    }
    waiters.iter_mut().step_by(2).for_each(|waiter| drop(waiter.take()));
    until_waiting(&house, 100).await;
    let mut expected = vec![("holder".to_owned(), Some("released".to_owned()))];
    for (number, waiter) in waiters.iter_mut().enumerate() {
        let Some(wire) = waiter else { continue };
        release(&house, &lease).await;
        lease = got(wire).await;
        assert_eq!(text(&lease["user"]), format!("user {number}"));
        expected.push((text(&lease["user"]), Some("released".to_owned())));
    }
    release(&house, &lease).await;
    assert_eq!(holders(&house).await, expected, "nobody who left had it, however briefly");
    assert_eq!(house.active().await, 0);
}

async fn those_who_wait_are_told_when_the_server_stops(home: Home) {
    let house = open(&home).await;
    house.allocate("a").await;
    let mut wire = waiter(&house, "b", 1).await;
    let begun = Instant::now();
    let stopped = house.stop();
    let answer = wire.rest().await;
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains(r#""code":"stopping""#),
        "{answer}"
    );
    stopped.await.unwrap();
    assert!(begun.elapsed() < Settings::default().shutdown_timeout, "{:?}", begun.elapsed());
    let house = open(&home).await;
    assert_eq!(house.get("/api/pool").await.json()["waiting"], 0);
    assert_eq!(holders(&house).await, [("a".to_owned(), None)]);
}

/// A house whose database keeps the next commit back, and the connection by which an allocation came
/// whose commit is kept back, and which then is cut.
async fn cut_before_the_answer(home: &Home, header: &str) -> House {
    let (database, obstacle) = Obstacle::before(home.database());
    let wanted = Wanted { size: Some(1), ..Wanted::default() };
    let house =
        House::of(database, async {}, wanted, engine::Settings::default(), Settings::default());
    house.ready().await;
    obstacle.close();
    let mut wire = Wire::to(house.address).await;
    wire.send(&allocation(&json!({ "user_id": "a" }), header)).await;
    obstacle.committed().await;
    // Once the server has noticed, it closes its side, too.
    tokio::io::AsyncWriteExt::shutdown(&mut wire.0).await.unwrap();
    assert_eq!(wire.rest().await, "", "there was no answer");
    obstacle.open();
    house
}

async fn a_lease_whose_answer_was_lost_is_released(home: Home) {
    let house = cut_before_the_answer(&home, "").await;
    let released = [("a".to_owned(), Some("released".to_owned()))];
    until("the lease is released", async || holders(&house).await == released).await;
    assert_eq!(house.active().await, 0);
}

async fn a_lost_answer_is_given_again_under_its_key(home: Home) {
    let house = cut_before_the_answer(&home, "Idempotency-Key: \"k\"\r\n").await;
    let again = house.allocate_once(&json!({ "user_id": "a" }), "k").await;
    assert_eq!(again.status, 200, "{}", again.text);
    let granted = again.json();
    assert_eq!((&granted["status"], &granted["fence"]), (&json!("active"), &json!(1)));
    assert_eq!(holders(&house).await, [("a".to_owned(), None)]);
    let leases = house.get("/api/leases?user=a").await.json();
    assert_eq!(leases["leases"][0]["lease_id"], granted["lease_id"]);
}

async fn one_queue(home: Home) {
    let (one, two) = (open(&home).await, open(&home).await);
    let mut lease = one.allocate("holder").await;
    let mut waiters = Vec::new();
    for number in 0..6 {
        let house = if number % 2 == 0 { &one } else { &two };
        waiters.push(waiter(house, &format!("user {number}"), number + 1).await);
    }
    assert_eq!(one.get("/api/pool").await.json()["waiting"], 6);
    for (number, wire) in waiters.iter_mut().enumerate() {
        release(&two, &lease).await;
        lease = got(wire).await;
        assert_eq!(text(&lease["user"]), format!("user {number}"));
    }
}
