//! Idempotency keys, on one server and on two.

use reqwest::Method;
use serde_json::{Value, json};
use server::Settings;
use store::Wanted;

use crate::harness::{Answer, Serve as _, TestServer, fields, text};
use testbed::{TestDb, on_both};

fn granted(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

#[on_both]
async fn the_same_key_gets_the_same_lease(db: TestDb) {
    let server = db.serve().await;
    let body = json!({ "user_id": "a", "lease_seconds": 60 });
    let first = server.allocate_once(&body, "\"k 1\"").await;
    for (key, body) in [
        ("\"k 1\"", body.clone()),
        ("k 1", json!({ "lease_seconds": 60.0, "x": 1, "user_id": "a" })),
    ] {
        let again = server.allocate_once(&body, key).await;
        let (first, mut again) = (granted(&first), granted(&again));
        let left = again["expires_in"].as_f64().unwrap();
        assert!((0.0..=60.0).contains(&left), "{left}");
        again["expires_in"] = first["expires_in"].clone();
        assert_eq!(again, first);
    }
    let form =
        server.request(Method::POST, "/api/tokens/allocate").header("idempotency-key", "k 1");
    let form = Answer::to(form.form(&[("user_id", "a"), ("lease_seconds", "60")])).await;
    assert_eq!(
        granted(&form)["lease_id"],
        granted(&first)["lease_id"],
        "members are compared, not bytes"
    );
    assert_eq!(server.active().await, 1);
    let other = server.allocate_once(&body, "k 2").await;
    assert_ne!(granted(&other)["lease_id"], granted(&first)["lease_id"]);
    server.allocate("a").await;
    assert_eq!(server.active().await, 3, "other keys, or no key, are other requests");
}

#[on_both]
async fn a_key_outlives_the_server(db: TestDb) {
    let body = json!({ "user_id": "a" });
    let server = db.serve_size(1).await;
    let evicted = server.allocate("b").await;
    let first = granted(&server.allocate_once(&body, "k").await);
    assert_eq!(first["evicted"]["lease_id"], evicted["lease_id"]);
    server.stop().await.unwrap();
    let server = db.serve_size(1).await;
    let again = granted(&server.allocate_once(&body, "k").await);
    for field in ["lease_id", "token_id", "token_value", "fence", "expires_at", "evicted"] {
        assert_eq!(again[field], first[field], "{field}");
    }
    assert_eq!(again["status"], "active");
}

#[on_both]
async fn a_key_of_an_ended_lease_is_a_conflict(db: TestDb) {
    let server = db.serve_size(1).await;
    let body = json!({ "user_id": "a" });
    let first = server.allocate_once(&body, "k").await;
    let evicting = server.allocate("b").await;
    let again = server.allocate_once(&body, "k").await;
    let mut expected = fields(&first.text);
    expected.extend(["ended_at".to_owned(), "end_reason".to_owned()]);
    assert_eq!(fields(&again.text), expected);
    let (first, again) = (granted(&first), granted(&again));
    assert_eq!(again["lease_id"], first["lease_id"]);
    assert_eq!((&again["status"], &again["expires_in"]), (&json!("ended"), &json!(0)));
    assert_eq!(again["ended_at"], evicting["activated_at"]);
    assert_eq!(again["end_reason"], "evicted");
    let active = server.get("/api/tokens/active").await.json();
    assert_eq!(active[0]["lease_id"], evicting["lease_id"], "no new lease was granted");
}

#[on_both]
async fn another_request_with_the_same_key_is_rejected(db: TestDb) {
    let server = db.serve().await;
    let body = json!({ "user_id": "a" });
    granted(&server.allocate_once(&body, "k").await);
    for other in [
        json!({ "user_id": "a", "lease_seconds": 120 }),
        json!({ "user_id": "a", "wait_seconds": 0 }),
    ] {
        let answer = server.allocate_once(&other, "k").await;
        let detail = answer.problem(422, "idempotency-key-reused");
        assert!(detail.contains("new key"), "{detail}");
    }
    assert_eq!(server.active().await, 1);
}

#[on_both]
async fn keys_belong_to_a_user(db: TestDb) {
    let server = db.serve().await;
    let [ann, bob] = ["ann", "bob"].map(|user| json!({ "user_id": user }));
    let first = granted(&server.allocate_once(&ann, "job-17").await);
    let other = granted(&server.allocate_once(&bob, "job-17").await);
    assert_eq!((&first["user"], &other["user"]), (&ann["user_id"], &bob["user_id"]));
    assert_ne!(first["lease_id"], other["lease_id"]);
    let again = granted(&server.allocate_once(&bob, "job-17").await);
    assert_eq!(again["lease_id"], other["lease_id"]);
    assert_eq!(server.active().await, 2);
}

#[on_both]
async fn rejected_requests_use_no_key(db: TestDb) {
    let server = db.serve_size(0).await;
    let body = json!({ "user_id": "a" });
    server.allocate_once(&body, "k").await.problem(503, "no-tokens");
    server.allocate_once(&json!({ "user_id": 5 }), "k").await.problem(400, "invalid-user");
    server.allocate_once(&json!({ "user_id": "b" }), "k").await.problem(503, "no-tokens");
}

#[on_both]
async fn malformed_keys_are_rejected(db: TestDb) {
    let server = db.serve().await;
    let send = async |keys: &[&[u8]]| {
        let mut request = server.request(Method::POST, "/api/tokens/allocate");
        for key in keys {
            let key = reqwest::header::HeaderValue::from_bytes(key).unwrap();
            request = request.header("idempotency-key", key);
        }
        Answer::to(request.json(&json!({ "user_id": "a" }))).await
    };
    for (keys, says) in [
        (&[&b""[..]][..], "must not be empty"),
        (&[b"\"\""], "must not be empty"),
        (&[b"\"a"], "must end with the double quote"),
        (&[b"\xff"], "printable ASCII"),
        (&["k".repeat(256).as_bytes()], "at most 255"),
        (&[b"a", b"b"], "sent once"),
        (&[b"a", b"a"], "sent once"),
    ] {
        let detail = send(keys).await.problem(400, "invalid-idempotency-key");
        assert!(detail.contains(says) && detail.contains("1 to 255"), "{detail}");
    }
    assert_eq!(server.active().await, 0);
    assert_eq!(send(&["k".repeat(255).as_bytes()]).await.status, 200);
    let elsewhere = server.request(Method::GET, "/api/tokens").header("idempotency-key", "\"");
    assert_eq!(Answer::to(elsewhere).await.status, 200, "only allocations read the key");
}

#[on_both]
async fn the_number_of_keys_is_limited(db: TestDb) {
    let wanted = Wanted { size: Some(5), ..Wanted::default() };
    let bounded = engine::Settings { keys: 2, ..engine::Settings::default() };
    let server = db.serve_after(async {}, wanted, bounded, Settings::default());
    server.ready().await;
    let body = json!({ "user_id": "a" });
    let first = granted(&server.allocate_once(&body, "1").await);
    granted(&server.allocate_once(&body, "2").await);
    let answer = server.allocate_once(&body, "3").await;
    answer.problem(503, "idempotency-full");
    // The first lease ends in two minutes at most; its key can be deleted 10 minutes later.
    let retry_after: u64 = answer.header("retry-after").parse().unwrap();
    assert!((715..=720).contains(&retry_after), "{retry_after}");
    let path = format!("/api/leases/{}/release", text(&first["lease_id"]));
    assert_eq!(server.post(&path).await.status, 200);
    let retry_after = server.allocate_once(&body, "3").await.header("retry-after").to_owned();
    let retry_after: u64 = retry_after.parse().unwrap();
    assert!((595..=600).contains(&retry_after), "{retry_after}");
    assert_eq!(granted(&server.allocate_once(&body, "1").await)["lease_id"], first["lease_id"]);
    server.allocate("a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_grant_one_lease_for_a_key() {
    let db = TestDb::postgres().await;
    let [one, two]: [TestServer; 2] = [db.serve_size(20).await, db.serve_size(20).await];
    for round in 0..40 {
        let (body, key) = (json!({ "user_id": format!("user {round}") }), format!("key {round}"));
        let (a, b) = tokio::join!(one.allocate_once(&body, &key), two.allocate_once(&body, &key));
        let (a, b) = (granted(&a), granted(&b));
        for field in ["lease_id", "token_id", "token_value", "fence", "activated_at", "expires_at"]
        {
            assert_eq!(a[field], b[field], "{field} in round {round}");
        }
        let path = format!("/api/tokens/{}/history?limit=1000", text(&a["token_id"]));
        let history = one.get(&path).await.json();
        let history = history["history"].as_array().unwrap();
        let of_user = history.iter().filter(|usage| usage["user"] == body["user_id"]);
        assert_eq!(of_user.count(), 1);
    }
    assert_eq!(one.active().await, 20);
    // No user got more than one.
    let leases = one.get("/api/leases").await.json();
    assert_eq!(leases["leases"].as_array().unwrap().len(), 40);
}
