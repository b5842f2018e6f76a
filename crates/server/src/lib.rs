//! HTTP server for a pool: routes, JSON, connections, metrics.
//!
//! A handler translates a request into a call of [`engine::Handle`] and the outcome into a response.
//! Databases and the rules of the pool stay outside: a handler never sees a store and never decides
//! which token a request gets.
//!
//! [`router()`] creates the service, [`serve()`] serves it on a listener until it is told to stop.

mod api;
mod events;
mod http;
mod json;
#[cfg(test)]
mod limits;
mod metrics;
mod net;
mod problem;
mod router;
mod serve;
mod settings;
mod state;
mod tls;

pub use http::access::access_refusal;
pub use http::request_id::current_request_id;
pub use http::service::Service;
pub use router::router;
pub use serve::serve;
pub use settings::{Anonymous, Assets, MAX_BODY, Settings, Traces, TrustedUser};
pub use tls::{Tls, TlsError, TlsFiles};
