//! Killed servers, servers stopped within a batch, several servers on one database.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use store::{Clock as _, SystemClock};
use testbed::{Cluster, TestDb, eventually, on_both, poll};
use tokio::task::JoinSet;
use tokio_postgres::NoTls;

use crate::harness::{TestServer, command, run};

const LEASE: Duration = Duration::from_secs(4);

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a string")).to_owned()
}

/// Time of day in microseconds, for comparisons within a test.
fn micros(timestamp: &Value) -> i64 {
    let timestamp = text(timestamp);
    let part = |from: usize, to: usize| timestamp[from..to].parse::<i64>().unwrap();
    let seconds = (part(11, 13) * 60 + part(14, 16)) * 60 + part(17, 19);
    seconds * 1_000_000 + part(20, 26)
}

pub fn healthy(database: &str) {
    let doctor = run(&mut command(Path::new("/"), &["doctor", "--database", database]));
    doctor.assert_no_problem();
}

/// Allocates without pause on all servers; returns the acknowledged leases.
fn load(servers: &[&TestServer], stop: &Arc<AtomicBool>) -> JoinSet<Vec<(String, String)>> {
    counted_load(servers, stop, &Arc::default())
}

/// As [`load`], and counts the acknowledged leases.
fn counted_load(
    servers: &[&TestServer],
    stop: &Arc<AtomicBool>,
    count: &Arc<AtomicUsize>,
) -> JoinSet<Vec<(String, String)>> {
    let mut tasks = JoinSet::new();
    for number in 0..12 {
        let url = format!("{}/api/tokens/allocate", servers[number % servers.len()].url());
        let (client, stop) = (crate::harness::client(), Arc::clone(stop));
        let count = Arc::clone(count);
        tasks.spawn(async move {
            let mut acknowledged = Vec::new();
            let user = serde_json::json!({ "user_id": format!("client {number}") });
            while !stop.load(Ordering::SeqCst) {
                let answer = client.post(&url).json(&user).send().await;
                let Ok(answer) = answer.and_then(reqwest::Response::error_for_status) else {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                };
                if let Ok(lease) = answer.json::<Value>().await {
                    acknowledged.push((text(&lease["token_id"]), text(&lease["activated_at"])));
                    count.fetch_add(1, Ordering::SeqCst);
                }
            }
            acknowledged
        });
    }
    tasks
}

/// Asserts that the history has every acknowledged lease.
async fn nothing_is_missing(server: &TestServer, acknowledged: &[(String, String)]) {
    let mut histories = HashMap::new();
    for (token, _) in acknowledged {
        if !histories.contains_key(token) {
            let mut starts = HashSet::new();
            let mut next = format!("/api/tokens/{token}/history");
            loop {
                let (status, page) = server.get(&next).await;
                assert_eq!(status, 200);
                let rows = page["history"].as_array().unwrap();
                starts.extend(rows.iter().map(|row| text(&row["started_at"])));
                let Some(more) = page["next"].as_str() else { break };
                more.clone_into(&mut next);
            }
            histories.insert(token.clone(), starts);
        }
    }
    for (token, start) in acknowledged {
        assert!(histories[token].contains(start), "{token} from {start} was acknowledged");
    }
}

#[on_both]
async fn leases_outlive_a_server_that_is_killed(db: TestDb) {
    let database = db.url();
    let arguments = ["--pool-size", "3", "--lease", "4s"];
    let mut server = TestServer::start(database, &arguments);
    let (_, early) = server.allocate("early").await;
    // The second lease ends later than the first.
    tokio::time::sleep(LEASE / 2).await;
    let (_, late) = server.allocate("late").await;
    server.signal("KILL");
    server.wait();
    let late_since = Instant::now();
    // The early lease reaches its deadline while no server runs.
    let deadline: jiff::Timestamp = text(&early["expires_at"]).parse().unwrap();
    eventually("the deadline", async || SystemClock.now().as_micros() > deadline.as_microsecond())
        .await;

    let server = TestServer::start(database, &arguments);
    let history = |lease: &Value| format!("/api/tokens/{}/history", text(&lease["token_id"]));
    let (_, over) = server.get(&history(&early)).await;
    let over = &over["history"][0];
    let deadline = micros(&early["activated_at"]) + 4_000_000;
    assert_eq!(micros(&over["ended_at"]), deadline, "over at its deadline: {over}");
    let (_, runs) = server.get(&history(&late)).await;
    if late_since.elapsed() + Duration::from_millis(500) < LEASE {
        assert_eq!(runs["history"][0]["ended_at"], Value::Null, "runs on to its own");
    }
    let path = history(&late);
    let ended = tokio::task::block_in_place(|| {
        poll("the late lease to end", || {
            let (_, page) = tokio::runtime::Handle::current().block_on(server.get(&path));
            Some(page["history"][0]["ended_at"].clone()).filter(|ended| !ended.is_null())
        })
    });
    assert_eq!(micros(&ended), micros(&late["activated_at"]) + 4_000_000);
    drop(server);
    healthy(database);
}

#[on_both]
async fn nothing_acknowledged_is_lost_when_a_server_is_killed_under_load(db: TestDb) {
    let database = db.url();
    let mut acknowledged = Vec::new();
    for _ in 0..3 {
        let mut server = TestServer::start(database, &["--pool-size", "20"]);
        let stop = Arc::new(AtomicBool::new(false));
        let count = Arc::default();
        let tasks = counted_load(&[&server], &stop, &count);
        eventually("some leases", async || count.load(Ordering::SeqCst) > 50).await;
        server.signal("KILL");
        server.wait();
        stop.store(true, Ordering::SeqCst);
        acknowledged.extend(tasks.join_all().await.concat());
    }
    let server = TestServer::start(database, &[]);
    nothing_is_missing(&server, &acknowledged).await;
    let (_, active) = server.get("/api/tokens/active").await;
    assert_eq!(active.as_array().unwrap().len(), 20);
    drop(server);
    healthy(database);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_share_one_pool() {
    let database = Cluster::shared().database().await.unwrap();
    // Three servers start at once on an empty database: one creates the pool.
    let servers = [(); 3].map(|()| TestServer::spawn(&database, &["--pool-size", "30"]));
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = load(&servers.iter().collect::<Vec<_>>(), &stop);
    for round in 0..30 {
        let (_, lease) = servers[round % 3].allocate("seen elsewhere").await;
        let path = format!("/api/tokens/{}/history", text(&lease["token_id"]));
        let (_, page) = servers[(round + 1) % 3].get(&path).await;
        let rows = page["history"].as_array().unwrap();
        let seen = rows.iter().any(|row| row["started_at"] == lease["activated_at"]);
        assert!(seen, "a read right after a write on another server sees it");
    }
    stop.store(true, Ordering::SeqCst);
    let acknowledged = tasks.join_all().await.concat();
    nothing_is_missing(&servers[0], &acknowledged).await;
    let (_, active) = servers[1].get("/api/tokens/active").await;
    assert_eq!(active.as_array().unwrap().len(), 30);
    drop(servers);
    healthy(&database);
}

/// Backend of a server that holds the lock and is idle in its transaction, if any.
async fn idle_in_transaction(client: &tokio_postgres::Client) -> Option<(i32, String)> {
    let sql = "select pid, xact_start::text from pg_stat_activity where datname = \
               current_database() and state = 'idle in transaction'";
    let row = client.query_opt(sql, &[]).await.unwrap()?;
    Some((row.get(0), row.get(1)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_stopped_within_a_batch_does_not_block_others() {
    let database = Cluster::shared().database().await.unwrap();
    let stopped = TestServer::start(&database, &["--pool-size", "20"]);
    let other = TestServer::start(&database, &[]);
    let (client, connection) = tokio_postgres::connect(&database, NoTls).await.unwrap();
    tokio::spawn(connection);
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = load(&[&stopped], &stop);
    let mut caught = false;
    for attempt in 0..500u64 {
        tokio::time::sleep(Duration::from_micros(500 + attempt * 37 % 3_000)).await;
        stopped.signal("STOP");
        tokio::time::sleep(Duration::from_millis(10)).await;
        let first = idle_in_transaction(&client).await;
        // A server that has not stopped between its two flights has gone on by then.
        tokio::time::sleep(Duration::from_millis(30)).await;
        if first.is_some() && idle_in_transaction(&client).await == first {
            caught = true;
            break;
        }
        stopped.signal("CONT");
    }
    assert!(caught, "a server is between its two flights often enough to be caught");
    let (status, lease) = other.allocate("meanwhile").await;
    assert_eq!(status, 200, "answered while the other is stopped: {lease}");
    stopped.signal("CONT");
    tokio::task::block_in_place(|| {
        poll("the stopped server to serve again", || {
            let runtime = tokio::runtime::Handle::current();
            let (status, _) = runtime.block_on(stopped.allocate("again"));
            (status == 200).then_some(())
        });
    });
    stop.store(true, Ordering::SeqCst);
    let acknowledged = tasks.join_all().await.concat();
    nothing_is_missing(&other, &acknowledged).await;
    drop((stopped, other));
    healthy(&database);
}
