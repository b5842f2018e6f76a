//! Token values and API keys must not be in logs and traces, user names only in the access log; request ids must be in
//! the log.

use std::fs;
use std::path::Path;

use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use testbed::{Cluster, TIMEOUT, TestDb, on_both, poll};

use crate::commands::ask as command_of;
use crate::harness::{TestServer, client, command, run};

/// A name that occurs nowhere else.
const USER: &str = "Rumpelstilzchen";

/// The server's answer.
async fn ask(client: &Client, server: &TestServer, method: &str, path: &str, body: Value) -> Value {
    let method: Method = method.parse().unwrap();
    let request = client.request(method, format!("{}{path}", server.url()));
    let request = request.header("x-request-id", "known-to-the-client");
    let request = if body.is_null() { request } else { request.json(&body) };
    let answer = request.send().await.unwrap().text().await.unwrap();
    serde_json::from_str(&answer).unwrap_or_default()
}

/// Uses every route, with valid and invalid requests. Returns the secrets.
async fn all_routes(client: &Client, server: &TestServer) -> Vec<String> {
    let allocate = "/api/tokens/allocate";
    let user = json!({ "user_id": USER });
    let lease = ask(client, server, "POST", allocate, user.clone()).await;
    let text = |name: &str| lease[name].as_str().unwrap().to_owned();
    let (value, id, lease_id) = (text("token_value"), text("token_id"), text("lease_id"));
    for path in [
        "/".to_owned(),
        "/assets/0/nothing.js".to_owned(),
        "/nowhere".to_owned(),
        format!("/{value}"),
        "/api/tokens".to_owned(),
        "/api/tokens/active".to_owned(),
        "/api/tokens/available".to_owned(),
        format!("/api/tokens/{id}"),
        format!("/api/tokens/{value}"),
        format!("/api/tokens/{id}/history"),
        format!("/api/tokens/{value}/history"),
        format!("/api/leases?user={USER}"),
        format!("/api/leases?user={USER}&format=csv"),
        format!("/api/leases?token={value}"),
        format!("/api/leases/{lease_id}"),
        format!("/api/leases/{value}"),
        "/api/pool".to_owned(),
        "/health/live".to_owned(),
        "/health/ready".to_owned(),
    ] {
        ask(client, server, "GET", &path, Value::Null).await;
    }
    let mut events = client.get(format!("{}/api/events", server.url())).send().await.unwrap();
    for (method, path, body) in [
        ("POST", allocate.to_owned(), json!({ "user_id": { "name": USER } })),
        ("POST", allocate.to_owned(), json!({ "user_id": USER, "lease": USER })),
        ("POST", format!("/api/leases/{lease_id}/renew"), Value::Null),
        ("POST", format!("/api/leases/{value}/renew"), Value::Null),
        ("POST", format!("/api/leases/{lease_id}/release"), Value::Null),
        ("POST", allocate.to_owned(), user.clone()),
        ("POST", format!("/api/tokens/release/{id}"), user.clone()),
        ("POST", format!("/api/tokens/release/{value}"), user.clone()),
        ("DELETE", "/api/tokens/clear-active".to_owned(), Value::Null),
        (USER, "/api/tokens".to_owned(), Value::Null),
    ] {
        ask(client, server, method, &path, body).await;
    }
    assert!(events.chunk().await.unwrap().is_some());
    vec![value.replace('-', ""), value, USER.to_owned()]
}

#[on_both]
async fn logs_and_traces_have_no_values_and_names(db: TestDb) {
    let database = db.url();
    let format = if database.starts_with("sqlite:") { "json" } else { "text" };
    #[cfg(feature = "opentelemetry")]
    let collector = crate::collector::Collector::start().await;
    #[cfg(feature = "opentelemetry")]
    let endpoint = ["--otlp-endpoint", &collector.url];
    #[cfg(not(feature = "opentelemetry"))]
    let endpoint = [];
    let log = ["--log", "trace", "--log-format", format];
    let mut server = TestServer::start(database, &[&log[..], &endpoint].concat());
    let mut secrets = all_routes(&client(), &server).await;
    let h2 = Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    secrets.extend(all_routes(&h2, &server).await);
    drop(h2);
    server.signal("TERM");
    assert!(server.wait().success());
    let log =
        poll("the end of the log", || Some(server.log()).filter(|log| log.contains("stopped")));
    // The access log names users, and nothing else does.
    let names_users =
        |line: &str| line.contains(" access: ") || line.contains("\"target\":\"access\"");
    for secret in &secrets {
        let shows = |line: &str| line.to_lowercase().contains(&secret.to_lowercase());
        let seen = log.lines().find(|line| shows(line) && !(secret == USER && names_users(line)));
        assert_eq!(seen, None, "{secret}");
    }
    let access: Vec<&str> = log.lines().filter(|line| line.contains("micros")).collect();
    assert!(access.len() > 50, "{}", access.len());
    let named = |line: &&str| line.contains("known-to-the-client") || line.contains("/api/events");
    assert!(access.iter().all(named), "{log}");
    if format == "json" {
        let parsed =
            |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line}"));
        for line in log.lines().map(parsed) {
            let text = |name: &str| assert!(line[name].is_string(), "{name}: {line}");
            ["timestamp", "level", "target"].into_iter().for_each(text);
        }
    }
    #[cfg(feature = "opentelemetry")]
    {
        assert!(collector.spans().len() > 50);
        let text = collector.text().to_lowercase();
        for secret in &secrets {
            assert!(!text.contains(&secret.to_lowercase()), "{secret}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_by_the_database_names_the_request() {
    let cluster = Cluster::shared();
    let database = cluster.database().await.unwrap();
    let server = TestServer::start(&database, &["--log-format", "json"]);
    server.allocate("another user").await;
    let check = format!("alter table token_manager.leases add check (user_name <> '{USER}')");
    cluster.execute(&database, &check).await.unwrap();
    let user = json!({ "user_id": USER });
    let answer = ask(&client(), &server, "POST", "/api/tokens/allocate", user).await;
    assert_eq!(answer["code"], "unstorable-user", "{answer}");
    let line = poll("the refusal", || {
        server.log().lines().find(|line| line.contains("refused a command")).map(str::to_owned)
    });
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["request_id"], "known-to-the-client", "{line}");
    assert!(line["error"].as_str().unwrap().contains("23514"), "{line}");
    assert!(!server.log().contains(USER));
}

/// A part of each planted value.
const PLANTED: &str = "plantedValue";

/// A value of a pool that shows values to holders only.
fn planted(number: u32) -> String {
    format!("{PLANTED}-{number}")
}

/// A document with planted values, with some of the mistakes that a document can have.
fn document(mistake: &str) -> String {
    let token = |number| format!("{{ name = \"{number}\", value = \"{}\" }}", planted(number));
    format!("[pools.vault]\ntokens = [{}, {}, {}]\n{mistake}\n", token(1), token(2), token(3))
}

/// Sends requests with values: some succeed, some have mistakes. Returns all answers but those to holders.
async fn requests_with_values(client: &Client, server: &TestServer) -> String {
    let text = async |method: &str, path: &str, body: String| {
        let method: Method = method.parse().unwrap();
        let request = client.request(method, format!("{}{path}", server.url()));
        let request = request.header("content-type", "application/json").body(body);
        let answer = request.send().await.unwrap();
        let head = format!("{} {:?}\n", answer.status(), answer.headers());
        head + &answer.text().await.unwrap()
    };
    let mut outputs = String::new();
    let allocate = json!({ "user": "ann", "token": "1", "note": "n" });
    let path = format!("{}/api/pools/vault/allocate", server.url());
    let held = client.post(path).header("idempotency-key", "k").json(&allocate).send().await;
    let held: Value = held.unwrap().json().await.unwrap();
    assert_eq!(held["token_value"], planted(1), "the holder gets it: {held}");
    let (lease, token) = (held["lease_id"].as_str().unwrap(), held["token_id"].as_str().unwrap());
    let one = |value: &str| json!({ "name": "4", "value": value });
    let many = |value: &str| json!({ "tokens": [one(value)] });
    let (good, long, nul) = (planted(4), planted(4).repeat(1_000), planted(4) + "\0");
    for (method, path, body) in [
        ("POST", "/api/pools/vault/tokens", one(&good).to_string()),
        ("POST", "/api/pools/vault/tokens", one(&good).to_string()),
        ("POST", "/api/pools/vault/tokens", one(&long).to_string()),
        ("POST", "/api/pools/vault/tokens", one(&nul).to_string()),
        ("PATCH", "/api/pools/vault/tokens/4", json!({ "value": planted(5) }).to_string()),
        ("PATCH", "/api/pools/vault/tokens/4", json!({ "value": [planted(5)] }).to_string()),
        ("PUT", "/api/pools/vault/tokens", many(&good).to_string()),
        ("PUT", "/api/pools/vault", many(&long).to_string()),
        ("PUT", "/api/pools", json!({ "pools": { "vault": many(&nul) } }).to_string()),
        ("PUT", "/api/pools?dry_run=true", json!({ "pools": { "w": many(&good) } }).to_string()),
        ("PUT", "/api/pools/vault", format!("{{ \"tokens\": [{{ \"value\": {PLANTED} ")),
        ("POST", "/api/pools/vault/allocate", json!({ "user": "b", "token": good }).to_string()),
    ] {
        outputs += &text(method, path, body).await;
    }
    let taint = json!({ "name": "t", "effect": "no-new-leases", "reason": "r" }).to_string();
    outputs += &text("POST", "/api/pools/vault/tokens/2/taints", taint).await;
    for path in [
        "/api/pools".to_owned(),
        "/api/pools/vault".to_owned(),
        "/api/pools/vault/tokens".to_owned(),
        "/api/pools/vault/tokens/1".to_owned(),
        format!("/api/tokens/{token}"),
        format!("/api/tokens/{token}/history"),
        "/api/tokens/active".to_owned(),
        format!("/api/leases/{lease}"),
        "/api/leases?pool=vault".to_owned(),
        "/api/leases?pool=vault&token=1".to_owned(),
        "/api/leases/export?pool=*".to_owned(),
        "/api/queue?pool=vault".to_owned(),
        "/metrics".to_owned(),
        "/health/ready".to_owned(),
    ] {
        outputs += &text("GET", &path, String::new()).await;
    }
    outputs += &text("POST", &format!("/api/leases/{lease}/renew"), String::new()).await;
    outputs
}

/// Runs the commands that show pools and tokens, and those of documents with mistakes.
fn commands_with_values(server: &TestServer, folder: &Path) -> String {
    let file = folder.join("mistakes.toml");
    let mut outputs = String::new();
    for arguments in [
        &["pools"][..],
        &["pools", "--json"],
        &["tokens", "--pool", "vault", "--values"],
        &["tokens", "--pool", "vault", "--json"],
        &["show", "--pool", "vault", "1"],
        &["history", "--pool", "vault", "1"],
        &["leases", "--pool", "vault", "--csv"],
        &["queue", "--pool", "vault"],
        &["pool", "--pool", "vault"],
        &["status"],
        &["export", "--values"],
        &["export", "vault", "--values", "--format", "csv"],
        &["export", "vault", "--values", "--format", "json"],
        &["cordon", "vault", "1"],
        &["uncordon", "vault", "1"],
        &["drain", "vault", "3"],
        &["config", "list"],
    ] {
        let ended = command_of(server, arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        outputs += &ended.text();
    }
    for mistake in ["unknown = 1", "lease = 'x'", "tokens_range = '", "tokens_csv = 'no.csv'", ""] {
        fs::write(&file, document(mistake).replace("-3", "-33")).unwrap();
        for command in ["diff", "apply"] {
            outputs += &command_of(server, &[command, "-f", file.to_str().unwrap()]).text();
        }
    }
    outputs
}

/// Reads an event stream up to the end of the pool.
async fn events(client: Client, server: String, query: &'static str) -> String {
    let path = format!("{server}/api/events?pool=*{query}");
    let mut stream = client.get(path).send().await.unwrap();
    let mut events = String::new();
    while !events.contains("pool.deleted") {
        events += &String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap());
    }
    events
}

/// The log of every thread, traces, events, metrics, answers, lists, exports and commands.
#[on_both]
async fn values_for_holders_are_in_no_output(db: TestDb) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pools.toml");
    fs::write(&file, document("")).unwrap();
    let (url, file) = (db.url().to_owned(), file.to_str().unwrap().to_owned());
    #[cfg(feature = "opentelemetry")]
    let collector = crate::collector::Collector::start().await;
    #[cfg(feature = "opentelemetry")]
    let endpoint = ["--otlp-endpoint", &collector.url];
    #[cfg(not(feature = "opentelemetry"))]
    let endpoint = [];
    let arguments = ["--log", "trace", "--pools", &file];
    let mut server = TestServer::start(&url, &[&arguments[..], &endpoint].concat());
    let client = client();
    let live = tokio::spawn(events(client.clone(), server.url(), ""));
    let mut outputs = requests_with_values(&client, &server).await;
    if !url.starts_with("sqlite:") {
        // PostgreSQL's error about a row shows the row.
        let check = "alter table token_manager.tokens add check (value <> 'plantedValue-66')";
        Cluster::shared().execute(&url, check).await.unwrap();
        let refused = json!({ "name": "66", "value": planted(66) });
        outputs +=
            &ask(&client, &server, "POST", "/api/pools/vault/tokens", refused).await.to_string();
    }
    let blocking = tokio::task::spawn_blocking(move || {
        let outputs = commands_with_values(&server, folder.path());
        (server, folder, outputs)
    });
    let (running, folder, of_commands) = blocking.await.unwrap();
    server = running;
    outputs += &of_commands;
    for command_line in [&["doctor"][..], &["config"]] {
        let mut told = command(folder.path(), &[command_line, &["--database", &url]].concat());
        outputs += &run(told.env("TOKEN_MANAGER_POOLS", &file)).text();
    }
    let deleted = ask(&client, &server, "DELETE", "/api/pools/vault?end_leases=true", Value::Null);
    outputs += &deleted.await.to_string();
    outputs += &live.await.unwrap();
    let replayed = events(client.clone(), server.url(), "&last_event_id=1-1").await;
    assert!(replayed.contains("token.added"), "{replayed}");
    outputs += &replayed;
    server.signal("TERM");
    assert!(server.wait().success());
    let log =
        poll("the end of the log", || Some(server.log()).filter(|log| log.contains("stopped")));
    assert!(log.contains("TRACE"), "the most verbose level");
    assert!(outputs.contains("token.changed") && outputs.contains("vault"), "{outputs}");
    outputs += &log;
    #[cfg(feature = "opentelemetry")]
    {
        assert!(collector.spans().len() > 20);
        outputs += &collector.text();
    }
    let seen = outputs.lines().find(|line| line.contains(PLANTED));
    assert_eq!(seen, None);
}

/// A client whose requests have this header.
fn client_with(name: &'static str, value: &str) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let headers = HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())]);
    Client::builder().no_proxy().timeout(TIMEOUT).default_headers(headers).build().unwrap()
}

/// Runs commands with a valid and a wrong key, at this server with this database.
fn commands_with_keys(server: &str, database: &str, admin: &str, wrong: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut outputs = String::new();
    for (key, arguments) in [
        (admin, &["whoami"][..]),
        (admin, &["keys", "list"]),
        (admin, &["keys", "show", "k", "--json"]),
        (admin, &["audit", "--csv"]),
        (admin, &["tokens"]),
        (admin, &["status"]),
        (admin, &["config", "list"]),
        (admin, &["tokens", "--kye", admin]),
        (wrong, &["whoami"]),
        (admin, &["status", "--key", wrong]),
    ] {
        let mut told = command(folder.path(), arguments);
        told.env("TOKEN_MANAGER_SERVER", server).env("TOKEN_MANAGER_KEY", key);
        outputs += &run(&mut told).text();
    }
    for arguments in [&["doctor"][..], &["config"]] {
        let mut told = command(folder.path(), &[arguments, &["--database", database]].concat());
        outputs += &run(told.env("TOKEN_MANAGER_BOOTSTRAP_KEY", admin)).text();
    }
    outputs
}

/// The log of every thread, traces, answers to others, and commands.
#[on_both]
async fn api_keys_are_in_no_output(db: TestDb) {
    let generate = || {
        let ended = run(&mut command(Path::new("/"), &["keys", "generate"]));
        ended.out.trim_end().to_owned()
    };
    let (admin, wrong) = (generate(), generate());
    #[cfg(feature = "opentelemetry")]
    let collector = crate::collector::Collector::start().await;
    #[cfg(feature = "opentelemetry")]
    let endpoint = ["--otlp-endpoint", &collector.url];
    #[cfg(not(feature = "opentelemetry"))]
    let endpoint = [];
    let url = db.url().to_owned();
    let common = ["serve", "--listen", "127.0.0.1:0", "--database", &url, "--log", "trace"];
    let mut serve = command(Path::new("/"), &[&common[..], &endpoint].concat());
    let mut server = TestServer::of(serve.env("TOKEN_MANAGER_BOOTSTRAP_KEY", &admin));
    let with_key = client_with("authorization", &format!("Bearer {admin}"));
    all_routes(&with_key, &server).await;
    let wanted = json!({ "name": "k", "rights": "use", "pools": ["*"], "users": ["*"] });
    let created = ask(&with_key, &server, "POST", "/api/keys", wanted).await;
    let created = created["secret"].as_str().unwrap().to_owned();
    let rotated = ask(&with_key, &server, "POST", "/api/keys/k/rotate", json!({})).await;
    let rotated = rotated["secret"].as_str().unwrap().to_owned();
    let code = ask(&with_key, &server, "POST", "/api/session/code", Value::Null).await;
    let code = code["code"].as_str().unwrap().to_owned();
    let sign_in =
        client().post(format!("{}/api/session", server.url())).json(&json!({ "code": code }));
    let signed_in = sign_in.send().await.unwrap();
    assert_eq!(signed_in.status(), 201);
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let session = cookie.split_once('=').unwrap().1.to_owned();
    let mut outputs = String::new();
    for (name, value) in [
        ("authorization", format!("Bearer {wrong}")),
        ("authorization", format!("Bearer {}", &wrong[..wrong.len() - 1])),
        ("authorization", format!("Bearer {created}")),
        ("cookie", cookie.clone()),
        ("cookie", format!("{cookie}x")),
    ] {
        // Few requests, because failed ones are delayed.
        outputs += &ask(&client_with(name, &value), &server, "GET", "/api/tokens", Value::Null)
            .await
            .to_string();
    }
    for body in [json!({ "key": wrong }), json!({ "key": [admin] }), json!({ "code": code })] {
        outputs += &ask(&client(), &server, "POST", "/api/session", body).await.to_string();
    }
    let in_url = format!("/api/keys/{wrong}");
    ask(&with_key, &server, "GET", &in_url, Value::Null).await;
    for path in
        ["/api/keys", "/api/keys/k", "/api/audit", "/api/audit/export?format=csv", "/metrics"]
    {
        let path = format!("{}{path}", server.url());
        outputs += &with_key.get(path).send().await.unwrap().text().await.unwrap();
    }
    let of_commands = tokio::task::spawn_blocking({
        let (address, admin, wrong) = (server.url(), admin.clone(), wrong.clone());
        move || commands_with_keys(&address, &url, &admin, &wrong)
    });
    outputs += &of_commands.await.unwrap();
    server.signal("TERM");
    assert!(server.wait().success());
    let log =
        poll("the end of the log", || Some(server.log()).filter(|log| log.contains("stopped")));
    assert!(log.contains("TRACE"), "the most verbose level");
    outputs += &log;
    #[cfg(feature = "opentelemetry")]
    {
        outputs += &collector.text();
    }
    for secret in [&admin, &wrong, &created, &rotated] {
        let secret = secret.split('_').nth(2).unwrap();
        assert_eq!(outputs.lines().find(|line| line.contains(secret)), None);
    }
    for secret in [&code, &session] {
        assert_eq!(outputs.lines().find(|line| line.contains(secret.as_str())), None);
    }
}
