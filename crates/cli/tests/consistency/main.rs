//! Servers under load with stalls and restarts: clients record all answers, a checker finds contradictions.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod checker;
mod clients;
#[expect(dead_code, reason = "each test binary uses a part of it")]
#[path = "../harness/mod.rs"]
mod harness;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use testbed::Cluster;
use tokio::task::JoinSet;
use tokio::time::sleep;

use clients::World;
use harness::{TestServer, command, run};

const CLIENTS: u64 = 8;

/// Minimum duration of the load; on a busy machine it lasts until there was a restart and each of [`KINDS`].
const LENGTH: Duration = Duration::from_secs(7);
const MAX_LENGTH: Duration = Duration::from_mins(2);

const KINDS: [&str; 14] = [
    "allocate",
    "renew",
    "release",
    "tokens",
    "active",
    "available",
    "token",
    "history",
    "search",
    "running",
    "ended",
    "pool",
    "lease",
    "events",
];

const SETTINGS: [&str; 8] =
    ["--pool-size", "3", "--lease", "500ms", "--max-lease", "3s", "--log", "warn"];

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_one_server_on_sqlite_are_consistent() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", folder.path().join("pool.db").display());
    consistent(&database, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_two_servers_on_postgresql_are_consistent() {
    let database = Cluster::shared().database().await.unwrap();
    consistent(&database, 2).await;
}

async fn consistent(database: &str, count: usize) {
    let start = || TestServer::start(database, &SETTINGS);
    let mut servers: Vec<TestServer> = (0..count).map(|_| start()).collect();
    let world = World::new(servers.iter().map(TestServer::url).collect()).await;
    let mut clients = JoinSet::new();
    for seed in 0..CLIENTS {
        clients.spawn(clients::run(world.clone(), seed));
    }
    let mut holding = JoinSet::new();
    let (begun, mut restarted) = (Instant::now(), false);
    for round in 0_u64.. {
        if begun.elapsed() >= LENGTH && restarted && missing(&world.operations()).is_empty() {
            break;
        }
        assert!(begun.elapsed() < MAX_LENGTH, "no {:?}", missing(&world.operations()));
        let server = usize::try_from(round).unwrap() % count;
        // Disturbances that hit different operations.
        sleep(Duration::from_millis(150)).await;
        match round % 3 {
            0 => {
                holding.spawn(hold_up(database.to_owned()));
            }
            1 if !restarted && begun.elapsed() > LENGTH / 2 => {
                restarted = true;
                servers[server].signal("KILL");
                servers[server].wait();
                servers[server] = tokio::task::block_in_place(start);
                world.urls.write().unwrap()[server] = servers[server].url();
            }
            _ => {
                servers[server].signal("STOP");
                sleep(Duration::from_millis(20 + round * 37 % 200)).await;
                servers[server].signal("CONT");
            }
        }
    }
    world.stop.store(true, Ordering::SeqCst);
    clients.join_all().await;
    holding.join_all().await;
    check(&world.operations());
    drop(servers);
    let doctor = run(&mut command(Path::new("/"), &["doctor", "--database", database]));
    // Test clusters run without fsync, which doctor reports as a problem.
    assert!(doctor.text().contains("ok       audit: "), "{}", doctor.text());
}

/// Blocks writes for a moment, so that a batch is in flight.
async fn hold_up(database: String) {
    let Some(file) = database.strip_prefix("sqlite:") else {
        let hold = "begin; lock table token_manager.batches in exclusive mode; \
                    select pg_sleep(0.35); commit";
        return Cluster::shared().execute(&database, hold).await.unwrap();
    };
    let script = "import sqlite3, sys, time\n\
                held = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)\n\
                held.execute('begin immediate'); time.sleep(0.35); held.execute('rollback')";
    let mut python = std::process::Command::new("python3");
    python.args(["-c", script, file]);
    let held = tokio::task::spawn_blocking(move || python.status().unwrap()).await.unwrap();
    assert!(held.success());
}

fn check(operations: &[checker::Operation]) {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for operation in operations {
        *counts.entry(operation.name).or_default() += 1;
    }
    println!("{} operations: {counts:?}", operations.len());
    let found = checker::violations(operations);
    let shown = found.iter().take(10).cloned().collect::<Vec<_>>().join("\n");
    assert!(found.is_empty(), "{} violations, such as\n{shown}", found.len());
}

/// Kinds without an operation yet.
fn missing(operations: &[checker::Operation]) -> Vec<&'static str> {
    let is_missing = |kind: &&str| operations.iter().all(|operation| operation.name != *kind);
    KINDS.into_iter().filter(is_missing).collect()
}
