//! Whether the process runs, and whether it can serve.

use axum::extract::State;
use axum::response::Response;
use engine::Health;
use serde::Serialize;

use crate::answer::json;
use crate::app::App;
use crate::problem::{Code, Problem};

#[derive(Serialize)]
struct Status {
    status: &'static str,
}

pub(crate) async fn live() -> Response {
    json(&Status { status: "live" }, 32)
}

pub(crate) async fn ready(State(app): State<App>) -> Result<Response, Problem> {
    let reason = match app.engine.health() {
        Health::Ready => return Ok(json(&Status { status: "ready" }, 32)),
        Health::Starting => "The database has not been reached yet since the start.",
        Health::Away => "The database can't be reached at the moment.",
        Health::Stopped => "The server is shutting down.",
    };
    Err(Problem::new(Code::NotReady, reason))
}
