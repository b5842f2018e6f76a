//! Pages of a token's history.

use serde_json::json;

use crate::harness::{Answer, Serve as _, TestServer, fields, text};
use testbed::{TestDb, on_both};

/// Ids of the entries on each page, by following the links.
async fn pages(server: &TestServer, path: String) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut path = Some(path);
    while let Some(this) = path {
        let answer = server.get(&this).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        pages.push(usages(&answer));
        let body = answer.json();
        path = body.get("next").map(text);
        let link = path.as_ref().map_or(String::new(), |next| format!("<{next}>; rel=\"next\""));
        assert_eq!(answer.header("link"), link);
        assert!(body.get("message").is_none());
    }
    pages
}

fn usages(answer: &Answer) -> Vec<String> {
    let body = answer.json();
    body["history"].as_array().unwrap().iter().map(|usage| text(&usage["id"])).collect()
}

#[on_both]
async fn a_long_history_is_paged(db: TestDb) {
    let server = db.serve_size(1).await;
    let mut values = std::collections::HashSet::new();
    for number in 0..25 {
        values.insert(text(&server.allocate(&format!("u{number}")).await["token_value"]));
    }
    assert_eq!(values.len(), 1);
    let id = server.ids("/api/tokens").await[0].to_uppercase();
    let whole = server.get(&format!("/api/tokens/{id}/history")).await;
    assert_eq!(fields(&whole.text), ["token_id", "history"]);
    let whole = usages(&whole);
    assert_eq!(whole.len(), 25);
    for (limit, count) in [(10, 3), (24, 2), (25, 1), (1000, 1), (1, 25)] {
        let pages = pages(&server, format!("/api/tokens/{id}/history?limit={limit}")).await;
        assert_eq!((pages.len(), pages.concat()), (count, whole.clone()), "{limit}");
    }
    let first = server.get(&format!("/api/tokens/{id}/history?limit=10")).await;
    assert_eq!(fields(&first.text), ["token_id", "history", "next"]);
    let next = text(&first.json()["next"]);
    assert!(next.starts_with(&format!("/api/tokens/{id}/history?limit=10&before=")), "{next}");
    // New leases do not move the pages.
    server.allocate("later").await;
    assert_eq!(usages(&server.get(&next).await), whole[10..20]);
    let oldest = server.get(&format!("/api/tokens/{id}/history?before=1")).await;
    assert_eq!(fields(&oldest.text), ["token_id", "history"]);
    assert!(usages(&oldest).is_empty());
}

#[on_both]
async fn a_history_beyond_1000_rows_is_paged_by_itself(db: TestDb) {
    let server = db.serve_size(1).await;
    let user = pool::User::new("a").unwrap();
    for _ in 0..1_050 {
        server.engine.allocate(user.clone()).await.unwrap().unwrap();
    }
    let id = server.ids("/api/tokens").await[0].clone();
    let pages = pages(&server, format!("/api/tokens/{id}/history")).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [1_000, 50]);
}

#[on_both]
async fn invalid_pages_are_rejected(db: TestDb) {
    let server = db.serve().await;
    let id = server.ids("/api/tokens").await[0].clone();
    let limit = "limit must be a whole number from 1 to 1000.";
    let before = "before must be a whole number from 1 to 9223372036854775807.";
    for (query, says) in [
        ("limit=0", limit),
        ("limit=1001", limit),
        ("limit=all", limit),
        ("before=0", before),
        ("before=-5", before),
        ("before=x", before),
        ("before=9223372036854775808", before),
    ] {
        let answer = server.get(&format!("/api/tokens/{id}/history?{query}")).await;
        assert_eq!(answer.problem(400, "invalid-parameter"), says);
    }
}

/// Ids of the leases in an answer.
fn lease_ids(answer: &Answer) -> Vec<String> {
    let body = answer.json();
    body["leases"].as_array().unwrap().iter().map(|lease| text(&lease["lease_id"])).collect()
}

#[on_both]
async fn retired_tokens_keep_their_history(db: TestDb) {
    let server = db.serve_size(2).await;
    server.put_json("/api/pools/default", &json!({ "membership": "open" })).await;
    let held = server.allocate("Ada").await;
    let (id, lease) = (text(&held["token_id"]), text(&held["lease_id"]));
    server.post(&format!("/api/leases/{lease}/release")).await;
    let path = format!("/api/tokens/{id}/history");
    let before = server.get(&path).await.json();
    server.delete(&format!("/api/pools/default/tokens/{id}")).await;
    server.get(&format!("/api/tokens/{id}")).await.problem(404, "unknown-token");
    let after = server.get(&path).await;
    assert_eq!((after.status.as_u16(), after.json()), (200, before));
    assert_eq!(usages(&after), [lease]);
    // Neither of the two is a token of the pool.
    server.put_json("/api/pools/staging", &json!({ "tokens": [{ "name": "one" }] })).await;
    let other = server.get("/api/pools/staging/tokens/one").await;
    for id in [text(&other.json()["id"]), uuid::Uuid::nil().to_string()] {
        server.get(&format!("/api/tokens/{id}/history")).await.problem(404, "unknown-token");
    }
    assert_eq!(server.get("/api/tokens").await.json().as_array().unwrap().len(), 1);
}

#[on_both]
async fn leases_of_retired_tokens_are_found_by_name_and_id(db: TestDb) {
    let server = db.serve_size(1).await;
    let document = |names: &[&str]| {
        let tokens: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
        json!({ "tokens": tokens })
    };
    server.put_json("/api/pools/staging", &document(&["one", "two"])).await;
    let allocate = async |token: &str| {
        let body = json!({ "user": "Ada", "token": token });
        server.post_json("/api/pools/staging/allocate", &body).await.json()
    };
    let (one, two) = (allocate("one").await, allocate("two").await);
    server.post(&format!("/api/leases/{}/release", text(&one["lease_id"]))).await;
    let pruned = "/api/pools/staging/tokens?prune=true";
    assert_eq!(server.put_json(pruned, &document(&["two"])).await.status, 200);
    server.get("/api/pools/staging/tokens/one").await.problem(404, "unknown-token");
    let ids = [text(&one["lease_id"])];
    let id = text(&one["token_id"]);
    for query in [
        "pool=staging&token=one".to_owned(),
        format!("pool=staging&token={id}"),
        format!("pool=staging&token_id={id}"),
        format!("pool=*&token_id={id}"),
    ] {
        let found = server.get(&format!("/api/leases?{query}")).await;
        assert_eq!(lease_ids(&found), ids, "{query}: {}", found.text);
        let export = server.get(&format!("/api/leases/export?{query}")).await;
        assert!(export.text.lines().count() == 2 && export.text.contains(&ids[0]), "{query}");
    }
    // A token that was renamed or added later has the name now.
    server.put_json("/api/pools/staging/tokens", &document(&["one"])).await;
    let later = allocate("one").await;
    let found = server.get("/api/leases?pool=staging&token=one").await;
    assert_eq!(lease_ids(&found), [text(&later["lease_id"])]);
    let found = server.get("/api/leases?pool=staging&token=two").await;
    assert_eq!(lease_ids(&found), [text(&two["lease_id"])]);

    for query in ["pool=staging&token=three", "token=one", &format!("token={id}")] {
        server.get(&format!("/api/leases?{query}")).await.problem(404, "unknown-token");
        server.get(&format!("/api/leases/export?{query}")).await.problem(404, "unknown-token");
    }
    for query in ["pool=*&token=one".to_owned(), format!("pool=staging&token=one&token_id={id}")] {
        let refused = server.get(&format!("/api/leases?{query}")).await;
        let detail = refused.problem(400, "invalid-parameter");
        assert!(detail.contains("can't be combined"), "{detail}");
    }
    // Also of a deleted pool.
    server.post(&format!("/api/leases/{}/release", text(&two["lease_id"]))).await;
    server.post(&format!("/api/leases/{}/release", text(&later["lease_id"]))).await;
    assert_eq!(server.delete("/api/pools/staging").await.status, 200);
    let found = server.get("/api/leases?pool=staging&token=two").await;
    assert_eq!(lease_ids(&found), [text(&two["lease_id"])]);
}
