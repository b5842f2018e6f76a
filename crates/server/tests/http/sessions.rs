//! API keys and sessions over HTTP.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use reqwest::Method;
use serde_json::json;
use server::Settings;
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

const ORIGIN: (&str, &str) = ("sec-fetch-site", "same-origin");

/// Signs in and returns the cookie, as the browser sends it back.
async fn sign_in(server: &TestServer, key: &str) -> String {
    let request = server.request(Method::POST, "/api/session").json(&json!({ "key": key }));
    let answer = Answer::to(request.header("host", "localhost")).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(answer.json()["via"], "session");
    let cookie = answer.header("set-cookie");
    let (cookie, rest) = cookie.split_once(';').unwrap();
    assert_eq!(rest, " Path=/; Max-Age=43200; HttpOnly; SameSite=Strict");
    assert!(!answer.text.contains(&cookie["token-manager=".len()..]), "{}", answer.text);
    cookie.to_owned()
}

#[on_both]
async fn a_browser_signs_in_and_out(db: TestDb) {
    let server = db.serve_size(2).await;
    let root = first_key(&server).await;
    let cookie = sign_in(&server, &root).await;
    let with = |method: Method, path: &str, cookie: &str| {
        let request = server.request(method, path).header("host", "localhost");
        request.header("cookie", cookie.to_owned())
    };
    assert_eq!(Answer::to(with(Method::GET, "/api/keys", &cookie)).await.status, 200);
    let session = Answer::to(with(Method::GET, "/api/session", &cookie)).await.json();
    assert_eq!((&session["via"], &session["key"]["name"]), (&json!("session"), &json!("root")));
    assert!(is_time(&session["expires_at"]));

    // Cookies are not accepted where a network could have seen them.
    let request = server.request(Method::GET, "/api/keys").header("cookie", &cookie);
    let request = request.header("host", "10.1.2.3");
    assert!([401, 421].contains(&Answer::to(request).await.status.as_u16()));

    // Changes come from pages of this server, whatever the route is.
    let clear = || with(Method::DELETE, "/api/tokens/clear-active", &cookie);
    Answer::to(clear()).await.problem(403, "cross-origin");
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "http://evil.example"),
        ("origin", "http://localhost:3000"),
        ("origin", "null"),
    ] {
        Answer::to(clear().header(name, value)).await.problem(403, "cross-origin");
    }
    assert_eq!(Answer::to(clear().header(ORIGIN.0, ORIGIN.1)).await.status, 200);
    assert_eq!(Answer::to(clear().header("origin", "http://localhost")).await.status, 200);
    // With a key, the cookie does not matter.
    assert_eq!(Answer::to(clear().bearer_auth(&root)).await.status, 200);
    let wrong = clear().bearer_auth(engine::plain_key().reveal()).header(ORIGIN.0, ORIGIN.1);
    Answer::to(wrong).await.problem(401, "unauthenticated");

    // A cookie from before is never adopted.
    let planted = "token-manager=planted";
    let request = with(Method::POST, "/api/session", planted).json(&json!({ "key": root }));
    let answer = Answer::to(request.header(ORIGIN.0, ORIGIN.1)).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert!(!answer.header("set-cookie").contains("planted"));
    Answer::to(with(Method::GET, "/api/keys", planted)).await.problem(401, "unauthenticated");
    let tossed = format!("{cookie}; {planted}");
    Answer::to(with(Method::GET, "/api/keys", &tossed)).await.problem(401, "unauthenticated");

    // The new session of a browser replaces the old one.
    let request = with(Method::POST, "/api/session", &cookie).json(&json!({ "key": root }));
    let answer = Answer::to(request.header(ORIGIN.0, ORIGIN.1)).await;
    let second = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    assert_ne!(second, cookie);
    assert_eq!(Answer::to(with(Method::GET, "/api/keys", &cookie)).await.status, 401);
    let request = with(Method::DELETE, "/api/session", &second).header(ORIGIN.0, ORIGIN.1);
    let answer = Answer::to(request).await;
    assert_eq!((answer.status.as_u16(), &*answer.text), (204, ""));
    assert!(answer.header("set-cookie").starts_with("token-manager=; "));
    assert_eq!(Answer::to(with(Method::GET, "/api/keys", &second)).await.status, 401);
    let stale = Answer::to(with(Method::GET, "/api/session", &second)).await;
    assert_eq!((stale.status.as_u16(), &stale.json()["via"]), (200, &json!("anonymous")));

    // All sessions of a key.
    let third = sign_in(&server, &root).await;
    let shown = server.request(Method::GET, "/api/keys/root").bearer_auth(&root);
    assert_eq!(Answer::to(shown).await.json()["sessions"], 2);
    let request = with(Method::DELETE, "/api/session?everywhere=true", &third);
    assert_eq!(Answer::to(request.header(ORIGIN.0, ORIGIN.1)).await.status, 204);
    let shown = server.request(Method::GET, "/api/keys/root").bearer_auth(&root);
    assert_eq!(Answer::to(shown).await.json()["sessions"], 0);
}

#[on_both]
async fn a_code_signs_in_once(db: TestDb) {
    let server = db.serve_size(2).await;
    let root = first_key(&server).await;
    let request = server.request(Method::POST, "/api/session/code").bearer_auth(&root);
    let code = Answer::to(request).await;
    assert_eq!(code.status, 201, "{}", code.text);
    assert_eq!(fields(&code.text), ["code", "expires_at"]);
    let body = json!({ "code": code.json()["code"] });
    let request = || server.request(Method::POST, "/api/session").json(&body);
    let first = Answer::to(request().header("host", "localhost")).await;
    assert_eq!(first.status, 201, "{}", first.text);
    let cookie = first.header("set-cookie").split(';').next().unwrap().to_owned();
    Answer::to(request().header("host", "localhost")).await.problem(401, "unauthenticated");
    // A session makes no codes, which would outlive it. The code is no cookie.
    let request = server.request(Method::POST, "/api/session/code").header("cookie", cookie);
    let request = request.header("host", "localhost").header(ORIGIN.0, ORIGIN.1);
    Answer::to(request).await.problem(403, "forbidden");
    let wrong = json!({ "key": engine::plain_key().reveal() });
    let request = server.request(Method::POST, "/api/session").json(&wrong);
    Answer::to(request.header("host", "localhost")).await.problem(401, "unauthenticated");
}

#[on_both]
async fn cookies_depend_on_how_the_browser_arrives(db: TestDb) {
    let settings = Settings {
        loopback: false,
        anonymous: Some(server::Anonymous::None),
        allowed_hosts: vec!["tokens.example".to_owned()],
        ..Settings::default()
    };
    let setup = db.serve_size(2).await;
    let root = first_key(&setup).await;
    setup.stop().await.unwrap();
    let server = db.serve_with(Some(2), settings).await;
    let sign_in = |host: &'static str, origin: Option<&'static str>| {
        let request = server.request(Method::POST, "/api/session").json(&json!({ "key": root }));
        let request = request.header("host", host);
        match origin {
            Some(origin) => request.header("origin", origin),
            None => request,
        }
    };
    for origin in [None, Some("http://tokens.example")] {
        let refused = Answer::to(sign_in("tokens.example", origin)).await;
        assert!(refused.problem(403, "forbidden").contains("HTTPS"));
        assert_eq!(refused.header("set-cookie"), "");
    }
    let secure = Answer::to(sign_in("tokens.example", Some("https://tokens.example"))).await;
    assert_eq!(secure.status, 201, "{}", secure.text);
    let cookie = secure.header("set-cookie").to_owned();
    assert!(cookie.starts_with("__Host-token-manager=") && cookie.ends_with("; Secure"));
    let cookie = cookie.split(';').next().unwrap();
    let get = |cookie: &str| {
        let request = server.request(Method::GET, "/api/keys").header("host", "tokens.example");
        request.header("cookie", cookie.to_owned())
    };
    assert_eq!(Answer::to(get(cookie)).await.status, 200);
    let plain = cookie.replace("__Host-", "");
    Answer::to(get(&plain)).await.problem(401, "unauthenticated");
    let local = Answer::to(sign_in("localhost:4000", None)).await;
    assert!(local.header("set-cookie").starts_with("token-manager="), "{local:?}");
}

#[on_both]
async fn keys_are_created_rotated_and_revoked(db: TestDb) {
    let server = db.serve_size(2).await;
    let narrow = json!({ "name": "ci", "rights": "use", "pools": ["default"], "users": ["ci-*"] });
    let refused = server.post_json("/api/keys", &narrow).await;
    assert!(refused.problem(422, "key-refused").contains("first key"));
    let root = first_key(&server).await;
    let send = async |method: Method, path: &str, key: &str, body: serde_json::Value| {
        let request = server.request(method, path).bearer_auth(key);
        Answer::to(if body.is_null() { request } else { request.json(&body) }).await
    };
    let null = serde_json::Value::Null;
    let created = send(Method::POST, "/api/keys", &root, narrow.clone()).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let names = [
        "id",
        "name",
        "rights",
        "pools",
        "users",
        "created_at",
        "created_by",
        "expires_at",
        "last_used_at",
        "rotating_until",
        "max_requests_per_second",
        "max_leases",
        "running_leases",
        "sessions",
        "secret",
    ];
    assert_eq!(fields(&created.text), names);
    let (id, first) = (text(&created.json()["id"]), text(&created.json()["secret"]));
    assert_eq!(created.header("location"), format!("/api/keys/{id}"));
    send(Method::POST, "/api/keys", &root, narrow).await.problem(409, "name-taken");
    for wrong in [
        json!({ "name": "a b", "rights": "use" }),
        json!({ "name": "x", "rights": "own" }),
        json!({ "name": "x", "rights": "use", "pools": ["a*b"] }),
        json!({ "name": "x", "rights": "use", "user": ["a"] }),
        json!({ "name": "x", "rights": "use", "max_leases": 0 }),
        json!({ "name": "x" }),
    ] {
        send(Method::POST, "/api/keys", &root, wrong).await.problem(400, "invalid-parameter");
    }
    let over = json!({ "name": "x", "rights": "use", "expires_at": "2020-01-01T00:00:00Z" });
    send(Method::POST, "/api/keys", &root, over).await.problem(422, "key-refused");

    let keep = json!({ "keep_old_seconds": 600 });
    let rotated = send(Method::POST, &format!("/api/keys/{id}/rotate"), &root, keep).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    assert!(is_time(&rotated.json()["rotating_until"]), "{}", rotated.text);
    let second = text(&rotated.json()["secret"]);
    for secret in [&first, &second] {
        assert_eq!(send(Method::GET, "/api/pool", secret, null.clone()).await.status, 200);
    }
    let rotated = send(Method::POST, "/api/keys/ci/rotate", &root, null.clone()).await;
    let third = text(&rotated.json()["secret"]);
    for (secret, status) in [(&first, 401), (&second, 401), (&third, 200)] {
        let answer = send(Method::GET, "/api/pool", secret, null.clone()).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
    let shown = send(Method::GET, "/api/keys/ci", &root, null.clone()).await.json();
    assert!(is_time(&shown["last_used_at"]), "{shown}");
    let revoked = send(Method::DELETE, "/api/keys/ci", &root, null.clone()).await;
    assert!(is_time(&revoked.json()["revoked_at"]), "{}", revoked.text);
    assert_eq!(send(Method::GET, "/api/pool", &third, null.clone()).await.status, 401);
    send(Method::GET, "/api/keys/ci", &root, null.clone()).await.problem(404, "unknown-key");
    send(Method::GET, &format!("/api/keys/{id}"), &root, null).await.problem(404, "unknown-key");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// On one thread, so that all of the server logs here.
#[tokio::test]
async fn the_log_has_the_caller_but_no_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
    let subscriber = subscriber.with_ansi(false).with_writer(move || writer.clone()).finish();
    // With only one subscriber, tracing caches the interest of a line at its first use, which may be in another test.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let _logging = tracing::subscriber::set_default(subscriber);
    let db = TestDb::sqlite();
    let server = db.serve_size(2).await;
    let root = first_key(&server).await;
    let cookie = sign_in(&server, &root).await;
    let secrets = [root.split('_').nth(2).unwrap(), cookie.split('=').nth(1).unwrap()];
    let body = json!({ "user_id": "ann" });
    let allocate = server.request(Method::POST, "/api/tokens/allocate").json(&body);
    assert_eq!(Answer::to(allocate.bearer_auth(&root)).await.status, 200);
    let get = |key: &str| server.request(Method::GET, "/api/pool").basic_auth("ann", Some(key));
    Answer::to(get(&root)).await;
    let mut wrong = root.clone();
    wrong.pop();
    Answer::to(get(&wrong)).await.problem(401, "unauthenticated");
    let with_cookie = server.request(Method::GET, "/api/pool").header("cookie", &cookie);
    Answer::to(with_cookie.header("host", "localhost")).await;
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(" access: ")).collect();
    let id = &root[3..15];
    let line = lines.iter().find(|line| line.contains("/api/tokens/allocate")).unwrap();
    assert!(line.contains("client=127.0.0.1 user=\"ann\" ") && line.contains(id), "{line}");
    let pool: Vec<_> = lines.iter().filter(|line| line.contains("path=/api/pool ")).collect();
    assert_eq!(pool.len(), 3, "{log}");
    assert!(pool[0].contains(id) && pool[2].contains(id) && !pool[1].contains(id), "{pool:?}");
    for secret in secrets {
        assert!(secret.len() > 40 && !log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn keys_are_searched_by_name_and_id() {
    let db = TestDb::sqlite();
    let server = db.serve_size(2).await;
    let root = first_key(&server).await;
    for name in ["ci-linux", "CI-mac", "ann"] {
        let body = json!({ "name": name, "rights": "use", "pools": ["*"], "users": ["*"] });
        key(&server, Some(&root), body).await;
    }
    let list = async |query: &str| {
        let path = format!("/api/keys?{query}");
        Answer::to(server.request(Method::GET, &path).bearer_auth(&root)).await.json()
    };
    let names = |page: &serde_json::Value| -> Vec<String> {
        page["keys"].as_array().unwrap().iter().map(|key| text(&key["name"])).collect()
    };
    assert_eq!(names(&list("search=cI-").await), ["CI-mac", "ci-linux"]);
    let first = list("search=ci&limit=1").await;
    assert_eq!(names(&first), ["CI-mac"]);
    let next = text(&first["next"]);
    assert_eq!(next, "/api/keys?limit=1&search=ci&after=CI-mac");
    let second = list(next.split_once('?').unwrap().1).await;
    assert_eq!(names(&second), ["ci-linux"]);
    assert!(second["next"].is_null(), "{second}");
    let id = text(&list("search=ann").await["keys"][0]["id"]);
    assert_eq!(names(&list(&format!("search={}", &id[..8])).await), ["ann"]);
    assert!(names(&list("search=%20%26").await).is_empty());
    assert_eq!(names(&list("search=").await).len(), 4);
}
