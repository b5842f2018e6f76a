//! Behaviour specific to PostgreSQL.

mod ahead;
mod connecting;
mod faults;
mod notifier;
mod pages;
mod plans;
mod sharing;
mod statements;

use std::sync::Arc;
use std::time::Duration;

use store::{Database, SystemClock, database};
use testbed::Cluster;
use tokio_postgres::{Client, NoTls};

/// A database of the shared cluster.
pub struct Fresh(pub String);

impl crate::conformance::AnyDb for Fresh {
    fn database(&self) -> Box<dyn Database> {
        at(&self.0)
    }
}

impl Fresh {
    /// A connection as of a person at a SQL prompt.
    async fn prompt(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.0, NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("set search_path = token_manager").await.unwrap();
        client
    }

    pub async fn read(&self, sql: &str) -> Vec<String> {
        let rows = self.prompt().await.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

impl Fresh {
    async fn until_a_session_waits_for_the_lock(&self) {
        let client = self.prompt().await;
        let sql = "select exists (select from pg_locks join pg_database as d on d.oid = database \
                   where locktype = 'advisory' and not granted and datname = current_database())";
        for _ in 0..1_000 {
            if client.query_one(sql, &[]).await.unwrap().get(0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("no session ever waited for the lock");
    }
}

fn at(url: &str) -> Box<dyn Database> {
    database(&url.parse().unwrap(), Arc::new(SystemClock))
}

async fn fresh() -> Fresh {
    Fresh(Cluster::shared().database().await.unwrap())
}
