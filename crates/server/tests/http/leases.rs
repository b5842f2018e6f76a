//! One lease: its details, its release, its renewal.

use std::time::Duration;

use pool::Policy;
use serde_json::{Value, json};
use server::Settings;

use crate::harness::{Serve as _, TestServer, fields, is_time, text};
use testbed::{TestDb, eventually, on_both};

const LEASE: [&str; 12] = [
    "lease_id",
    "token_id",
    "user",
    "user_id",
    "status",
    "started_at",
    "expires_at",
    "expires_in",
    "fence",
    "ended_at",
    "end_reason",
    "evicted_by",
];
const UNUSED_ID: &str = "00000000-0000-4000-8000-000000000000";
const EDIVAN: &str = "bb97b8b7-73e4-3647-b3ec-e833123b5348";

fn micros(time: &Value) -> i64 {
    text(time).parse::<jiff::Timestamp>().unwrap().as_microsecond()
}

async fn lease(server: &TestServer, id: &Value) -> Value {
    let answer = server.get(&format!("/api/leases/{}", text(id))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

#[on_both]
async fn every_answer_names_the_lease(db: TestDb) {
    let server = db.serve_size(2).await;
    let granted = server.allocate("Edivan").await;
    let named = |value: &Value| {
        ["lease_id", "user", "expires_at", "fence"].map(|field| value[field].clone())
    };
    let expected = named(&granted);
    assert_eq!((&granted["user"], &granted["fence"]), (&json!("Edivan"), &json!(1)));
    assert_eq!((&granted["expires_in"], &granted["evicted"]), (&json!(120), &Value::Null));
    assert_eq!(micros(&granted["expires_at"]) - micros(&granted["activated_at"]), 120_000_000);

    let id = text(&granted["token_id"]);
    let shown = server.get(&format!("/api/tokens/{id}")).await.json();
    assert_eq!(named(&shown["token"]), expected);
    assert_eq!(named(&shown["current_user"]), expected);
    let active = server.get("/api/tokens/active").await.json();
    assert_eq!(named(&active[0]), expected);
    let history = server.get(&format!("/api/tokens/{id}/history")).await.json();
    let usage = &history["history"][0];
    assert_eq!(named(usage), expected);
    assert_eq!(usage["id"], usage["lease_id"]);
    assert_eq!((&usage["end_reason"], &usage["evicted_by"]), (&Value::Null, &Value::Null));

    // A full pool evicts the oldest lease; both leases name each other.
    server.allocate("b").await;
    let evicting = server.allocate("c").await;
    let evicted = json!({
        "lease_id": granted["lease_id"],
        "user": "Edivan",
        "user_id": EDIVAN,
        "fence": 1,
        "started_at": granted["activated_at"],
    });
    assert_eq!((&evicting["evicted"], &evicting["fence"]), (&evicted, &json!(3)));
    let history = server.get(&format!("/api/tokens/{id}/history")).await.json();
    let [new, old] = [&history["history"][0], &history["history"][1]];
    assert_eq!(named(new), named(&evicting));
    assert_eq!(named(old), expected);
    assert_eq!((&old["end_reason"], &old["evicted_by"]), (&json!("evicted"), &new["lease_id"]));
}

#[on_both]
async fn a_running_lease_is_shown(db: TestDb) {
    let server = db.serve().await;
    let granted = server.allocate("Edivan").await;
    let id = text(&granted["lease_id"]);
    let answer = server.get(&format!("/api/leases/{id}")).await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, "no-store"));
    let expected: Vec<&str> = LEASE.into_iter().chain(["pool", "token_name", "current"]).collect();
    assert_eq!(fields(&answer.text), expected);
    let lease = answer.json();
    for (field, value) in [
        ("lease_id", json!(id)),
        ("token_id", granted["token_id"].clone()),
        ("user", json!("Edivan")),
        ("user_id", json!(EDIVAN)),
        ("status", json!("active")),
        ("started_at", granted["activated_at"].clone()),
        ("expires_at", granted["expires_at"].clone()),
        ("fence", granted["fence"].clone()),
        ("ended_at", Value::Null),
        ("end_reason", Value::Null),
        ("evicted_by", Value::Null),
        ("pool", json!("default")),
        ("token_name", json!("1")),
        ("current", Value::Null),
    ] {
        assert_eq!(lease[field], value, "{field}");
    }
    let left = lease["expires_in"].as_f64().unwrap();
    assert!((0.0..=120.0).contains(&left), "{left}");
    assert!(
        !answer.text.contains(&text(&granted["token_value"])),
        "the answer does not contain the value"
    );
    assert_eq!(server.get(&format!("//api/leases/{}/", id.to_uppercase())).await.status, 200);
}

#[on_both]
async fn an_ended_lease_shows_when_and_why(db: TestDb) {
    let server = db.serve_size(1).await;
    let first = server.allocate("a").await;
    let second = server.allocate("b").await;
    let evicted = lease(&server, &first["lease_id"]).await;
    assert_eq!((&evicted["status"], &evicted["end_reason"]), (&json!("ended"), &json!("evicted")));
    assert_eq!(evicted["evicted_by"], second["lease_id"]);
    assert_eq!(evicted["ended_at"], second["activated_at"]);
    assert_eq!(evicted["expires_in"], 0);
    let current = json!({
        "lease_id": second["lease_id"],
        "user": "b",
        "user_id": evicted["current"]["user_id"],
        "fence": second["fence"],
        "started_at": second["activated_at"],
        "expires_at": second["expires_at"],
    });
    assert_eq!(evicted["current"], current);

    server.delete("/api/tokens/clear-active").await;
    let cleared = lease(&server, &second["lease_id"]).await;
    assert_eq!((&cleared["end_reason"], &cleared["current"]), (&json!("cleared"), &Value::Null));
    assert_eq!(lease(&server, &first["lease_id"]).await["current"], Value::Null);
    let third = server.allocate("c").await;
    assert_eq!(lease(&server, &first["lease_id"]).await["current"]["lease_id"], third["lease_id"]);
}

async fn release(server: &TestServer, id: &Value) -> crate::harness::Answer {
    server.post(&format!("/api/leases/{}/release", text(id))).await
}

#[on_both]
async fn only_the_named_lease_is_released(db: TestDb) {
    let server = db.serve().await;
    let (mine, other) = (server.allocate("a").await, server.allocate("a").await);
    let answer = release(&server, &mine["lease_id"]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let released = answer.json();
    assert_eq!((&released["status"], &released["user"]), (&json!("released"), &json!("a")));
    assert_eq!(released["lease_id"], mine["lease_id"]);
    assert_eq!(released["token_id"], mine["token_id"]);
    assert!(is_time(&released["ended_at"]));
    assert_eq!(server.ids("/api/tokens/active").await, [text(&other["token_id"])]);
    assert_eq!(lease(&server, &mine["lease_id"]).await["end_reason"], "released");
    // A repeated release succeeds, even if others had the token since.
    assert_eq!(release(&server, &mine["lease_id"]).await.json(), released);
    for _ in 0..99 {
        server.allocate("others").await;
    }
    assert_eq!(release(&server, &mine["lease_id"]).await.json(), released);
    assert_eq!(server.active().await, 100);
}

#[on_both]
async fn a_stale_release_ends_no_other_lease(db: TestDb) {
    let server = db.serve_size(1).await;
    let stale = server.allocate("a").await;
    let held = server.allocate("b").await;
    let before = server.get("/api/tokens").await;
    let answer = release(&server, &stale["lease_id"]).await;
    let detail = answer.problem(409, "lease-over");
    assert!(detail.contains("evicted"), "{detail}");
    let problem = answer.json();
    assert_eq!(problem["end_reason"], "evicted");
    assert_eq!(problem["ended_at"], held["activated_at"]);
    assert_eq!(problem["evicted_by"], held["lease_id"]);

    let token = text(&stale["token_id"]);
    let path = format!("/api/tokens/release/{token}");
    let stale_id = json!({ "lease_id": stale["lease_id"] });
    server.post_json(&path, &stale_id).await.problem(409, "holder-mismatch");
    let after = server.get("/api/tokens").await;
    assert_eq!(
        (after.text, after.headers["etag"].clone()),
        (before.text, before.headers["etag"].clone())
    );
    assert_eq!(lease(&server, &held["lease_id"]).await["status"], "active");
}

async fn renew(server: &TestServer, id: &Value) -> crate::harness::Answer {
    server.post(&format!("/api/leases/{}/renew", text(id))).await
}

#[on_both]
async fn a_lease_is_renewed_up_to_the_limit(db: TestDb) {
    let lasts = Duration::from_hours(1);
    // Close to the length, so that the second renewal reaches the limit.
    let max_lease = Some(lasts + Duration::from_millis(1));
    let policy = Policy { max_lease, ..Policy::of_lease(lasts) };
    let server = db.serve_policy(Some(2), policy, Settings::default()).await;
    let granted = server.allocate("a").await;
    let limit = micros(&granted["activated_at"]) + 3_600_001_000;
    let deadline = async || {
        let answer = renew(&server, &granted["lease_id"]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(fields(&answer.text), LEASE);
        let renewed = answer.json();
        assert_eq!((&renewed["status"], &renewed["ended_at"]), (&json!("active"), &Value::Null));
        assert_eq!(lease(&server, &granted["lease_id"]).await["expires_at"], renewed["expires_at"]);
        micros(&renewed["expires_at"])
    };
    let mut deadlines = vec![micros(&granted["expires_at"])];
    while deadlines.last() != Some(&limit) {
        deadlines.push(deadline().await);
    }
    assert!(deadlines.is_sorted(), "{deadlines:?}");
    let answer = renew(&server, &granted["lease_id"]).await;
    let detail = answer.problem(409, "renewal-limit");
    assert!(detail.contains("max-lease"), "{detail}");
    assert_eq!(micros(&answer.json()["expires_at"]), limit);
    assert!(detail.contains(&text(&answer.json()["expires_at"])), "{detail}");
}

#[on_both]
async fn leases_are_not_renewable_by_default(db: TestDb) {
    let server = db.serve().await;
    let granted = server.allocate("a").await;
    let answer = renew(&server, &granted["lease_id"]).await;
    answer.problem(409, "renewal-limit");
    assert_eq!(answer.json()["expires_at"], granted["expires_at"]);
}

#[on_both]
async fn an_ended_lease_stays_ended(db: TestDb) {
    let lease_time = Duration::from_millis(200);
    let policy =
        Policy { max_lease: Some(Duration::from_hours(1)), ..Policy::of_lease(lease_time) };
    let server = db.serve_policy(Some(2), policy, Settings::default()).await;
    let expired = server.allocate("a").await;
    eventually("the lease has ended", async || server.active().await == 0).await;
    for answer in
        [renew(&server, &expired["lease_id"]).await, release(&server, &expired["lease_id"]).await]
    {
        let detail = answer.problem(409, "lease-over");
        assert!(detail.contains("expired"), "{detail}");
        assert_eq!(answer.json()["end_reason"], "expired");
        assert_eq!(answer.json()["ended_at"], expired["expires_at"]);
        assert_eq!(answer.json()["evicted_by"], Value::Null);
    }
    let released = server.allocate("a").await;
    release(&server, &released["lease_id"]).await;
    let answer = renew(&server, &released["lease_id"]).await;
    answer.problem(409, "lease-over");
    assert_eq!(answer.json()["end_reason"], "released");
    assert_eq!(server.active().await, 0);
}

#[on_both]
async fn a_request_may_ask_for_a_shorter_lease(db: TestDb) {
    let server = db.serve().await;
    for (content_type, body, micros_asked, left) in [
        ("application/json", r#"{"user_id":"a","lease_seconds":90}"#, 90_000_000, json!(90)),
        ("application/json", r#"{"lease_seconds":1.5,"user_id":"a"}"#, 1_500_000, json!(1.5)),
        ("application/json", r#"{"user_id":"a","lease_seconds":120}"#, 120_000_000, json!(120)),
        ("application/json", r#"{"user_id":"a","lease_seconds":6e1}"#, 60_000_000, json!(60)),
        (
            "application/x-www-form-urlencoded",
            "user_id=a&lease_seconds=30.25",
            30_250_000,
            json!(30.25),
        ),
    ] {
        let answer = server.send(content_type, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let granted = answer.json();
        let length = micros(&granted["expires_at"]) - micros(&granted["activated_at"]);
        assert_eq!((length, &granted["expires_in"]), (micros_asked, &left), "{body}");
    }
    let shortest =
        server.send("application/json", r#"{"user_id":"a","lease_seconds":0.001}"#).await;
    assert_eq!(shortest.json()["expires_in"], 0.001);
    for (sent, not) in [
        ("0", ""),
        ("0.0009", ""),
        ("-1", ""),
        ("120.001", ""),
        ("1e300", ""),
        ("1e999", ""),
        ("null", ", not null"),
        ("true", ", not true"),
        ("\"60\"", ", not a text"),
        ("[60]", ", not an array"),
        ("{}", ", not an object"),
    ] {
        let body = format!(r#"{{"user_id":"a","lease_seconds":{sent}}}"#);
        let detail = server.send("application/json", body).await.problem(400, "invalid-parameter");
        assert_eq!(detail, format!("lease_seconds must be a number from 0.001 to 120{not}."));
    }
    for sent in ["", "x", "1e2", "-5", "121", "+5", "%2B5", "1,5"] {
        let body = format!("user_id=a&lease_seconds={sent}");
        let answer = server.send("application/x-www-form-urlencoded", body).await;
        let detail = answer.problem(400, "invalid-parameter");
        assert_eq!(detail, "lease_seconds must be a number from 0.001 to 120.", "{sent}");
    }
}

#[on_both]
async fn unknown_leases_are_not_found(db: TestDb) {
    let server = db.serve().await;
    let token = server.ids("/api/tokens").await[0].clone();
    for id in [UNUSED_ID, &token] {
        server.get(&format!("/api/leases/{id}")).await.problem(404, "unknown-lease");
        server.post(&format!("/api/leases/{id}/release")).await.problem(404, "unknown-lease");
        server.post(&format!("/api/leases/{id}/renew")).await.problem(404, "unknown-lease");
    }
    for malformed in ["1", "x", &token.replace('-', ""), "%ff"] {
        let answer = server.get(&format!("/api/leases/{malformed}")).await;
        answer.problem(400, "invalid-id");
        assert_eq!(answer.json()["error"], "Invalid lease id");
        server.post(&format!("/api/leases/{malformed}/release")).await.problem(400, "invalid-id");
        server.post(&format!("/api/leases/{malformed}/renew")).await.problem(400, "invalid-id");
    }
}
