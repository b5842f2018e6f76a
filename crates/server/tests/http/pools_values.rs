//! Values of tokens of a pool that shows them only to holders stay out of all other outputs.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use reqwest::Method;
use serde_json::json;
use testbed::{TestDb, on_both};

use crate::harness::{Answer, Serve as _, TestServer};

/// A part of each planted value.
const PLANTED: &str = "plantedValue";

fn value(index: u32) -> String {
    format!("{PLANTED}-{index}\"\\")
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Answers to documents with mistakes and values.
async fn mistakes(server: &TestServer) -> Vec<Answer> {
    let mut outputs = Vec::new();
    let added = json!({ "name": "c", "value": value(3) });
    let token = json!({ "name": "a b", "value": value(5) });
    outputs.push(server.post_json("/api/pools/vault/tokens", &token).await);
    outputs.push(server.post_json("/api/pools/vault/tokens", &added).await);
    for token in [
        json!({ "name": value(5) }),
        json!({ "name": "d", "value": format!("{}\u{0}", value(5)) }),
        json!({ "name": "d", "value": value(5).repeat(1_000) }),
        json!({ "name": "d", "value": { "x": value(5) } }),
        json!({ "name": "d", "value": value(5), "labels": { "x!": "y" } }),
        json!({ "name": "d", "value": value(5), "unknown": 1 }),
    ] {
        let document = json!({ "tokens": [token, token] });
        outputs.push(server.put_json("/api/pools/vault", &document).await);
        outputs.push(server.put_json("/api/pools/vault/tokens", &document).await);
        let all = json!({ "pools": { "vault": document } });
        outputs.push(server.put_json("/api/pools", &all).await);
    }
    for text in [
        format!("{{\"tokens\":[{{\"value\":\"{PLANTED}\""),
        format!("{{\"tokens\":[{{\"value\":\"{PLANTED}\\x\"}}]}}"),
        format!("{{\"tokens\":[{{\"value\":{PLANTED}}}]}}"),
    ] {
        let request = server.request(Method::PUT, "/api/pools/vault/tokens").body(text);
        outputs.push(Answer::to(request.header("content-type", "application/json")).await);
    }
    outputs
}

#[on_both]
async fn values_are_for_holders(db: TestDb) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
    let subscriber = subscriber.with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);

    let server = db.serve_size(1).await;
    let mut live = server.request(Method::GET, "/api/events?pool=*").send().await.unwrap();
    let document = json!({ "tokens": [
        { "name": "a", "value": value(1) },
        { "name": "b", "value": value(2) },
    ] });
    let mut outputs = vec![
        server.put_json("/api/pools/vault?dry_run=true", &document).await,
        server.put_json("/api/pools/vault", &document).await,
    ];
    let added = json!({ "name": "c", "value": value(3) });
    outputs.push(server.post_json("/api/pools/vault/tokens", &added).await);
    let changed = json!({ "value": value(4) });
    outputs.push(server.send_json(Method::PATCH, "/api/pools/vault/tokens/c", &changed).await);
    assert!(outputs.iter().all(|answer| answer.status.is_success()));

    // Holders get the value, also at a repetition and after the token was renamed.
    let allocate = async |body: &serde_json::Value| {
        let request = server.request(Method::POST, "/api/pools/vault/allocate");
        Answer::to(request.header("idempotency-key", "k").json(body)).await
    };
    let body = json!({ "user": "ann", "token": "c", "note": "n" });
    let held = allocate(&body).await.json();
    assert_eq!(held["token_value"], value(4));
    assert_eq!(allocate(&body).await.json()["token_value"], value(4));

    outputs.extend(mistakes(&server).await);
    assert!(outputs[4..].iter().all(|answer| answer.status.is_client_error()));

    let taint = json!({ "name": "t", "effect": "end-lease" });
    outputs.push(server.post_json("/api/pools/vault/tokens/c/taints", &taint).await);
    outputs.push(server.delete("/api/pools/vault/tokens/c/taints/t").await);
    let lease = held["lease_id"].as_str().unwrap();
    let token = held["token_id"].as_str().unwrap();
    for path in [
        "/api/pools",
        "/api/pools/vault",
        "/api/pools/vault/tokens",
        "/api/pools/vault/tokens/c",
        "/api/tokens",
        "/api/tokens/available",
        "/api/tokens/active",
        &format!("/api/tokens/{token}"),
        &format!("/api/tokens/{token}/history"),
        &format!("/api/pools/vault/tokens/{token}"),
        &format!("/api/leases/{lease}"),
        "/api/leases?pool=vault",
        "/api/leases?pool=*",
        "/api/leases/export?pool=vault",
        "/api/queue?pool=vault",
        "/api/pool",
        "/metrics",
        "/health/ready",
    ] {
        outputs.push(server.get(path).await);
    }
    outputs.push(server.post(&format!("/api/leases/{lease}/renew")).await);
    outputs.push(server.post(&format!("/api/leases/{lease}/release")).await);
    outputs.push(server.delete("/api/pools/vault/tokens/b").await);
    outputs.push(server.post("/api/pools/vault/clear").await);
    outputs.push(server.delete("/api/pools/vault").await);
    for output in &outputs {
        assert!(!output.text.contains(PLANTED), "{} {}", output.status, output.text);
        assert!(!format!("{:?}", output.headers).contains(PLANTED), "{:?}", output.headers);
    }

    let mut events = String::new();
    while !events.contains("pool.deleted") {
        events.push_str(&String::from_utf8_lossy(&live.chunk().await.unwrap().unwrap()));
    }
    assert!(
        events.contains("token.changed")
            && events.contains("token.tainted")
            && !events.contains(PLANTED),
        "{events}"
    );
    let mut replay =
        server.request(Method::GET, "/api/events?pool=*&last_event_id=1-1").send().await.unwrap();
    let mut events = String::new();
    while !events.contains("pool.deleted") && !events.contains("resync") {
        events.push_str(&String::from_utf8_lossy(&replay.chunk().await.unwrap().unwrap()));
    }
    assert!(!events.contains(PLANTED), "{events}");
    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(!log.contains(PLANTED), "{}", log.lines().find(|line| line.contains(PLANTED)).unwrap());
}

#[on_both]
async fn values_of_open_pools_are_listed(db: TestDb) {
    let server = db.serve_size(1).await;
    let token = json!({ "name": "a", "value": PLANTED });
    let document = json!({ "show_values": "everyone", "tokens": [token] });
    server.put_json("/api/pools/shown", &document).await;
    let listed = async || server.get("/api/pools/shown/tokens").await.json()["tokens"][0].clone();
    assert_eq!(listed().await["value"], PLANTED);
    server.put_json("/api/pools/shown", &json!({ "show_values": "holder" })).await;
    assert_eq!(listed().await.get("value"), None);
}

#[on_both]
async fn the_routes_of_the_default_pool_follow_its_policy_and_taints(db: TestDb) {
    let server = db.serve_size(2).await;
    let listed = server.get("/api/tokens").await.json();
    let (values, id) = ([&listed[0]["token"], &listed[1]["token"]], &listed[0]["id"]);
    let [shown, other] = values.map(|value| value.as_str().unwrap());
    let policy = json!({ "show_values": "holder" });
    assert!(server.put_json("/api/pools/default", &policy).await.status.is_success());
    let cordon = json!({ "name": "cordon", "effect": "no-new-leases" });
    let taints = format!("/api/pools/default/tokens/{}/taints", id.as_str().unwrap());
    assert!(server.post_json(&taints, &cordon).await.status.is_success());
    let one = format!("/api/tokens/{}", id.as_str().unwrap());
    for path in ["/api/tokens", "/api/tokens/available", &one] {
        let answer = server.get(path).await;
        assert!(!answer.text.contains(shown) && !answer.text.contains(other), "{}", answer.text);
    }
    assert_eq!(server.get("/api/tokens").await.json()[0]["token"], json!(null));
    // A tainted token is not available. Its status is one of the original's.
    let listed = server.get("/api/tokens").await.json();
    let tainted = &listed[0];
    assert_eq!((&tainted["status"], &tainted["id"]), (&json!("available"), &id.clone()));
    let taint = |token: &serde_json::Value| token["taints"][0]["name"].clone();
    assert_eq!(taint(tainted), "cordon");
    assert_eq!(taint(&server.get(&one).await.json()["token"]), "cordon");
    assert_eq!(listed[1].get("taints"), None, "{listed}");
    assert_eq!(server.get("/api/tokens/available").await.json().as_array().unwrap().len(), 1);
    let pool = server.get("/api/pool").await.json();
    assert_eq!((&pool["size"], &pool["available"]), (&json!(2), &json!(1)));
    // Its holder gets the value.
    let granted = server.post_json("/api/tokens/allocate", &json!({ "user_id": "ann" })).await;
    assert_eq!(granted.json()["token_value"], other);
}
