//! Whether the process runs, and whether it can serve.

use axum::extract::State;
use axum::response::Response;
use engine::Health;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::json;
use crate::app::App;
use crate::openapi::words;
use crate::problem::{self, Code, Problem};

/// How the server is.
#[derive(Serialize, ToSchema)]
#[schema(as = HealthShown)]
struct Status {
    #[schema(value_type = words::Health)]
    status: &'static str,
    /// The version of the server's program.
    #[schema(value_type = String, examples("0.1.0"))]
    version: &'static str,
}

impl Status {
    fn answer(status: &'static str) -> Response {
        json(&Status { status, version: env!("CARGO_PKG_VERSION") }, 64)
    }
}

/// Say whether the process runs
#[utoipa::path(
    get,
    path = "/health/live",
    operation_id = "getLiveness",
    tag = "Health",
    responses((status = 200, description = "It runs", body = Status)),
    extensions(("x-problems" = json!(problem::door(&[])))),
)]
pub(crate) async fn live() -> Response {
    Status::answer("live")
}

/// Say whether the server can serve
#[utoipa::path(
    get,
    path = "/health/ready",
    operation_id = "getReadiness",
    tag = "Health",
    responses((status = 200, description = "It can", body = Status)),
    extensions(("x-problems" = json!(problem::door(&[Code::NotReady])))),
)]
pub(crate) async fn ready(State(app): State<App>) -> Result<Response, Problem> {
    let reason = match app.engine.health() {
        Health::Ready if !app.engine.is_readable() => "The history can't be read at the moment.",
        Health::Ready => return Ok(Status::answer("ready")),
        Health::Starting => "The database has not been reached yet since the start.",
        Health::Blocked => "The database can't be written to at the moment. Reads are answered.",
        Health::Away => "The database can't be reached at the moment.",
        Health::Stopped => "The server is shutting down.",
    };
    Err(Problem::new(Code::NotReady, reason))
}
