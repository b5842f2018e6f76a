//! A disk that does not answer for a while: `stalled_disk.c` lets no sync end.

use std::fs;
use std::path::Path;

use serde_json::json;
use testbed::eventually;

use crate::harness::{TestServer, client, command};
use crate::power_loss::library;
use crate::sqlite;

/// A server whose disk stalls while the file exists.
fn server(folder: &Path, stall: &Path) -> TestServer {
    let library = library(folder, "stalled_disk");
    let database = sqlite(folder);
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--database", &database];
    let limits = ["--request-timeout", "400ms", "--shutdown-timeout", "200ms"];
    let mut server = command(Path::new("/"), &[&arguments[..], &limits].concat());
    TestServer::of(server.env("LD_PRELOAD", library).env("STALL", stall))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_disk_is_reported_and_prevents_no_reads_and_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let stall = folder.path().join("stall");
    let mut server = server(folder.path(), &stall);
    let (_, first) = server.allocate("before").await;
    fs::write(&stall, "").unwrap();
    let url = format!("{}/api/tokens/allocate", server.url());
    let allocate = |user: &str| client().post(&url).json(&json!({ "user_id": user })).send();
    let answer = allocate("meanwhile").await.unwrap();
    assert_eq!(answer.status(), 503);
    // The batch was on its way to the disk.
    assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["code"], "outcome-unknown");
    eventually("the database is away", async || server.get("/health/ready").await.0 == 503).await;
    assert!(server.log().contains("database does not answer; waiting on"));
    let lease = format!("/api/leases/{}", first["lease_id"].as_str().unwrap());
    assert_eq!(server.get(&lease).await.0, 200, "reads go on");
    fs::remove_file(&stall).unwrap();
    eventually("it is ready again", async || server.get("/health/ready").await.0 == 200).await;
    assert_eq!(server.allocate("after").await.0, 200);
    fs::write(&stall, "").unwrap();
    let asked = tokio::spawn(allocate("at the end"));
    eventually("it is away again", async || server.get("/health/ready").await.0 == 503).await;
    server.signal("TERM");
    let ended = tokio::task::spawn_blocking(move || (server.wait(), server.log())).await;
    let (status, log) = ended.unwrap();
    assert_eq!(status.code(), Some(0), "{log}");
    drop(asked.await);
}
