//! Health probes.

use axum::extract::State;
use axum::response::Response;
use engine::Health;
use wire::{HealthStatus, Readiness};

use crate::http::access::Engine;
use crate::http::respond::json;
use crate::problem::{Code, Problem};

fn response(status: HealthStatus) -> Response {
    json(&Readiness { status, version: env!("CARGO_PKG_VERSION").into() }, 64)
}

/// Check that the server is alive
pub(crate) async fn live() -> Response {
    response(HealthStatus::LIVE)
}

/// Check that the server is ready
pub(crate) async fn ready(State(Engine(engine)): State<Engine>) -> Result<Response, Problem> {
    let reason = match engine.health() {
        Health::Ready if !engine.is_readable() => "The history is not readable at the moment.",
        Health::Ready => return Ok(response(HealthStatus::READY)),
        Health::Starting => "The server has not reached the database since its start.",
        Health::Blocked => "The database is not writable at the moment. Reads work.",
        Health::Away => "The database is not reachable at the moment.",
        Health::Stopped => "The server is shutting down.",
    };
    Err(Problem::new(Code::NotReady, reason))
}
