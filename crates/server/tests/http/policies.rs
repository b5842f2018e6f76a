//! Effects of a pool's policy, and how the pool shows it.

use std::time::Duration;

use pool::{Policy, WhenFull};
use reqwest::Method;
use serde_json::{Value, json};
use server::Settings;

use crate::harness::{Answer, Serve as _, TestServer, fields, shown_policy, text};
use testbed::{TestDb, eventually, on_both};

const MINUTES: Policy = Policy::of_lease(Duration::from_mins(2));

async fn open(db: &TestDb, size: usize, policy: Policy) -> TestServer {
    db.serve_policy(Some(size), policy, Settings::default()).await
}

#[on_both]
async fn a_pool_shows_itself_and_its_policy(db: TestDb) {
    let server = open(&db, 3, MINUTES).await;
    let answer = server.get("/api/pool").await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, "no-store"));
    let names =
        ["size", "active", "available", "waiting", "oldest_lease", "epoch", "version", "policy"];
    assert_eq!(fields(&answer.text), names);
    let pool = answer.json();
    let count = |pool: &Value| {
        ["size", "active", "available", "waiting"].map(|n| pool[n].as_u64().unwrap())
    };
    assert_eq!((count(&pool), &pool["oldest_lease"]), ([3, 0, 3, 0], &Value::Null));
    assert_eq!(pool["policy"], rules_of_leases(&MINUTES));
    let oldest = server.allocate("a").await;
    server.allocate("b").await;
    let pool = server.get("/api/pool").await.json();
    assert_eq!(count(&pool), [3, 2, 1, 0]);
    let shown = server.get(&format!("/api/leases/{}", text(&oldest["lease_id"]))).await.json();
    for field in ["lease_id", "token_id", "user", "status", "started_at", "expires_at", "fence"] {
        assert_eq!(pool["oldest_lease"][field], shown[field], "{field}");
    }
    assert!(
        !pool.to_string().contains(&text(&oldest["token_value"])),
        "the answer does not contain a value"
    );
    let version =
        |pool: &Value| (pool["epoch"].as_i64().unwrap(), pool["version"].as_i64().unwrap());
    let before = version(&pool);
    server.allocate("c").await;
    assert_eq!(version(&server.get("/api/pool").await.json()), (before.0, before.1 + 1));
    server.stop().await.unwrap();

    let server = open(&db, 3, Policy::EXAMPLE).await;
    assert_eq!(server.get("/api/pool").await.json()["policy"], rules_of_leases(&Policy::EXAMPLE));
}

/// The policy as the old route shows it: it has no rules about tokens.
fn rules_of_leases(policy: &Policy) -> Value {
    let mut shown = shown_policy(policy);
    for about_tokens in ["membership", "show_values"] {
        shown.as_object_mut().unwrap().remove(about_tokens).unwrap();
    }
    shown
}

#[on_both]
async fn a_full_pool_may_reject(db: TestDb) {
    let server = open(&db, 1, Policy { when_full: WhenFull::Reject, ..MINUTES }).await;
    let held = server.allocate("a").await;
    let answer = server.send("application/json", r#"{"user_id":"b"}"#).await;
    answer.problem(503, "pool-full");
    let problem = answer.json();
    assert_eq!(
        (&problem["error"], &problem["position"]),
        (&json!("No tokens available"), &json!(1))
    );
    let retry_after: u64 = answer.header("retry-after").parse().unwrap();
    assert!((60..=120).contains(&retry_after), "{retry_after}");
    for wait in ["0", "5"] {
        let body = format!(r#"{{"user_id":"b","wait_seconds":{wait}}}"#);
        let detail = server.send("application/json", body).await.problem(400, "invalid-parameter");
        assert!(detail.contains("wait_seconds") && detail.contains("reject"), "{detail}");
    }
    server.post(&format!("/api/tokens/release/{}", text(&held["token_id"]))).await;
    server.allocate("b").await;
}

#[on_both]
async fn min_hold_protects_young_leases(db: TestDb) {
    let min_hold = Duration::from_millis(300);
    let server = open(&db, 1, Policy { min_hold, ..MINUTES }).await;
    let held = server.allocate("a").await;
    eventually("the lease may be evicted", async || {
        let answer = server.send("application/json", r#"{"user_id":"b"}"#).await;
        if answer.status == 200 {
            return true;
        }
        answer.problem(503, "pool-full");
        assert_eq!(answer.header("retry-after"), "1");
        false
    })
    .await;
    let evicted = server.get(&format!("/api/leases/{}", text(&held["lease_id"]))).await.json();
    let micros = |time: &Value| text(time).parse::<jiff::Timestamp>().unwrap().as_microsecond();
    assert!(micros(&evicted["ended_at"]) - micros(&evicted["started_at"]) >= 300_000, "{evicted}");
}

#[on_both]
async fn leases_per_user_are_limited(db: TestDb) {
    let server = open(&db, 5, Policy { max_per_user: Some(2), ..MINUTES }).await;
    server.allocate("a").await;
    let second = server.allocate("a").await;
    let answer = server.send("application/json", r#"{"user_id":"a"}"#).await;
    let detail = answer.problem(409, "user-limit");
    assert!(detail.contains("2 leases"), "{detail}");
    assert_eq!(answer.json()["max_per_user"], 2);
    server.allocate("b").await;
    server.post(&format!("/api/leases/{}/release", text(&second["lease_id"]))).await;
    server.allocate("a").await;
}

#[on_both]
async fn invalid_waits_are_rejected(db: TestDb) {
    let server = open(&db, 1, MINUTES).await;
    for sent in ["-0.1", "60.001", "1e9", "1e999", "null", "\"5\"", "true"] {
        let body = format!(r#"{{"user_id":"a","wait_seconds":{sent}}}"#);
        let detail = server.send("application/json", body).await.problem(400, "invalid-parameter");
        assert!(detail.starts_with("wait_seconds must be a number from 0 to 60"), "{detail}");
    }
    for sent in ["", "61", "x", "-1"] {
        let body = format!("user_id=a&wait_seconds={sent}");
        let answer = server.send("application/x-www-form-urlencoded", body).await;
        let detail = answer.problem(400, "invalid-parameter");
        assert!(detail.starts_with("wait_seconds must be a number from 0 to 60."), "{detail}");
    }
    assert_eq!(server.active().await, 0);
    for body in [r#"{"user_id":"a","wait_seconds":0}"#, r#"{"user_id":"a","wait_seconds":60}"#] {
        assert_eq!(server.send("application/json", body).await.status, 200);
    }
}

#[on_both]
async fn new_routes_follow_the_same_rules(db: TestDb) {
    let server = open(&db, 2, MINUTES).await;
    let id = text(&server.allocate("a").await["lease_id"]);
    for (path, allowed) in [
        ("/api/leases".to_owned(), "GET,HEAD"),
        (format!("/api/leases/{id}"), "GET,HEAD"),
        (format!("/api/leases/{id}/renew"), "POST"),
        (format!("//api/leases/{id}/release/"), "POST"),
        ("/api/pool".to_owned(), "GET,HEAD"),
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            if allowed.contains(method) {
                continue;
            }
            let answer = Answer::to(server.request(method.parse().unwrap(), &path)).await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("allow")),
                (405, allowed),
                "{method}"
            );
        }
        if allowed.contains("GET") {
            let (get, slashed) = (server.get(&path).await, server.get(&format!("/{path}//")).await);
            let head = Answer::to(server.request(Method::HEAD, &path)).await;
            for answer in [&slashed, &head] {
                assert_eq!(answer.status, get.status, "{path}");
                for name in ["content-type", "cache-control"] {
                    assert_eq!(answer.header(name), get.header(name), "{name} of {path}");
                }
            }
            assert_eq!(head.text, "");
        }
    }
    for path in
        ["/api/lease", "/api/leases/a/b", &format!("/api/leases/{id}/revive"), "/api/pool/1"]
    {
        server.get(path).await.problem(404, "unknown-path");
        server.post(path).await.problem(404, "unknown-path");
    }
    for (method, path) in [
        (Method::POST, format!("/api/leases/{id}/release")),
        (Method::POST, format!("/api/leases/{id}/renew")),
    ] {
        let foreign = server.request(method, &path).header("origin", "https://evil.example");
        Answer::to(foreign).await.problem(403, "cross-origin");
    }
    assert_eq!(server.active().await, 1);
}
