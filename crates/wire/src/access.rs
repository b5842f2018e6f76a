//! API keys, sessions and the audit log.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{AuditAction, Rights, Seconds, SessionVia, Time};

/// An API key, without its secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ApiKey {
    /// Id of the key, which is part of its text.
    pub id: String,
    /// Name, unique among the keys that are not revoked.
    pub name: Arc<str>,
    /// Rights.
    pub rights: Rights,
    /// Names of the pools to which the rights apply; `*` at the end of a name means any characters.
    pub pools: Vec<String>,
    /// Names of the users for whom the key may allocate; `*` at the end of a name means any characters.
    pub users: Vec<String>,
    /// When the key was created.
    pub created_at: Time,
    /// Id of the key that created it; null if no key did.
    pub created_by: Option<String>,
    /// When the key expires, or null.
    pub expires_at: Option<Time>,
    /// When the key was last used, to the minute; null if it was not used yet.
    pub last_used_at: Option<Time>,
    /// Until when the secret before the last rotation is valid; null if it is not.
    pub rotating_until: Option<Time>,
    /// Maximum number of requests per second at each server; null if unlimited.
    pub max_requests_per_second: Option<u32>,
    /// Maximum number of running leases that the key allocated; null if unlimited.
    pub max_leases: Option<u32>,
    /// Number of running leases that the key allocated.
    pub running_leases: u32,
    /// Number of browsers that are signed in with the key.
    pub sessions: u64,
    /// When the key was revoked. Present only in the answer to that request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Time>,
}

/// An API key with its secret, which no later answer has.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NewApiKey {
    /// The key.
    #[serde(flatten)]
    pub key: ApiKey,
    /// The text to send in `Authorization: Bearer`.
    pub secret: String,
}

/// A page of API keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ApiKeyPage {
    /// The keys, in the order of their names.
    pub keys: Vec<ApiKey>,
    /// Path of the next page; null on the last page.
    pub next: Option<String>,
}

/// Request for a new API key. An absent member grants nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ApiKeyWanted {
    /// Name: 1 to 63 letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// Rights.
    pub rights: Rights,
    /// Names of the pools to which the rights apply; `*` at the end of a name means any characters.
    #[serde(default)]
    pub pools: Vec<String>,
    /// Names of the users for whom the key may allocate; `*` at the end of a name means any characters.
    #[serde(default)]
    pub users: Vec<String>,
    /// When the key expires. Absent or null: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// As `expires_at`, in seconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<Seconds>,
    /// Maximum number of requests per second at each server. Absent or null: unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_requests_per_second: Option<u32>,
    /// Maximum number of running leases. Absent or null: unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_leases: Option<u32>,
}

/// Request for a new secret of an API key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct KeyRotation {
    /// For how long the present secret stays valid, at most 30 days. Absent: it is invalid at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_old_seconds: Option<Seconds>,
}

/// Answer to the end of all sessions of an API key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SessionsEnded {
    /// Number of sessions that ended.
    pub sessions_ended: u64,
}

/// Request to sign in: either a key or a code.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// An API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// A code of `POST /api/session/code`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// A code with which a browser signs in once.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SignInCode {
    /// The code.
    pub code: String,
    /// When the code expires.
    pub expires_at: Time,
}

/// The caller, and what it may do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Caller {
    /// How the caller identified itself.
    pub via: SessionVia,
    /// Rights; null if the caller has none.
    pub rights: Option<Rights>,
    /// The API key; null for a caller without one.
    pub key: Option<KeyName>,
    /// Names of the pools to which the rights apply.
    pub pools: Vec<String>,
    /// Names of the users for whom the caller may allocate.
    pub users: Vec<String>,
    /// When the session or key expires, or null.
    pub expires_at: Option<Time>,
    /// Whether any API key exists.
    pub keys_exist: bool,
}

/// An API key by its id and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KeyName {
    /// Id of the key.
    pub id: String,
    /// Name of the key at that time.
    pub name: Arc<str>,
}

/// An entry of the audit log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AuditEntry {
    /// Number of the entry. Later entries have larger numbers.
    pub number: i64,
    /// When it happened.
    pub at: Time,
    /// The API key that acted; null for a caller without one.
    pub key: Option<KeyName>,
    /// Kind of the action.
    pub action: AuditAction,
    /// Name of the pool, or null.
    pub pool: Option<Arc<str>>,
    /// The object: a key, a token, a lease, or a summary.
    pub subject: Arc<str>,
}

/// A page of the audit log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AuditPage {
    /// The entries, newest first.
    pub entries: Vec<AuditEntry>,
    /// Path of the next page; null on the last page.
    pub next: Option<String>,
}

/// A request that was refused because of its caller.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Refusal {
    /// When it was refused.
    pub at: Time,
    /// IP address of the client.
    pub address: String,
    /// Id of the API key, or null.
    pub key: Option<String>,
    /// HTTP method.
    pub method: Cow<'static, str>,
    /// Path with names of parameters in braces; null for an unknown path.
    pub route: Option<Cow<'static, str>>,
    /// Code of the error.
    pub code: Cow<'static, str>,
}

/// The requests that a server refused lately.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Refusals {
    /// The requests, newest first.
    pub refusals: Vec<Refusal>,
}

macro_rules! without_secret {
    ($($name:ident),+) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )+};
}

without_secret!(NewApiKey, SignIn, SignInCode);
