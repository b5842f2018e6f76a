//! Clients after their server was killed: event streams resume, repeated requests get their lease.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{TestServer, client};
use testbed::{TestDb, on_both};

/// Silence after which a stream has no more events.
const QUIET: Duration = Duration::from_secs(1);

/// Event stream client: its events and its position.
#[derive(Clone, Default)]
struct Follower {
    last_id: Option<String>,
    /// The ids and data of all events.
    events: Vec<(String, String)>,
}

impl Follower {
    /// Follows the stream until it breaks or is quiet.
    async fn follow(mut self, url: String) -> Self {
        let mut request = client().get(format!("{url}/api/events"));
        if let Some(id) = &self.last_id {
            request = request.header("last-event-id", id);
        }
        let Ok(mut stream) = request.send().await else { return self };
        assert_eq!(stream.status(), 200);
        let mut text = String::new();
        while let Ok(Ok(Some(chunk))) = tokio::time::timeout(QUIET, stream.chunk()).await {
            text.push_str(std::str::from_utf8(&chunk).unwrap());
            while let Some(end) = text.find("\n\n") {
                self.take(&text[..end]);
                text.drain(..end + 2);
            }
        }
        self
    }

    fn take(&mut self, block: &str) {
        let field = |name: &str| {
            block.lines().find_map(|line| line.strip_prefix(name)).map(|v| v.trim().to_owned())
        };
        assert_ne!(field("event:").as_deref(), Some("resync"), "{block}");
        let id = field("id:");
        if let (Some(id), Some(data)) = (&id, field("data:")) {
            self.events.push((id.clone(), data));
        }
        self.last_id = id.or(self.last_id.take());
    }
}

/// Several clients that allocate and release.
fn load(url: &str, stop: &Arc<AtomicBool>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for number in 0..4 {
        let (url, stop) = (url.to_owned(), Arc::clone(stop));
        tasks.spawn(async move {
            let (client, user) = (client(), json!({ "user_id": format!("user {number}") }));
            while !stop.load(Ordering::SeqCst) {
                let allocate = client.post(format!("{url}/api/tokens/allocate")).json(&user);
                let Ok(answer) = allocate.send().await else { return };
                let Ok(lease) = answer.json::<Value>().await else { return };
                let release =
                    format!("{url}/api/leases/{}/release", lease["lease_id"].as_str().unwrap());
                if client.post(release).send().await.is_err() {
                    return;
                }
            }
        });
    }
    tasks
}

#[on_both]
async fn a_stream_resumes_after_the_server_was_killed(db: TestDb) {
    let database = db.url();
    let mut server = TestServer::start(database, &["--pool-size", "3"]);
    let beginning = Follower::default().follow(server.url()).await;
    assert!(beginning.last_id.is_some() && beginning.events.is_empty());
    let stop = Arc::new(AtomicBool::new(false));
    let following = tokio::spawn(beginning.clone().follow(server.url()));
    let tasks = load(&server.url(), &stop);
    tokio::time::sleep(Duration::from_millis(700)).await;
    server.signal("KILL");
    server.wait();
    tasks.join_all().await;
    let before = following.await.unwrap();
    assert!(!before.events.is_empty());

    let server = TestServer::start(database, &[]);
    let following = tokio::spawn(before.clone().follow(server.url()));
    let tasks = load(&server.url(), &stop);
    tokio::time::sleep(Duration::from_millis(700)).await;
    stop.store(true, Ordering::SeqCst);
    tasks.join_all().await;
    let after = following.await.unwrap();
    assert!(after.events.len() > before.events.len());
    let whole = beginning.follow(server.url()).await;
    let ids: HashSet<_> = after.events.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), after.events.len(), "none is told twice");
    assert_eq!(after.events, whole.events, "none is left out");
}

#[on_both]
async fn a_repeated_request_gets_its_lease_after_the_server_was_killed(db: TestDb) {
    let database = db.url();
    let mut granted: HashMap<String, String> = HashMap::new();
    for round in 0..3 {
        let mut server = TestServer::start(database, &["--pool-size", "1000"]);
        let url = format!("{}/api/tokens/allocate", server.url());
        let ask = |key: String| {
            let request = client().post(&url).header("idempotency-key", &key);
            let request = request.json(&json!({ "user_id": "Ada" })).send();
            async move {
                let answer = request.await.ok()?;
                assert_eq!(answer.status(), 200);
                let lease = answer.json::<Value>().await.ok()?;
                Some((key, lease["lease_id"].as_str().unwrap().to_owned()))
            }
        };
        // All keys of earlier rounds, and new ones.
        let keys = (0..(round + 1) * 60).map(|number| format!("key {number}"));
        let asking: Vec<_> = keys.map(|key| tokio::spawn(ask(key))).collect();
        if round < 2 {
            tokio::time::sleep(Duration::from_millis(15)).await;
            server.signal("KILL");
            server.wait();
        }
        for answer in asking {
            // Requests without an answer may or may not have a lease.
            let Some((key, lease)) = answer.await.unwrap() else { continue };
            assert_eq!(granted.entry(key).or_insert_with(|| lease.clone()), &lease);
        }
        if round == 2 {
            assert_eq!(granted.len(), 180);
            let (_, pool) = server.get("/api/pool").await;
            assert_eq!(pool["active"], 180, "one lease for each key: {pool}");
        }
    }
}
