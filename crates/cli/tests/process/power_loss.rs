//! Power losses: a server is killed, and all that it had not synced is gone. `power_loss.c` keeps what
//! is certainly on disk.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use store::{Clock as _, SystemClock};
use testbed::eventually;
use tokio::task::JoinSet;

use crate::crash::healthy;
use crate::harness::{TestServer, client, command};
use crate::sqlite;

/// Enough for batches of several commands.
const CLIENTS: usize = 48;
const ROUNDS: u64 = 5;

/// A lease that was granted, and whether its release was acknowledged.
type Acknowledged = (String, bool);

/// Compiles a library for servers, whose source is in this folder.
pub fn library(folder: &Path, name: &str) -> String {
    let source = format!("{}/tests/process/{name}.c", env!("CARGO_MANIFEST_DIR"));
    let library = folder.join(format!("{name}.so")).to_str().unwrap().to_owned();
    let compile = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", &library, &source, "-ldl"];
    assert!(Command::new("cc").args(compile).status().unwrap().success());
    library
}

/// Allocates and releases without pause until the server is gone.
fn load(url: &str, count: &Arc<AtomicUsize>) -> JoinSet<Vec<Acknowledged>> {
    let mut tasks = JoinSet::new();
    for number in 0..CLIENTS {
        let (url, client, count) = (url.to_owned(), client(), Arc::clone(count));
        let post = move |path: String, body: Value| {
            let request = client.post(format!("{url}{path}")).json(&body);
            async move {
                let answer = request.send().await.ok()?.error_for_status().ok()?;
                answer.json::<Value>().await.ok()
            }
        };
        tasks.spawn(async move {
            let user = json!({ "user_id": format!("client {number}") });
            let mut acknowledged = Vec::new();
            while let Some(lease) = post("/api/tokens/allocate".to_owned(), user.clone()).await {
                let id = lease["lease_id"].as_str().unwrap().to_owned();
                acknowledged.push((id.clone(), false));
                count.fetch_add(1, Ordering::SeqCst);
                if acknowledged.len() % 2 == 0 {
                    continue;
                }
                let Some(_) = post(format!("/api/leases/{id}/release"), json!({})).await else {
                    break;
                };
                acknowledged.last_mut().unwrap().1 = true;
            }
            acknowledged
        });
    }
    tasks
}

/// Runs a server under load, and cuts its power after a while. Returns what was acknowledged; the
/// disk's content is in the folder `shadow` then.
async fn cut_power(folder: &Path, library: &str, lies: &str, after: Duration) -> Vec<Acknowledged> {
    let [real, shadow] = ["real", "shadow"].map(|name| folder.join(name));
    for folder in [&real, &shadow] {
        std::fs::create_dir(folder).unwrap();
    }
    let database = sqlite(&real);
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--database", &database];
    // More tokens than clients, so that only released leases end.
    let arguments = [&arguments[..], &["--pool-size", "5000"]].concat();
    let mut server = command(Path::new("/"), &arguments);
    server.env("LD_PRELOAD", library).env("REAL", &real).env("SHADOW", &shadow).env("LIES", lies);
    let mut server = TestServer::of(&mut server);
    let count = Arc::default();
    let tasks = load(&server.url(), &count);
    eventually("some leases", async || count.load(Ordering::SeqCst) > 100).await;
    tokio::time::sleep(after).await;
    server.signal("KILL");
    server.wait();
    tasks.join_all().await.concat()
}

/// What the pool on the disk lacks of that.
async fn missing(shadow: &Path, acknowledged: &[Acknowledged]) -> Vec<String> {
    let server = TestServer::start(&sqlite(shadow), &[]);
    let mut missing = Vec::new();
    for (id, released) in acknowledged {
        let (status, lease) = server.get(&format!("/api/leases/{id}")).await;
        let has = status == 200 && (!released || lease["end_reason"] == "released");
        missing.extend(Some(id.clone()).filter(|_| !has));
    }
    missing
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_power_fails() {
    let outer = tempfile::tempdir().unwrap();
    let (library, start) = (library(outer.path(), "power_loss"), Instant::now());
    for round in 0..ROUNDS {
        let folder = outer.path().join(round.to_string());
        std::fs::create_dir(&folder).unwrap();
        let after = SystemClock.now().as_micros().unsigned_abs() % 700_000;
        let acknowledged = cut_power(&folder, &library, "", Duration::from_micros(after)).await;
        let shadow = folder.join("shadow");
        let missing = missing(&shadow, &acknowledged).await;
        assert_eq!(missing, [""; 0], "of {}, round {round}", acknowledged.len());
        healthy(&sqlite(&shadow));
        if start.elapsed() > Duration::from_secs(15) {
            break;
        }
    }
}

/// The test above can fail: on a disk that does not write the log, leases are lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_lies_loses_leases() {
    let outer = tempfile::tempdir().unwrap();
    let library = library(outer.path(), "power_loss");
    let acknowledged = cut_power(outer.path(), &library, "-wal", Duration::ZERO).await;
    assert_ne!(missing(&outer.path().join("shadow"), &acknowledged).await, [""; 0]);
}
