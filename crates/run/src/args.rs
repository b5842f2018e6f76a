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
    /// The token's name.
    pub const TOKEN_NAME: &str = "TOKEN_MANAGER_TOKEN_NAME";
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
    /// The pool's name.
    pub const POOL: &str = "TOKEN_MANAGER_POOL";
    /// API key of the client commands. The command does not get it.
    pub const KEY: &str = "TOKEN_MANAGER_KEY";
    /// File with the API key. The command does not get it.
    pub const KEY_FILE: &str = "TOKEN_MANAGER_KEY_FILE";
    /// First API key of a server, and the file with it. The command gets neither.
    pub const BOOTSTRAP_KEY: [&str; 2] =
        ["TOKEN_MANAGER_BOOTSTRAP_KEY", "TOKEN_MANAGER_BOOTSTRAP_KEY_FILE"];
    /// Begins the names of variables with the token's labels.
    pub const LABEL: &str = "TOKEN_MANAGER_LABEL_";
    /// Variables that describe the lease, besides those with labels.
    pub const OF_LEASE: [&str; 6] = [TOKEN, TOKEN_NAME, TOKEN_ID, LEASE_ID, FENCE, EXPIRES_AT];

    /// Returns the variable with a label: `TOKEN_MANAGER_LABEL_EXAMPLE_COM_ROLE` for `example.com/role`.
    #[must_use]
    pub fn of_label(key: &str) -> String {
        let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        format!("{LABEL}{}", key.chars().map(letter).collect::<String>())
    }
}

/// Parameters of a run.
#[derive(Clone, Debug)]
pub struct RunArgs {
    /// URL of the server, for the command's environment.
    pub server: String,
    /// Name of the pool; None for the pool `default`.
    pub pool: Option<String>,
    /// Name of the token; None if any will do.
    pub token: Option<String>,
    /// Note for the lease.
    pub note: Option<String>,
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
        AllocateRequest {
            pool: self.pool.clone(),
            token: self.token.clone(),
            note: self.note.clone(),
            user: self.user.clone(),
            lease: self.lease,
            wait: self.wait,
            key,
        }
    }

    /// Returns the program's name in quotes, with control characters escaped.
    #[must_use]
    pub fn quoted_program(&self) -> String {
        format!("{:?}", self.program.to_string_lossy())
    }

    /// Returns the variables of the command's environment; those without a value are removed from it.
    pub(crate) fn variables(&self, held: &HeldLease) -> Vec<(OsString, Option<String>)> {
        let token = held.token.as_ref();
        // Those of an outer run would describe another token.
        let outer = std::env::vars_os().map(|(name, _)| name);
        let outer = outer.filter(|name| name.to_string_lossy().starts_with(env::LABEL));
        let mut variables: Vec<_> = outer.map(|name| (name, None)).collect();
        let mut set = |name: &str, value| variables.push((name.into(), value));
        set(env::TOKEN, Some(held.value.to_string()));
        set(env::TOKEN_NAME, token.map(|token| token.name.to_string()));
        set(env::TOKEN_ID, Some(held.token_id.to_string()));
        set(env::LEASE_ID, Some(held.lease_id.to_string()));
        set(env::FENCE, Some(held.fence.to_string()));
        set(env::EXPIRES_AT, Some(time(held.expires_at)));
        // Lets the command use the same server, user and pool.
        set(env::SERVER, Some(self.server.clone()));
        set(env::USER, Some(self.user.clone()));
        set(env::POOL, token.map(|token| token.pool.to_string()));
        // The key may do more than use this token.
        for secret in [env::KEY, env::KEY_FILE].into_iter().chain(env::BOOTSTRAP_KEY) {
            set(secret, None);
        }
        for (key, value) in token.iter().flat_map(|token| &token.labels) {
            set(&env::of_label(key), Some(value.to_string()));
        }
        variables
    }
}

#[cfg(test)]
mod tests {
    use super::env;

    #[test]
    fn labels_are_named_like_variables() {
        assert_eq!(env::of_label("region"), "TOKEN_MANAGER_LABEL_REGION");
        let name = env::of_label("example.com/app-Role_1");
        assert_eq!(name, "TOKEN_MANAGER_LABEL_EXAMPLE_COM_APP_ROLE_1");
    }
}
