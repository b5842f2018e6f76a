//! `token-manager` as a process.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../harness/mod.rs"]
mod harness;

#[cfg(feature = "opentelemetry")]
mod collector;
mod commands;
mod commands_bad_server;
mod commands_defaults;
mod commands_errors;
mod commands_generated;
mod commands_terminal;
mod commands_tokens;
mod commands_wait;
mod commands_watch;
mod confidential;
mod crash;
mod doctor;
mod drain;
mod durability;
mod examples;
mod files;
mod hindered;
mod import;
mod keys;
mod limits;
mod log;
mod pools;
#[cfg(target_os = "linux")]
mod power_loss;
mod resources;
mod resume;
mod run;
mod run_between;
mod run_fixture;
mod run_lease;
mod run_server;
mod run_terminal;
mod serve;
mod settings;
#[cfg(target_os = "linux")]
mod signals;
mod stalled_disk;
mod stalls;
mod tls;
#[cfg(feature = "opentelemetry")]
mod traces;

use std::path::Path;

/// URL of an SQLite database in a folder.
fn sqlite(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("pool.db").display())
}
