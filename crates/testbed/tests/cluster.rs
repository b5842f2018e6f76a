//! The cluster does what the tests expect of it.

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
    let folder = url.split("host=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    assert!(std::path::Path::new(&folder).exists());
    let pid = cluster.pid().unwrap();
    drop(cluster);
    assert!(!std::path::Path::new(&folder).exists());
    // A process that has ended but was not waited for has no working directory any more.
    assert!(std::fs::read_link(format!("/proc/{pid}/cwd")).is_err());
}
