//! The store on both databases. One binary, so that all tests share one PostgreSQL cluster.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod postgres;
mod sqlite;
