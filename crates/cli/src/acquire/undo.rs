//! Leaving nothing behind: giving up a place in the queue, and giving a lease back.

use std::pin::pin;
use std::time::Duration;

use reqwest::Method;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::api::{Allocated, Allocation, Api, Failure, Wish, jittered};
use crate::run::Moment;

use super::Acquire;

/// How long to try to give a lease back.
pub const GIVING_BACK: Duration = Duration::from_secs(5);

/// How long to try while the server does not answer.
const AWAY: Duration = Duration::from_secs(2);

/// How long to say nothing when the server answers.
const SILENT: Duration = Duration::from_secs(1);

/// Pause before a request whose answer was lost is repeated.
const PAUSE: Duration = Duration::from_millis(250);

impl Acquire<'_> {
    /// Leaves no lease and no place in the queue, once the asking was broken off, and answers whether
    /// that is certain. Takes no longer than giving back does. May be dropped.
    pub async fn undo(&mut self) -> bool {
        self.progress.end();
        let Some(wish) = self.open.clone() else { return true };
        let ticket = self.ticket.as_ref().map(|ticket| ticket.id);
        if ticket.is_none() && !self.may_be_granted() {
            return true;
        }
        let api = self.api;
        let undone = async {
            match ticket {
                Some(ticket) => give_up(api, ticket).await,
                None => withdraw(api, &wish).await,
            }
        };
        let away = self.attempts.failures > 0;
        let (longest, silent) = if away { (AWAY, Duration::ZERO) } else { (GIVING_BACK, SILENT) };
        let mut undone = pin!(timeout(longest, undone));
        let done = tokio::select! {
            biased;
            done = &mut undone => done,
            () = sleep(silent) => {
                let what = if ticket.is_some() { "place in the queue" } else { "request" };
                self.progress.say(&format!("giving up the {what} ..."));
                undone.await
            }
        };
        let done = done.is_ok_and(|done| done.is_ok());
        if done {
            self.keep();
        }
        done
    }

    /// What may be left, where undoing was not certain.
    pub fn left(&self) -> String {
        match (&self.ticket, self.may_be_granted()) {
            (None, _) => {
                "the server could not be asked whether it had granted a lease; if it had, that \
                          ends by itself at its deadline"
                    .to_owned()
            }
            (_, granted) => {
                let lease = "; if it has granted a lease, that ends at its deadline";
                let lease = if granted { lease } else { "" };
                format!(
                    "the server could not be asked to remove the place in the queue, which lapses \
                     within 15 seconds of its return{lease}"
                )
            }
        }
    }

    /// Whether there may be a lease that was not heard of.
    const fn may_be_granted(&self) -> bool {
        self.attempts.uncertain || self.attempts.asking
    }
}

/// Gives up a place in the queue, or the lease that it has become.
async fn give_up(api: &Api, ticket: Uuid) -> Result<(), Failure> {
    loop {
        let Err(failure) = api.give_up(ticket).await else { return Ok(()) };
        match failure.code() {
            Some("unknown-ticket") => return Ok(()),
            // A ticket becomes the lease of the same id.
            Some("ticket-served") => return release(api, ticket).await,
            _ if failure.may_pass() => sleep(failure.pause(PAUSE)).await,
            _ => return Err(failure),
        }
    }
}

async fn release(api: &Api, lease: Uuid) -> Result<(), Failure> {
    match give_back(api, &format!("/api/leases/{lease}"), GIVING_BACK).await {
        Err(failure) if failure.code() == Some("lease-over") => Ok(()),
        given_back => given_back,
    }
}

/// The server takes a while to notice that the client has left, and may have granted a lease or made a
/// ticket meanwhile.
async fn withdraw(api: &Api, wish: &Wish) -> Result<(), Failure> {
    const LOOKS: [Duration; 3] =
        [Duration::ZERO, Duration::from_millis(200), Duration::from_millis(400)];
    for wait in LOOKS {
        sleep(wait).await;
        if is_known(api, wish).await? {
            return match api.allocate_once(wish, Some(Duration::ZERO)).await? {
                Allocation::Waiting(ticket, _) => give_up(api, ticket.id).await,
                Allocation::Granted(answer) => {
                    release(api, answer.read::<Allocated>()?.lease_id).await
                }
            };
        }
    }
    Ok(())
}

/// Whether there is a lease or a ticket under the request's key: then nothing else can be asked under it.
/// This request itself is never granted, since no pool has leases as long.
async fn is_known(api: &Api, wish: &Wish) -> Result<bool, Failure> {
    const TOO_LONG: Duration = Duration::from_hours(24 * 10_000);
    let other = Wish { lease: Some(TOO_LONG), ..wish.clone() };
    match api.allocate_once(&other, Some(Duration::ZERO)).await {
        Err(Failure::Refused(problem)) if problem.status < 500 => {
            Ok(problem.code == "idempotency-key-reused")
        }
        Err(failure) => Err(failure),
        Ok(_) => Err(api.strange("it grants too long leases")),
    }
}

/// Gives a lease back, by its path, and never another one.
///
/// # Errors
///
/// As [`Failure`] says; `lease-over` when it had ended otherwise.
pub async fn give_back(api: &Api, path: &str, patience: Duration) -> Result<(), Failure> {
    let path = format!("{path}/release");
    let until = Moment::now().after(patience);
    loop {
        let left = until.since(Moment::now());
        let asking = timeout(left.max(PAUSE), api.send(Method::POST, &path, None)).await;
        let failure = match asking {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(failure)) => failure,
            Err(_) => api.lost("it took too long"),
        };
        if !failure.may_pass() || Moment::now().after(PAUSE) > until {
            return Err(failure);
        }
        sleep(jittered(PAUSE)).await;
    }
}
