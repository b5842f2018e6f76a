//! PostgreSQL: the cases that hold for every database, and what is PostgreSQL's own.

#[macro_use]
mod conformance;

use std::sync::Arc;

use store::{Database, SystemClock, database};
use testbed::Cluster;

/// A database of the shared cluster.
struct Fresh(String);

impl conformance::Place for Fresh {
    fn database(&self) -> Box<dyn Database> {
        database(&self.0.parse().unwrap(), Arc::new(SystemClock))
    }
}

async fn fresh() -> Fresh {
    Fresh(Cluster::shared().database().await.unwrap())
}

conformance!(fresh);
