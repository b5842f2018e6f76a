//! Pages of a token's history.

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
