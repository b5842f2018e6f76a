//! PostgreSQL without durability: by settings, or after a crash.

use std::path::Path;

use serde_json::Value;
use testbed::{Cluster, Options, Stop, poll};
use tokio_postgres::NoTls;

use crate::harness::{Ended, TestServer, command, run};

fn doctor(database: &str) -> Ended {
    run(&mut command(
        Path::new("/"),
        &["doctor", "--listen", "127.0.0.1:0", "--database", database],
    ))
}

fn fence(lease: &Value) -> i64 {
    lease["fence"].as_i64().unwrap_or_else(|| panic!("{lease}"))
}

async fn allocate(server: &TestServer, user: &str) -> Value {
    let (status, lease) = server.allocate(user).await;
    assert_eq!(status, 200, "{lease}");
    lease
}

/// Whether the metrics have this line.
async fn has_metric(server: &TestServer, line: &str) -> bool {
    let metrics = crate::harness::client().get(format!("{}/metrics", server.url()));
    let text = metrics.send().await.unwrap().text().await.unwrap();
    text.lines().any(|metric| metric == line)
}

async fn epoch(cluster: &Cluster, database: &str) -> i64 {
    number(cluster, database, "select epoch from token_manager.ledger").await
}

async fn number(_: &Cluster, database: &str, sql: &str) -> i64 {
    let (client, connection) = tokio_postgres::connect(database, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Deletes the newest entries and their leases, as a crash without `fsync` can.
async fn lose(cluster: &Cluster, database: &str, fences_above: i64) {
    let lose = format!(
        "delete from token_manager.leases where fence > {fences_above};
        delete from token_manager.batches where fence > {fences_above}"
    );
    cluster.execute(database, &lose).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_does_not_weaken_a_running_server() {
    // Long enough that asynchronous commits are certainly lost.
    let cluster = Options::default().durable().setting("wal_writer_delay = 10s").start().unwrap();
    let database = cluster.database().await.unwrap();
    let server = TestServer::start(&database, &["--lease", "10m"]);
    allocate(&server, "before").await;
    let before = doctor(&database);
    assert_eq!(before.code, Some(0), "{}", before.text());
    assert!(before.out.contains("ok       synchronous_commit: "), "{}", before.out);
    cluster.execute(&database, "alter system set synchronous_commit = off").await.unwrap();
    cluster.execute(&database, "select pg_reload_conf()").await.unwrap();
    let mut leases = Vec::new();
    for number in 0..60 {
        leases.push(allocate(&server, &format!("user {number}")).await);
    }
    drop(server);
    tokio::task::block_in_place(|| {
        cluster.stop(Stop::Immediate).unwrap();
        cluster.start_again().unwrap();
    });
    let server = TestServer::start(&database, &[]);
    for lease in &leases {
        let id = lease["lease_id"].as_str().unwrap();
        assert_eq!(server.get(&format!("/api/leases/{id}")).await.0, 200, "it was acknowledged");
    }
    assert_eq!(fence(&allocate(&server, "after").await), fence(&leases[59]) + 1);
    assert_eq!(epoch(&cluster, &database).await, 1, "nothing was lost");
    let after = doctor(&database);
    assert!(after.out.contains("warning  synchronous_commit: "), "{}", after.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_whole_cluster_are_watched() {
    let cluster = Options::default().durable().start().unwrap();
    let database = cluster.database().await.unwrap();
    let server = TestServer::start(&database, &[]);
    assert!(
        has_metric(&server, "token_manager_database_durability_weakened{setting=\"fsync\"} 0")
            .await
    );
    assert_eq!(doctor(&database).code, Some(0));

    cluster.execute(&database, "alter system set fsync = off").await.unwrap();
    let pending = doctor(&database);
    assert!(pending.out.contains("problem  fsync: "), "before the reload: {}", pending.out);
    cluster.execute(&database, "select pg_reload_conf()").await.unwrap();
    poll("the change in the log", || {
        server.log().contains("database durability weakened").then_some(())
    });
    let weak = "token_manager_database_durability_weakened{setting=\"fsync\"} 1";
    assert!(has_metric(&server, weak).await);
    let problem = doctor(&database);
    assert_eq!(problem.code, Some(1), "{}", problem.text());
    assert!(problem.out.contains("alter system set fsync = on"), "{}", problem.out);

    cluster.execute(&database, "alter system reset fsync").await.unwrap();
    cluster.execute(&database, "select pg_reload_conf()").await.unwrap();
    poll("the end of it in the log", || {
        server.log().contains("database durability restored").then_some(())
    });
    let unlogged = "alter table token_manager.tickets set unlogged";
    cluster.execute(&database, unlogged).await.unwrap();
    poll("the table in the log", || server.log().contains("unlogged").then_some(()));
    assert!(doctor(&database).out.contains("problem  unlogged: tickets"));
}

#[tokio::test]
async fn a_fence_known_to_a_running_server_is_not_repeated() {
    let cluster = Cluster::shared();
    let database = cluster.database().await.unwrap();
    let [one, two] = [(); 2].map(|()| TestServer::start(&database, &["--lease", "10m"]));
    for user in ["a", "b", "c", "d"] {
        allocate(&one, user).await;
    }
    // The other server has seen them, too.
    assert_eq!(two.get("/api/tokens/active").await.1.as_array().unwrap().len(), 4);
    lose(cluster, &database, 2).await;
    let next = fence(&allocate(&two, "e").await);
    assert!(next > 1_000_000, "{next}");
    assert_eq!(epoch(cluster, &database).await, 2);
    assert!(fence(&allocate(&one, "f").await) > next);
    assert_eq!(epoch(cluster, &database).await, 2, "the epoch has begun already");
    assert!(two.log().contains("a new epoch begins"));
    assert_eq!(two.get("/api/tokens/active").await.1.as_array().unwrap().len(), 4);

    // Another server continued from the older state: this fork is detected, too.
    let last = fence(&allocate(&one, "g").await);
    lose(cluster, &database, last - 1).await;
    let fork = "insert into token_manager.batches
        select version + 1, gen_random_uuid(), server, at, epoch, fence + 1, timeline, '\\x00'
        from token_manager.batches order by version desc limit 1";
    cluster.execute(&database, fork).await.unwrap();
    let next = fence(&allocate(&one, "h").await);
    assert!(next > last + 1_000_000, "{next}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_with_weak_durability_a_new_epoch_begins() {
    // The shared test cluster runs without fsync.
    let cluster = Cluster::start().unwrap();
    let database = cluster.database().await.unwrap();
    let server = TestServer::start(&database, &["--lease", "10m"]);
    let mut last = 0;
    for user in ["a", "b", "c"] {
        last = fence(&allocate(&server, user).await);
    }
    let log = server.log();
    drop(server);
    lose(&cluster, &database, 1).await;
    tokio::task::block_in_place(|| {
        cluster.stop(Stop::Immediate).unwrap();
        cluster.start_again().unwrap();
    });
    let server = TestServer::start(&database, &[]);
    let next = fence(&allocate(&server, "d").await);
    assert!(next > last + 1_000_000, "{next}");
    drop(server);
    let server = TestServer::start(&database, &[]);
    assert_eq!(fence(&allocate(&server, "e").await), next + 1, "once for each run of the cluster");
    assert!(log.contains("database durability is weak"), "{log}");
}

/// Some roles may not call `pg_control_system`.
#[tokio::test]
async fn a_role_without_pg_control_system_is_served() {
    let cluster = Cluster::start().unwrap();
    let database = cluster.database().await.unwrap();
    let name = database.split(['/', '?']).nth(3).unwrap();
    let sql = format!(
        "create role ann login; grant create on database {name} to ann;
        revoke execute on function pg_control_system() from public"
    );
    cluster.execute(&database, &sql).await.unwrap();
    let server = TestServer::start(&database.replace("postgres@", "ann@"), &[]);
    allocate(&server, "a").await;
    allocate(&server, "b").await;
    assert_eq!(epoch(&cluster, &database).await, 1);
}
