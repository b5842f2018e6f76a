//! The eight routes of the original, as its clients know them.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use server::Settings;
use store::Wanted;

use crate::harness::{Answer, Serve as _, fields, is_time, text};
use crate::raw::exchange;
use testbed::{TestDb, eventually, on_both};

// The members of the original come first.
const TOKEN: &str = "id token status activated_at user_id inserted_at updated_at \
                     lease_id user expires_at fence number";
const USAGE: &str = "id token_id user_id started_at ended_at inserted_at updated_at \
                     lease_id user expires_at fence end_reason evicted_by";
const GRANTED: &str = "token_id user_id token_value status activated_at \
                       lease_id user expires_at expires_in fence evicted";

const EDIVAN: &str = "bb97b8b7-73e4-3647-b3ec-e833123b5348";
const UNUSED_ID: &str = "00000000-0000-4000-8000-000000000000";

#[on_both]
async fn a_free_token_has_the_known_shape(db: TestDb) {
    let server = db.serve().await;
    let list = server.get("/api/tokens").await;
    assert_eq!((list.status.as_u16(), list.header("content-type")), (200, "application/json"));
    let tokens = list.json();
    let tokens = tokens.as_array().unwrap();
    assert_eq!(tokens.len(), 100);
    let first = list.text.trim_start_matches('[').split_inclusive('}').next().unwrap();
    assert_eq!(fields(first).join(" "), TOKEN);
    for token in tokens {
        assert_eq!(token["status"], "available");
        for nothing in ["activated_at", "user_id", "lease_id", "user", "expires_at", "fence"] {
            assert_eq!(token[nothing], Value::Null);
        }
        assert!(is_time(&token["inserted_at"]) && token["inserted_at"] == token["updated_at"]);
    }
    let distinct = |field: &str| {
        tokens.iter().map(|token| text(&token[field])).collect::<std::collections::HashSet<_>>()
    };
    assert_eq!((distinct("id").len(), distinct("token").len()), (100, 100));
    assert!(distinct("id").is_disjoint(&distinct("token")));

    let id = text(&tokens[0]["id"]);
    let shown = server.get(&format!("/api/tokens/{id}")).await;
    assert_eq!(fields(&shown.text), ["token", "current_user"]);
    assert_eq!(shown.json(), json!({ "token": tokens[0], "current_user": null }));

    let history = server.get(&format!("/api/tokens/{id}/history")).await;
    assert_eq!(fields(&history.text), ["token_id", "history", "message"]);
    let message = "No usage history found";
    assert_eq!(history.json(), json!({ "token_id": id, "history": [], "message": message }));
}

#[on_both]
async fn an_allocation_is_answered_and_shown(db: TestDb) {
    let server = db.serve().await;
    let answer = server.send("application/json", r#"{"user_id":"Edivan"}"#).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    assert_eq!(fields(&answer.text).join(" "), GRANTED);
    let granted = answer.json();
    assert_eq!((&granted["user_id"], &granted["status"]), (&json!("Edivan"), &json!("active")));
    assert!(is_time(&granted["activated_at"]));

    let id = text(&granted["token_id"]);
    let shown = server.get(&format!("/api/tokens/{id}")).await.json();
    let at = &granted["activated_at"];
    let current = &shown["current_user"];
    assert_eq!((&current["user_id"], &current["activated_at"]), (&json!(EDIVAN), at));
    let token = &shown["token"];
    assert_eq!((&token["id"], &token["token"]), (&granted["token_id"], &granted["token_value"]));
    assert_eq!((&token["status"], &token["user_id"]), (&json!("active"), &json!(EDIVAN)));
    assert_eq!((&token["activated_at"], &token["updated_at"]), (at, at));

    let answer = server.get(&format!("/api/tokens/{id}/history")).await;
    assert_eq!(fields(&answer.text), ["token_id", "history"]);
    let history = answer.json();
    let usage = &history["history"][0];
    let written = &answer.text[answer.text.find('[').unwrap() + 1..];
    assert_eq!(fields(written.split_inclusive('}').next().unwrap()).join(" "), USAGE);
    assert_eq!((&usage["token_id"], &usage["user_id"]), (&json!(id), &json!(EDIVAN)));
    assert_eq!((&usage["started_at"], &usage["ended_at"]), (at, &Value::Null));
    assert_eq!((&usage["inserted_at"], &usage["updated_at"]), (at, at));
    assert!(text(&usage["id"]).parse::<uuid::Uuid>().is_ok());
}

#[on_both]
async fn lists_are_current(db: TestDb) {
    let server = db.serve_size(3).await;
    let all = server.ids("/api/tokens").await;
    assert_eq!(server.ids("/api/tokens/available").await, all);
    assert_eq!(server.get("/api/tokens/active").await.text, "[]");
    let taken = text(&server.allocate("a").await["token_id"]);
    assert_eq!(server.ids("/api/tokens").await, all);
    assert_eq!(server.ids("/api/tokens/active").await, std::slice::from_ref(&taken));
    let free: Vec<_> = all.iter().filter(|id| **id != taken).cloned().collect();
    assert_eq!(server.ids("/api/tokens/available").await, free);
    server.allocate("b").await;
    server.allocate("c").await;
    assert_eq!(server.get("/api/tokens/available").await.text, "[]");
    assert_eq!(server.ids("/api/tokens/active").await, all);
}

#[on_both]
async fn users_are_compared_as_sent(db: TestDb) {
    let server = db.serve().await;
    let uuid = "0198C1B2-7A43-7CC0-8F0E-0123456789AB";
    let longest = "é".repeat(255);
    for (sent, known_as) in [
        ("Edivan", Some(EDIVAN.to_owned())),
        (uuid, Some(uuid.to_lowercase())),
        (&uuid.to_lowercase(), Some(uuid.to_lowercase())),
        ("  with spaces  ", None),
        ("\"quoted\" \\ / \u{1} \u{2028} 🦀", None),
        (&longest, None),
    ] {
        let granted = server.allocate(sent).await;
        assert_eq!(granted["user_id"], sent, "it is echoed unchanged");
        let shown = server.get(&format!("/api/tokens/{}", text(&granted["token_id"]))).await;
        let user = text(&shown.json()["current_user"]["user_id"]);
        assert!(known_as.is_none_or(|id| id == user), "{sent} became {user}");
    }
}

#[on_both]
async fn every_body_of_the_original_is_accepted(db: TestDb) {
    let server = db.serve().await;
    let object = r#"{"user_id":"A é"}"#;
    let form = "user_id=A+%C3%A9";
    let urlencoded = "application/x-www-form-urlencoded";
    for (content_type, body) in [
        ("application/json", object.to_owned()),
        ("Application/JSON; charset=utf-8", object.to_owned()),
        ("application/json;charset=iso-8859-1", object.to_owned()),
        ("application/vnd.api+json", object.to_owned()),
        ("application/json", format!(" \n {object} \t ")),
        (
            "application/json",
            r#"{"x":[{"user_id":"no"}],"user_id":"A \u00e9","y":null}"#.to_owned(),
        ),
        ("application/json", r#"{"user_id":"no","user_id":"A é"}"#.to_owned()),
        ("application/json", r#"{"user_id":null,"user\u005fid":"A é"}"#.to_owned()),
        (urlencoded, form.to_owned()),
        (urlencoded, format!("x=1&{form}&y")),
        (urlencoded, "user_id=A é".to_owned()),
        ("application/x-www-form-urlencoded; charset=UTF-8", form.to_owned()),
    ] {
        let answer = server.send(content_type, body.clone()).await;
        assert_eq!(answer.status, 200, "{content_type} {body}: {}", answer.text);
        assert_eq!(answer.json()["user_id"], "A é", "{content_type} {body}");
    }
    let chunked = "POST /api/tokens/allocate HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                   Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
                   7\r\n{\"user_\r\nb\r\nid\":\"Anna\"}\r\n0\r\n\r\n";
    let answer = exchange(server.address, chunked).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(r#""user_id":"Anna""#));
}

#[on_both]
async fn a_release_is_idempotent(db: TestDb) {
    let server = db.serve().await;
    let id = text(&server.allocate("a").await["token_id"]);
    for _ in 0..2 {
        let answer = server.post(&format!("/api/tokens/release/{id}")).await;
        assert_eq!(answer.text, format!(r#"{{"status":"released","token_id":"{id}"}}"#));
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (200, "application/json")
        );
        assert_eq!(server.active().await, 0);
    }
    let history = server.get(&format!("/api/tokens/{id}/history")).await.json();
    let usage = &history["history"][0];
    assert_eq!(history["history"].as_array().unwrap().len(), 1);
    assert!(is_time(&usage["ended_at"]) && text(&usage["ended_at"]) >= text(&usage["started_at"]));
    assert_eq!(usage["updated_at"], usage["ended_at"]);
    let shown = server.get(&format!("/api/tokens/{id}")).await.json();
    assert_eq!(shown["token"]["updated_at"], usage["ended_at"]);
    assert_eq!(shown["current_user"], Value::Null);
}

#[on_both]
async fn clear_frees_all(db: TestDb) {
    let server = db.serve().await;
    for user in ["a", "b", "a"] {
        server.allocate(user).await;
    }
    for count in [3, 0] {
        let answer = server.delete("/api/tokens/clear-active").await;
        let counts = format!(r#""tokens_cleared":{count},"usages_updated":{count}"#);
        let expected = format!(r#"{{"message":"All active tokens cleared",{counts}}}"#);
        assert_eq!((answer.status.as_u16(), &answer.text), (200, &expected));
        assert_eq!(server.active().await, 0);
    }
}

#[on_both]
async fn a_full_pool_evicts_the_oldest_lease(db: TestDb) {
    let server = db.serve_size(3).await;
    let mut given = Vec::new();
    for user in ["a", "b", "c", "d", "e"] {
        given.push(server.allocate(user).await);
    }
    assert_eq!(given[3]["token_id"], given[0]["token_id"]);
    assert_eq!(given[3]["token_value"], given[0]["token_value"]);
    assert_eq!(given[4]["token_id"], given[1]["token_id"]);
    assert_eq!(server.active().await, 3);
    let id = text(&given[0]["token_id"]);
    let history = server.get(&format!("/api/tokens/{id}/history")).await.json();
    assert_eq!(history["history"][0]["started_at"], given[3]["activated_at"]);
    assert_eq!(history["history"][0]["ended_at"], Value::Null);
    assert_eq!(history["history"][1]["ended_at"], given[3]["activated_at"]);
}

#[on_both]
async fn a_lease_expires_at_its_deadline(db: TestDb) {
    let lease = Duration::from_millis(300);
    let server = db.serve_leasing(Some(2), lease, Settings::default()).await;
    let granted = server.allocate("a").await;
    let id = text(&granted["token_id"]);
    eventually("the lease is over", async || server.active().await == 0).await;
    let history = server.get(&format!("/api/tokens/{id}/history")).await.json();
    let usage = &history["history"][0];
    let micros =
        |field: &str| text(&usage[field]).parse::<jiff::Timestamp>().unwrap().as_microsecond();
    assert_eq!(micros("ended_at") - micros("started_at"), 300_000, "{usage}");
}

#[on_both]
async fn unknown_tokens_are_not_found(db: TestDb) {
    let server = db.serve().await;
    for answer in [
        server.get(&format!("/api/tokens/{UNUSED_ID}")).await,
        server.get(&format!("/api/tokens/{UNUSED_ID}/history")).await,
        server.post(&format!("/api/tokens/release/{UNUSED_ID}")).await,
    ] {
        answer.problem(404, "unknown-token");
        assert_eq!(answer.json()["error"], "Token not found");
    }
    let value = text(&server.get("/api/tokens").await.json()[0]["token"]);
    server.get(&format!("/api/tokens/{value}")).await.problem(404, "unknown-token");
}

#[on_both]
async fn ids_have_several_spellings(db: TestDb) {
    let server = db.serve().await;
    let id = text(&server.allocate("a").await["token_id"]);
    let upper = id.to_uppercase();
    let encoded: String = id.split('-').collect::<Vec<_>>().join("%2D");
    for (written, echoed) in [(&upper, &upper), (&encoded, &id)] {
        let shown = server.get(&format!("/api/tokens/{written}")).await;
        assert_eq!(shown.json()["token"]["id"], id.as_str(), "ids are shown in lower case");
        let history = server.get(&format!("/api/tokens/{written}/history")).await.json();
        assert_eq!(history["token_id"], echoed.as_str(), "it is echoed unchanged");
        assert_eq!(history["history"][0]["token_id"], id.as_str());
        let released = server.post(&format!("/api/tokens/release/{written}")).await;
        assert_eq!(released.json()["token_id"], echoed.as_str());
    }
}

#[on_both]
async fn a_trailing_slash_is_ignored(db: TestDb) {
    let server = db.serve().await;
    let id = server.ids("/api/tokens").await[0].clone();
    for path in ["//api/tokens", "/api/tokens/", "/api//tokens///", "//api/tokens/active/?limit=3"]
    {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    assert_eq!(server.get(&format!("//api/tokens/{id}/")).await.status, 200);
    assert_eq!(server.get(&format!("/api//tokens/{id}//history/")).await.status, 200);
    assert_eq!(server.post(&format!("//api/tokens/release/{id}/")).await.status, 200);
    assert_eq!(server.delete("//api/tokens/clear-active/").await.status, 200);
    let request = server.request(Method::POST, "//api//tokens/allocate/");
    let answer = Answer::to(request.json(&json!({ "user_id": "a" }))).await;
    assert_eq!(answer.status, 200);
}

#[on_both]
async fn head_is_get_without_a_body(db: TestDb) {
    let server = db.serve().await;
    let id = server.ids("/api/tokens").await[0].clone();
    for path in [
        "/api/tokens".to_owned(),
        "/api/tokens/available".to_owned(),
        "/api/tokens/active".to_owned(),
        format!("/api/tokens/{id}"),
        format!("/api/tokens/{id}/history"),
        format!("/api/tokens/{UNUSED_ID}"),
        "/health/ready".to_owned(),
        "/nowhere".to_owned(),
    ] {
        let get = server.get(&path).await;
        let head = Answer::to(server.request(Method::HEAD, &path)).await;
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
        for name in ["content-type", "content-length", "etag", "cache-control"] {
            assert_eq!(head.header(name), get.header(name), "{name} of {path}");
        }
        assert_eq!(head.header("content-length"), get.text.len().to_string());
    }
}

#[on_both]
async fn requests_have_an_id(db: TestDb) {
    let server = db.serve().await;
    let named =
        |name: &str| server.request(Method::GET, "/api/tokens").header("x-request-id", name);
    assert_eq!(Answer::to(named("my-request/1")).await.header("x-request-id"), "my-request/1");
    let odd = Answer::to(named("two words")).await;
    assert!(odd.header("x-request-id") != "two words" && odd.header("x-request-id").len() == 32);
    let (one, two) = (server.get("/api/tokens").await, server.get("/nowhere").await);
    assert!(!one.header("x-request-id").is_empty() && !two.header("x-request-id").is_empty());
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
}

#[on_both]
async fn health_is_reported(db: TestDb) {
    let server = db.serve().await;
    for status in ["live", "ready"] {
        let health = server.get(&format!("/health/{status}")).await;
        let version = env!("CARGO_PKG_VERSION");
        let text = format!(r#"{{"status":"{status}","version":"{version}"}}"#);
        assert_eq!((health.status.as_u16(), health.text), (200, text));
    }
}

#[on_both]
async fn without_a_database_requests_fail_with_503(db: TestDb) {
    let (rise, dawn) = tokio::sync::oneshot::channel();
    let wanted = Wanted { size: Some(5), ..Wanted::default() };
    let patience = Duration::from_millis(100);
    let engine_settings = engine::Settings { timeout: patience, ..engine::Settings::default() };
    let dawn = async { dawn.await.unwrap() };
    let server = db.serve_after(dawn, wanted, engine_settings, Settings::default());
    assert_eq!(server.get("/health/live").await.status, 200);
    server.get("/health/ready").await.problem(503, "not-ready");
    for answer in [
        server.get("/api/tokens").await,
        server.get(&format!("/api/tokens/{UNUSED_ID}")).await,
        server.get(&format!("/api/tokens/{UNUSED_ID}/history")).await,
        server.send("application/json", r#"{"user_id":"a"}"#).await,
        server.post(&format!("/api/tokens/release/{UNUSED_ID}")).await,
        server.delete("/api/tokens/clear-active").await,
    ] {
        answer.problem(503, "not-done");
        assert_eq!(answer.header("retry-after"), "1");
    }
    rise.send(()).unwrap();
    let ready = async || server.get("/health/ready").await.status == 200;
    eventually("the server is ready", ready).await;
    assert_eq!(server.ids("/api/tokens").await.len(), 5);
    assert_eq!(server.active().await, 0, "no request was executed meanwhile");
}

#[on_both]
async fn a_pool_without_tokens_rejects_allocations(db: TestDb) {
    let server = db.serve_size(0).await;
    assert_eq!(server.get("/api/tokens").await.text, "[]");
    assert_eq!(server.delete("/api/tokens/clear-active").await.json()["tokens_cleared"], 0);
    let answer = server.send("application/json", r#"{"user_id":"a"}"#).await;
    answer.problem(503, "no-tokens");
    assert_eq!(answer.json()["error"], "No tokens available");
    assert_eq!(answer.header("retry-after"), "1");
}

#[on_both]
async fn benchmark_routes_exist_only_if_enabled(db: TestDb) {
    let server = db.serve().await;
    server.get("/bench/tokens").await.problem(404, "unknown-path");
    server.post("/bench/allocate").await.problem(404, "unknown-path");
    server.stop().await.unwrap();

    let settings = Settings { benchmark_routes: true, ..Settings::default() };
    let server = db.serve_with(Some(100), settings).await;
    server.post("/bench/allocate").await.problem(400, "invalid-user");
    let request = server.request(Method::POST, "/bench/allocate");
    let sample = Answer::to(request.json(&json!({ "user_id": "Edivan" }))).await;
    for _ in 0..100 {
        server.allocate("Edivan").await;
    }
    let names = |answer: &Answer| answer.headers.keys().cloned().collect::<Vec<_>>();
    let (listed, tokens) = (server.get("/bench/tokens").await, server.get("/api/tokens").await);
    // The benchmark measures a full pool, where each allocation evicts.
    let real = server.send("application/json", r#"{"user_id":"Edivan"}"#).await;
    assert_eq!((sample.status, sample.text.len()), (real.status, real.text.len()));
    assert_eq!(names(&sample), names(&real));
    let (sample, real) = (listed, tokens);
    assert_eq!((sample.status, sample.text.len()), (real.status, real.text.len()));
    assert_eq!(names(&sample), names(&real));
}
