//! PostgreSQL: the cases that hold for every database, and what is PostgreSQL's own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
mod conformance;

#[path = "postgres/connecting.rs"]
mod connecting;
#[path = "postgres/faults.rs"]
mod faults;
#[path = "postgres/sharing.rs"]
mod sharing;
#[path = "postgres/statements.rs"]
mod statements;

use std::sync::Arc;

use store::{Database, SystemClock, database};
use testbed::Cluster;
use tokio_postgres::{Client, NoTls};

/// A database of the shared cluster.
struct Fresh(String);

impl conformance::Place for Fresh {
    fn database(&self) -> Box<dyn Database> {
        at(&self.0)
    }
}

impl Fresh {
    /// What a person with a SQL prompt has.
    async fn prompt(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.0, NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("set search_path = token_manager").await.unwrap();
        client
    }
}

fn at(url: &str) -> Box<dyn Database> {
    database(&url.parse().unwrap(), Arc::new(SystemClock))
}

async fn fresh() -> Fresh {
    Fresh(Cluster::shared().database().await.unwrap())
}

conformance!(fresh);
