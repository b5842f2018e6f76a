//! A PostgreSQL cluster for as long as standard input stays open: for the benchmarks.
//!
//! Prints the URL of its `postgres` database, then the URL of a new database for each line read.
#![expect(clippy::print_stdout, reason = "this is how it answers")]

use std::io::{BufRead, stdin};

use anyhow::Result;
use testbed::Options;

fn main() -> Result<()> {
    // `scripts/bench --opponents` has 256 sessions of its own besides those of the servers.
    let cluster = Options::default().durable().setting("max_connections = 400").start()?;
    println!("{}", cluster.url("postgres"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for line in stdin().lock().lines() {
        line?;
        println!("{}", runtime.block_on(cluster.database())?);
    }
    Ok(())
}
