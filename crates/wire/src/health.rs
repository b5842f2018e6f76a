//! Health of a server.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::HealthStatus;

/// State of the server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Readiness {
    /// `live`, or `ready` if the server can serve requests.
    pub status: HealthStatus,
    /// Version of the server.
    pub version: Cow<'static, str>,
}
