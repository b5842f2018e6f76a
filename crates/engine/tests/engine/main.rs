//! The engine on real databases. One binary, so that all tests share one PostgreSQL cluster.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod clocks;
mod faults;
mod faulty;
mod full_disk;
mod holding;
mod housekeeping;
mod keys;
mod leases;
mod pools;
mod proxy;
mod queue;
mod reads;
mod support;
mod tickets;
