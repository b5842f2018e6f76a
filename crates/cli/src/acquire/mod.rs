//! Taking a lease: one request, repeated under its key until there is an outcome. While no token is free
//! the request keeps its place in the queue, through lost connections and restarts of the server.

mod progress;
mod undo;

use std::time::Duration;

use serde_json::Value;
use tokio::time::{interval, sleep};

use crate::api::{Allocation, Answer, Api, Failure, Problem, Ticket, Wish, jittered};
use crate::run::Moment;

pub use self::progress::Progress;
pub use self::undo::{GIVING_BACK, give_back};

/// The first and the longest pause before a request that failed is repeated. With the time to wait for a
/// connection it is less than the 15 seconds after which a ticket lapses.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3));

/// Longest pause while the server says when to come back.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// How long the server holds a request that waits: the first one not at all, so that the position is known
/// at once, the others longer and longer. Each answer brings the position up to date. With the time to wait
/// for an answer it is less than the 15 seconds after which a ticket lapses.
const HOLDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(6));

/// How long the server may take to notice that the wait is over.
const SLACK: Duration = Duration::from_secs(5);

/// How often the line on a terminal is written again.
const TICK: Duration = Duration::from_secs(1);

/// Why there is no lease.
#[derive(Debug)]
pub enum NoLease {
    /// The request ended with this failure.
    Failed(Failure),
    /// The last attempt ended with this failure, but an answer had been lost before.
    Uncertain(Failure),
    /// The lease was over before the answer arrived.
    TooShort,
}

impl From<Failure> for NoLease {
    fn from(failure: Failure) -> Self {
        NoLease::Failed(failure)
    }
}

/// How long to try to reach a server that has never been reached, when there is a time to wait.
const REACHING: Duration = Duration::from_secs(3);

/// A granted lease, and when it was asked for and answered.
#[derive(Debug)]
pub struct Taken {
    pub answer: Answer,
    pub asked: Moment,
    pub answered: Moment,
}

/// What the attempts so far came to.
#[derive(Debug)]
struct Attempts {
    begun: Moment,
    wait: Duration,
    /// Whether the server has answered.
    answered: bool,
    /// Whether an answer was lost that may have granted a lease.
    uncertain: bool,
    /// Whether a request is being sent.
    asking: bool,
    /// Failed requests since the last answer.
    failures: u32,
}

impl Attempts {
    fn new(wait: Duration) -> Self {
        let begun = Moment::now();
        Attempts { begun, wait, answered: false, uncertain: false, asking: false, failures: 0 }
    }

    /// When the wait is over.
    const fn until(&self) -> Moment {
        self.begun.after(self.wait)
    }

    /// When to give up after a failure. `unsettled` is the time for a request that may have been done.
    fn last(&self, unsettled: Duration) -> Moment {
        match (self.answered, self.uncertain) {
            (true, _) => self.until().after(unsettled),
            (false, true) => self.begun.after(unsettled),
            (false, false) => self.begun.after(self.wait.min(REACHING)),
        }
    }

    /// The pause after the last failure.
    fn pause(&self) -> Duration {
        (PAUSES.0 * (1 << self.failures.saturating_sub(1).min(8))).min(PAUSES.1)
    }
}

/// A request for a token.
#[derive(Debug)]
pub struct Acquire<'a> {
    api: &'a Api,
    /// How long to repeat a request that may have reached the server, beyond the time to wait.
    unsettled: Duration,
    progress: Progress,
    /// The request that has no outcome yet.
    open: Option<Wish>,
    /// Its place in the queue.
    ticket: Option<Ticket>,
    attempts: Attempts,
}

impl<'a> Acquire<'a> {
    /// Sends nothing yet.
    pub fn new(api: &'a Api, unsettled: Duration, progress: Progress) -> Self {
        let attempts = Attempts::new(Duration::ZERO);
        Acquire { api, unsettled, progress, open: None, ticket: None, attempts }
    }

    /// Asks until there is an outcome. May be dropped; then [`Acquire::undo`] sees to what is left.
    ///
    /// # Errors
    ///
    /// As [`NoLease`] says.
    pub async fn settle(&mut self, wish: &Wish) -> Result<Taken, NoLease> {
        self.open = Some(wish.clone());
        self.ticket = None;
        let wait = wish.wait.unwrap_or_default();
        self.attempts = Attempts::new(wait);
        let mut hold = (!wait.is_zero()).then_some(Duration::ZERO);
        loop {
            self.attempts.asking = true;
            let asking = self.api.allocate_once(wish, hold);
            let (asked, answer) = (Moment::now(), ticking(&mut self.progress, asking).await);
            let answered = Moment::now();
            self.attempts.asking = false;
            let failure = match answer {
                Ok(Allocation::Granted(answer)) => {
                    self.progress.end();
                    return Ok(Taken { answer, asked, answered });
                }
                Ok(Allocation::Waiting(ticket, age)) => {
                    self.queued(ticket, age);
                    if answered >= self.attempts.until().after(SLACK) {
                        return Err(self.too_late().await);
                    }
                    // A server that does not hold requests is not asked without a pause.
                    if hold.is_some_and(|hold| answered.since(asked) < hold / 2) {
                        sleep(jittered(HOLDS.0)).await;
                    }
                    hold = hold.map(|hold| (hold * 2).clamp(HOLDS.0, HOLDS.1));
                    continue;
                }
                Err(failure) => failure,
            };
            let failure = self.repeatable(failure)?;
            let pause = failure.pause(self.attempts.pause()).min(LONGEST_PAUSE);
            ticking(&mut self.progress, sleep(pause)).await;
        }
    }

    /// Learns the place in the queue.
    fn queued(&mut self, ticket: Ticket, age: Duration) {
        let attempts = &mut self.attempts;
        (attempts.answered, attempts.uncertain, attempts.failures) = (true, false, 0);
        let same = |old: &Ticket| (old.id, old.since) == (ticket.id, ticket.since);
        if !self.ticket.as_ref().is_none_or(same) {
            self.progress.lost_place();
        }
        self.progress.waiting(ticket.ahead, age);
        self.ticket = Some(ticket);
    }

    /// The failure, if the request is to be repeated after it.
    fn repeatable(&mut self, failure: Failure) -> Result<Failure, NoLease> {
        let attempts = &mut self.attempts;
        if !failure.may_pass() {
            self.progress.end();
            if attempts.uncertain && matches!(failure, Failure::Strange { .. }) {
                return Err(NoLease::Uncertain(failure));
            }
            self.open = None;
            return Err(failure.into());
        }
        attempts.answered |= failure.code().is_some();
        attempts.uncertain |= may_be_done(&failure);
        attempts.failures = attempts.failures.saturating_add(1);
        if Moment::now() >= attempts.last(self.unsettled) {
            self.progress.end();
            // That the last attempt did nothing says nothing about those before.
            return Err(if attempts.uncertain {
                NoLease::Uncertain(failure)
            } else {
                NoLease::Failed(failure)
            });
        }
        self.progress.failed(&failure);
        Ok(failure)
    }

    /// That the wait is over although the server goes on with it, as after a ticket that had lapsed.
    async fn too_late(&mut self) -> NoLease {
        self.progress.end();
        self.undo().await;
        NoLease::Failed(Failure::Refused(Box::new(Problem {
            status: 503,
            code: "pool-full".to_owned(),
            detail: "No token became free in time.".to_owned(),
            after: None,
            json: Value::Null,
        })))
    }

    /// Learns that the lease is in safe hands: nothing is left to undo.
    pub fn keep(&mut self) {
        (self.open, self.ticket) = (None, None);
    }
}

/// Waits for something; meanwhile the line on a terminal goes on.
async fn ticking<T>(progress: &mut Progress, something: impl Future<Output = T>) -> T {
    let mut something = std::pin::pin!(something);
    let mut ticks = interval(TICK);
    ticks.reset();
    loop {
        tokio::select! {
            outcome = &mut something => return outcome,
            _ = ticks.tick() => progress.tick(),
        }
    }
}

/// Whether the request may have been done.
fn may_be_done(failure: &Failure) -> bool {
    match failure.code() {
        Some(code) => !matches!(code, "busy" | "not-done" | "stopping"),
        None => !matches!(failure, Failure::Unreachable { .. }),
    }
}
