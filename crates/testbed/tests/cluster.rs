//! The cluster does what the tests expect of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testbed::{Cluster, Stop};
use tokio_postgres::NoTls;

async fn answer(url: &str, sql: &str) -> String {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn databases_are_empty_and_apart() {
    let cluster = Cluster::shared();
    let (one, two) = (cluster.database().await.unwrap(), cluster.database().await.unwrap());
    cluster.execute(&one, "create table a (b text); insert into a values ('c')").await.unwrap();
    assert_eq!(answer(&one, "select b from a").await, "c");
    assert_eq!(answer(&two, "select coalesce(to_regclass('a')::text, 'none')").await, "none");
    assert_eq!(answer(&two, "show server_encoding").await, "UTF8");
}

/// The folder in a cluster's URL.
fn folder(url: &str) -> &Path {
    Path::new(url.split("host=").nth(1).unwrap().split('&').next().unwrap())
}

#[tokio::test]
async fn a_cluster_stops_starts_again_and_leaves_nothing_behind() {
    let cluster = Cluster::start().unwrap();
    let url = cluster.database().await.unwrap();
    let pid = cluster.pid().unwrap();
    cluster.stop(Stop::Immediate).unwrap();
    assert!(tokio_postgres::connect(&url, NoTls).await.is_err());
    cluster.start_again().unwrap();
    assert_ne!(cluster.pid().unwrap(), pid);
    assert_eq!(answer(&url, "select 'back'").await, "back");
    assert!(folder(&url).exists());
    let pid = cluster.pid().unwrap();
    drop(cluster);
    assert!(!folder(&url).exists());
    // A process that has ended but was not waited for has no working directory any more.
    assert!(std::fs::read_link(format!("/proc/{pid}/cwd")).is_err());
}

#[test]
#[ignore = "the next test runs it, in a process that it kills"]
fn holds_a_cluster_while_standard_input_is_open() {
    let cluster = Cluster::start().unwrap();
    writeln!(stdout(), "\n{}", cluster.url("postgres")).unwrap();
    stdin().lines().for_each(drop);
}

#[test]
fn nothing_is_left_of_a_process_that_is_killed() {
    let mut holder = Command::new(std::env::current_exe().unwrap());
    holder.args(["--ignored", "--exact", "--nocapture"]);
    holder.arg("holds_a_cluster_while_standard_input_is_open");
    let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let url =
        lines.find_map(|line| line.ok().filter(|line| line.starts_with("postgres:"))).unwrap();
    assert!(folder(&url).join("data/postmaster.pid").exists());
    holder.kill().unwrap();
    holder.wait().unwrap();
    let start = Instant::now();
    while folder(&url).exists() {
        assert!(start.elapsed() < Duration::from_secs(20), "{url} is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}
