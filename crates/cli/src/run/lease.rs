//! Taking the lease, and giving it back.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::api::{Allocated, Answer, Api, Failure, Wish, jittered};

use super::clock::Moment;
use super::deadline::{Deadline, Plan, Said};
use super::order::Order;
use super::tell::{self, Tell};

/// How long to repeat a request that may have got through to the server, beyond the time to wait
/// for a token.
const UNSETTLED: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(250);

/// How many leases may be over before there is an answer. Each may have cost somebody else a token.
const ROUNDS: u32 = 3;

/// The server lets nobody wait longer at a time.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// How long to try to give a lease back.
pub const GIVING_BACK: Duration = Duration::from_secs(5);

/// Why there is no lease.
#[derive(Debug)]
pub enum NoLease {
    /// Asking came to this.
    Failed(Failure),
    /// Asking came to this in the end, but an answer had been lost before.
    Uncertain(Failure),
    /// Each one was over before there was an answer.
    TooShort,
}

impl From<Failure> for NoLease {
    fn from(failure: Failure) -> Self {
        NoLease::Failed(failure)
    }
}

/// A lease that was granted.
#[derive(Clone, Debug)]
pub struct Held {
    /// Which one.
    pub lease_id: Uuid,
    /// Of which token.
    pub token_id: Uuid,
    /// The token itself.
    pub value: String,
    /// Its number.
    pub fence: i64,
    /// Its deadline by the server's clock.
    pub expires_at: Timestamp,
    /// When the server was asked for the deadline.
    pub asked: Moment,
    /// Its deadline by this machine's.
    pub deadline: Deadline,
    /// When the command is told to end, should it not be renewed.
    pub plan: Plan,
}

impl Held {
    /// Its place in the API.
    pub fn path(&self) -> String {
        format!("/api/leases/{}", self.lease_id)
    }
}

/// The server's word on a lease. See `docs/api.md` for what each member means.
#[derive(Debug, Deserialize)]
pub struct Fate {
    pub status: String,
    pub expires_at: Timestamp,
    pub expires_in: f64,
    pub ended_at: Option<Timestamp>,
    pub end_reason: Option<String>,
    pub current: Option<Holder>,
}

/// Who has a token.
#[derive(Debug, Deserialize)]
pub struct Holder {
    pub user: String,
}

/// Sends a request about a lease and says when.
///
/// # Errors
///
/// As [`Failure`] says.
pub async fn timed<T>(
    asking: impl Future<Output = Result<T, Failure>>,
) -> (Moment, Moment, Result<T, Failure>) {
    let asked = Moment::now();
    let answer = asking.await;
    (asked, Moment::now(), answer)
}

/// A number of seconds in an answer, as a length of time.
pub fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// Asks for a token.
#[derive(Debug)]
pub struct Asking<'a> {
    api: &'a Api,
    order: &'a Order,
    tell: Tell,
    /// What was asked last, and has not been answered.
    open: Option<Wish>,
}

impl<'a> Asking<'a> {
    /// Asks nothing yet.
    pub const fn new(api: &'a Api, order: &'a Order, tell: Tell) -> Self {
        Asking { api, order, tell, open: None }
    }

    /// Asks until there is a token or there is none to be had.
    ///
    /// # Errors
    ///
    /// As [`NoLease`] says.
    pub async fn ask(&mut self) -> Result<Held, NoLease> {
        let begun = Moment::now();
        let mut rounds = 0;
        loop {
            // The server waits for a minute at most; who waits longer asks again.
            let left = self.order.wait.map(|wait| wait.saturating_sub(Moment::now().since(begun)));
            let more = left.is_some_and(|left| left > LONGEST_WAIT);
            let wait = left.map(|left| left.min(LONGEST_WAIT));
            match self.settle(wait).await {
                Err(NoLease::Failed(failure)) if more && failure.code() == Some("pool-full") => {}
                Ok(None) => {
                    rounds += 1;
                    let pause = PAUSE * rounds;
                    let waited = Moment::now().since(begun) + pause;
                    if rounds == ROUNDS || self.order.wait.is_some_and(|wait| waited > wait) {
                        return Err(NoLease::TooShort);
                    }
                    self.tell
                        .verbose("the lease was over before there was an answer; asking again");
                    sleep(jittered(pause)).await;
                }
                Ok(Some(held)) => return Ok(held),
                Err(none) => return Err(none),
            }
        }
    }

    /// Asks by one key until there is an answer. None is for a lease that is over already.
    async fn settle(&mut self, wait: Option<Duration>) -> Result<Option<Held>, NoLease> {
        #[expect(clippy::disallowed_methods, reason = "a client's key is no id of the pool's")]
        let key = Uuid::new_v4().to_string();
        let Order { user, lease, .. } = self.order;
        let wish = Wish { user: user.clone(), lease: *lease, wait, key };
        self.open = Some(wish.clone());
        let until = Moment::now().after(wait.unwrap_or_default());
        let (mut reached, mut uncertain) = (false, false);
        loop {
            let (asked, answered, answer) = timed(self.api.allocate_once(&wish)).await;
            let failure = match answer {
                Ok(answer) => return Ok(self.taken(&answer, asked, answered).await?),
                Err(failure) if failure.may_pass() => failure,
                Err(failure @ Failure::Strange { .. }) if uncertain => {
                    return Err(NoLease::Uncertain(failure));
                }
                Err(failure) => {
                    self.open = None;
                    return Err(failure.into());
                }
            };
            reached |= !matches!(failure, Failure::Unreachable { .. });
            uncertain |= may_be_done(&failure);
            let patience = if reached { UNSETTLED } else { Duration::ZERO };
            if Moment::now() >= until.after(patience) {
                // That the last attempt did nothing says nothing about those before.
                return Err(if uncertain {
                    NoLease::Uncertain(failure)
                } else {
                    NoLease::Failed(failure)
                });
            }
            self.tell.verbose(&format!("asking again. {}", tell::sentence(&failure)));
            sleep(failure.pause(PAUSE)).await;
        }
    }

    async fn taken(
        &mut self,
        answer: &Answer,
        asked: Moment,
        answered: Moment,
    ) -> Result<Option<Held>, Failure> {
        let Allocated { lease_id, token_id, token_value, expires_at, expires_in, fence, .. } =
            answer.read()?;
        let said = Said { asked, answered, left: seconds(expires_in) };
        let deadline = Deadline::of(&said);
        let plan = Plan::of(said.left, self.order.grace, self.order.stop_before);
        let mut held = Held {
            lease_id,
            token_id,
            value: token_value,
            fence,
            expires_at,
            asked,
            deadline,
            plan,
        };
        // It began when the wait was over, and not when it was asked for.
        if answered.since(asked) > said.left / 20 {
            let (asked, answered, answer) = timed(self.api.get(&held.path(), &[])).await;
            if let Ok(fate) = answer.and_then(|answer| answer.read::<Fate>()) {
                let said = Said { asked, answered, left: seconds(fate.expires_in) };
                (held.asked, held.deadline) = (asked, Deadline::of(&said));
            }
        }
        self.open = None;
        if held.deadline.at() > Moment::now() {
            return Ok(Some(held));
        }
        // If it is not, that is only because nobody said how long it has still to run.
        let _ = give_back(self.api, &held.path(), GIVING_BACK).await;
        Ok(None)
    }

    /// Sees to it that no lease is left, once the asking was broken off, and answers whether that
    /// is certain. Takes no longer than giving back does.
    pub async fn undo(&mut self) -> bool {
        let Some(wish) = self.open.take() else { return true };
        timeout(GIVING_BACK, self.withdraw(&wish)).await.is_ok_and(|done| done.is_ok())
    }

    /// The server takes a while to notice that nobody waits any more, and may have granted a lease
    /// meanwhile.
    async fn withdraw(&self, wish: &Wish) -> Result<(), Failure> {
        const LOOKS: [Duration; 3] =
            [Duration::ZERO, Duration::from_millis(200), Duration::from_millis(400)];
        for wait in LOOKS {
            sleep(wait).await;
            if self.is_granted(wish).await? {
                let allocated: Allocated = self.api.allocate_once(wish).await?.read()?;
                let path = format!("/api/leases/{}", allocated.lease_id);
                return match give_back(self.api, &path, GIVING_BACK).await {
                    Err(failure) if failure.code() == Some("lease-over") => Ok(()),
                    given_back => given_back,
                };
            }
        }
        Ok(())
    }

    /// Whether something was granted under the request's key: then nothing else can be asked under
    /// it. What is asked here is never granted, since no pool has leases as long.
    async fn is_granted(&self, wish: &Wish) -> Result<bool, Failure> {
        const TOO_LONG: Duration = Duration::from_hours(24 * 10_000);
        let other = Wish { lease: Some(TOO_LONG), ..wish.clone() };
        match self.api.allocate_once(&other).await {
            Err(Failure::Refused(problem)) if problem.status < 500 => {
                Ok(problem.code == "idempotency-key-reused")
            }
            Err(failure) => Err(failure),
            Ok(_) => Err(Failure::strange("it grants too long leases")),
        }
    }
}

/// Whether what was asked for may have been done.
fn may_be_done(failure: &Failure) -> bool {
    match failure.code() {
        Some(code) => !matches!(code, "busy" | "not-done" | "stopping"),
        None => !matches!(failure, Failure::Unreachable { .. }),
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
