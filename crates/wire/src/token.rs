//! Tokens and their history.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Cleared, EndReason, NoHistory, Released, Taint, Time, TokenStatus};

/// The value of a token, which holders use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(with = "String", inline))]
#[serde(untagged, from = "String")]
pub enum TokenValue {
    /// The usual form.
    Uuid(Uuid),
    /// Any other text.
    Text(Arc<str>),
}

impl From<String> for TokenValue {
    /// Only the usual spelling becomes a [`TokenValue::Uuid`], so that the text stays exactly the same.
    fn from(text: String) -> Self {
        match Uuid::try_parse(&text) {
            Ok(value) if value.to_string() == text => TokenValue::Uuid(value),
            _ => TokenValue::Text(text.into()),
        }
    }
}

impl fmt::Display for TokenValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenValue::Uuid(value) => value.fmt(f),
            TokenValue::Text(value) => f.pad(value),
        }
    }
}

/// A token and its running lease.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Token {
    /// Id of the token.
    pub id: Uuid,
    /// Value of the token; null if the pool shows values to holders only.
    pub token: Option<TokenValue>,
    /// `active` while the token has a running lease, otherwise `available`, also if `taints` keep it from new
    /// leases.
    pub status: TokenStatus,
    /// Start of the lease; null while the token is available.
    pub activated_at: Option<Time>,
    /// Identity of the holder; null while the token is available.
    pub user_id: Option<Uuid>,
    /// Creation of the token.
    pub inserted_at: Time,
    /// Latest start or end of a lease of this token.
    pub updated_at: Time,
    /// Id of the lease; null while the token is available.
    pub lease_id: Option<Uuid>,
    /// Name of the holder as sent; null while the token is available.
    pub user: Option<Arc<str>>,
    /// Deadline of the lease, unless it is renewed; null while the token is available.
    pub expires_at: Option<Time>,
    /// Fencing number of the lease; null while the token is available.
    pub fence: Option<i64>,
    /// Position of the token in the pool, from 1. It never changes.
    #[cfg_attr(test, schemars(with = "u64"))]
    pub number: Option<u64>,
    /// Taints, in the order in which they were set; absent if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taints: Option<Vec<Taint>>,
}

/// A token and its holder.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TokenDetails {
    /// The token.
    pub token: Token,
    /// The holder; null while the token is available.
    pub current_user: Option<CurrentUser>,
}

/// The holder of a token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CurrentUser {
    /// Identity of the holder.
    pub user_id: Uuid,
    /// Start of the lease.
    pub activated_at: Time,
    /// Id of the lease.
    pub lease_id: Uuid,
    /// Name of the holder as sent.
    pub user: Arc<str>,
    /// Deadline of the lease, unless it is renewed.
    pub expires_at: Time,
    /// Fencing number of the lease.
    pub fence: i64,
}

/// Leases of a token, newest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct History {
    /// Id of the token as sent.
    #[cfg_attr(test, schemars(with = "Uuid"))]
    pub token_id: String,
    /// The leases.
    pub history: Vec<HistoryEntry>,
    /// Present only if the token never had a lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<NoHistory>,
    /// Path of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A lease in the history of a token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HistoryEntry {
    /// Same as `lease_id`.
    pub id: Uuid,
    /// Id of the token.
    pub token_id: Uuid,
    /// Identity of the holder.
    pub user_id: Uuid,
    /// Start of the lease.
    pub started_at: Time,
    /// End of the lease; null while it runs.
    pub ended_at: Option<Time>,
    /// Same as `started_at`.
    pub inserted_at: Time,
    /// End of the lease, or its start while it runs.
    pub updated_at: Time,
    /// Id of the lease.
    pub lease_id: Uuid,
    /// Name of the holder as sent.
    pub user: Arc<str>,
    /// Deadline of the lease.
    pub expires_at: Time,
    /// Fencing number of the lease.
    pub fence: i64,
    /// Why the lease ended; null while it runs.
    pub end_reason: Option<EndReason>,
    /// Id of the lease for which this one was evicted, or null.
    pub evicted_by: Option<Uuid>,
    /// Id of the API key that allocated the lease. Absent if no key did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Id of the API key that ended the lease. Absent if no key did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
}

/// Condition of a release. The token is released only if its lease meets it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReleaseCondition {
    /// The token is held by this lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_id: Option<Uuid>,
    /// The token is held by this user, named as in an allocation.
    #[cfg_attr(test, schemars(length(min = 1, max = ::pool::User::MAX_CHARS), regex(pattern = "^[^\\u0000]*$")))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_user: Option<String>,
}

/// Answer to the release of a token: the token is available.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TokenReleased {
    /// Always `released`.
    pub status: Released,
    /// Id of the token as sent.
    #[cfg_attr(test, schemars(with = "Uuid"))]
    pub token_id: String,
}

/// Number of leases that were ended together.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClearResult {
    /// Always the same text.
    pub message: Cleared,
    /// Number of leases that ended.
    pub tokens_cleared: u64,
    /// Same as `tokens_cleared`.
    pub usages_updated: u64,
}
