//! Limits by settings (keys, streams, retention) and by the system (descriptors).

use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{TestServer, client};
use crate::sqlite;
use testbed::{TestDb, eventually, on_both, poll};

/// Status and body of an allocation with this key.
async fn allocate(server: &TestServer, key: &str) -> (u16, Value) {
    let request = client().post(format!("{}/api/tokens/allocate", server.url()));
    let request = request.header("idempotency-key", key).json(&json!({ "user_id": "Edivan" }));
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[on_both]
async fn max_idempotency_keys_limits_keys(db: TestDb) {
    let database = db.url();
    let server = TestServer::start(database, &["--max-idempotency-keys", "1"]);
    let (status, first) = allocate(&server, "one").await;
    assert_eq!(status, 200, "{first}");
    let (status, body) = allocate(&server, "two").await;
    assert_eq!((status, &body["code"]), (503, &json!("idempotency-full")), "{body}");
    drop(server);
    let server = TestServer::start(database, &["--max-idempotency-keys", "2"]);
    let (_, again) = allocate(&server, "one").await;
    assert_eq!(again["lease_id"], first["lease_id"]);
    assert_eq!(allocate(&server, "two").await.0, 200);
}

#[tokio::test]
async fn max_event_streams_limits_streams() {
    let db = TestDb::sqlite();
    let server = TestServer::start(db.url(), &["--max-event-streams", "1"]);
    let url = format!("{}/api/events", server.url());
    let first = client().get(&url).send().await.unwrap();
    assert_eq!(first.status(), 200);
    let second = client().get(&url).send().await.unwrap();
    assert_eq!(second.status(), 503);
    drop(first);
}

#[on_both]
async fn leases_older_than_retention_are_deleted(db: TestDb) {
    let database = db.url();
    let server = TestServer::start(database, &["--pool-size", "1"]);
    for _ in 0..3 {
        assert_eq!(server.allocate("Edivan").await.0, 200);
    }
    drop(server);
    let server = TestServer::start(database, &["--journal-max-age", "1ms", "--retention", "1ms"]);
    let (_, tokens) = server.get("/api/tokens").await;
    let path = format!("/api/tokens/{}/history", tokens[0]["id"].as_str().unwrap());
    eventually("the ended leases are deleted", async || {
        let (_, body) = server.get(&path).await;
        let history = body["history"].as_array().unwrap();
        assert!(history.iter().any(|row| row["ended_at"].is_null()), "the running one stays");
        history.len() == 1
    })
    .await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_lack_of_descriptors_is_logged_and_temporary() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("prlimit");
    command.args(["--nofile=64:64", env!("CARGO_BIN_EXE_token-manager")]);
    command.args(["serve", "--listen", "127.0.0.1:0", "--database", &sqlite(folder.path())]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let server = TestServer::of(&mut command);
    let address = server.url().replace("http://", "");
    let many: Vec<_> = (0..64).map(|_| TcpStream::connect(&address).unwrap()).collect();
    poll("a line", || server.log().contains("connections not accepted").then_some(()));
    assert!(server.log().contains("raise the limit of open files"), "{}", server.log());
    drop(many);
    assert_eq!(server.get("/api/pool").await.0, 200);
    let log = poll("a line", || {
        Some(server.log()).filter(|log| log.contains("accepting connections again"))
    });
    assert_eq!(log.matches("connections not accepted").count(), 1, "{log}");
}
