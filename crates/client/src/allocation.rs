//! Single requests for a token, and for a ticket while none is free.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;
use wire::{Allocation, AllocationRequest, PoolAllocationRequest, Seconds, Waiting, WaitingStatus};

use crate::client::{Retried, TIMEOUT};
use crate::endpoints::DEFAULT_POOL;
use crate::{Client, Error, Reply};

/// Maximum time to wait for a token.
pub const MAX_WAIT: Duration = Duration::from_hours(24);

/// Time-out for a reply, beyond the time that the server holds the request: longer than the server waits for
/// its database, and short enough that a client with a dead connection asks again before its ticket lapses.
const HELD_TIMEOUT: Duration = Duration::from_secs(6);

/// Request for a token.
#[derive(Clone, Debug)]
pub struct AllocateRequest {
    /// Name of the pool; None for the pool `default`.
    pub pool: Option<String>,
    /// Name of the token; None if any will do.
    pub token: Option<String>,
    /// Note for the lease.
    pub note: Option<String>,
    /// User name.
    pub user: String,
    /// Length of the lease; None for the pool's default.
    pub lease: Option<Duration>,
    /// Maximum time in the queue; None for the pool's default.
    pub wait: Option<Duration>,
    /// Idempotency key. A repeated request with the same key gets the same lease.
    pub key: String,
}

impl AllocateRequest {
    /// Pool of the route for any pool; None for the route of the pool `default`, which takes neither a token
    /// nor a note.
    fn pool(&self) -> Option<&str> {
        let is_named = self.token.is_some() || self.note.is_some();
        self.pool.as_deref().or_else(|| is_named.then_some(DEFAULT_POOL))
    }
}

/// Creates a random idempotency key.
#[must_use]
pub fn random_key() -> String {
    #[expect(clippy::disallowed_methods, reason = "the key names nothing in the pool")]
    Uuid::new_v4().to_string()
}

/// Outcome of a request for a token.
#[derive(Debug)]
pub enum Allocated {
    /// The server granted a lease. If the request names a pool, a token or a note, the JSON is a
    /// [`wire::PoolAllocation`].
    Granted(Reply<Allocation>),
    /// The request is in the queue. The second value is the ticket's age.
    Waiting(Waiting, Duration),
}

impl Client {
    /// Requests a token once. `hold` limits how long the server holds the request while no token is free;
    /// with None the server decides.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn allocate_once(
        &self,
        request: &AllocateRequest,
        hold: Option<Duration>,
    ) -> Result<Allocated, Error> {
        let (lease_seconds, wait_seconds) = (request.lease.map(Seconds), request.wait.map(Seconds));
        let user = request.user.clone();
        let sent = match request.pool() {
            None => {
                let body = AllocationRequest { user_id: user, lease_seconds, wait_seconds };
                self.request(Method::POST, "/api/tokens/allocate")?.json(&body)
            }
            Some(pool) => {
                let text = |text: &Option<String>| text.as_deref().map(Into::into);
                let (token, note) = (text(&request.token), text(&request.note));
                let body = PoolAllocationRequest { user, lease_seconds, wait_seconds, token, note };
                self.request(Method::POST, &format!("/api/pools/{pool}/allocate"))?.json(&body)
            }
        };
        let timeout = match hold {
            Some(hold) => hold + HELD_TIMEOUT,
            // Without `wait_seconds`, a pool with the policy `wait` holds a request for 30 seconds.
            None => TIMEOUT + request.wait.unwrap_or(Duration::from_secs(30)),
        };
        let mut sent = sent.header("Idempotency-Key", &request.key).timeout(timeout);
        if let Some(hold) = hold {
            sent = sent.header("Prefer", format!("wait={}", hold.as_secs()));
        }
        let reply: Reply<Value> = self.execute(sent, Retried::Yes).await?;
        if reply.json["status"] != *WaitingStatus::WAITING {
            return Ok(Allocated::Granted(reply.typed()));
        }
        let reply: Reply<Waiting> = reply.typed();
        let ticket = reply.read()?;
        let age = reply.at.and_then(|now| now.duration_since(ticket.since.0).try_into().ok());
        Ok(Allocated::Waiting(ticket, age.unwrap_or_default()))
    }
}
