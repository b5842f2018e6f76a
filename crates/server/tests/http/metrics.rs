//! `GET /metrics` after known traffic.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use pool::{Policy, WhenFull};
use reqwest::Method;
use serde_json::{Value, json};
use server::Settings;
use store::Wanted;
use testbed::{Cluster, Stop};

use crate::harness::{Answer, Serve as _, TestServer, text};
use crate::raw::Wire;
use testbed::{TestDb, eventually, on_both};

const WAITING: &str = "allocations_waiting{pool=\"default\"}";

/// Scraped samples, by name and labels.
struct Scraped(HashMap<String, f64>);

impl Scraped {
    async fn from(server: &TestServer) -> Self {
        let answer = server.get("/metrics").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let samples = answer.text.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        });
        Scraped(samples.collect())
    }

    #[track_caller]
    fn value(&self, name: &str) -> f64 {
        let name = format!("token_manager_{name}");
        *self.0.get(&name).unwrap_or_else(|| panic!("there is no {name}"))
    }

    #[track_caller]
    fn check(&self, expected: &[(&str, u32)]) {
        for (name, expected) in expected {
            let value = self.value(name);
            assert!((value - f64::from(*expected)).abs() < 1e-9, "{name} is {value}");
        }
    }

    fn names(&self) -> BTreeSet<&String> {
        self.0.keys().collect()
    }

    /// Names and labels of the samples by pool.
    fn pools(&self) -> BTreeSet<&String> {
        self.0.keys().filter(|name| name.contains("pool=")).collect()
    }
}

#[on_both]
async fn known_traffic_is_counted(db: TestDb) {
    let lease = Duration::from_mins(2);
    let policy = Policy { max_lease: Some(2 * lease), ..Policy::of_lease(lease) };
    let server = db.serve_policy(Some(2), policy, Settings::default()).await;
    server.allocate("Ada").await;
    server.allocate("Grace").await;
    let evicts = server.allocate("Edsger").await;
    let lease = format!("/api/leases/{}", text(&evicts["lease_id"]));
    assert_eq!(server.post(&format!("{lease}/renew")).await.status, 200);
    assert_eq!(server.post(&format!("{lease}/release")).await.status, 200);
    server.allocate("Barbara").await;
    assert_eq!(server.delete("/api/tokens/clear-active").await.status, 200);
    server.allocate("Donald").await;
    server.get("/api/tokens/not-a-uuid").await.problem(400, "invalid-id");
    server.get("/api/leases/not-a-uuid").await.problem(400, "invalid-id");
    server.post("/api/pool").await.problem(405, "wrong-method");
    server.get("//api//pool/").await;
    let scraped = Scraped::from(&server).await;
    scraped.check(&[
        ("allocations_total{pool=\"default\"}", 5),
        ("lease_ends_total{pool=\"default\",reason=\"evicted\"}", 1),
        ("lease_ends_total{pool=\"default\",reason=\"released\"}", 1),
        ("lease_ends_total{pool=\"default\",reason=\"cleared\"}", 2),
        ("lease_ends_total{pool=\"default\",reason=\"expired\"}", 0),
        ("lease_hold_seconds_count", 4),
        ("lease_hold_seconds_bucket{le=\"60.0\"}", 4),
        ("expiry_delay_seconds_count", 0),
        ("renewals_total", 1),
        ("refusals_total{code=\"invalid-id\"}", 2),
        ("refusals_total{code=\"wrong-method\"}", 1),
        ("refusals_total{code=\"pool-full\"}", 0),
        ("batch_commands_count", 8),
        ("batch_commands_sum", 8),
        ("batch_commands_bucket{le=\"1.0\"}", 8),
        ("commit_duration_seconds_count", 8),
        ("tokens{pool=\"default\"}", 2),
        ("tokens_active{pool=\"default\"}", 1),
        ("tokens_available{pool=\"default\"}", 1),
        (WAITING, 0),
        ("database_up", 1),
        ("database_state{state=\"ready\"}", 1),
        ("database_state{state=\"away\"}", 0),
        ("journal_epoch", 1),
        ("http_requests_total{route=\"/api/tokens/allocate\",method=\"POST\",status=\"200\"}", 5),
        ("http_requests_total{route=\"/api/tokens/{id}\",method=\"GET\",status=\"400\"}", 1),
        ("http_requests_total{route=\"/api/pool\",method=\"POST\",status=\"405\"}", 1),
        ("http_requests_total{route=\"/api/pool\",method=\"GET\",status=\"200\"}", 1),
        ("http_request_duration_seconds_count{route=\"/api/tokens/allocate\"}", 5),
        ("http_request_duration_seconds_bucket{le=\"+Inf\",route=\"/api/pool\"}", 2),
    ]);
    assert!(scraped.value("commit_duration_seconds_sum") > 0.0);
    assert!(scraped.value("build_info{version=\"0.1.0\"}") > 0.0);
    for name in ["process_cpu_seconds_total", "process_open_fds", "process_start_time_seconds"] {
        assert!(scraped.0[name] > 0.0, "{name}");
    }
}

#[on_both]
async fn an_expiry_is_counted_with_how_late_it_was(db: TestDb) {
    let server = db.serve_leasing(Some(2), Duration::from_secs(1), Settings::default()).await;
    server.allocate("Ada").await;
    let expired = "lease_ends_total{pool=\"default\",reason=\"expired\"}";
    eventually("the lease has expired", async || Scraped::from(&server).await.value(expired) > 0.0)
        .await;
    let scraped = Scraped::from(&server).await;
    scraped.check(&[
        (expired, 1),
        ("expiry_delay_seconds_count", 1),
        ("lease_hold_seconds_count", 1),
        ("lease_hold_seconds_sum", 1),
        ("lease_hold_seconds_bucket{le=\"0.5\"}", 0),
        ("lease_hold_seconds_bucket{le=\"1.0\"}", 1),
        // The batch had no command.
        ("batch_commands_count", 2),
        ("batch_commands_sum", 1),
    ]);
    assert!(scraped.value("expiry_delay_seconds_sum") > 0.0);
}

#[on_both]
async fn waits_are_measured(db: TestDb) {
    let lease = Duration::from_mins(2);
    let policy = Policy { when_full: WhenFull::Wait, ..Policy::of_lease(lease) };
    let server = db.serve_policy(Some(1), policy, Settings::default()).await;
    let held = server.allocate("Ada").await;
    let body = json!({ "user_id": "Grace", "wait_seconds": 60 }).to_string();
    let waits = server.request(Method::POST, "/api/tokens/allocate").body(body);
    let waits = tokio::spawn(Answer::to(waits.header("content-type", "application/json")));
    let waiting = async || Scraped::from(&server).await.value(WAITING) > 0.0;
    eventually("a request waits", waiting).await;
    let longest = "allocation_longest_wait_seconds{pool=\"default\"}";
    let longest = async || Scraped::from(&server).await.value(longest) > 0.01;
    eventually("its wait is measured", longest).await;
    let timed_out = json!({ "user_id": "Edsger", "wait_seconds": 0.01 });
    let timed_out = server.post_json("/api/tokens/allocate", &timed_out).await;
    assert_eq!(timed_out.status, 503, "{}", timed_out.text);
    let released = format!("/api/leases/{}/release", text(&held["lease_id"]));
    server.post(&released).await;
    assert_eq!(waits.await.unwrap().status, 200);
    let scraped = Scraped::from(&server).await;
    scraped.check(&[
        (WAITING, 0),
        ("allocations_total{pool=\"default\"}", 2),
        ("allocation_wait_seconds_count", 1),
        ("refusals_total{code=\"pool-full\"}", 1),
        ("allocations_refused_total{pool=\"default\",code=\"pool-full\"}", 1),
        ("allocation_longest_wait_seconds{pool=\"default\"}", 0),
    ]);
    let waited = scraped.value("allocation_wait_seconds_sum");
    assert!((0.01..60.0).contains(&waited), "{waited}");
}

/// Applies a document of pools.
async fn apply(server: &TestServer, pools: Value) {
    let answer = server.put_json("/api/pools", &json!({ "pools": pools })).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

/// Allocates from a pool; the status of the response.
async fn take(server: &TestServer, pool: &str) -> u16 {
    let path = format!("/api/pools/{pool}/allocate");
    server.post_json(&path, &json!({ "user": "ann" })).await.status.as_u16()
}

#[on_both]
async fn pools_are_counted_apart(db: TestDb) {
    let server = db.serve_size(1).await;
    let full = json!({ "when_full": "reject", "tokens_generated": 1 });
    let two = json!({ "max_per_user": 1, "tokens_generated": 2 });
    apply(&server, json!({ "full": full, "two": two, "none": {} })).await;
    for (pool, status) in [("full", 200), ("full", 503), ("two", 200), ("two", 409), ("none", 503)]
    {
        assert_eq!(take(&server, pool).await, status, "{pool}");
    }
    let tainted = json!({ "name": "cordon", "effect": "no-new-leases" });
    let answer = server.post_json("/api/pools/two/tokens/2/taints", &tainted).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    Scraped::from(&server).await.check(&[
        ("allocations_total{pool=\"full\"}", 1),
        ("allocations_total{pool=\"two\"}", 1),
        ("allocations_total{pool=\"default\"}", 0),
        ("allocations_refused_total{pool=\"full\",code=\"pool-full\"}", 1),
        ("allocations_refused_total{pool=\"two\",code=\"user-limit\"}", 1),
        ("allocations_refused_total{pool=\"none\",code=\"no-tokens\"}", 1),
        ("allocations_refused_total{pool=\"two\",code=\"pool-full\"}", 0),
        // The same codes as those of all requests.
        ("refusals_total{code=\"pool-full\"}", 1),
        ("refusals_total{code=\"queue-full\"}", 0),
        ("refusals_total{code=\"user-limit\"}", 1),
        ("refusals_total{code=\"no-tokens\"}", 1),
        ("tokens{pool=\"two\"}", 2),
        ("tokens_active{pool=\"two\"}", 1),
        ("tokens_available{pool=\"two\"}", 0),
        ("tokens_tainted{pool=\"two\"}", 1),
        ("tokens_available{pool=\"full\"}", 0),
        ("tokens{pool=\"none\"}", 0),
    ]);
}

#[on_both]
async fn the_largest_pools_have_labels_of_their_own(db: TestDb) {
    let server = db.serve_size(1).await;
    // With `default` and `other`, 205 pools.
    let names: Vec<String> = (1..=203).map(|number| format!("p-{number:03}")).collect();
    let one = json!({ "tokens_generated": 1 });
    let mut pools: serde_json::Map<String, Value> =
        names.iter().map(|name| (name.clone(), one.clone())).collect();
    pools.insert("other".to_owned(), json!({ "tokens_generated": 2 }));
    apply(&server, Value::Object(pools)).await;
    for pool in ["p-001", "p-203", "p-203", "other"] {
        assert_eq!(take(&server, pool).await, 200, "{pool}");
    }
    let last = "allocations_total{pool=\"p-203\"}";
    let scraped = Scraped::from(&server).await;
    scraped.check(&[
        ("tokens{pool=\"p-001\"}", 1),
        ("tokens{pool=\"p-198\"}", 1),
        // The pool with this name.
        ("tokens{pool=\"other_\"}", 2),
        ("tokens{pool=\"other\"}", 5),
        ("tokens_active{pool=\"other\"}", 1),
        ("allocations_total{pool=\"p-001\"}", 1),
        ("allocations_total{pool=\"other_\"}", 1),
        ("allocations_total{pool=\"other\"}", 2),
    ]);
    let labels = scraped.pools();
    assert!(labels.len() == 201 * 16 && !labels.iter().any(|name| name.contains("p-203")));
    assert!(labels == Scraped::from(&server).await.pools(), "labels change between scrapes");
    // A pool that grows gets a label, and its counter begins. The others' goes on.
    apply(&server, json!({ "p-203": { "tokens_generated": 3 } })).await;
    assert_eq!(take(&server, "p-203").await, 200);
    let scraped = Scraped::from(&server).await;
    let others = "allocations_total{pool=\"other\"}";
    scraped.check(&[("tokens{pool=\"p-203\"}", 3), (last, 1), (others, 2)]);
    assert!(!scraped.pools().iter().any(|name| name.contains("p-198")));
}

#[on_both]
async fn streams_and_connections_are_counted(db: TestDb) {
    let server = db.serve_size(1).await;
    let mut wire = Wire::to(server.address).await;
    let id = "Last-Event-ID: 7-1-0\r\n";
    wire.send(&format!("GET /api/events HTTP/1.1\r\nHost: localhost\r\n{id}\r\n")).await;
    wire.until("event: resync").await;
    let scraped = Scraped::from(&server).await;
    scraped.check(&[
        ("event_streams", 1),
        ("event_streams_limit", 2_000),
        ("event_resyncs_total{reason=\"other-epoch\"}", 1),
        ("event_resyncs_total{reason=\"too-slow\"}", 0),
        ("exports", 0),
        ("connections_limit", 10_000),
    ]);
    let connections = format!("connections{{address=\"{}\"}}", server.address);
    assert!(scraped.value(&connections) >= 2.0);
    drop(wire);
    let gone = async || Scraped::from(&server).await.value("event_streams") < 1.0;
    eventually("the stream has ended", gone).await;
}

#[on_both]
async fn requests_can_not_create_series(db: TestDb) {
    let server = db.serve_size(1).await;
    let granted = server.allocate("a-name-to-look-for").await;
    server.get("/nowhere").await.problem(404, "unknown-path");
    let odd = Method::from_bytes(b"BREW").unwrap();
    Answer::to(server.request(odd, "/nowhere")).await.problem(404, "unknown-path");
    server.get("/api/tokens/0/history").await.problem(400, "invalid-id");
    Scraped::from(&server).await;
    let before = Scraped::from(&server).await;
    for number in 0..200 {
        server.get(&format!("/secret-{number}/x")).await.problem(404, "unknown-path");
        let method = Method::from_bytes(format!("BREW{number}").as_bytes()).unwrap();
        Answer::to(server.request(method, "/nowhere")).await.problem(404, "unknown-path");
        server
            .get(&format!("/api/tokens/secret-{number}/history"))
            .await
            .problem(400, "invalid-id");
    }
    let after = Scraped::from(&server).await;
    assert_eq!(before.names(), after.names());
    after.check(&[
        ("http_requests_total{route=\"other\",method=\"other\",status=\"404\"}", 201),
        ("http_requests_total{route=\"other\",method=\"GET\",status=\"404\"}", 201),
    ]);
    let all = server.get("/metrics").await.text;
    let ids = ["token_id", "token_value", "lease_id", "user_id"].map(|id| text(&granted[id]));
    for secret in ids.iter().map(String::as_str).chain(["a-name-to-look-for", "secret", "BREW"]) {
        assert!(!all.contains(secret), "{secret}");
    }
}

#[on_both]
async fn the_format_is_negotiated(db: TestDb) {
    let server = db.serve_size(1).await;
    let open_metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let plain = "text/plain; version=0.0.4; charset=utf-8";
    // Prometheus 2 sends the last two.
    for (accept, expected) in [
        ("", plain),
        ("*/*", plain),
        ("text/plain;version=0.0.4;q=1,*/*;q=0.1", plain),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", open_metrics),
        ("text/plain;version=0.0.4;q=0.3, application/openmetrics-text; q=0.5", open_metrics),
    ] {
        let request = server.request(Method::GET, "/metrics").header("accept", accept);
        let answer = Answer::to(request).await;
        assert_eq!(answer.header("content-type"), expected, "{accept}");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("vary"), "accept");
        assert_eq!(answer.text.ends_with("# EOF\n"), expected == open_metrics);
        let counter = answer.text.contains("# TYPE token_manager_allocations_total counter\n");
        assert_eq!(counter, expected == plain, "the name of the family");
    }
    // The origin check applies here, too.
    let foreign = server.request(Method::GET, "/metrics").header("host", "rebound.example");
    Answer::to(foreign).await.problem(421, "host-not-allowed");
}

#[on_both]
async fn a_starting_server_reports_itself(db: TestDb) {
    let never = std::future::pending();
    let engine = engine::Settings { timeout: Duration::ZERO, ..engine::Settings::default() };
    let server = db.serve_after(never, Wanted::default(), engine, Settings::default());
    let scraped = Scraped::from(&server).await;
    scraped.check(&[
        ("database_up", 0),
        ("database_state{state=\"starting\"}", 1),
        ("database_state{state=\"ready\"}", 0),
    ]);
    assert!(scraped.pools().is_empty(), "the pools are unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_known_metrics_are_reported() {
    let cluster = Cluster::start().unwrap();
    let db = TestDb::at(cluster.database().await.unwrap());
    let server = db.serve_size(3).await;
    server.allocate("Ada").await;
    tokio::task::block_in_place(|| cluster.stop(Stop::Immediate)).unwrap();
    let up = async || Scraped::from(&server).await.value("database_up");
    eventually("the database is away", async || up().await < 1.0).await;
    Scraped::from(&server).await.check(&[
        ("database_state{state=\"away\"}", 1),
        ("database_reconnects_total", 0),
        ("tokens{pool=\"default\"}", 3),
        ("tokens_active{pool=\"default\"}", 1),
        ("allocations_total{pool=\"default\"}", 1),
    ]);
    tokio::task::block_in_place(|| cluster.start_again()).unwrap();
    eventually("the database is back", async || up().await > 0.0).await;
    let scraped = Scraped::from(&server).await;
    scraped.check(&[("database_reconnects_total", 1), ("tokens_active{pool=\"default\"}", 1)]);
    assert!(scraped.value("database_failures_total") >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_share_a_database_add_up() {
    let db = TestDb::postgres().await;
    let servers = [db.serve_size(3).await, db.serve_size(3).await];
    for number in 0..10 {
        servers[number % 2].allocate("Ada").await;
    }
    let cleared: Value = servers[0].delete("/api/tokens/clear-active").await.json();
    assert_eq!(cleared["tokens_cleared"], 3);
    // Each server has read all batches, but counts its own only.
    servers[1].get("/api/pool").await;
    let scraped = [Scraped::from(&servers[0]).await, Scraped::from(&servers[1]).await];
    for (name, each) in [
        ("allocations_total{pool=\"default\"}", [5, 5]),
        ("lease_ends_total{pool=\"default\",reason=\"cleared\"}", [3, 0]),
        ("tokens_active{pool=\"default\"}", [0, 0]),
        ("journal_version", [12, 12]),
    ] {
        scraped[0].check(&[(name, each[0])]);
        scraped[1].check(&[(name, each[1])]);
    }
    for (name, sum) in [
        ("lease_ends_total{pool=\"default\",reason=\"evicted\"}", 7.0),
        ("lease_hold_seconds_count", 10.0),
        ("batch_commands_sum", 11.0),
    ] {
        let added = scraped[0].value(name) + scraped[1].value(name);
        assert!((added - sum).abs() < 1e-9, "{name} is {added}");
    }
}
