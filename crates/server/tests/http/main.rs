//! The HTTP door, from the outside: a real server on a real database, asked over real connections.
//! Each test runs on SQLite and on PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod conditions;
mod connections;
mod contract;
mod dashboard;
mod documents;
mod events;
mod exports;
mod following;
mod foreign;
mod harness;
mod histories;
mod keys;
mod leases;
mod limits;
mod lists;
mod many;
mod metrics;
mod obstacle;
mod policies;
mod queue;
mod resuming;
mod searching;
mod untaken;
mod vanishing;
mod waiting;
mod wire;
mod wishes;
