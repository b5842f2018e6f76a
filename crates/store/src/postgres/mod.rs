//! PostgreSQL: any number of servers share one pool.

mod config;

use async_trait::async_trait;

pub use config::Config;

use crate::{Database, Error, ImportedPool, Opened, Wanted};

/// A PostgreSQL database.
pub struct Postgres {
    #[expect(dead_code, reason = "not built yet")]
    config: Box<Config>,
}

impl Postgres {
    /// The database that `config` names; nothing is connected yet.
    pub fn new(config: Box<Config>) -> Self {
        Postgres { config }
    }
}

fn not_yet() -> Error {
    Error::Operator("PostgreSQL is not supported yet".to_owned())
}

#[async_trait]
impl Database for Postgres {
    async fn migrate(&self) -> Result<Vec<String>, Error> {
        Err(not_yet())
    }

    async fn open(&self, _wanted: Wanted) -> Result<Opened, Error> {
        Err(not_yet())
    }

    async fn import(&self, _pool: ImportedPool<'_>) -> Result<(), Error> {
        Err(not_yet())
    }

    async fn audit(&self) -> Result<Vec<String>, Error> {
        Err(not_yet())
    }

    async fn describe(&self) -> Result<Vec<(String, String)>, Error> {
        Err(not_yet())
    }
}
