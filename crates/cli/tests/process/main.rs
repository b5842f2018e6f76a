//! `token-manager` as its users meet it: as a process.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../harness/mod.rs"]
mod harness;

#[cfg(feature = "opentelemetry")]
mod collector;
mod confidential;
mod crash;
mod doctor;
mod drain;
mod durability;
mod examples;
mod files;
mod hindered;
mod import;
mod limits;
mod log;
mod people;
mod people_act;
mod people_habits;
mod people_lies;
mod people_messages;
mod people_papers;
mod people_queue;
mod people_terminal;
mod people_watch;
mod resume;
mod run;
mod run_between;
mod run_lease;
mod run_server;
mod run_terminal;
mod serve;
mod settings;
#[cfg(target_os = "linux")]
mod signals;
mod stalls;
#[cfg(feature = "opentelemetry")]
mod traces;

use std::path::Path;

use testbed::Cluster;

/// The URL of an SQLite database in a folder.
fn sqlite(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("pool.db").display())
}

/// An empty folder, and the URLs of two empty databases, one of each kind.
async fn databases() -> (tempfile::TempDir, [String; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let databases = [sqlite(folder.path()), Cluster::shared().database().await.unwrap()];
    (folder, databases)
}
