//! Cleanup on the server: removing a ticket, and releasing a lease.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use uuid::Uuid;
use wire::Code;

use crate::{AllocateRequest, Allocated, Client, Error, Moment, jittered};

use super::Acquire;

/// Time to try to release a lease.
pub const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Time to try while the server does not reply.
const AWAY_TIMEOUT: Duration = Duration::from_secs(2);

/// Delay before the attempt is reported, if the server replies.
const SILENT: Duration = Duration::from_secs(1);

/// Delay before a request without a reply is repeated.
const DELAY: Duration = Duration::from_millis(250);

impl Acquire<'_> {
    /// Removes the ticket or the lease of an acquisition that was stopped early, and returns whether that is
    /// certain. Takes no longer than [`RELEASE_TIMEOUT`]. Cancel-safe.
    pub async fn undo(&mut self) -> bool {
        self.progress.end();
        let Some(request) = self.open.clone() else { return true };
        let ticket = self.ticket.as_ref().map(|ticket| ticket.ticket);
        if ticket.is_none() && !self.may_be_granted() {
            return true;
        }
        let client = self.client;
        let undone = async {
            match ticket {
                Some(ticket) => give_up(client, ticket).await,
                None => withdraw(client, &request).await,
            }
        };
        let away = self.attempts.failures > 0;
        let (longest, silent) =
            if away { (AWAY_TIMEOUT, Duration::ZERO) } else { (RELEASE_TIMEOUT, SILENT) };
        let mut undone = pin!(timeout(longest, undone));
        let done = tokio::select! {
            biased;
            done = &mut undone => done,
            () = sleep(silent) => {
                let what = if ticket.is_some() { "place in the queue" } else { "request" };
                self.progress.undoing(what);
                undone.await
            }
        };
        let done = done.is_ok_and(|done| done.is_ok());
        if done {
            self.keep();
        }
        done
    }

    /// Describes what may be left on the server after an [`Acquire::undo`] that returned false.
    #[must_use]
    pub fn left(&self) -> String {
        let granted = self.may_be_granted();
        if self.ticket.is_none() {
            return "can't ask the server whether it granted a lease; if it did, the lease ends at its \
                    deadline"
                .to_owned();
        }
        let lease = "; if it has granted a lease, that ends at its deadline";
        format!(
            "can't ask the server to remove the place in the queue, which lapses within 15 seconds of \
             its return{}",
            if granted { lease } else { "" }
        )
    }

    /// Returns whether the server may have granted a lease without the client knowing.
    const fn may_be_granted(&self) -> bool {
        self.attempts.uncertain || self.attempts.in_flight
    }
}

/// Removes a ticket, or releases the lease that it has become.
async fn give_up(client: &Client, ticket: Uuid) -> Result<(), Error> {
    loop {
        let Err(error) = client.give_up(ticket).await else { return Ok(()) };
        match error.code() {
            Some(Code::UnknownTicket) => return Ok(()),
            // A ticket becomes the lease of the same id.
            Some(Code::TicketServed) => return release_if_running(client, ticket).await,
            _ if error.is_temporary() => sleep(error.retry_delay(DELAY)).await,
            _ => return Err(error),
        }
    }
}

async fn release_if_running(client: &Client, lease: Uuid) -> Result<(), Error> {
    match release(client, lease, RELEASE_TIMEOUT).await {
        Err(error) if error.code() == Some(Code::LeaseOver) => Ok(()),
        released => released,
    }
}

/// Removes the lease or ticket of a request, if any. Checks several times, because the server takes a
/// while to notice that the client has left, and may grant a lease or create a ticket meanwhile.
async fn withdraw(client: &Client, request: &AllocateRequest) -> Result<(), Error> {
    const CHECKS: [Duration; 3] =
        [Duration::ZERO, Duration::from_millis(200), Duration::from_millis(400)];
    for wait in CHECKS {
        sleep(wait).await;
        if is_known(client, request).await? {
            return match client.allocate_once(request, Some(Duration::ZERO)).await? {
                Allocated::Waiting(ticket, _) => give_up(client, ticket.ticket).await,
                Allocated::Granted(reply) => {
                    release_if_running(client, reply.read()?.lease_id).await
                }
            };
        }
    }
    Ok(())
}

/// Returns whether the server has a lease or a ticket under the request's key: then it rejects a different
/// request with that key. The different request itself is never granted, because no pool allows its length.
async fn is_known(client: &Client, request: &AllocateRequest) -> Result<bool, Error> {
    const TOO_LONG: Duration = Duration::from_hours(24 * 10_000);
    let other = AllocateRequest { lease: Some(TOO_LONG), ..request.clone() };
    match client.allocate_once(&other, Some(Duration::ZERO)).await {
        Err(Error::Refused(problem)) if problem.status < 500 => {
            Ok(problem.code == Some(Code::KeyReused))
        }
        Err(error) => Err(error),
        Ok(_) => Err(client.not_token_manager("it grants leases that are too long")),
    }
}

/// Releases a lease, and never another lease of the same token. Repeats the request for `limit`.
///
/// # Errors
///
/// See [`Error`]; `lease-over` when the lease had ended otherwise.
pub async fn release(client: &Client, lease: Uuid, limit: Duration) -> Result<(), Error> {
    let until = Moment::now().after(limit);
    loop {
        let left = until.since(Moment::now());
        let sent = timeout(left.max(DELAY), client.release_once(lease)).await;
        let error = match sent {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => client.no_reply("the reply did not come in time"),
        };
        if !error.is_temporary() || Moment::now().after(DELAY) > until {
            return Err(error);
        }
        sleep(jittered(DELAY)).await;
    }
}
