//! Replies of the server.
#![expect(missing_docs, reason = "docs/api.md describes the members")]

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use uuid::Uuid;

/// A row of `/api/tokens`.
#[derive(Clone, Debug, Deserialize)]
pub struct Token {
    pub id: Uuid,
    #[serde(rename = "token")]
    pub value: String,
    pub updated_at: Timestamp,
    pub activated_at: Option<Timestamp>,
    pub user: Option<String>,
    pub lease_id: Option<Uuid>,
    pub expires_at: Option<Timestamp>,
    pub fence: Option<i64>,
    /// Its position in the pool, from 1.
    pub number: Option<u64>,
}

/// A row of `/api/leases`, and what `/api/leases/{id}` and a renewal answer.
#[derive(Clone, Debug, Deserialize)]
#[expect(clippy::struct_field_names, reason = "they are called as the API calls them")]
pub struct Lease {
    pub lease_id: Uuid,
    pub token_id: Uuid,
    pub user: String,
    pub started_at: Timestamp,
    pub expires_at: Timestamp,
    /// In seconds.
    pub expires_in: f64,
    pub fence: i64,
    pub ended_at: Option<Timestamp>,
    pub end_reason: Option<String>,
    pub evicted_by: Option<Uuid>,
}

impl Lease {
    /// Returns a lower bound of the server's time when it sent this.
    pub fn read_at(&self) -> Timestamp {
        let left = SignedDuration::try_from_secs_f64(self.expires_in).unwrap_or_default();
        self.ended_at.or_else(|| self.expires_at.checked_sub(left).ok()).unwrap_or(self.started_at)
    }
}

/// A page of `/api/leases`.
#[derive(Clone, Debug, Deserialize)]
pub struct Leases {
    pub leases: Vec<Lease>,
}

/// A row of a token's history.
#[derive(Clone, Debug, Deserialize)]
pub struct Usage {
    pub lease_id: Uuid,
    pub user: String,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub expires_at: Timestamp,
    pub end_reason: Option<String>,
}

/// A token's history.
#[derive(Clone, Debug, Deserialize)]
pub struct Usages {
    pub history: Vec<Usage>,
}

/// What an allocation answers.
#[derive(Clone, Debug, Deserialize)]
pub struct Allocated {
    pub token_id: Uuid,
    pub token_value: String,
    pub user: String,
    /// `active`, or `ended` where a key was used again and its lease is over.
    pub status: String,
    pub lease_id: Uuid,
    pub expires_at: Timestamp,
    /// In seconds, when it was answered.
    pub expires_in: f64,
    pub fence: i64,
    pub evicted: Option<EvictedLease>,
}

/// The lease that ended for another.
#[derive(Clone, Debug, Deserialize)]
pub struct EvictedLease {
    pub lease_id: Uuid,
    pub user: String,
    pub started_at: Timestamp,
}

/// `/api/pool`
#[derive(Clone, Debug, Deserialize)]
pub struct PoolView {
    pub size: usize,
    pub active: usize,
    pub available: usize,
    pub waiting: usize,
    pub oldest_lease: Option<Lease>,
    pub epoch: u64,
    pub version: u64,
    pub policy: Policy,
}

/// The rules of a pool.
#[derive(Clone, Debug, Deserialize)]
pub struct Policy {
    pub when_full: String,
    pub lease_seconds: f64,
    pub max_lease_seconds: f64,
    pub min_hold_seconds: f64,
    pub max_per_user: Option<usize>,
}
