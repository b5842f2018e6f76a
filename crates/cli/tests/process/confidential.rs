//! Token values and user names must not be in logs and traces; request ids must be in the log.

use reqwest::{Client, Method};
use serde_json::{Value, json};
use testbed::{Cluster, TestDb, on_both, poll};

use crate::harness::{TestServer, client};

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
    for secret in &secrets {
        let seen = log.lines().find(|line| line.to_lowercase().contains(&secret.to_lowercase()));
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
