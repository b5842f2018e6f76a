//! Conditional release of a token.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Serve as _, text};
use testbed::{TestDb, on_both};

const UNUSED_ID: &str = "00000000-0000-4000-8000-000000000000";

#[on_both]
async fn a_token_is_released_on_conditions(db: TestDb) {
    let server = db.serve_size(1).await;
    let token = server.ids("/api/tokens").await[0].clone();
    let path = format!("/api/tokens/release/{token}");
    let answer = server.post_json(&path, &json!({ "if_user": "a" })).await;
    answer.problem(409, "holder-mismatch");
    assert_eq!(answer.json()["current"], Value::Null);

    let held = server.allocate("a").await;
    for condition in [
        json!({ "if_user": "b" }),
        json!({ "lease_id": UNUSED_ID }),
        json!({ "lease_id": held["lease_id"], "if_user": "b" }),
        json!({ "lease_id": UNUSED_ID, "if_user": "a" }),
    ] {
        let answer = server.post_json(&path, &condition).await;
        answer.problem(409, "holder-mismatch");
        let current = json!({
            "lease_id": held["lease_id"],
            "user": "a",
            "user_id": answer.json()["current"]["user_id"],
            "fence": held["fence"],
            "started_at": held["activated_at"],
            "expires_at": held["expires_at"],
        });
        assert_eq!(answer.json()["current"], current);
        assert!(
            !answer.text.contains(&text(&held["token_value"])),
            "the answer does not contain the value"
        );
        assert_eq!(server.active().await, 1);
    }
    for condition in [
        json!({ "lease_id": text(&held["lease_id"]).to_uppercase(), "if_user": "a" }),
        // Releasing twice is idempotent.
        json!({ "lease_id": held["lease_id"] }),
    ] {
        let answer = server.post_json(&path, &condition).await;
        assert_eq!(answer.text, format!(r#"{{"status":"released","token_id":"{token}"}}"#));
        assert_eq!(server.active().await, 0);
    }
    let form = server.request(Method::POST, &path).form(&[("if_user", "b c")]);
    server.allocate("b c").await;
    assert_eq!(Answer::to(form).await.status, 200);
    // A user_id is ignored, as before.
    server.allocate("d").await;
    assert_eq!(server.post_json(&path, &json!({ "user_id": "e" })).await.status, 200);
    assert_eq!(server.active().await, 0);
    let unknown = format!("/api/tokens/release/{UNUSED_ID}");
    server.post_json(&unknown, &json!({ "if_user": "a" })).await.problem(404, "unknown-token");
}

#[on_both]
async fn invalid_conditions_are_rejected(db: TestDb) {
    let server = db.serve_size(1).await;
    let held = server.allocate("a").await;
    let path = format!("/api/tokens/release/{}", text(&held["token_id"]));
    for (condition, says) in [
        (json!({ "lease_id": null }), "lease_id must be the id of a lease"),
        (json!({ "lease_id": 1 }), "not a number"),
        (json!({ "lease_id": "1" }), "a UUID as in"),
        (json!({ "if_user": null }), "if_user must be a text of 1 to 255 characters, not null"),
        (json!({ "if_user": "" }), "if_user must not be empty"),
    ] {
        let answer = server.post_json(&path, &condition).await;
        let detail = answer.problem(400, "invalid-parameter");
        assert!(detail.contains(says), "{detail}");
    }
    let json = format!(r#"{{"lease_id":"{}"}}"#, text(&held["lease_id"]));
    for (content_type, body, status, code) in [
        ("application/json", &json[1..], 400, "invalid-body"),
        ("application/x-www-form-urlencoded", &json, 400, "invalid-body"),
        ("text/plain", &json, 415, "unsupported-content-type"),
    ] {
        let request = server.request(Method::POST, &path).body(body.to_owned());
        let request = request.header("content-type", content_type);
        Answer::to(request).await.problem(status, code);
    }
    for condition in ["lease_id=7", "x=%&if%5Fuser=a"] {
        let answer = server.post(&format!("{path}?{condition}")).await;
        let detail = answer.problem(400, "invalid-parameter");
        assert!(detail.contains("in the body"), "{detail}");
    }
    assert_eq!(server.active().await, 1, "no lease was released");
    for (content_type, body) in [
        ("text/plain", &b"anything"[..]),
        ("application/json", b"{"),
        ("application/json", b"\xe9"),
    ] {
        let other = server.request(Method::POST, &path).header("content-type", content_type);
        assert_eq!(Answer::to(other.body(body)).await.status, 200);
        assert_eq!(server.active().await, 0);
        server.allocate("a").await;
    }
}
