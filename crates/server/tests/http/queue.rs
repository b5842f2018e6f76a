//! Tickets, which keep their position between requests.

use std::time::{Duration, Instant};

use pool::{Policy, WhenFull};
use reqwest::Method;
use serde_json::{Value, json};
use server::Settings;

use crate::harness::{Answer, Serve as _, TestServer, fields, text};
use testbed::{TestDb, eventually, on_both};

const WAIT: Policy =
    Policy { when_full: WhenFull::Wait, ..Policy::of_lease(Duration::from_mins(2)) };

async fn open(db: &TestDb) -> TestServer {
    db.serve_policy(Some(1), WAIT, Settings::default()).await
}

fn body(user: &str) -> Value {
    json!({ "user_id": user, "wait_seconds": 3_600 })
}

/// Allocation of a user with the key `k`, and a `Prefer: wait`.
async fn ask(server: &TestServer, user: &str, prefer: &str) -> Answer {
    let request = server.request(Method::POST, "/api/tokens/allocate").json(&body(user));
    Answer::to(request.header("idempotency-key", "k").header("prefer", prefer)).await
}

/// Answer to an allocation that waits.
async fn place(server: &TestServer, user: &str) -> Value {
    let answer = ask(server, user, "wait=0").await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.json()
}

async fn release(server: &TestServer, lease: &Value) {
    let answer = server.post(&format!("/api/leases/{}/release", text(lease))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[on_both]
async fn a_waiting_request_gets_its_place_until_served(db: TestDb) {
    let server = open(&db).await;
    let held = server.allocate("holder").await;
    let first = place(&server, "first").await;
    let answer = ask(&server, "second", "wait=0").await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.header("cache-control"), "no-store");
    let second = answer.json();
    let members = ["status", "ticket", "position", "ahead", "since", "until", "retry_after"];
    assert_eq!(fields(&answer.text), members);
    assert_eq!(answer.header("location"), format!("/api/queue/{}", text(&second["ticket"])));
    assert_eq!(
        (&second["status"], &second["position"], &second["ahead"], &second["retry_after"]),
        (&json!("waiting"), &json!(2), &json!(1), &json!(1))
    );
    assert_eq!(place(&server, "second").await, second);
    release(&server, &held["lease_id"]).await;
    // The place is kept for the first user, who has not asked again yet.
    assert_eq!(place(&server, "second").await, second);
    let lease = ask(&server, "first", "wait=0").await;
    assert_eq!(
        (lease.status, &lease.json()["lease_id"]),
        (200.try_into().unwrap(), &first["ticket"])
    );
    assert_eq!(place(&server, "second").await["position"], 1);
    release(&server, &first["ticket"]).await;
    let lease = ask(&server, "second", "wait=0").await.json();
    assert_eq!((&lease["lease_id"], &lease["user"]), (&second["ticket"], &json!("second")));
}

#[on_both]
async fn prefer_wait_limits_how_long_a_request_is_held(db: TestDb) {
    let server = open(&db).await;
    let held = server.allocate("holder").await;
    let since = Instant::now();
    let answer = ask(&server, "first", "respond-async, wait=1").await;
    assert_eq!(answer.status, 202);
    assert!(since.elapsed() >= Duration::from_secs(1), "{:?}", since.elapsed());
    let released = async {
        eventually("the request is held", async || {
            let queue = server.get("/api/queue").await.json();
            queue["waiting"] == 1
        })
        .await;
        release(&server, &held["lease_id"]).await;
    };
    let (lease, ()) = tokio::join!(ask(&server, "first", "wait=60"), released);
    assert_eq!(lease.status, 200, "answered when it is served: {}", lease.text);
}

#[on_both]
async fn the_queue_is_listed_page_by_page(db: TestDb) {
    let server = open(&db).await;
    server.allocate("holder").await;
    let mut tickets = Vec::new();
    for user in ["Ann", "Bob", "Cid"] {
        tickets.push(place(&server, user).await);
    }
    let queue = server.get("/api/queue").await;
    assert_eq!(queue.header("cache-control"), "no-store");
    let queue = queue.json();
    assert_eq!((&queue["waiting"], &queue["next"]), (&json!(3), &Value::Null));
    let rows = queue["tickets"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    let members = ["ticket", "position", "user", "user_id", "since", "until", "kept"];
    for (row, ticket) in rows.iter().zip(&tickets) {
        assert_eq!(fields(&row.to_string()).len(), members.len());
        for member in ["ticket", "position", "since", "until"] {
            assert_eq!(row[member], ticket[member], "{member}");
        }
        assert_eq!(row["kept"], true);
    }
    assert_eq!((&rows[1]["user"], &rows[1]["position"]), (&json!("Bob"), &json!(2)));
    let one = server.get(&format!("/api/queue/{}", text(&tickets[1]["ticket"]))).await.json();
    assert_eq!(one, rows[1]);
    let mut path = "/api/queue?limit=2".to_owned();
    let mut pages = Vec::new();
    loop {
        let page = server.get(&path).await.json();
        pages.push(page["tickets"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        next.clone_into(&mut path);
    }
    assert_eq!(pages, [&rows[..2], &rows[2..]]);
    for query in ["limit=0", "limit=1001", "after=-1", "limt=2"] {
        server.get(&format!("/api/queue?{query}")).await.problem(400, "invalid-parameter");
    }
}

#[on_both]
async fn a_ticket_is_given_up(db: TestDb) {
    let server = open(&db).await;
    let held = server.allocate("holder").await;
    let deleted = async {
        eventually("the request is held", async || {
            server.get("/api/pool").await.json()["waiting"] == 1
        })
        .await;
        let ticket = text(&server.get("/api/queue").await.json()["tickets"][0]["ticket"]);
        let path = format!("/api/queue/{ticket}");
        let answer = server.delete(&path).await;
        assert_eq!(answer.json(), json!({ "status": "given_up", "ticket": ticket }));
        server.delete(&path).await.problem(404, "unknown-ticket");
        server.get(&path).await.problem(404, "unknown-ticket");
    };
    let (refused, ()) = tokio::join!(ask(&server, "first", "wait=60"), deleted);
    refused.problem(409, "ticket-given-up");
    let again = place(&server, "first").await;
    release(&server, &held["lease_id"]).await;
    let lease = ask(&server, "first", "wait=0").await.json();
    assert_eq!(lease["lease_id"], again["ticket"]);
    let refused = server.delete(&format!("/api/queue/{}", text(&again["ticket"]))).await;
    refused.problem(409, "ticket-served");
    assert_eq!(refused.json()["lease_id"], again["ticket"]);
    server.delete("/api/queue/1").await.problem(400, "invalid-id");
}

#[on_both]
async fn invalid_prefer_headers_are_rejected(db: TestDb) {
    let server = open(&db).await;
    server.allocate("holder").await;
    let without_key = server.send("application/json", r#"{"user_id":"a","wait_seconds":61}"#).await;
    let detail = without_key.problem(400, "invalid-parameter");
    assert!(detail.contains("from 0 to 60") && detail.contains("86400"), "{detail}");
    let too_long = json!({ "user_id": "a", "wait_seconds": 86_401 });
    let detail = server.allocate_once(&too_long, "k").await.problem(400, "invalid-parameter");
    assert!(detail.contains("from 0 to 86400"), "{detail}");
    let detail = ask(&server, "a", "wait=soon").await.problem(400, "invalid-parameter");
    assert!(detail.contains("Prefer"), "{detail}");
    // Without a key a request can't be repeated, so the server holds it.
    let request = server.request(Method::POST, "/api/tokens/allocate").header("prefer", "wait=0");
    let request = request.json(&json!({ "user_id": "a", "wait_seconds": 0.3 }));
    Answer::to(request).await.problem(503, "pool-full");
}

#[on_both]
async fn a_stopping_server_keeps_tickets(db: TestDb) {
    let server = open(&db).await;
    let held = server.allocate("holder").await;
    let (first, second) = (place(&server, "first").await, place(&server, "second").await);
    server.stop().await.unwrap();
    let server = open(&db).await;
    assert_eq!(place(&server, "second").await, second);
    assert_eq!(place(&server, "first").await, first);
    release(&server, &held["lease_id"]).await;
    assert_eq!(ask(&server, "first", "wait=0").await.status, 200);
}
