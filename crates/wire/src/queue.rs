//! The queue.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{GivenUp, Time};

/// A waiting allocation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Ticket {
    /// Id of the ticket, and of the lease that it becomes.
    pub ticket: Uuid,
    /// Position in the queue, from 1.
    pub position: u64,
    /// Name of the user as sent.
    pub user: Arc<str>,
    /// Identity of the user.
    pub user_id: Uuid,
    /// Start of the wait.
    pub since: Time,
    /// End of the wait.
    pub until: Time,
    /// Whether the ticket stays in the queue between requests, because it has an idempotency key.
    pub kept: bool,
    /// Name of the pool. Present if the request names a pool or a single ticket of another pool than
    /// `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Arc<str>>,
    /// Name of the requested token. Present if `pool` is and the request names a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_name: Option<Arc<str>>,
    /// Note of the request. Present if `pool` is and the request has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Arc<str>>,
}

/// A page of the queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Queue {
    /// The tickets, first come first.
    pub tickets: Vec<Ticket>,
    /// Number of tickets in the queue.
    pub waiting: u64,
    /// Path of the next page; null on the last page.
    pub next: Option<String>,
}

/// Answer to the removal of a ticket.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TicketGivenUp {
    /// Always `given_up`.
    pub status: GivenUp,
    /// Id of the ticket.
    pub ticket: Uuid,
}
