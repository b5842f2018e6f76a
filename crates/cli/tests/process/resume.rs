//! Clients after their server was killed: event streams resume, repeated requests get their lease.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{TestServer, client};
use testbed::{TestDb, eventually, on_both};

/// Leases for each part of a stream.
const LEASES: usize = 50;

/// User of the last lease. Its start is the last event that followers read.
const LAST: &str = "last";

/// Event stream client: its events and its position.
#[derive(Clone, Default)]
struct Follower {
    last_id: Option<String>,
    /// The ids and data of all events.
    events: Vec<(String, String)>,
}

impl Follower {
    /// Follows the stream until it breaks or `done`.
    async fn follow(mut self, url: String, done: fn(&Follower) -> bool) -> Self {
        let mut request = client().get(format!("{url}/api/events"));
        if let Some(id) = &self.last_id {
            request = request.header("last-event-id", id);
        }
        let Ok(mut stream) = request.send().await else { return self };
        assert_eq!(stream.status(), 200);
        let mut text = String::new();
        while !done(&self)
            && let Ok(Some(chunk)) = stream.chunk().await
        {
            text.push_str(std::str::from_utf8(&chunk).unwrap());
            while let Some(end) = text.find("\n\n") {
                self.take(&text[..end]);
                text.drain(..end + 2);
            }
        }
        self
    }

    /// Whether it has a position to resume from.
    fn is_placed(&self) -> bool {
        self.last_id.is_some()
    }

    fn is_complete(&self) -> bool {
        let last = format!("\"user\":\"{LAST}\"");
        self.events.last().is_some_and(|(_, data)| data.contains(&last))
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

/// Several clients that allocate and release, and count that.
fn load(url: &str, stop: &Arc<AtomicBool>, count: &Arc<AtomicUsize>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for number in 0..4 {
        let (url, stop, count) = (url.to_owned(), Arc::clone(stop), Arc::clone(count));
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
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    tasks
}

#[on_both]
async fn a_stream_resumes_after_the_server_was_killed(db: TestDb) {
    let database = db.url();
    let mut server = TestServer::start(database, &["--pool-size", "3"]);
    let beginning = Follower::default().follow(server.url(), Follower::is_placed).await;
    assert!(beginning.is_placed() && beginning.events.is_empty());
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let following = tokio::spawn(beginning.clone().follow(server.url(), Follower::is_complete));
    let tasks = load(&server.url(), &stop, &count);
    eventually("some leases", async || count.load(Ordering::SeqCst) >= LEASES).await;
    server.signal("KILL");
    server.wait();
    tasks.join_all().await;
    let before = following.await.unwrap();
    assert!(!before.events.is_empty());

    let server = TestServer::start(database, &[]);
    let following = tokio::spawn(before.clone().follow(server.url(), Follower::is_complete));
    let tasks = load(&server.url(), &stop, &count);
    eventually("more leases", async || count.load(Ordering::SeqCst) >= 2 * LEASES).await;
    stop.store(true, Ordering::SeqCst);
    tasks.join_all().await;
    server.allocate(LAST).await;
    let after = following.await.unwrap();
    assert!(after.events.len() > before.events.len());
    let whole = beginning.follow(server.url(), Follower::is_complete).await;
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
            // Some requests are answered by then, and others are not.
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
