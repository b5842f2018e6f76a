//! Single requests for a token, and for a ticket while none is free.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::client::TIMEOUT;
use crate::scheme::Retried;
use crate::{Client, Error, Reply};

/// Maximum time to wait for a token.
pub const MAX_WAIT: Duration = Duration::from_hours(24);

/// Time-out for a reply, beyond the time that the server holds the request: longer than the server waits for
/// its database, and short enough that a client with a dead connection asks again before its ticket lapses.
const HELD_TIMEOUT: Duration = Duration::from_secs(6);

/// Request for a token.
#[derive(Clone, Debug)]
pub struct AllocateRequest {
    /// User name.
    pub user: String,
    /// Length of the lease; None for the pool's default.
    pub lease: Option<Duration>,
    /// Maximum time in the queue; None for the pool's default.
    pub wait: Option<Duration>,
    /// Idempotency key. A repeated request with the same key gets the same lease.
    pub key: String,
}

/// Creates a random idempotency key.
pub fn random_key() -> String {
    #[expect(clippy::disallowed_methods, reason = "the key names nothing in the pool")]
    Uuid::new_v4().to_string()
}

/// Ticket of a request in the queue (status 202).
#[derive(Clone, Debug, Deserialize)]
pub struct Ticket {
    /// Ticket id, which becomes the id of the lease.
    #[serde(rename = "ticket")]
    pub id: Uuid,
    /// Number of tickets served before this one.
    pub ahead: u64,
    /// Time at which the ticket was created.
    pub since: Timestamp,
}

/// Outcome of a request for a token.
#[derive(Debug)]
pub enum Allocation {
    /// The server granted a lease.
    Granted(Reply),
    /// The request is in the queue. The second value is the ticket's age.
    Waiting(Ticket, Duration),
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
    ) -> Result<Allocation, Error> {
        let mut body = json!({ "user_id": request.user });
        for (name, time) in [("lease_seconds", request.lease), ("wait_seconds", request.wait)] {
            if let Some(time) = time {
                body[name] = time.as_secs_f64().into();
            }
        }
        let timeout = match hold {
            Some(hold) => hold + HELD_TIMEOUT,
            // Without `wait_seconds`, a pool with the policy `wait` holds a request for 30 seconds.
            None => TIMEOUT + request.wait.unwrap_or(Duration::from_secs(30)),
        };
        let mut sent = self
            .request(Method::POST, "/api/tokens/allocate")?
            .header("Idempotency-Key", &request.key)
            .json(&body)
            .timeout(timeout);
        if let Some(hold) = hold {
            sent = sent.header("Prefer", format!("wait={}", hold.as_secs()));
        }
        let reply = self.execute(sent, Retried::Yes).await?;
        if reply.json["status"] != "waiting" {
            return Ok(Allocation::Granted(reply));
        }
        let ticket: Ticket = reply.read()?;
        let age = reply.at.and_then(|now| now.duration_since(ticket.since).try_into().ok());
        Ok(Allocation::Waiting(ticket, age.unwrap_or_default()))
    }

    /// Removes a ticket from the queue.
    ///
    /// # Errors
    ///
    /// See [`Error`]; `ticket-served` when the ticket has become a lease.
    pub async fn give_up(&self, ticket: Uuid) -> Result<Reply, Error> {
        self.send(Method::DELETE, &format!("/api/queue/{ticket}"), None).await
    }
}
