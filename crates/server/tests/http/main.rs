//! The HTTP API from outside: real servers, databases and connections, on SQLite and on PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod bad_input;
mod concurrency;
mod conditions;
mod connections;
mod contract;
mod dashboard;
mod documents;
mod events;
mod exports;
mod followers;
mod harness;
mod histories;
mod keys;
mod leases;
mod limits;
mod lists;
mod lost_clients;
mod metrics;
mod obstacle;
mod origin;
mod policies;
mod pools;
mod pools_bad_input;
mod pools_leases;
mod pools_values;
mod proxies;
mod queue;
mod raw;
mod resuming;
mod searching;
mod sessions;
mod slow_readers;
mod turns;
mod unsupported;
mod waiting;
