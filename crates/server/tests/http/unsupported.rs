//! Members and parameters that no route supports.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Serve as _, TestServer, text};
use testbed::{TestDb, on_both};

const FORM: &str = "application/x-www-form-urlencoded";
const UNUSED_ID: &str = "00000000-0000-4000-8000-000000000000";

#[on_both]
async fn unsupported_members_are_rejected(db: TestDb) {
    let server = db.serve_size(2).await;
    for (name, value, says) in [
        ("token_id", json!(UNUSED_ID), "the pool chooses the token"),
        ("token", json!("a"), "the pool chooses the token"),
        ("pool", json!("gpu"), "/api/pools/{pool}"),
        ("selector", json!({ "region": "eu" }), "tokens of a pool are equivalent"),
        ("count", json!(2), "each request leases one token"),
        ("priority", json!(0), "the queue is in order of arrival"),
    ] {
        let body = json!({ "user_id": "a", name: value });
        let as_json = server.post_json("/api/tokens/allocate", &body).await;
        let as_form = server.send(FORM, format!("user_id=a&{name}=1")).await;
        for answer in [as_json, as_form] {
            let detail = answer.problem(400, "invalid-parameter");
            assert!(
                detail.contains(&format!("{name} is not supported. Nothing was changed")),
                "{detail}"
            );
            assert!(detail.contains(says), "{detail}");
        }
        for path in ["/api/tokens", "/api/tokens/available", "/api/tokens/active"] {
            let answer = server.get(&format!("{path}?{name}=1")).await;
            assert!(answer.problem(400, "invalid-parameter").contains(name), "{path}");
        }
    }
    assert_eq!(server.active().await, 0);
    // The key of a rejected request stays unused.
    let refused = server.allocate_once(&json!({ "user_id": "a", "count": 2 }), "k").await;
    refused.problem(400, "invalid-parameter");
    let granted = server.allocate_once(&json!({ "user_id": "a" }), "k").await;
    assert_eq!(granted.status, 200);
}

#[on_both]
async fn routes_of_the_original_ignore_other_members(db: TestDb) {
    let server = db.serve_size(3).await;
    for body in [
        json!({ "user_id": "a", "note": "for the demo", "tokens": 2, "x": { "pool": 1 } }),
        // Null members count as absent.
        json!({ "user_id": "a", "token_id": null, "pool": "", "priority": null }),
    ] {
        let answer = server.post_json("/api/tokens/allocate", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let release = format!("/api/tokens/release/{}", text(&answer.json()["token_id"]));
        // A client may send all members that it received.
        for body in [answer.json(), json!({ "user_id": "b", "note": "x", "status": "active" })] {
            let released = server.post_json(&release, &body).await;
            assert_eq!(released.status, 200, "{}", released.text);
        }
    }
    assert_eq!(server.get("/api/tokens?user_id=a&x=1").await.status, 200);
    let id = server.ids("/api/tokens").await[0].clone();
    assert_eq!(server.get(&format!("/api/tokens/{id}/history?user_id=a")).await.status, 200);
    assert_eq!(server.get(&format!("/api/tokens/{id}?x=1")).await.status, 200);
    let clear = "/api/tokens/clear-active?user_id=a&x=1";
    let body = json!({ "user_id": "a", "note": "x" });
    let answer = Answer::to(server.request(Method::DELETE, clear).json(&body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

/// Sends a request that would end leases, with a body or query that must be rejected.
async fn ends_nothing(
    server: &TestServer,
    method: Method,
    path: &str,
    (name, value): (&str, &Value),
) {
    let request = || server.request(method.clone(), path);
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let pair = [(name, text)];
    for request in
        [request().json(&json!({ name: value })), request().form(&pair), request().query(&pair)]
    {
        let detail = Answer::to(request).await.problem(400, "invalid-parameter");
        assert!(detail.contains(name), "{name} {path}: {detail}");
    }
    assert_eq!(server.active().await, 2, "{name} {path}");
}

#[on_both]
async fn unknown_restrictions_end_no_lease(db: TestDb) {
    let server = db.serve_size(2).await;
    let held = server.allocate("a").await;
    server.allocate("b").await;
    let release = format!("/api/tokens/release/{}", text(&held["token_id"]));
    for (name, value) in [
        ("token_id", json!(UNUSED_ID)),
        ("token", held["token_value"].clone()),
        ("pool", json!("gpu")),
        ("count", json!(1)),
        ("fence", held["fence"].clone()),
        ("user", json!("a")),
        ("leaseId", held["lease_id"].clone()),
        ("if_usr", json!("b")),
        ("if_fence", json!(7)),
    ] {
        ends_nothing(&server, Method::POST, &release, (name, &value)).await;
        ends_nothing(&server, Method::DELETE, "/api/tokens/clear-active", (name, &value)).await;
    }
    for condition in ["lease_id", "if_user"] {
        let clear = "/api/tokens/clear-active";
        ends_nothing(&server, Method::DELETE, clear, (condition, &held["lease_id"])).await;
    }
    // The token of the path may be repeated.
    let same = server.post_json(&release, &json!({ "token_id": held["token_id"] })).await;
    assert_eq!((same.status.as_u16(), server.active().await), (200, 1));
}

#[on_both]
async fn other_routes_reject_unknown_names(db: TestDb) {
    let server = db.serve_size(2).await;
    let held = server.allocate("a").await;
    let lease = format!("/api/leases/{}", text(&held["lease_id"]));
    for path in ["/api/pool", &lease] {
        let detail = server.get(&format!("{path}?a%20b=1")).await.problem(400, "invalid-parameter");
        assert_eq!(detail, "Unknown parameter \"a b\": this request takes no parameters.");
    }
    for path in [format!("{lease}/renew"), format!("{lease}/release")] {
        let detail =
            server.post(&format!("{path}?fence=7")).await.problem(400, "invalid-parameter");
        assert!(detail.contains("Unknown parameter \"fence\""), "{detail}");
        for body in [json!({ "lease_seconds": 600 }), json!({ "if_user": "b" })] {
            let as_form = server.request(Method::POST, &path).form(&body);
            for answer in [server.post_json(&path, &body).await, Answer::to(as_form).await] {
                let detail = answer.problem(400, "invalid-parameter");
                assert!(detail.ends_with("this request takes no members."), "{detail}");
            }
        }
        let malformed = server.request(Method::POST, &path).header("content-type", "a/json");
        Answer::to(malformed.body("x")).await.problem(415, "unsupported-content-type");
        let malformed = server.request(Method::POST, &path).header("content-type", "a/b+json");
        Answer::to(malformed.body("{")).await.problem(400, "invalid-body");
    }
    let export =
        server.get("/api/leases/export?format=csv").await.problem(400, "invalid-parameter");
    assert!(export.contains("Unknown parameter \"format\""), "{export}");
    assert_eq!(server.get(&lease).await.json()["status"], "active", "no request ended it");
    // This pool's leases can't be renewed, but the body is accepted.
    let renewed = server.post_json(&format!("{lease}/renew"), &json!({})).await;
    renewed.problem(409, "renewal-limit");
    assert_eq!(server.post_json(&format!("{lease}/release"), &json!({})).await.status, 200);
}
