//! Lease search: filters and pages.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Serve as _, TestServer, fields, text};
use testbed::{TestDb, eventually, on_both};

async fn ask(server: &TestServer, query: &str) -> Vec<Value> {
    let answer = server.get(&format!("/api/leases{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(fields(&answer.text), ["leases", "next"]);
    let answer = answer.json();
    assert_eq!(answer["next"], Value::Null, "{query}");
    answer["leases"].as_array().unwrap().clone()
}

/// Fences of the leases found.
async fn fences(server: &TestServer, query: &str) -> Vec<i64> {
    ask(server, query).await.iter().map(|lease| lease["fence"].as_i64().unwrap()).collect()
}

/// Leases 1 to 7 on three tokens: released, cleared, expired, evicted, and three running.
async fn eventful(db: &TestDb) -> (TestServer, Vec<Value>) {
    let server = db.serve_size(3).await;
    let mut leases = vec![server.allocate("Ann").await];
    server.post(&format!("/api/leases/{}/release", text(&leases[0]["lease_id"]))).await;
    leases.push(server.allocate("bob & co").await);
    server.delete("/api/tokens/clear-active").await;
    let short = r#"{"user_id":"Ann","lease_seconds":0.001}"#;
    leases.push(server.send("application/json", short).await.json());
    eventually("the lease has expired", async || server.active().await == 0).await;
    for user in ["Ann", "0198C1B2-7A43-7CC0-8F0E-0123456789AB", "Ann"] {
        leases.push(server.allocate(user).await);
    }
    leases.push(server.allocate("bob & co").await);
    (server, leases)
}

#[on_both]
async fn every_filter_selects(db: TestDb) {
    let (server, leases) = eventful(&db).await;
    let all = ask(&server, "").await;
    let found: Vec<i64> = all.iter().map(|lease| lease["fence"].as_i64().unwrap()).collect();
    assert_eq!(found, [7, 6, 5, 4, 3, 2, 1], "newest first");
    for lease in &all {
        let shown = server.get(&format!("/api/leases/{}", text(&lease["lease_id"]))).await.json();
        for (field, value) in lease.as_object().unwrap() {
            assert!(*value == shown[field] || field == "expires_in", "{field}: {value}");
        }
    }
    assert_eq!(
        (&all[3]["end_reason"], &all[3]["evicted_by"]),
        (&json!("evicted"), &all[0]["lease_id"])
    );

    let token = text(&leases[0]["token_id"]);
    let of_token: Vec<i64> = leases
        .iter()
        .filter(|lease| lease["token_id"] == leases[0]["token_id"])
        .map(|lease| lease["fence"].as_i64().unwrap())
        .rev()
        .collect();
    for (query, expected) in [
        ("?user=Ann", vec![6, 4, 3, 1]),
        ("?user=bob+%26%20co", vec![7, 2]),
        ("?user=0198c1b2-7a43-7cc0-8f0e-0123456789ab", vec![5]),
        ("?user=ann", vec![]),
        ("?status=running", vec![7, 6, 5]),
        ("?status=active", vec![7, 6, 5]),
        ("?status=ended", vec![4, 3, 2, 1]),
        ("?end_reason=released", vec![1]),
        ("?end_reason=cleared", vec![2]),
        ("?end_reason=expired", vec![3]),
        ("?end_reason=evicted", vec![4]),
        ("?end_reason=imported", vec![]),
        ("?user=Ann&status=running", vec![6]),
        ("?user=Ann&status=ended&end_reason=evicted", vec![4]),
        ("?user=bob+%26+co&end_reason=evicted", vec![]),
        ("?limit=1000&format=json", vec![7, 6, 5, 4, 3, 2, 1]),
        (&format!("?token_id={token}"), of_token.clone()),
        (&format!("?token_id={}", token.to_uppercase()), of_token),
        ("?token_id=00000000-0000-4000-8000-000000000000", vec![]),
    ] {
        assert_eq!(fences(&server, query).await, expected, "{query}");
    }
    let started = |lease: usize| text(&leases[lease]["activated_at"]);
    let from = format!("?from={}", started(3));
    assert_eq!(fences(&server, &from).await, [7, 6, 5, 4], "from is included");
    let to = format!("?from={}&to={}", started(1), started(3));
    assert_eq!(fences(&server, &to).await, [3, 2], "to is excluded");
}

#[on_both]
async fn holders_at_a_time_are_found(db: TestDb) {
    let (server, leases) = eventful(&db).await;
    let at = async |time: &Value| fences(&server, &format!("?at={}", text(time))).await;
    // A lease lasts from its start, inclusive, to its end, exclusive.
    for lease in &leases {
        let held = at(&lease["activated_at"]).await;
        assert!(held.contains(&lease["fence"].as_i64().unwrap()), "{lease}: {held:?}");
    }
    assert_eq!(at(&leases[2]["expires_at"]).await, [0; 0]);
    assert_eq!(at(&leases[6]["activated_at"]).await, [7, 6, 5], "4 was evicted at that moment");
    let before = fences(&server, "?at=2020-01-01T00:00:00Z").await;
    assert!(before.is_empty(), "{before:?}");
    let of_user = format!("?at={}&user=Ann", text(&leases[6]["activated_at"]));
    assert_eq!(fences(&server, &of_user).await, [6]);
}

#[on_both]
async fn times_may_have_any_offset(db: TestDb) {
    let server = db.serve().await;
    let granted = server.allocate("a").await;
    let started: jiff::Timestamp = text(&granted["activated_at"]).parse().unwrap();
    let offset = jiff::tz::Offset::from_hours(5).unwrap();
    let there = started.display_with_offset(offset).to_string();
    assert!(there.ends_with("+05:00"), "{there}");
    for written in [there.replace('+', "%2B"), there.clone(), there.replace(':', "%3a")] {
        assert_eq!(fences(&server, &format!("?at={written}")).await, [1], "{written}");
        assert_eq!(fences(&server, &format!("?to={written}")).await, [0; 0], "{written}");
    }
}

/// Fences of each page, by following the links.
async fn pages(server: &TestServer, path: &str) -> Vec<Vec<i64>> {
    let (mut pages, mut path) = (Vec::new(), Some(path.to_owned()));
    while let Some(this) = path {
        let answer = server.get(&this).await;
        assert_eq!(answer.status, 200, "{this}: {}", answer.text);
        let body = answer.json();
        let leases = body["leases"].as_array().unwrap().iter();
        pages.push(leases.map(|lease| lease["fence"].as_i64().unwrap()).collect());
        path = body["next"].as_str().map(str::to_owned);
        let link = path.as_ref().map_or(String::new(), |next| format!("<{next}>; rel=\"next\""));
        assert_eq!(answer.header("link"), link);
    }
    pages
}

#[on_both]
async fn leases_are_paged(db: TestDb) {
    let server = db.serve_size(10).await;
    for number in 0..35 {
        server.allocate(["a b", "c"][number % 2]).await;
    }
    for filter in
        ["", "user=a+b&", "status=ended&", "status=running&", "end_reason=evicted&user=c&"]
    {
        let whole = fences(&server, &format!("?{filter}")).await;
        for limit in [1, 2, 7, 35, 1000] {
            let pages = pages(&server, &format!("/api/leases?{filter}limit={limit}")).await;
            assert_eq!(pages.concat(), whole, "{filter}{limit}");
            assert!(pages.iter().all(|page| page.len() <= limit), "{filter}{limit}");
        }
    }
    assert_eq!(pages(&server, "/api/leases?limit=10").await[0].len(), 10);
}

#[on_both]
async fn pages_exclude_newer_leases(db: TestDb) {
    let server = db.serve_size(3).await;
    for _ in 0..6 {
        server.allocate("a").await;
    }
    let first = server.get("/api/leases?limit=4").await.json();
    let next = text(&first["next"]);
    server.allocate("a").await;
    let second = server.get(&next).await.json();
    let fences: Vec<&Value> =
        second["leases"].as_array().unwrap().iter().map(|lease| &lease["fence"]).collect();
    assert_eq!(fences, [2, 1]);
}

#[on_both]
async fn invalid_searches_are_rejected(db: TestDb) {
    let server = db.serve().await;
    server.allocate("a").await;
    for (query, says) in [
        (
            "usr=a",
            "Unknown parameter \"usr\". Did you mean user? Known parameters: user, token_id,",
        ),
        ("user_id=a", "Unknown parameter \"user_id\"."),
        ("user=", "user must not be empty."),
        ("user=a&user=b", "user may be given only once."),
        ("token_id=1", "token_id must be a token's id, a UUID as in"),
        ("status=over", "status must be running or ended."),
        ("end_reason=lost", "end_reason must be one of released, expired, "),
        ("from=2026-01-31", "from must be a time with its offset, as in 2026-01-31T12:00:00Z"),
        ("to=2026-01-31T12:00:00", "to must be a time with its offset"),
        ("at=now", "at must be a time with its offset"),
        ("limit=0", "limit must be a whole number from 1 to 1000."),
        ("limit=1001", "limit must be a whole number from 1 to 1000."),
        ("after=7", "after must be a cursor from next."),
        ("format=xml", "format must be json or csv."),
        ("user=%zz", "\"user\" is malformed"),
        ("status=running&end_reason=expired", "end_reason can't be combined with"),
        ("limit=5&format=csv", "limit must be left out"),
    ] {
        let detail =
            server.get(&format!("/api/leases?{query}")).await.problem(400, "invalid-parameter");
        assert!(detail.contains(says), "{query}: {detail}");
    }
    let head = Answer::to(server.request(Method::HEAD, "/api/leases?limit=0")).await;
    assert_eq!(head.status, 400);
}
