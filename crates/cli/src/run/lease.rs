//! Taking the lease, and giving it back.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::sleep;
use uuid::Uuid;

use crate::acquire::{Acquire, GIVING_BACK, NoLease, Progress, Taken, give_back};
use crate::api::{Allocated, Api, Failure, jittered};

use super::clock::Moment;
use super::deadline::{Deadline, Plan, Said};
use super::order::Order;
use super::tell::{self, Tell};

/// A command is not started twice for an answer that was lost, so it is worth some insisting.
const UNSETTLED: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(250);

/// How many leases may be over before there is an answer. Each may have cost somebody else a token.
const ROUNDS: u32 = 3;

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
    acquire: Acquire<'a>,
}

impl<'a> Asking<'a> {
    /// Asks nothing yet.
    pub fn new(api: &'a Api, order: &'a Order, tell: Tell) -> Self {
        let progress = Progress::on(Some(tell::write));
        Asking { api, order, tell, acquire: Acquire::new(api, UNSETTLED, progress) }
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
            #[expect(clippy::disallowed_methods, reason = "a client's key is no id of the pool's")]
            let mut wish = self.order.wish(Uuid::new_v4().to_string());
            wish.wait = wish.wait.map(|wait| wait.saturating_sub(Moment::now().since(begun)));
            let taken = self.acquire.settle(&wish).await?;
            if let Some(held) = self.held(&taken).await? {
                return Ok(held);
            }
            rounds += 1;
            let pause = PAUSE * rounds;
            let waited = Moment::now().since(begun) + pause;
            if rounds == ROUNDS || self.order.wait.is_some_and(|wait| waited > wait) {
                return Err(NoLease::TooShort);
            }
            self.tell.verbose("the lease was over before there was an answer; asking again");
            sleep(jittered(pause)).await;
        }
    }

    /// The lease, if it is not over already.
    async fn held(&mut self, taken: &Taken) -> Result<Option<Held>, Failure> {
        let Taken { answer, asked, answered } = taken;
        let (asked, answered) = (*asked, *answered);
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
        self.acquire.keep();
        if held.deadline.at() > Moment::now() {
            return Ok(Some(held));
        }
        // If it is not, that is only because nobody said how long it has still to run.
        let _ = give_back(self.api, &held.path(), GIVING_BACK).await;
        Ok(None)
    }

    /// Sees to it that no lease and no place in the queue is left, once the asking was broken off, and
    /// answers whether that is certain.
    pub async fn undo(&mut self) -> bool {
        self.acquire.undo().await
    }

    /// What may be left, where undoing was not certain.
    pub fn left(&self) -> String {
        self.acquire.left()
    }
}
