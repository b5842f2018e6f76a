//! Parameters of a run, and the command's environment.

use std::ffi::OsString;
use std::time::Duration;

use client::AllocateRequest;

use crate::lease::HeldLease;
use crate::report::time;

/// Environment variables of the command.
pub mod env {
    /// The token's value.
    pub const TOKEN: &str = "TOKEN_MANAGER_TOKEN";
    /// The token's id.
    pub const TOKEN_ID: &str = "TOKEN_MANAGER_TOKEN_ID";
    /// The lease's id.
    pub const LEASE_ID: &str = "TOKEN_MANAGER_LEASE_ID";
    /// The lease's fencing number.
    pub const FENCE: &str = "TOKEN_MANAGER_FENCE";
    /// The lease's deadline when the command starts.
    pub const EXPIRES_AT: &str = "TOKEN_MANAGER_EXPIRES_AT";
    /// The server's URL.
    pub const SERVER: &str = "TOKEN_MANAGER_SERVER";
    /// The user's name.
    pub const USER: &str = "TOKEN_MANAGER_USER";
    /// Variables that describe the lease.
    pub const OF_LEASE: [&str; 5] = [TOKEN, TOKEN_ID, LEASE_ID, FENCE, EXPIRES_AT];
}

/// Parameters of a run.
#[derive(Clone, Debug)]
pub struct RunArgs {
    /// URL of the server, for the command's environment.
    pub server: String,
    /// User name.
    pub user: String,
    /// Maximum time to wait for a token; None for the pool's default.
    pub wait: Option<Duration>,
    /// Length of the lease; None for the pool's default.
    pub lease: Option<Duration>,
    /// Whether to renew the lease.
    pub renew: bool,
    /// Time from SIGTERM to SIGKILL.
    pub grace: Option<Duration>,
    /// Time from SIGTERM to the deadline.
    pub stop_before: Option<Duration>,
    /// Program.
    pub program: OsString,
    /// Arguments of the program.
    pub arguments: Vec<OsString>,
}

impl RunArgs {
    /// Returns the request for a token under an idempotency key.
    #[must_use]
    pub fn request(&self, key: String) -> AllocateRequest {
        AllocateRequest { user: self.user.clone(), lease: self.lease, wait: self.wait, key }
    }

    /// Returns the program's name in quotes, with control characters escaped.
    #[must_use]
    pub fn quoted_program(&self) -> String {
        format!("{:?}", self.program.to_string_lossy())
    }

    pub(crate) fn variables(&self, held: &HeldLease) -> [(&'static str, String); 7] {
        [
            (env::TOKEN, held.value.to_string()),
            (env::TOKEN_ID, held.token_id.to_string()),
            (env::LEASE_ID, held.lease_id.to_string()),
            (env::FENCE, held.fence.to_string()),
            (env::EXPIRES_AT, time(held.expires_at)),
            // Lets the command use the same server and user.
            (env::SERVER, self.server.clone()),
            (env::USER, self.user.clone()),
        ]
    }
}
