//! Leases of several pools: allocations, and what other routes show of them.

use reqwest::Method;
use serde_json::{Value, json};
use testbed::{TestDb, eventually, on_both};

use crate::harness::{Answer, Serve as _, TestServer, fields, text};

async fn put(server: &TestServer, pool: &str, document: Value) {
    let answer = server.put_json(&format!("/api/pools/{pool}"), &document).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

fn tokens(names: &[&str]) -> Value {
    let token = |name: &&str| json!({ "name": name, "labels": { "name": name } });
    json!({ "when_full": "reject", "tokens": names.iter().map(token).collect::<Vec<_>>() })
}

async fn allocate(server: &TestServer, pool: &str, body: &Value) -> Answer {
    server.post_json(&format!("/api/pools/{pool}/allocate"), body).await
}

async fn with_key(server: &TestServer, pool: &str, body: &Value, key: &str) -> Answer {
    let request = server.request(Method::POST, &format!("/api/pools/{pool}/allocate"));
    Answer::to(request.header("idempotency-key", key).header("prefer", "wait=0").json(body)).await
}

#[on_both]
async fn an_allocation_names_pool_token_and_note(db: TestDb) {
    let server = db.serve_size(1).await;
    let document = json!({ "lease": "10m", "tokens": [
        { "name": "one", "value": "secret", "labels": { "region": "eu" } },
        { "name": "two" },
    ] });
    put(&server, "staging", document).await;
    let body = json!({ "user": "ann", "token": "one", "note": "PR 1234", "lease_seconds": 90 });
    let answer = allocate(&server, "staging", &body).await;
    let members = [
        "token_id",
        "user_id",
        "token_value",
        "status",
        "activated_at",
        "lease_id",
        "user",
        "expires_at",
        "expires_in",
        "fence",
        "evicted",
        "pool",
        "token_name",
        "labels",
        "note",
    ];
    assert_eq!(fields(&answer.text), members);
    let lease = answer.json();
    assert_eq!((&lease["token_value"], &lease["expires_in"]), (&json!("secret"), &json!(90)));
    assert_eq!((&lease["pool"], &lease["token_name"]), (&json!("staging"), &json!("one")));
    assert_eq!((&lease["labels"], &lease["note"]), (&json!({ "region": "eu" }), &json!("PR 1234")));
    let other = allocate(&server, "staging", &json!({ "user": "ann", "note": null })).await.json();
    assert_eq!((&other["token_name"], &other["note"]), (&json!("two"), &Value::Null));
    assert_eq!(other["expires_in"], 600);

    let id = text(&lease["lease_id"]);
    let shown = server.get(&format!("/api/leases/{id}")).await.json();
    let names = ["pool", "token_name", "note"].map(|name| text(&shown[name]));
    assert_eq!(names, ["staging", "one", "PR 1234"]);
    let token = server.get("/api/pools/staging/tokens/one").await.json();
    assert_eq!(
        (&token["lease"]["lease_id"], &token["lease"]["note"]),
        (&json!(id), &json!("PR 1234"))
    );
    // The routes of leases work for each pool.
    assert_eq!(server.post(&format!("/api/leases/{id}/renew")).await.status, 200);
    assert_eq!(server.post(&format!("/api/leases/{id}/release")).await.status, 200);
    // The pool `default` is one of them.
    let default = allocate(&server, "default", &json!({ "user": "ann" })).await.json();
    let listed = server.get("/api/tokens/active").await.json();
    assert_eq!(listed[0]["lease_id"], default["lease_id"]);
    assert_eq!(listed.as_array().unwrap().len(), 1);
}

#[on_both]
async fn a_request_for_one_token_gets_only_that(db: TestDb) {
    let server = db.serve_size(1).await;
    put(&server, "staging", tokens(&["one", "two"])).await;
    let one = json!({ "user": "ann", "token": "one" });
    assert_eq!(allocate(&server, "staging", &one).await.status, 200);
    let refused = allocate(&server, "staging", &one).await;
    let detail = refused.problem(503, "pool-full");
    assert!(detail.contains("The token one is in use or tainted"), "{detail}");
    assert_eq!(refused.json()["position"], 1);
    let unknown = json!({ "user": "ann", "token": "three" });
    allocate(&server, "staging", &unknown).await.problem(404, "unknown-token");
    allocate(&server, "nowhere", &one).await.problem(404, "unknown-pool");
    put(&server, "empty", json!({})).await;
    let detail =
        allocate(&server, "empty", &json!({ "user": "a" })).await.problem(503, "no-tokens");
    assert!(detail.contains("The pool empty has no tokens"), "{detail}");
    // A pool that is created again is another one.
    server.delete("/api/pools/staging?end_leases=true").await;
    allocate(&server, "staging", &one).await.problem(404, "unknown-pool");
    put(&server, "staging", tokens(&["one"])).await;
    assert_eq!(allocate(&server, "staging", &one).await.status, 200);
}

#[on_both]
async fn a_repetition_gets_the_same_lease(db: TestDb) {
    let server = db.serve_size(1).await;
    put(&server, "staging", tokens(&["one", "two"])).await;
    put(&server, "other", tokens(&["one"])).await;
    let body = json!({ "user": "ann", "token": "one", "note": "n" });
    let first = with_key(&server, "staging", &body, "k").await;
    assert_eq!(first.status, 200, "{}", first.text);
    let again = with_key(&server, "staging", &body, "k").await.json();
    let first = first.json();
    for member in ["lease_id", "token_value", "token_name", "labels", "note", "pool"] {
        assert_eq!(again[member], first[member], "{member}");
    }
    for (pool, body) in [
        ("other", body.clone()),
        ("staging", json!({ "user": "ann", "token": "two", "note": "n" })),
        ("staging", json!({ "user": "ann", "note": "n" })),
        ("staging", json!({ "user": "ann", "token": "one" })),
    ] {
        with_key(&server, pool, &body, "k").await.problem(422, "idempotency-key-reused");
    }
    // The same, after the token has left the pool.
    server.delete("/api/pools/staging/tokens/one").await;
    server.post(&format!("/api/leases/{}/release", text(&first["lease_id"]))).await;
    let again = with_key(&server, "staging", &body, "k").await;
    assert_eq!(again.status, 200, "{}", again.text);
    let again = again.json();
    for member in ["lease_id", "token_value", "token_name", "note"] {
        assert_eq!(again[member], first[member], "{member}");
    }
    assert_eq!((&again["status"], &again["labels"]), (&json!("ended"), &json!({})));
}

#[on_both]
async fn each_pool_has_its_queue(db: TestDb) {
    let server = db.serve_size(1).await;
    put(&server, "staging", tokens(&["one"])).await;
    put(&server, "staging", json!({ "when_full": "wait" })).await;
    let held = allocate(&server, "staging", &json!({ "user": "ann" })).await.json();
    let waiting = json!({ "user": "bob", "wait_seconds": 600, "token": "one", "note": "n" });
    let answer = with_key(&server, "staging", &waiting, "k").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after")),
        (202, "1"),
        "{}",
        answer.text
    );
    let ticket = answer.json();
    assert_eq!((&ticket["status"], &ticket["position"]), (&json!("waiting"), &json!(1)));
    assert_eq!(server.get("/api/queue").await.json()["waiting"], 0);
    let queue = server.get("/api/queue?pool=staging").await.json();
    let listed = &queue["tickets"][0];
    assert_eq!((&queue["waiting"], &listed["ticket"]), (&json!(1), &ticket["ticket"]));
    let names = ["pool", "token_name", "note"].map(|name| text(&listed[name]));
    assert_eq!(names, ["staging", "one", "n"]);
    assert_eq!(server.get(answer.header("location")).await.json(), *listed);
    assert_eq!(server.get("/api/pools/staging").await.json()["waiting"], 1);
    server.get("/api/queue?pool=nowhere").await.problem(404, "unknown-pool");
    server.post(&format!("/api/leases/{}/release", text(&held["lease_id"]))).await;
    eventually("the ticket is served", async || {
        let answer = with_key(&server, "staging", &waiting, "k").await;
        answer.status == 200 && answer.json()["lease_id"] == ticket["ticket"]
    })
    .await;

    // Of two pages, the second has the pool in its path.
    for key in ["1", "2"] {
        with_key(&server, "staging", &json!({ "user": "bob", "wait_seconds": 600 }), key).await;
    }
    let page = server.get("/api/queue?pool=staging&limit=1").await.json();
    let next = text(&page["next"]);
    assert!(next.starts_with("/api/queue?pool=staging&limit=1&after="), "{next}");
    assert_eq!(server.get(&next).await.json()["tickets"][0]["position"], 2);
    // A deleted pool gives up its tickets.
    let deleted = server.delete("/api/pools/staging?end_leases=true").await.json();
    assert_eq!(deleted["waits_given_up"], 2);
}

#[on_both]
async fn searches_and_exports_select_pools(db: TestDb) {
    let server = db.serve_size(1).await;
    put(&server, "staging", tokens(&["one", "two"])).await;
    put(&server, "ports", tokens(&["20000"])).await;
    server.allocate("ann").await;
    for (pool, note) in
        [("staging", json!("=PR, 1")), ("staging", Value::Null), ("ports", Value::Null)]
    {
        allocate(&server, pool, &json!({ "user": "ann", "note": note })).await;
    }
    let found = async |query: &str| -> Vec<Value> {
        let answer = server.get(&format!("/api/leases?{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["leases"].as_array().unwrap().clone()
    };
    for status in ["", "&status=running"] {
        assert_eq!(found(&format!("user=ann{status}")).await.len(), 1);
        assert_eq!(found(&format!("pool=default&user=ann{status}")).await.len(), 1);
        assert_eq!(found(&format!("pool=*&user=ann{status}")).await.len(), 4);
        let staging = found(&format!("pool=staging{status}")).await;
        let names: Vec<_> = staging.iter().map(|lease| &lease["token_name"]).collect();
        assert_eq!(names, ["two", "one"]);
        assert_eq!(
            (&staging[1]["pool"], &staging[1]["note"]),
            (&json!("staging"), &json!("=PR, 1"))
        );
        assert_eq!(staging[0].get("note"), None);
    }
    assert!(found("user=ann").await[0].get("pool").is_none());
    let page = server.get("/api/leases?pool=staging&limit=1").await.json();
    let next = text(&page["next"]);
    assert!(next.contains("pool=staging"), "{next}");
    assert_eq!(server.get(&next).await.json()["leases"][0]["token_name"], "one");
    server.get("/api/leases?pool=nowhere").await.problem(404, "unknown-pool");
    server.get("/api/leases/export?pool=nowhere").await.problem(404, "unknown-pool");

    let lines = async |query: &str| -> Vec<String> {
        let csv = server.get(&format!("/api/leases/export{query}")).await;
        csv.text.lines().map(str::to_owned).collect()
    };
    let default = lines("").await;
    assert!(default.len() == 2 && default[0].ends_with("end_reason,evicted_by"), "{default:?}");
    let staging = lines("?pool=staging").await;
    assert!(staging[0].ends_with("evicted_by,pool,token_name,note"), "{staging:?}");
    assert!(staging[1].ends_with(",staging,two,"), "{staging:?}");
    assert!(staging[2].ends_with(",staging,one,\"'=PR, 1\""), "{staging:?}");
    assert_eq!(lines("?pool=*").await.len(), 5);

    // The history of a deleted pool stays.
    server.delete("/api/pools/staging?end_leases=true").await;
    let ended = found("pool=staging&end_reason=cleared").await;
    assert_eq!((ended.len(), &ended[0]["token_name"]), (2, &json!("two")));
}

#[on_both]
async fn streams_of_pools_have_names(db: TestDb) {
    let server = db.serve_size(1).await;
    put(&server, "staging", tokens(&["one"])).await;
    let before = server.get("/api/pool").await.json();
    let from = format!("{}-{}", before["epoch"], before["version"]);
    let open = async |query: &str| {
        let path = format!("/api/events?{query}");
        server.request(Method::GET, &path).send().await.unwrap()
    };
    let mut live = open("pool=*").await;
    let body = json!({ "user": "ann", "note": "n" });
    let lease = allocate(&server, "staging", &body).await.json();
    let taint = json!({ "name": "t", "effect": "end-lease" });
    server.post_json("/api/pools/staging/tokens/one/taints", &taint).await;
    put(&server, "staging", json!({ "max_per_user": 2 })).await;
    server.post_json("/api/pools/staging/tokens", &json!({ "name": "two" })).await;
    server.delete("/api/pools/staging/tokens/two").await;
    put(&server, "ports", json!({})).await;
    server.delete("/api/pools/ports").await;
    server.allocate("ann").await;
    server.delete("/api/pools/staging/tokens/one/taints/t").await;
    let labels = json!({ "labels": { "a": "b" } });
    server.send_json(Method::PATCH, "/api/pools/staging/tokens/one", &labels).await;
    let brief = async |until: Value| {
        let taint = json!({ "name": "brief", "effect": "note", "until": until });
        let set = server.post_json("/api/pools/staging/tokens/one/taints", &taint).await;
        assert_eq!(set.status, 200, "{}", set.text);
        set.json()["token"]["taints"][0]["since"].clone()
    };
    let since: jiff::Timestamp = text(&brief(Value::Null).await).parse().unwrap();
    brief((since + jiff::SignedDuration::from_secs(1)).to_string().into()).await;

    let kinds = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix("event: ")).map(str::to_owned).collect()
    };
    let all = [
        "lease.started",
        "token.tainted",
        "lease.ended",
        "pool.changed",
        "token.added",
        "token.retired",
        "pool.created",
        "pool.deleted",
        "lease.started",
        "token.tainted",
        "token.changed",
        "token.tainted",
        "token.tainted",
        "token.tainted",
    ];
    let mut text_of_live = String::new();
    while kinds(&text_of_live).len() < all.len() {
        let chunk = live.chunk().await.unwrap().unwrap();
        text_of_live.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert_eq!(kinds(&text_of_live), all, "{text_of_live}");
    let data: Vec<Value> = text_of_live
        .lines()
        .filter_map(|line| Some(serde_json::from_str(line.strip_prefix("data: ")?).unwrap()))
        .collect();
    assert_eq!(data[0]["lease_id"], lease["lease_id"]);
    let names = ["pool", "token_name", "note"].map(|name| text(&data[0][name]));
    assert_eq!(names, ["staging", "one", "n"]);
    assert_eq!(
        (&data[1]["token_name"], &data[1]["taints"][0]["name"]),
        (&json!("one"), &json!("t"))
    );
    assert_eq!((&data[2]["reason"], &data[2]["pool"]), (&json!("drained"), &json!("staging")));
    assert_eq!(data[3]["policy"]["max_per_user"], 2);
    assert_eq!((&data[4]["number"], &data[5]["token_name"]), (&json!(2), &json!("two")));
    assert_eq!(data[7], json!({ "pool": "ports" }));
    assert_eq!(data[8]["pool"], "default");
    // A taint is removed, and another one ends by itself.
    let taints = |event: usize| data[event]["taints"].as_array().unwrap().len();
    assert_eq!([9, 10, 11, 12, 13].map(taints), [0, 0, 1, 1, 0]);
    assert_eq!(data[10]["labels"], json!({ "a": "b" }));

    // The same from the journal, and only the parts that a stream selects.
    let replayed = async |query: &str, count: usize| -> String {
        let mut stream = open(&format!("{query}&last_event_id={from}")).await;
        let mut text = String::new();
        while kinds(&text).len() < count {
            text.push_str(&String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap()));
        }
        text
    };
    assert_eq!(kinds(&replayed("pool=*", all.len()).await), all);
    let staging = [&all[..6], &all[9..]].concat();
    assert_eq!(kinds(&replayed("pool=staging", 11).await), staging);
    assert_eq!(kinds(&replayed("pool=ports", 2).await), all[6..8]);
    assert_eq!(
        kinds(&replayed("pool=staging&user=ann", 2).await),
        ["lease.started", "lease.ended"]
    );
    let default = replayed("user=ann", 1).await;
    assert!(kinds(&default) == ["lease.started"] && !default.contains("\"pool\""), "{default}");
    server.get("/api/events?pool=nowhere").await.problem(404, "unknown-pool");
}
