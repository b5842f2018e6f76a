use std::sync::Arc;

use pool::{Act, Action, PoolName, Timestamp};

/// Conditions on entries of the audit log. All of them must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Id of the key that acted, or its name at that time.
    pub key: Option<Arc<str>>,
    /// Kind of the action.
    pub action: Option<Action>,
    /// The pool.
    pub pool: Option<PoolName>,
    /// Only entries of this time or later.
    pub from: Option<Timestamp>,
    /// Only entries before this time.
    pub to: Option<Timestamp>,
    /// Number of the last entry of the page before.
    pub after: Option<i64>,
    /// Whether the oldest entries come first, instead of the newest.
    pub oldest_first: bool,
}

impl AuditQuery {
    /// The number from which on entries match in the order of the query, without itself.
    pub(crate) fn start(&self) -> i64 {
        self.after.unwrap_or(if self.oldest_first { i64::MIN } else { i64::MAX })
    }
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number. It increases with time, and may skip numbers.
    pub number: i64,
    /// When it happened, in the ledger's time.
    pub at: Timestamp,
    /// Version of the journal's entry.
    pub version: i64,
    /// What happened.
    pub act: Act,
}
