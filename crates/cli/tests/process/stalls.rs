//! Stopped servers: decisions lie between request and response. Repeatedly killed servers: the queue works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use testbed::{Cluster, TestDb, eventually, on_both, poll};

use crate::harness::{TestServer, client};

/// Number and duration of the stops.
const STOPS: u32 = 12;
const STOP: Duration = Duration::from_millis(300);

/// Number of restarts within which a dead server's tickets lapse, with much to spare.
const MAX_LIVES: u32 = 12;

/// Time of this machine's clock, which the database uses, too.
#[expect(clippy::disallowed_methods, reason = "compared with times that a server tells")]
fn micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_micros()).unwrap()
}

/// Microseconds since the epoch of a timestamp such as `2026-11-22T15:36:01.827014Z`.
fn moment(timestamp: &Value) -> i64 {
    let timestamp: jiff::Timestamp = timestamp.as_str().unwrap().parse().unwrap();
    timestamp.as_microsecond()
}

/// One allocation; Err if its times are inconsistent.
async fn allocation(client: &reqwest::Client, url: &str, number: usize) -> Result<bool, String> {
    let request = client.post(url).json(&json!({ "user_id": format!("client {number}") }));
    let sent = micros();
    let answer = request.send().await.and_then(reqwest::Response::error_for_status);
    let Ok(answer) = answer else { return Ok(false) };
    let Ok(lease) = answer.json::<Value>().await else { return Ok(false) };
    let received = micros();
    let (start, deadline) = (moment(&lease["activated_at"]), moment(&lease["expires_at"]));
    #[expect(clippy::cast_possible_truncation, reason = "a lease of seconds")]
    let expires_in = (lease["expires_in"].as_f64().unwrap() * 1e6) as i64;
    if start < sent {
        return Err(format!("decided {} us before it was sent", sent - start));
    }
    if start > received {
        return Err(format!("decided {} us after the response", start - received));
    }
    if sent + expires_in > deadline {
        return Err(format!("expires_in is {} us too long", sent + expires_in - deadline));
    }
    Ok(true)
}

#[on_both]
async fn a_decision_lies_between_its_request_and_its_response(db: TestDb) {
    let database = db.url();
    let server = TestServer::start(database, &["--pool-size", "20", "--lease", "5s"]);
    let url = format!("{}/api/tokens/allocate", server.url());
    let (stop, right) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..12 {
        let (client, url, stop) = (client(), url.clone(), Arc::clone(&stop));
        let right = Arc::clone(&right);
        tasks.spawn(async move {
            let mut wrong = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                match allocation(&client, &url, number).await {
                    Ok(granted) => {
                        right.fetch_add(usize::from(granted), Ordering::SeqCst);
                    }
                    Err(why) => wrong.push(why),
                }
                // Requests are in flight while the server is stopped, too.
                tokio::time::sleep(Duration::from_millis(u64::try_from(number).unwrap())).await;
            }
            wrong
        });
    }
    for round in 0..STOPS {
        // At a different moment of a batch each time.
        tokio::time::sleep(Duration::from_millis(20 + u64::from(round * 37 % 60))).await;
        server.signal("STOP");
        tokio::time::sleep(STOP).await;
        server.signal("CONT");
    }
    eventually("many grants", async || right.load(Ordering::SeqCst) > 100).await;
    stop.store(true, Ordering::SeqCst);
    let wrong = tasks.join_all().await.concat();
    assert!(wrong.is_empty(), "{} wrong answers: {:?}", wrong.len(), &wrong[..1]);
}

async fn allocate(url: &str, user: &str, wait: f64) -> u16 {
    let request = client().post(format!("{url}/api/tokens/allocate"));
    let body = json!({ "user_id": user, "wait_seconds": wait });
    request.json(&body).send().await.map_or(0, |answer| answer.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_of_a_dead_server_lapse_while_the_other_server_restarts_repeatedly() {
    let database = Cluster::shared().database().await.unwrap();
    let arguments = ["--pool-size", "1", "--when-full", "wait", "--lease", "1s"];
    let mut server = TestServer::start(&database, &arguments);
    server.allocate("ann").await;
    let url = server.url();
    let bob = tokio::spawn(async move { allocate(&url, "bob", 60.0).await });
    tokio::task::block_in_place(|| {
        poll("bob to wait", || {
            let (_, pool) = tokio::runtime::Handle::current().block_on(server.get("/api/pool"));
            (pool["waiting"] == 1).then_some(())
        });
    });
    server.signal("KILL");
    server.wait();
    bob.abort();
    let (mut granted, mut lives) = (false, 0);
    while !granted {
        lives += 1;
        assert!(lives < MAX_LIVES, "the token is kept for a dead server");
        let server = TestServer::start(&database, &arguments);
        let (url, life) = (server.url(), Instant::now());
        while !granted && life.elapsed() < Duration::from_secs(2) {
            granted = allocate(&url, "carol", 0.5).await == 200;
        }
        // The drop kills the server.
    }
}
