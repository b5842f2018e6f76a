//! API keys and sessions over HTTP.

use reqwest::Method;
use serde_json::json;
use testbed::{TestDb, on_both};

use crate::harness::{Answer, Serve as _, TestServer, fields, is_time, text};

/// Creates a key with this body and returns its text.
pub async fn key(server: &TestServer, admin: Option<&str>, body: serde_json::Value) -> String {
    let request = server.request(Method::POST, "/api/keys").json(&body);
    let request = match admin {
        Some(admin) => request.bearer_auth(admin),
        None => request,
    };
    let created = Answer::to(request).await;
    assert_eq!(created.status, 201, "{}", created.text);
    text(&created.json()["secret"])
}

/// Creates the first key.
pub async fn first_key(server: &TestServer) -> String {
    let everything = json!({ "name": "root", "rights": "admin", "pools": ["*"], "users": ["*"] });
    key(server, None, everything).await
}

#[on_both]
async fn the_first_key_ends_access_without_keys(db: TestDb) {
    let server = db.serve_size(2).await;
    let before = server.get("/api/session").await;
    let expected = ["via", "rights", "key", "pools", "users", "expires_at", "keys_exist"];
    assert_eq!(fields(&before.text), expected);
    assert_eq!(before.json()["rights"], "admin");
    assert_eq!(before.json()["keys_exist"], false);
    let root = first_key(&server).await;
    assert!(root.starts_with("tm_"), "{root}");
    let refused = server.get("/api/pools").await;
    refused.problem(401, "unauthenticated");
    let challenges: Vec<_> = refused.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(challenges, ["Bearer realm=\"TokenManager\"", "Basic realm=\"TokenManager\""]);
    let answer = Answer::to(server.request(Method::GET, "/api/pools").bearer_auth(&root)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let basic = server.request(Method::GET, "/api/keys").basic_auth("any", Some(&root));
    let keys = Answer::to(basic).await;
    assert_eq!(keys.status, 200, "{}", keys.text);
    assert!(!keys.text.contains("secret"), "{}", keys.text);
    let row = &keys.json()["keys"][0];
    assert_eq!((&row["name"], &row["rights"]), (&json!("root"), &json!("admin")));
    assert!(is_time(&row["created_at"]), "{row}");
}
