//! Asking for a token, and the place in the queue while none is free.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::scheme::Repeats;
use super::{Answer, Api, Failure, TIMEOUT};

/// Maximum time to wait for a token.
pub const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// How long to wait for an answer, beyond the time that the request is held: longer than the server waits for
/// its database, and short enough that a ticket whose connection went dead is asked for again before it lapses.
const HELD_TIMEOUT: Duration = Duration::from_secs(6);

/// A request for a token.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Who asks.
    pub user: String,
    /// How long the lease is to last, where that is not left to the pool.
    pub lease: Option<Duration>,
    /// How long to wait for a token, where that is not left to the pool.
    pub wait: Option<Duration>,
    /// Makes the request recognisable when it is repeated.
    pub key: String,
}

/// A place in the queue, as the answer 202 describes it.
#[derive(Clone, Debug, Deserialize)]
pub struct Ticket {
    /// Its id, which is also that of the lease that it becomes.
    #[serde(rename = "ticket")]
    pub id: Uuid,
    /// How many tickets are served before this one.
    pub ahead: u64,
    /// When it was made.
    pub since: Timestamp,
}

/// The outcome of a request for a token.
#[derive(Debug)]
pub enum Allocation {
    /// There is a lease.
    Granted(Answer),
    /// No token is free yet. The second value is the time since the ticket was made.
    Waiting(Ticket, Duration),
}

impl Api {
    /// Asks for a token, once. `hold` is how long the server may hold the request while no token is free;
    /// None leaves it to the server.
    ///
    /// # Errors
    ///
    /// As [`Failure`] says.
    pub async fn allocate_once(
        &self,
        wish: &Wish,
        hold: Option<Duration>,
    ) -> Result<Allocation, Failure> {
        let mut body = json!({ "user_id": wish.user });
        for (name, time) in [("lease_seconds", wish.lease), ("wait_seconds", wish.wait)] {
            if let Some(time) = time {
                body[name] = time.as_secs_f64().into();
            }
        }
        let timeout = match hold {
            Some(hold) => hold + HELD_TIMEOUT,
            // A pool whose policy is to wait lets wait for half a minute when nothing is said.
            None => TIMEOUT + wish.wait.unwrap_or(Duration::from_secs(30)),
        };
        let mut request = self
            .request(Method::POST, "/api/tokens/allocate")?
            .header("Idempotency-Key", &wish.key)
            .json(&body)
            .timeout(timeout);
        if let Some(hold) = hold {
            request = request.header("Prefer", format!("wait={}", hold.as_secs()));
        }
        let answer = self.answer(request, Repeats::Yes).await?;
        if answer.json["status"] != "waiting" {
            return Ok(Allocation::Granted(answer));
        }
        let ticket: Ticket = answer.read()?;
        let age = answer.at.and_then(|now| now.duration_since(ticket.since).try_into().ok());
        Ok(Allocation::Waiting(ticket, age.unwrap_or_default()))
    }

    /// Gives up a place in the queue.
    ///
    /// # Errors
    ///
    /// As [`Failure`] says; `ticket-served` when the ticket has become a lease.
    pub async fn give_up(&self, ticket: Uuid) -> Result<Answer, Failure> {
        self.send(Method::DELETE, &format!("/api/queue/{ticket}"), None).await
    }
}
