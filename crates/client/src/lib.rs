//! HTTP client of a `TokenManager` server.
//!
//! [`Client`] sends single requests. [`Acquire`] takes a lease: it repeats the request under one
//! idempotency key, and keeps its ticket while it waits. [`EventStream`] follows the events of leases
//! and resumes after a lost connection.

mod acquire;
mod allocation;
mod client;
mod clock;
mod endpoints;
mod error;
mod events;
mod jitter;
mod options;
mod proxy;
mod server_url;

pub use acquire::{Acquire, AcquireError, Acquired, Progress, RELEASE_TIMEOUT, release};
pub use allocation::{AllocateRequest, Allocated, MAX_WAIT, random_key};
pub use client::{Client, Download, Query, Reply, ServerName, http_client};
pub use clock::Moment;
pub use endpoints::{DEFAULT_POOL, TokenList};
pub use error::{Error, Problem, Server};
pub use events::{EventKind, EventStream, LeaseEvent, StreamItem};
pub use jitter::jittered;
pub use options::{ApiKey, Options};
pub use proxy::Proxy;
