//! Rights: every route, with every kind of credentials.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use server::{Anonymous, Settings};
use testbed::{TestDb, eventually, on_both};

use crate::harness::{Answer, Serve as _, TestServer, text};
use crate::sessions::{first_key, key};

/// A method of a route, the right that it needs, a body, and the status of a caller who may.
type Row = (&'static str, &'static str, &'static str, Option<&'static str>, u16);

/// Every route that needs a right, in an order in which each can succeed. `NAME` in capital letters is replaced.
const ROUTES: &[Row] = &[
    ("GET", "/api/tokens", "read", None, 200),
    ("GET", "/api/tokens/available", "read", None, 200),
    ("GET", "/api/tokens/active", "read", None, 200),
    ("GET", "/api/tokens/{id}", "read", None, 200),
    ("GET", "/api/tokens/{id}/history", "read", None, 200),
    ("GET", "/api/leases/{id}", "read", None, 200),
    ("GET", "/api/leases", "read", None, 200),
    ("GET", "/api/leases/export", "read", None, 200),
    ("GET", "/api/queue", "read", None, 200),
    ("GET", "/api/queue/{ticket}", "read", None, 200),
    ("GET", "/api/pool", "read", None, 200),
    ("GET", "/api/pools", "read", None, 200),
    ("GET", "/api/pools/{pool}", "read", None, 200),
    ("GET", "/api/pools/{pool}/tokens", "read", None, 200),
    ("GET", "/api/pools/{pool}/tokens/{token}", "read", None, 200),
    ("HEAD", "/api/events", "read", None, 200),
    ("POST", "/api/session/code", "read", None, 201),
    ("DELETE", "/api/queue/{ticket}", "use", None, 200),
    ("POST", "/api/leases/{id}/renew", "use", None, 200),
    ("POST", "/api/leases/{id}/release", "use", None, 200),
    ("POST", "/api/tokens/allocate", "use", Some(r#"{"user_id":"ann"}"#), 200),
    ("POST", "/api/tokens/release/{id}", "use", None, 200),
    ("POST", "/api/pools/{pool}/allocate", "use", Some(r#"{"user":"ann"}"#), 200),
    ("POST", "/api/pools/{pool}/clear", "operate", None, 200),
    ("DELETE", "/api/tokens/clear-active", "operate", None, 200),
    (
        "POST",
        "/api/pools/{pool}/tokens/{token}/taints",
        "operate",
        Some(r#"{"name":"x","effect":"no-new-leases"}"#),
        200,
    ),
    ("DELETE", "/api/pools/{pool}/tokens/{token}/taints/{name}", "operate", None, 200),
    ("PUT", "/api/pools", "admin", Some(r#"{"pools":{"blue":{"description":"x"}}}"#), 200),
    ("PUT", "/api/pools/{pool}", "admin", Some(r#"{"description":"y"}"#), 200),
    ("PUT", "/api/pools/{pool}/tokens", "admin", Some(r#"{"tokens":[{"name":"two"}]}"#), 200),
    ("POST", "/api/pools/{pool}/tokens", "admin", Some(r#"{"name":"three"}"#), 201),
    ("PATCH", "/api/pools/{pool}/tokens/{token}", "admin", Some(r#"{"labels":{"a":"b"}}"#), 200),
    ("DELETE", "/api/pools/{pool}/tokens/{token}", "admin", None, 200),
    ("DELETE", "/api/pools/{pool}", "admin", None, 200),
    ("GET", "/api/keys", "admin", None, 200),
    ("POST", "/api/keys", "admin", Some(r#"{"name":"new","rights":"read"}"#), 201),
    ("GET", "/api/keys/{key}", "admin", None, 200),
    ("POST", "/api/keys/{key}/rotate", "admin", None, 200),
    ("DELETE", "/api/keys/{key}/sessions", "admin", None, 200),
    ("DELETE", "/api/keys/{key}", "admin", None, 200),
    ("GET", "/api/audit", "admin", None, 200),
    ("GET", "/api/audit/export", "admin", None, 200),
    ("GET", "/api/audit/refusals", "admin", None, 200),
    ("GET", "/metrics", "read", None, 200),
];

/// Routes without a right.
const OPEN: [(&str, &str); 6] = [
    ("GET", "/api/session"),
    ("POST", "/api/session"),
    ("DELETE", "/api/session"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/openapi.json"),
];

const RIGHTS: [&str; 4] = ["read", "use", "operate", "admin"];

/// Ids and names in paths.
#[derive(Clone)]
struct Place {
    token: String,
    lease: String,
    ticket: String,
    pool: &'static str,
    key: &'static str,
}

impl Place {
    fn path(&self, template: &str) -> String {
        let id = if template.starts_with("/api/leases") { &self.lease } else { &self.token };
        template
            .replace("{id}", id)
            .replace("{ticket}", &self.ticket)
            .replace("{pool}", self.pool)
            .replace("{token}", "one")
            .replace("{name}", "x")
            .replace("{key}", self.key)
    }
}

fn request(server: &TestServer, row: &Row, place: &Place) -> RequestBuilder {
    let (method, template, _, body, _) = row;
    let request = server.request(method.parse().unwrap(), &place.path(template));
    match body {
        Some(body) => request.header("content-type", "application/json").body(*body),
        None => request,
    }
}

/// A server with the pools `default`, `blue` and `green`, where Ann has a lease and a ticket in the pools that the
/// keys of this file have, and its first key.
async fn prepared(db: &TestDb) -> (TestServer, String, Place) {
    let server = db.serve_size(2).await;
    let root = first_key(&server).await;
    for pool in ["blue", "green"] {
        let document = json!({ "tokens": [{ "name": "one", "value": format!("{pool}-secret") }],
            "lease": "1h", "max_lease": "2h", "when_full": "wait" });
        let request = server.request(Method::PUT, &format!("/api/pools/{pool}"));
        let put = Answer::to(request.json(&document).bearer_auth(&root)).await;
        assert_eq!(put.status, 200, "{}", put.text);
    }
    let (lease, ticket) = held(&server, &root, "blue").await;
    let tokens = Answer::to(server.request(Method::GET, "/api/tokens").bearer_auth(&root)).await;
    let token = text(&tokens.json()[0]["id"]);
    (server, root, Place { token, lease, ticket, pool: "blue", key: "doomed" })
}

/// A lease and a ticket of Ann.
async fn held(server: &TestServer, root: &str, pool: &str) -> (String, String) {
    let path = format!("/api/pools/{pool}/allocate");
    let body = json!({ "user": "ann", "wait_seconds": 3600 });
    let allocate = |name: &'static str| {
        let request = server.request(Method::POST, &path).bearer_auth(root).json(&body);
        request.header("idempotency-key", name.to_owned() + pool).header("prefer", "wait=0")
    };
    let lease = Answer::to(allocate("lease")).await;
    assert_eq!(lease.status, 200, "{}", lease.text);
    let ticket = Answer::to(allocate("ticket")).await;
    assert_eq!(ticket.status, 202, "{}", ticket.text);
    (text(&lease.json()["lease_id"]), text(&ticket.json()["ticket"]))
}

#[test]
fn the_walk_has_every_route() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let document: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut described = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            described.insert((method.to_uppercase(), path.clone()));
        }
    }
    let walked = ROUTES.iter().map(|row| (row.0, row.1)).chain(OPEN);
    let walked = walked.map(|(method, path)| (method.replace("HEAD", "GET"), path.to_owned()));
    assert_eq!(walked.collect::<BTreeSet<_>>(), described);
}

#[on_both]
async fn every_route_checks_its_right(db: TestDb) {
    let (server, root, place) = prepared(&db).await;
    let of = |name: &str, rights: &str, users: &[&str]| json!({ "name": name, "rights": rights, "pools": ["*"], "users": users });
    let mut keys = Vec::new();
    for rights in RIGHTS {
        keys.push(key(&server, Some(&root), of(rights, rights, &["*"])).await);
    }
    key(&server, Some(&root), of("doomed", "read", &[])).await;
    let revoked = key(&server, Some(&root), of("revoked", "admin", &["*"])).await;
    let request_of = server.request(Method::DELETE, "/api/keys/revoked").bearer_auth(&root);
    let answer = Answer::to(request_of).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let mut short = of("expired", "admin", &["*"]);
    short["expires_in_seconds"] = json!(0.3);
    let expired = key(&server, Some(&root), short).await;
    eventually("the key expires", async || {
        let request = server.request(Method::GET, "/api/session").bearer_auth(&expired);
        Answer::to(request).await.status == 401
    })
    .await;
    let mut typo = root.clone();
    typo.replace_range(20..21, if &root[20..21] == "x" { "y" } else { "x" });
    // Its check fits, but not its secret.
    let wrong = engine::plain_key().with_id(pool::ApiKeyId::new(&root[3..15]).unwrap()).reveal();
    // All at once, because each answer is delayed.
    let (server, place) = (&server, &place);
    let invalid = [&revoked, &expired, &typo, &wrong].into_iter().flat_map(|key| {
        let request = move |row: &'static Row| {
            let request = request(server, row, place).bearer_auth(key);
            async move { (row, Answer::to(request).await) }
        };
        ROUTES.iter().map(request)
    });
    for ((method, template, ..), refused) in futures_util::future::join_all(invalid).await {
        assert_eq!(refused.status, 401, "{method} {template}: {}", refused.text);
    }

    for row in ROUTES {
        let (method, template, needs, _, status) = row;
        let what = format!("{method} {template}");
        let unknown = Answer::to(request(server, row, place)).await;
        assert_eq!(unknown.status, 401, "{what}: {}", unknown.text);
        assert!(unknown.headers.get_all("www-authenticate").iter().count() == 2, "{what}");
        let enough = RIGHTS.iter().position(|right| right == needs).unwrap();
        for (key, rights) in keys.iter().zip(RIGHTS).take(enough) {
            let refused = Answer::to(request(server, row, place).bearer_auth(key)).await;
            assert_eq!(refused.status, 403, "{what} with {rights}: {}", refused.text);
            if *method != "HEAD" {
                let detail = refused.problem(403, "forbidden");
                assert!(detail.contains(&format!("`{needs}`")), "{what}: {detail}");
            }
        }
        let allowed = Answer::to(request(server, row, place).bearer_auth(&keys[enough])).await;
        assert_eq!(allowed.status.as_u16(), *status, "{what}: {}", allowed.text);
    }
    for (method, path) in OPEN {
        let answer = Answer::to(server.request(method.parse().unwrap(), path)).await;
        assert!(![401, 403].contains(&answer.status.as_u16()), "{method} {path}: {}", answer.text);
    }
    let request = server.request(Method::GET, "/health/ready").bearer_auth(&revoked);
    assert_eq!(Answer::to(request).await.status, 200, "probes ignore credentials");
}

/// An answer without what differs between two requests.
fn essence(answer: &Answer, replaced: &[(&str, &str)]) -> (u16, String, Vec<String>) {
    let names = answer.headers.keys().map(ToString::to_string);
    let text = replaced.iter().fold(answer.text.clone(), |text, (from, to)| text.replace(from, to));
    (answer.status.as_u16(), text, names.collect())
}

#[on_both]
async fn pools_of_other_keys_do_not_exist(db: TestDb) {
    let (server, root, blue) = prepared(&db).await;
    let body = json!({ "name": "green", "rights": "admin", "pools": ["green"], "users": ["*"] });
    let green = key(&server, Some(&root), body).await;
    let (lease, ticket) = held(&server, &root, "green").await;
    // An ended lease, which the rules don't know.
    let done = format!("/api/leases/{}/release", blue.lease);
    let give_up = format!("/api/queue/{}", blue.ticket);
    let send = async |method: Method, path: &str, key: &str| {
        Answer::to(server.request(method, path).bearer_auth(key)).await
    };
    let nowhere = Place {
        token: "01234567-89ab-cdef-0123-456789abcdef".to_owned(),
        lease: "01234567-89ab-cdef-0123-456789abcdef".to_owned(),
        ticket: "01234567-89ab-cdef-0123-456789abcdef".to_owned(),
        pool: "nosuch",
        key: "nosuch",
    };
    let other_keys = Place { key: "root", ..blue.clone() };
    let compare = async |place: &Place| {
        for row in ROUTES {
            let (method, template, ..) = row;
            if !template.contains('{') || template.starts_with("/api/tokens") {
                continue;
            }
            let hidden = Answer::to(request(&server, row, place).bearer_auth(&green)).await;
            let absent = Answer::to(request(&server, row, &nowhere).bearer_auth(&green)).await;
            let hidden = essence(&hidden, &[(place.pool, "nosuch"), (place.key, "nosuch")]);
            assert_eq!(hidden, essence(&absent, &[]), "{method} {template}");
            assert_eq!(hidden.0, 404, "{method} {template}: {}", hidden.1);
        }
    };
    compare(&other_keys).await;
    for (method, template, _, body, _) in ROUTES {
        if template.starts_with("/api/tokens") || *template == "/api/pool" {
            let row = (*method, *template, "", *body, 0);
            let answer = Answer::to(request(&server, &row, &blue).bearer_auth(&green)).await;
            answer.problem(404, "unknown-pool");
        }
    }
    for path in ["/api/queue", "/api/leases", "/api/leases/export", "/api/events"] {
        send(Method::GET, path, &green).await.problem(404, "unknown-pool");
        let [hidden, absent] = ["blue", "nosuch"].map(|pool| format!("{path}?pool={pool}"));
        let hidden = send(Method::GET, &hidden, &green).await;
        let absent = send(Method::GET, &absent, &green).await;
        assert_eq!(essence(&hidden, &[]), essence(&absent, &[]), "{path}");
        assert_eq!(hidden.status, 404, "{path}");
    }
    let plan = json!({ "pools": { "blue": { "description": "x" } } });
    for path in ["/api/pools", "/api/pools?dry_run=true"] {
        let request = server.request(Method::PUT, path).json(&plan).bearer_auth(&green);
        Answer::to(request).await.problem(404, "unknown-pool");
    }
    send(Method::GET, "/metrics", &green).await.problem(403, "forbidden");

    // Lists have only what is in the pool.
    let pools = send(Method::GET, "/api/pools", &green).await.json();
    let names: Vec<_> =
        pools["pools"].as_array().unwrap().iter().map(|pool| &pool["name"]).collect();
    assert_eq!(names, ["green"]);
    let found = send(Method::GET, "/api/leases?pool=*", &green).await.json();
    let leases: Vec<_> = found["leases"].as_array().unwrap().iter().collect();
    assert_eq!(leases.len(), 1, "{found}");
    assert_eq!((&leases[0]["lease_id"], &leases[0]["pool"]), (&json!(lease), &json!("green")));
    let csv = send(Method::GET, "/api/leases/export?pool=*", &green).await;
    assert!(csv.text.contains(&lease) && !csv.text.contains("blue"), "{}", csv.text);
    let keys = send(Method::GET, "/api/keys", &green).await.json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1, "{keys}");
    let audit = send(Method::GET, "/api/audit", &green).await;
    assert!(audit.text.contains("green") && !audit.text.contains("blue"), "{}", audit.text);
    let audit = send(Method::GET, "/api/audit/export?format=ndjson", &green).await;
    assert!(audit.text.contains("green") && !audit.text.contains("blue"), "{}", audit.text);

    // The same once lease and ticket have ended.
    assert_eq!(send(Method::DELETE, &give_up, &root).await.status, 200);
    assert_eq!(send(Method::POST, &done, &root).await.status, 200);
    let again = server.request(Method::POST, "/api/pools/blue/allocate").bearer_auth(&root);
    assert_eq!(Answer::to(again.json(&json!({ "user": "ann" }))).await.status, 200);
    compare(&other_keys).await;
    assert_eq!(send(Method::DELETE, &format!("/api/queue/{ticket}"), &green).await.status, 200);

    // Events of other pools are left out, live and from the journal.
    for path in ["/api/events?pool=*", "/api/events?pool=*&last_event_id=1-1"] {
        let request = server.request(Method::GET, path).bearer_auth(&green);
        let mut stream = request.send().await.unwrap();
        for pool in ["blue", "green"] {
            let path = format!("/api/pools/{pool}/clear");
            assert_eq!(send(Method::POST, &path, &root).await.status, 200);
            let path = format!("/api/pools/{pool}/allocate");
            let request = server.request(Method::POST, &path).bearer_auth(&root);
            let answer = Answer::to(request.json(&json!({ "user": "ann" }))).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
        let mut events = String::new();
        while events.matches("event: lease.started").count() == 0 {
            let chunk = tokio::time::timeout(Duration::from_secs(20), stream.chunk()).await;
            let chunk = chunk.expect("an event arrives").unwrap().unwrap();
            events.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        assert!(events.contains("\"pool\":\"green\"") && !events.contains("blue"), "{events}");
    }
}

#[on_both]
async fn keys_act_for_their_users(db: TestDb) {
    let (server, root, place) = prepared(&db).await;
    let of = |name: &str, rights: &str, users: &[&str]| json!({ "name": name, "rights": rights, "pools": ["*"], "users": users });
    let bob = key(&server, Some(&root), of("bob", "use", &["bob"])).await;
    let unnamed = key(&server, Some(&root), of("none", "operate", &[])).await;
    let own = key(&server, Some(&root), of("ann", "use", &["an*"])).await;
    let limited = json!({ "name": "one", "rights": "use", "pools": ["default"], "users": ["*"],
        "max_leases": 1 });
    let limited = key(&server, Some(&root), limited).await;
    let allocate = async |path: &str, member: &str, key: &str| {
        let request = server.request(Method::POST, path).json(&json!({ member: "ann" }));
        Answer::to(request.bearer_auth(key)).await
    };
    for (path, member) in
        [("/api/tokens/allocate", "user_id"), ("/api/pools/default/allocate", "user")]
    {
        for key in [&bob, &unnamed] {
            allocate(path, member, key).await.problem(403, "forbidden");
        }
        let lease = allocate(path, member, &own).await;
        assert_eq!(lease.status, 200, "{}", lease.text);
    }
    let renew = format!("/api/leases/{}/renew", place.lease);
    let release = format!("/api/leases/{}/release", place.lease);
    let ticket = format!("/api/queue/{}", place.ticket);
    let send = async |method: Method, path: &str, key: &str| {
        Answer::to(server.request(method, path).bearer_auth(key)).await
    };
    send(Method::POST, &renew, &bob).await.problem(403, "forbidden");
    send(Method::POST, &release, &bob).await.problem(403, "forbidden");
    send(Method::DELETE, &ticket, &bob).await.problem(403, "forbidden");
    assert_eq!(send(Method::POST, &renew, &own).await.status, 200);
    assert_eq!(send(Method::DELETE, &ticket, &unnamed).await.status, 200, "an operator may");
    assert_eq!(send(Method::POST, &release, &unnamed).await.status, 200, "an operator may");
    // Who allocated and ended it is part of its details.
    let details = send(Method::GET, &format!("/api/leases/{}", place.lease), &own).await.json();
    assert!(details["by"].is_string() && details["ended_by"].is_string(), "{details}");
    assert_ne!(details["by"], details["ended_by"]);
    assert_eq!(send(Method::DELETE, "/api/tokens/clear-active", &root).await.status, 200);
    let path = "/api/pools/default/allocate";
    assert_eq!(allocate(path, "user", &limited).await.status, 200);
    allocate(path, "user", &limited).await.problem(409, "key-limit");
}

#[on_both]
async fn values_are_not_for_readers(db: TestDb) {
    let (server, root, _) = prepared(&db).await;
    let open = json!({ "show_values": "everyone" });
    for pool in ["default", "blue"] {
        let request = server.request(Method::PUT, &format!("/api/pools/{pool}"));
        let answer = Answer::to(request.json(&open).bearer_auth(&root)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let of = |rights: &str| json!({ "name": rights, "rights": rights, "pools": ["*"] });
    let read = key(&server, Some(&root), of("read")).await;
    let user = key(&server, Some(&root), of("use")).await;
    let tokens = Answer::to(server.request(Method::GET, "/api/tokens").bearer_auth(&root)).await;
    let first = tokens.json()[0].clone();
    let (id, value) = (text(&first["id"]), text(&first["token"]));
    for (path, value) in [
        ("/api/tokens".to_owned(), &*value),
        ("/api/tokens/available".to_owned(), &value),
        (format!("/api/tokens/{id}"), &value),
        ("/api/pools/blue/tokens".to_owned(), "blue-secret"),
        ("/api/pools/blue/tokens/one".to_owned(), "blue-secret"),
    ] {
        for key in [&read, &user, &read] {
            let answer = Answer::to(server.request(Method::GET, &path).bearer_auth(key)).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
            let expected = std::ptr::eq(key, &raw const user);
            assert_eq!(answer.text.contains(value), expected, "{path}: {}", answer.text);
        }
    }
    // A tag of a reader's list is not one of the list with values.
    let list = Answer::to(server.request(Method::GET, "/api/tokens").bearer_auth(&read)).await;
    let request = server.request(Method::GET, "/api/tokens").bearer_auth(&user);
    let answer = Answer::to(request.header("if-none-match", list.header("etag"))).await;
    assert_eq!(answer.status, 200);
}

#[on_both]
async fn tricks_with_paths_and_methods_change_nothing(db: TestDb) {
    let (server, root, _) = prepared(&db).await;
    let read = json!({ "name": "read", "rights": "read", "pools": ["default"] });
    let read = key(&server, Some(&root), read).await;
    for path in [
        "//api/pools/blue",
        "/api//pools//blue/",
        "/api/pools/blue/",
        "/api/pools/%62lue",
        "/api/pools/blue%2f",
        "/api/pools/Blue",
        "/api/pools/default/../blue",
        "/api/pools/default%2f..%2fblue",
        "/api/./pools/blue",
        "/API/pools/blue",
        "/api/pools/blue;x=y",
        "/api/pools/blue%00",
    ] {
        // The client would tidy up the path.
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {read}\r\n\
             connection: close\r\n\r\n"
        );
        let answer = crate::raw::exchange(server.address, &head).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
        let head = head.replacen(&format!("authorization: Bearer {read}\r\n"), "", 1);
        let answer = crate::raw::exchange(server.address, &head).await;
        let status = answer.split(' ').nth(1).unwrap();
        assert!(["401", "404"].contains(&status), "{path}: {answer}");
    }
    for (name, value) in [("x-http-method-override", "GET"), ("x-original-url", "/health/live")] {
        let request = server.request(Method::DELETE, "/api/pools/default").bearer_auth(&read);
        Answer::to(request.header(name, value)).await.problem(403, "forbidden");
    }
    for method in ["HEAD", "GET"] {
        let request = server.request(method.parse().unwrap(), "/api/keys").bearer_auth(&read);
        assert_eq!(Answer::to(request).await.status, 403, "{method}");
    }
    for method in ["OPTIONS", "TRACE", "get", "BREW"] {
        let request = server.request(method.parse().unwrap(), "/api/keys");
        assert_eq!(Answer::to(request).await.status, 405, "{method}");
    }
}

#[on_both]
async fn callers_without_a_key_have_the_rights_of_the_settings(db: TestDb) {
    let status = async |server: &TestServer, method: Method, path: &str| {
        let request = server.request(method, path).json(&json!({ "user_id": "ann" }));
        Answer::to(request).await.status.as_u16()
    };
    for (anonymous, [read, allocate, clear]) in [
        (Anonymous::None, [401, 401, 401]),
        (Anonymous::Read, [200, 401, 401]),
        (Anonymous::Use, [200, 200, 401]),
    ] {
        let settings = Settings { anonymous: Some(anonymous), ..Settings::default() };
        let server = db.serve_with(Some(2), settings).await;
        assert_eq!(status(&server, Method::GET, "/api/pool").await, read, "{anonymous}");
        assert_eq!(status(&server, Method::POST, "/api/tokens/allocate").await, allocate);
        assert_eq!(status(&server, Method::DELETE, "/api/tokens/clear-active").await, clear);
        let wrong = server.request(Method::GET, "/api/pool");
        let wrong = Answer::to(wrong.bearer_auth(engine::plain_key().reveal())).await;
        wrong.problem(401, "unauthenticated");
        let proxy = server.request(Method::GET, "/api/pool").basic_auth("ann", Some("of a proxy"));
        assert_eq!(Answer::to(proxy).await.status, read);
        server.stop().await.unwrap();
    }
    let beyond = Settings { loopback: false, ..Settings::default() };
    let server = db.serve_with(Some(2), beyond).await;
    assert_eq!(status(&server, Method::GET, "/api/pool").await, 401, "also without keys");
    server.stop().await.unwrap();
    let trusting = Settings { trust_loopback: true, ..Settings::default() };
    let server = db.serve_with(Some(2), trusting).await;
    first_key(&server).await;
    assert_eq!(status(&server, Method::DELETE, "/api/tokens/clear-active").await, 200);
    assert_eq!(server.get("/api/session").await.json()["rights"], "admin");
}

#[on_both]
async fn the_end_of_a_key_ends_its_streams_and_waits(db: TestDb) {
    let (server, root, _) = prepared(&db).await;
    let of = |name: &str| json!({ "name": name, "rights": "use", "pools": ["*"], "users": ["*"] });
    let doomed = key(&server, Some(&root), of("doomed")).await;
    let mut short = of("short");
    short["expires_in_seconds"] = json!(2);
    let short = key(&server, Some(&root), short).await;
    for doomed in [&doomed, &short] {
        let stream = server.request(Method::GET, "/api/events?pool=*").bearer_auth(doomed);
        let mut stream = stream.send().await.unwrap();
        assert!(stream.chunk().await.unwrap().is_some());
        let waits = server.request(Method::POST, "/api/pools/blue/allocate").bearer_auth(doomed);
        let waits = waits.json(&json!({ "user": "ann", "wait_seconds": 60 }));
        let waits = tokio::spawn(Answer::to(waits));
        eventually("the request waits", async || {
            let request = server.request(Method::GET, "/api/queue?pool=blue").bearer_auth(&root);
            Answer::to(request).await.json()["waiting"] == 2
        })
        .await;
        // The other key ends by itself.
        let revoke = server.request(Method::DELETE, "/api/keys/doomed").bearer_auth(&root);
        Answer::to(revoke).await;
        let ended = async {
            while stream.chunk().await.unwrap().is_some() {}
            waits.await.unwrap().problem(401, "unauthenticated");
        };
        tokio::time::timeout(Duration::from_secs(4), ended).await.expect("both end");
        let request = server.request(Method::GET, "/api/pools").bearer_auth(doomed);
        Answer::to(request).await.problem(401, "unauthenticated");
    }
    let first = server.request(Method::DELETE, "/api/keys/root").bearer_auth(&root);
    Answer::to(first).await.problem(422, "key-refused");
}

#[on_both]
async fn requests_are_limited(db: TestDb) {
    let settings = Settings {
        anonymous: Some(Anonymous::Read),
        requests_per_second: Some(3),
        trust_loopback: false,
        ..Settings::default()
    };
    let server = db.serve_with(Some(2), Settings::default()).await;
    let root = first_key(&server).await;
    let limited = json!({ "name": "two", "rights": "read", "pools": ["*"],
        "max_requests_per_second": 2 });
    let limited = key(&server, Some(&root), limited).await;
    server.stop().await.unwrap();
    let server = db.serve_with(Some(2), settings).await;
    let count = async |key: Option<&str>| {
        let mut refused = 0;
        for _ in 0..20 {
            let request = server.request(Method::GET, "/api/pool");
            let request = key.map_or(request.try_clone().unwrap(), |key| request.bearer_auth(key));
            let answer = Answer::to(request).await;
            if answer.status == 429 {
                answer.problem(429, "too-many-requests");
                assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
                refused += 1;
            }
        }
        refused
    };
    assert!(count(None).await > 0);
    assert!(count(Some(&limited)).await > 0);
    assert_eq!(count(Some(&root)).await, 0);
    // They are kept for administrators.
    let refusals = server.request(Method::GET, "/api/audit/refusals").bearer_auth(&root);
    let refusals = Answer::to(refusals).await.json();
    let rows = refusals["refusals"].as_array().unwrap();
    let row = rows.iter().find(|row| row["key"].is_string()).unwrap();
    let expected = ["127.0.0.1", "GET", "/api/pool", "too-many-requests"];
    assert_eq!(["address", "method", "route", "code"].map(|name| text(&row[name])), expected);
    assert!(rows.iter().any(|row| row["key"].is_null()), "{refusals}");
    for _ in 0..5 {
        assert_eq!(server.get("/health/live").await.status, 200);
    }
}

#[on_both]
async fn the_audit_log_says_who_did_what(db: TestDb) {
    let (server, root, place) = prepared(&db).await;
    let clear = server.request(Method::POST, "/api/pools/blue/clear").bearer_auth(&root);
    assert_eq!(Answer::to(clear).await.status, 200);
    let get = async |path: &str| {
        let answer = Answer::to(server.request(Method::GET, path).bearer_auth(&root)).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer
    };
    let all = get("/api/audit").await.json();
    let entries = all["entries"].as_array().unwrap();
    let actions: Vec<_> = entries.iter().map(|entry| text(&entry["action"])).collect();
    assert_eq!(actions, ["pool.cleared", "pools.changed", "pools.changed", "key.created"]);
    assert_eq!((&entries[0]["pool"], &entries[0]["key"]["name"]), (&json!("blue"), &json!("root")));
    assert_eq!(entries[3]["key"], Value::Null, "there was no key yet");
    let mut found = Vec::new();
    let mut next = Some("/api/audit?limit=3".to_owned());
    while let Some(path) = next {
        let page = get(&path).await.json();
        found.extend(page["entries"].as_array().unwrap().clone());
        next = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!(&found, entries);
    for (query, count) in
        [("key=root", 3), ("action=pool.cleared", 1), ("pool=green", 1), ("key=x", 0)]
    {
        let page = get(&format!("/api/audit?{query}")).await.json();
        assert_eq!(page["entries"].as_array().unwrap().len(), count, "{query}");
    }
    let csv = get("/api/audit/export").await.text;
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(lines[0], "number,at,key_id,key_name,action,pool,subject");
    assert!(lines[1].contains(",key.created,,root ("), "{csv}");
    assert_eq!(lines.len(), 5);
    let lines = get("/api/audit/export?format=ndjson&action=pool.cleared").await.text;
    assert_eq!(serde_json::from_str::<Value>(lines.trim()).unwrap(), entries[0]);
    assert!(!csv.contains(&place.lease), "allocations are in the history");
}
