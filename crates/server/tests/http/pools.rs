//! Pools, their tokens and taints.

use std::time::Duration;

use pool::{Policy, WhenFull};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testbed::{TestDb, on_both};

use crate::harness::{Answer, Serve as _, TestServer, fields, is_time, shown_policy, text};

/// The kinds of changes, each with pool and token.
fn changes(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    let result = answer.json();
    let name = |value: &Value| value.as_str().map_or(String::new(), |name| format!(" {name}"));
    let one = |change: &Value| {
        format!("{}{}{}", text(&change["kind"]), name(&change["pool"]), name(&change["token"]))
    };
    result["changes"].as_array().unwrap().iter().map(one).collect()
}

fn staging() -> Value {
    json!({
        "description": "Staging environments",
        "when_full": "reject",
        "lease": "30m",
        "max_lease": "8h",
        "tokens": [
            { "name": "one", "value": "https://one.example", "labels": { "region": "eu" } },
            { "name": "two", "value": "https://two.example" },
        ],
    })
}

async fn names(server: &TestServer, pool: &str) -> Vec<String> {
    let page = server.get(&format!("/api/pools/{pool}/tokens")).await;
    assert_eq!(page.status, 200, "{}", page.text);
    page.json()["tokens"].as_array().unwrap().iter().map(|token| text(&token["name"])).collect()
}

#[on_both]
async fn a_pool_is_created_changed_and_shown(db: TestDb) {
    let server = db.serve_size(3).await;
    server.get("/api/pools/staging").await.problem(404, "unknown-pool");
    let created = server.put_json("/api/pools/staging", &staging()).await;
    assert_eq!(fields(&created.text), ["dry_run", "changes", "leases_ended", "waits_given_up"]);
    let expected = ["pool.created staging", "token.added staging one", "token.added staging two"];
    assert_eq!(changes(&created), expected);
    assert!(!created.text.contains("https://"), "{}", created.text);

    let shown = server.get("/api/pools/staging").await;
    assert_eq!((shown.status.as_u16(), shown.header("cache-control")), (200, "no-store"));
    let names = [
        "name",
        "description",
        "size",
        "active",
        "available",
        "tainted",
        "retiring",
        "waiting",
        "next_deadline",
        "policy",
        "created_at",
        "oldest_lease",
        "epoch",
        "version",
    ];
    assert_eq!(fields(&shown.text), names);
    let pool = shown.json();
    let policy = Policy {
        lease: Duration::from_mins(30),
        max_lease: Some(Duration::from_hours(8)),
        when_full: WhenFull::Reject,
        ..Policy::OTHER
    };
    assert_eq!(pool["policy"], shown_policy(&policy));
    assert!(is_time(&pool["created_at"]));
    assert_eq!((&pool["size"], &pool["available"]), (&json!(2), &json!(2)));
    assert_eq!((&pool["next_deadline"], &pool["oldest_lease"]), (&Value::Null, &Value::Null));

    // Applying it again changes nothing.
    let again = server.put_json("/api/pools/staging", &staging()).await;
    assert_eq!(changes(&again), [""; 0]);
    let etag = shown.header("etag").to_owned();
    assert_eq!(server.get("/api/pools/staging").await.header("etag"), etag);
    let changed = server.put_json("/api/pools/staging", &json!({ "max_per_user": 2 })).await;
    assert_eq!(changes(&changed), ["pool.changed staging"]);
    let field = json!({ "name": "max_per_user", "before": "none", "after": "2" });
    assert_eq!(changed.json()["changes"][0]["fields"], json!([field]));
    let shown = server.get("/api/pools/staging").await;
    assert_eq!(shown.json()["policy"]["max_per_user"], 2);
    assert_eq!(shown.json()["description"], "Staging environments");
    assert_ne!(shown.header("etag"), etag);

    // With a lease, and the ids of the events that follow this response.
    let request = json!({ "user": "ann", "token": "two", "note": "PR 1" });
    let lease = server.post_json("/api/pools/staging/allocate", &request).await.json();
    let (shown, default) = (server.get("/api/pools/staging").await, server.get("/api/pool").await);
    let (shown, default) = (shown.json(), default.json());
    let oldest = &shown["oldest_lease"];
    assert_eq!(oldest["lease_id"], lease["lease_id"]);
    assert_eq!(oldest["pool"], "staging");
    assert_eq!((&oldest["token_name"], &oldest["note"]), (&json!("two"), &json!("PR 1")));
    let page = server.get("/api/pools").await.json();
    for stamp in ["epoch", "version"] {
        assert_eq!((&shown[stamp], &page[stamp]), (&default[stamp], &default[stamp]), "{stamp}");
    }
}

#[on_both]
async fn pools_are_listed_by_name(db: TestDb) {
    let server = db.serve_size(3).await;
    let pools: serde_json::Map<String, Value> = ["z", "a", "m"]
        .map(|name| (name.to_owned(), json!({ "tokens": [{}] })))
        .into_iter()
        .collect();
    let applied = server.put_json("/api/pools", &json!({ "pools": pools })).await;
    assert_eq!(changes(&applied).len(), 6);
    let page = server.get("/api/pools").await;
    let listed = |page: &Answer| -> Vec<String> {
        page.json()["pools"].as_array().unwrap().iter().map(|pool| text(&pool["name"])).collect()
    };
    assert_eq!(listed(&page), ["a", "default", "m", "z"]);
    assert_eq!(page.json()["next"], Value::Null);
    let default = &page.json()["pools"][1];
    assert_eq!(default["policy"]["membership"], "fixed");
    assert_eq!(default["policy"]["show_values"], "everyone");
    assert_eq!(default["size"], 3);
    let (mut path, mut all) = ("/api/pools?limit=3".to_owned(), Vec::new());
    loop {
        let page = server.get(&path).await;
        all.extend(listed(&page));
        let Some(next) = page.json()["next"].as_str().map(str::to_owned) else { break };
        assert_eq!(page.header("link"), format!("<{next}>; rel=\"next\""));
        path = next;
    }
    assert_eq!(all, ["a", "default", "m", "z"]);
}

#[on_both]
async fn a_document_is_applied_as_a_whole(db: TestDb) {
    let server = db.serve_size(1).await;
    let document = json!({ "pools": {
        "staging": staging(),
        "ports": { "tokens": [{ "name": "20000" }, { "name": "20001" }] },
    } });
    let dry = server.put_json("/api/pools?dry_run=true", &document).await;
    assert_eq!(dry.json()["dry_run"], true);
    server.get("/api/pools/staging").await.problem(404, "unknown-pool");
    let applied = server.put_json("/api/pools", &document).await;
    assert_eq!(changes(&applied), changes(&dry));
    assert_eq!(applied.json()["dry_run"], false);
    assert_eq!(changes(&server.put_json("/api/pools", &document).await), [""; 0]);

    // A mistake in one pool refuses all.
    let wrong = json!({ "pools": {
        "ports": { "tokens": [{ "name": "20002" }] },
        "default": { "tokens": [{ "name": "new" }] },
    } });
    let refused = server.put_json("/api/pools", &wrong).await;
    refused.problem(409, "pool-fixed");
    assert_eq!(
        (&refused.json()["pool"], &refused.json()["token"]),
        (&json!("default"), &json!("new"))
    );
    assert_eq!(names(&server, "ports").await, ["20000", "20001"]);

    let pruned = json!({ "pools": {
        "ports": { "tokens": [{ "name": "20001" }] },
        "staging": { "delete": true },
    } });
    let kept = json!({ "pools": { "ports": pruned["pools"]["ports"] } });
    assert_eq!(changes(&server.put_json("/api/pools", &kept).await), [""; 0]);
    let pruned = server.put_json("/api/pools?prune=true", &pruned).await;
    assert_eq!(changes(&pruned), ["pool.deleted staging", "token.retired ports 20000"]);
    assert_eq!(names(&server, "ports").await, ["20001"]);
    server.get("/api/pools/staging").await.problem(404, "unknown-pool");
}

#[on_both]
async fn conditions_are_checked(db: TestDb) {
    let server = db.serve_size(1).await;
    let put = async |name: &str, condition: (&str, &str), body: Value| {
        let request = server.request(Method::PUT, &format!("/api/pools/{name}"));
        Answer::to(request.header(condition.0, condition.1).json(&body)).await
    };
    put("staging", ("if-match", "*"), staging()).await.problem(412, "precondition-failed");
    put("staging", ("if-match", "\"x\""), staging()).await.problem(412, "precondition-failed");
    assert_eq!(changes(&put("staging", ("if-none-match", "*"), staging()).await).len(), 3);
    put("staging", ("if-none-match", "*"), staging()).await.problem(412, "precondition-failed");
    put("staging", ("if-none-match", "\"x\""), staging()).await.problem(400, "invalid-parameter");
    let etag = server.get("/api/pools/staging").await.header("etag").to_owned();
    // Counts and tokens are not a part of it.
    let allocated = server.post_json("/api/pools/staging/allocate", &json!({ "user": "a" })).await;
    assert_eq!(allocated.status, 200, "{}", allocated.text);
    let wait = json!({ "when_full": "wait" });
    let weak = format!("\"other\", W/{etag}");
    assert_eq!(changes(&put("staging", ("if-match", &weak), wait.clone()).await).len(), 1);
    put("staging", ("if-match", &etag), wait).await.problem(412, "precondition-failed");
    assert_eq!(changes(&put("staging", ("if-match", "*"), json!({})).await), [""; 0]);

    let delete = async |etag: &str| {
        let request = server.request(Method::DELETE, "/api/pools/staging?end_leases=true");
        Answer::to(request.header("if-match", etag)).await
    };
    delete(&etag).await.problem(412, "precondition-failed");
    let patch = server.request(Method::PATCH, "/api/pools/staging/tokens/one");
    let patch = patch.header("if-match", &etag).json(&json!({ "name": "uno" }));
    Answer::to(patch).await.problem(412, "precondition-failed");
    let etag = server.get("/api/pools/staging").await.header("etag").to_owned();
    assert_eq!(changes(&delete(&etag).await), ["pool.deleted staging"]);
    // A new pool with the same policy is another one.
    server.put_json("/api/pools/staging", &staging()).await;
    let again = server.put_json("/api/pools/staging", &json!({ "when_full": "wait" })).await;
    assert_eq!(again.status, 200);
    delete(&etag).await.problem(412, "precondition-failed");
    let many = server.request(Method::PUT, "/api/pools").header("if-match", "*");
    Answer::to(many.json(&json!({ "pools": {} }))).await.problem(400, "invalid-parameter");
}

#[on_both]
async fn a_pool_with_leases_is_deleted_only_on_request(db: TestDb) {
    let server = db.serve_size(1).await;
    server.put_json("/api/pools/staging", &staging()).await;
    let lease =
        server.post_json("/api/pools/staging/allocate", &json!({ "user": "a" })).await.json();
    let refused = server.delete("/api/pools/staging").await;
    refused.problem(409, "pool-in-use");
    assert_eq!(
        (&refused.json()["pool"], &refused.json()["leases"]),
        (&json!("staging"), &json!(1))
    );
    let dry = server.delete("/api/pools/staging?end_leases=true&dry_run=true").await;
    assert_eq!(
        (changes(&dry), &dry.json()["leases_ended"]),
        (vec!["pool.deleted staging".to_owned()], &json!(1))
    );
    let deleted = server.delete("/api/pools/staging?end_leases=true").await;
    assert_eq!(
        (&deleted.json()["leases_ended"], &deleted.json()["dry_run"]),
        (&json!(1), &json!(false))
    );
    let lease = server.get(&format!("/api/leases/{}", text(&lease["lease_id"]))).await.json();
    assert_eq!((&lease["end_reason"], &lease["pool"]), (&json!("cleared"), &json!("staging")));
    server.delete("/api/pools/staging").await.problem(404, "unknown-pool");
    let refused = server.delete("/api/pools/default").await;
    let detail = refused.problem(422, "plan-refused");
    assert!(detail.contains("default"), "{detail}");
    server.delete("/api/pools/No!").await.problem(404, "unknown-pool");
}

#[on_both]
async fn tokens_are_added_changed_and_retired(db: TestDb) {
    let server = db.serve_size(1).await;
    let token = json!({ "name": "one", "value": "v", "labels": { "a": "b" } });
    server.post_json("/api/pools/staging/tokens", &token).await.problem(404, "unknown-pool");
    server.put_json("/api/pools/staging", &json!({ "show_values": "everyone" })).await;
    let added = server.post_json("/api/pools/staging/tokens", &token).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.text);
    assert_eq!(added.header("location"), "/api/pools/staging/tokens/one");
    let members = [
        "id",
        "name",
        "number",
        "value",
        "labels",
        "taints",
        "status",
        "retiring",
        "lease",
        "inserted_at",
    ];
    assert_eq!(fields(&added.text), members);
    let one = added.json();
    assert_eq!(
        (&one["number"], &one["value"], &one["status"]),
        (&json!(1), &json!("v"), &json!("available"))
    );
    server.post_json("/api/pools/staging/tokens", &token).await.problem(409, "name-taken");
    let unnamed = server.post_json("/api/pools/staging/tokens", &json!({})).await.json();
    assert_eq!((&unnamed["name"], &unnamed["number"]), (&json!("2"), &json!(2)));
    assert_eq!(text(&unnamed["value"]).len(), 36);

    let id = text(&one["id"]);
    for path in ["one", &id, &id.to_uppercase()] {
        let shown = server.get(&format!("/api/pools/staging/tokens/{path}")).await;
        assert_eq!(shown.json(), one, "{path}");
    }
    let path = format!("/api/pools/staging/tokens/{id}");
    let changed = server.send_json(Method::PATCH, &path, &json!({ "name": "uno" })).await.json();
    assert_eq!((&changed["name"], &changed["labels"]), (&json!("uno"), &json!({ "a": "b" })));
    let refused = server.send_json(Method::PATCH, &path, &json!({ "name": "2" })).await;
    refused.problem(409, "name-taken");
    let changed = json!({ "value": "w", "labels": {} });
    let changed = server.send_json(Method::PATCH, "/api/pools/staging/tokens/uno", &changed).await;
    assert_eq!((&changed.json()["value"], &changed.json()["labels"]), (&json!("w"), &json!({})));
    server.get("/api/pools/staging/tokens/one").await.problem(404, "unknown-token");
    server.get("/api/pools/nowhere/tokens/one").await.problem(404, "unknown-pool");
    // The routes of the pool `default` do not have tokens of others.
    server.get(&format!("/api/tokens/{id}")).await.problem(404, "unknown-token");
    server.get(&format!("/api/pools/default/tokens/{id}")).await.problem(404, "unknown-token");

    let body = json!({ "user": "a", "token": "uno" });
    let held = server.post_json("/api/pools/staging/allocate", &body).await.json();
    let dry = server.delete("/api/pools/staging/tokens/uno?dry_run=true").await;
    assert_eq!(changes(&dry), ["token.retired staging uno"]);
    assert!(is_time(&dry.json()["changes"][0]["retiring_until"]), "{}", dry.text);
    assert_eq!(changes(&server.delete("/api/pools/staging/tokens/uno").await).len(), 1);
    let retiring = server.get(&path).await.json();
    assert_eq!((&retiring["retiring"], &retiring["status"]), (&json!(true), &json!("active")));
    let pool = server.get("/api/pools/staging").await.json();
    assert_eq!(
        (&pool["size"], &pool["retiring"], &pool["available"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert_eq!(changes(&server.delete(&path).await), [""; 0]);
    server.post(&format!("/api/leases/{}/release", text(&held["lease_id"]))).await;
    server.get(&path).await.problem(404, "unknown-token");
    assert_eq!(names(&server, "staging").await, ["2"]);
    // A place is never used again.
    let next = server.post_json("/api/pools/staging/tokens", &json!({})).await.json();
    assert_eq!(next["number"], 3);

    let put = json!({ "tokens": [{ "name": "2" }, { "name": "x" }] });
    let put = server.put_json("/api/pools/staging/tokens?prune=true", &put).await;
    assert_eq!(changes(&put), ["token.retired staging 3", "token.added staging x"]);
    let next = server.get("/api/pools/staging/tokens?limit=1").await;
    assert_eq!(next.json()["next"], "/api/pools/staging/tokens?limit=1&after=2");
    let next = server.get("/api/pools/staging/tokens?limit=1&after=2").await.json();
    assert_eq!((&next["tokens"][0]["name"], &next["next"]), (&json!("x"), &Value::Null));
}

#[on_both]
async fn the_tokens_of_a_fixed_pool_stay(db: TestDb) {
    let server = db.serve_size(2).await;
    let first = text(&server.get("/api/pools/default/tokens").await.json()["tokens"][0]["name"]);
    let token = format!("/api/pools/default/tokens/{first}");
    for (method, path, body) in [
        (Method::POST, "/api/pools/default/tokens", json!({})),
        (Method::PUT, "/api/pools/default/tokens", json!({ "tokens": [{ "name": "x" }] })),
        (Method::PUT, "/api/pools/default/tokens?prune=true", json!({ "tokens": [] })),
        (Method::PATCH, token.as_str(), json!({ "value": "x" })),
        (Method::PUT, "/api/pools/default", json!({ "tokens": [{ "name": "x" }] })),
    ] {
        let answer = server.send_json(method.clone(), path, &body).await;
        let detail = answer.problem(409, "pool-fixed");
        assert!(detail.contains("membership"), "{method} {path}: {detail}");
    }
    server.delete(&token).await.problem(409, "pool-fixed");
    // Taints are no change of membership, and neither is the policy.
    let taint = json!({ "name": "x", "effect": "no-new-leases" });
    assert_eq!(server.post_json(&format!("{token}/taints"), &taint).await.status, 200);
    let opened = server.put_json("/api/pools/default", &json!({ "membership": "open" })).await;
    assert_eq!(changes(&opened), ["pool.changed default"]);
    assert_eq!(changes(&server.delete(&token).await), [format!("token.retired default {first}")]);
    assert_eq!(server.ids("/api/tokens").await.len(), 1);
}

#[on_both]
async fn taints_keep_tokens_from_new_leases(db: TestDb) {
    let server = db.serve_size(1).await;
    server.put_json("/api/pools/staging", &staging()).await;
    let allocate = async |body: Value| server.post_json("/api/pools/staging/allocate", &body).await;
    let held = allocate(json!({ "user": "a", "token": "one" })).await.json();
    let path = "/api/pools/staging/tokens/one/taints";
    let cordon = json!({
        "name": "cordon", "effect": "no-new-leases", "reason": "upgrade", "by": "ann",
        "until": "2999-01-01T00:00:00+01:00",
    });
    let set = server.post_json(path, &cordon).await;
    assert_eq!(fields(&set.text), ["token", "ended_lease_id"]);
    let result = set.json();
    assert_eq!(
        (&result["ended_lease_id"], &result["token"]["status"]),
        (&Value::Null, &json!("active"))
    );
    let taint = &result["token"]["taints"][0];
    let told = ["name", "effect", "reason", "by", "until"].map(|name| text(&taint[name]));
    let expected = ["cordon", "no-new-leases", "upgrade", "ann", "2998-12-31T23:00:00.000000Z"];
    assert_eq!(told, expected);
    assert!(is_time(&taint["since"]));
    // Setting it again changes nothing.
    assert_eq!(server.post_json(path, &cordon).await.json()["token"]["taints"][0], *taint);

    let drain = json!({ "name": "drain", "effect": "end-lease" });
    let drained = server.post_json(path, &drain).await.json();
    assert_eq!(drained["ended_lease_id"], held["lease_id"]);
    assert_eq!(drained["token"]["status"], "tainted");
    let lease = server.get(&format!("/api/leases/{}", text(&held["lease_id"]))).await.json();
    assert_eq!(lease["end_reason"], "drained");
    let pool = server.get("/api/pools/staging").await.json();
    assert_eq!((&pool["tainted"], &pool["available"]), (&json!(1), &json!(1)));
    let full = allocate(json!({ "user": "a", "token": "one" })).await;
    let detail = full.problem(503, "pool-full");
    assert!(detail.contains("one is in use or tainted"), "{detail}");
    assert_eq!(allocate(json!({ "user": "a" })).await.json()["token_name"], "two");

    for name in ["drain", "drain", "cordon", "no!"] {
        let removed = server.delete(&format!("{path}/{name}")).await;
        assert_eq!(removed.status, 200, "{name}: {}", removed.text);
    }
    assert_eq!(allocate(json!({ "user": "a", "token": "one" })).await.status, 200);

    for index in 0..16 {
        let taint = json!({ "name": format!("t{index}"), "effect": "note" });
        assert_eq!(server.post_json(path, &taint).await.status, 200);
    }
    server.post_json(path, &drain).await.problem(409, "too-many-taints");
    let nowhere = "/api/pools/staging/tokens/three/taints";
    server.post_json(nowhere, &drain).await.problem(404, "unknown-token");
    server.delete(&format!("{nowhere}/x")).await.problem(404, "unknown-token");
}

#[on_both]
async fn routes_for_pools_follow_the_same_rules(db: TestDb) {
    let server = db.serve_size(1).await;
    server.put_json("/api/pools/staging", &staging()).await;
    for (path, allowed) in [
        ("/api/pools", "GET,HEAD,PUT"),
        ("/api/pools/staging", "GET,HEAD,PUT,DELETE"),
        ("/api/pools/staging/tokens", "GET,HEAD,PUT,POST"),
        ("/api/pools/staging/tokens/one", "GET,HEAD,PATCH,DELETE"),
        ("/api/pools/staging/tokens/one/taints", "POST"),
        ("/api/pools/staging/tokens/one/taints/x", "DELETE"),
        ("/api/pools/staging/allocate", "POST"),
        ("/api/pools/staging/clear", "POST"),
    ] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let request = server.request(method.parse().unwrap(), path);
            if !allowed.contains(method) {
                let answer = Answer::to(request).await;
                assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, allowed));
            } else if method != "GET" {
                let foreign = request.header("origin", "https://evil.example");
                Answer::to(foreign).await.problem(403, "cross-origin");
            }
        }
    }
    assert_eq!(server.get("/api/pools/staging").await.json()["size"], 2);
    for path in ["/api/pools/staging/x", "/api/pools/staging/tokens/one/x"] {
        server.get(path).await.problem(404, "unknown-path");
    }
    let cleared = server.post("/api/pools/staging/clear").await;
    assert_eq!(cleared.json(), json!({ "pool": "staging", "leases_ended": 0 }));
    server.post("/api/pools/nowhere/clear").await.problem(404, "unknown-pool");
}

#[on_both]
async fn of_two_changes_on_one_condition_one_is_made(db: TestDb) {
    let server = db.serve_size(1).await;
    server.put_json("/api/pools/staging", &staging()).await;
    for limit in [2, 4, 6] {
        let etag = server.get("/api/pools/staging").await.header("etag").to_owned();
        let put = async |limit: u32| {
            let request = server.request(Method::PUT, "/api/pools/staging");
            let body = json!({ "max_per_user": limit });
            Answer::to(request.header("if-match", &etag).json(&body)).await
        };
        let (one, two) = tokio::join!(put(limit), put(limit + 1));
        let mut statuses = [one.status.as_u16(), two.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412]);
    }
}
