//! Taking a lease: one request, repeated under its key until there is an outcome. While no token is free
//! the request keeps its place in the queue, through lost connections and restarts of the server.

mod progress;
mod undo;

use std::time::Duration;

use serde_json::Value;
use tokio::time::{interval, sleep};
use uuid::Uuid;

use crate::api::{Allocation, Answer, Api, Failure, Problem, Wish, jittered};
use crate::run::Moment;

pub use self::progress::Progress;
pub use self::undo::{GIVING_BACK, give_back};

/// Pause before a request whose answer was lost is repeated. A ticket lapses after 15 seconds.
const PAUSE: Duration = Duration::from_millis(250);

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

/// How long to insist.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long to repeat a request that may have reached the server, beyond the time to wait.
    pub unsettled: Duration,
    /// Whether to repeat a request also if no server has been reached yet.
    pub unreached: bool,
}

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
    /// When the wait is over.
    until: Moment,
    /// Whether a request has reached a server.
    reached: bool,
    /// Whether an answer was lost that may have granted a lease.
    uncertain: bool,
}

impl Attempts {
    const fn until(until: Moment) -> Self {
        Attempts { until, reached: false, uncertain: false }
    }
}

/// A request for a token.
#[derive(Debug)]
pub struct Acquire<'a> {
    api: &'a Api,
    patience: Patience,
    progress: Progress,
    /// The request that has no outcome yet.
    open: Option<Wish>,
    /// Its place in the queue.
    ticket: Option<Uuid>,
}

impl<'a> Acquire<'a> {
    /// Sends nothing yet.
    pub fn new(api: &'a Api, patience: Patience, progress: Progress) -> Self {
        Acquire { api, patience, progress, open: None, ticket: None }
    }

    /// Asks until there is an outcome. `again` is told of each failure after which it asks again. May be
    /// dropped; then [`Acquire::undo`] sees to what is left.
    ///
    /// # Errors
    ///
    /// As [`NoLease`] says.
    pub async fn settle(
        &mut self,
        wish: &Wish,
        mut again: impl FnMut(&Failure),
    ) -> Result<Taken, NoLease> {
        self.open = Some(wish.clone());
        self.ticket = None;
        let wait = wish.wait.unwrap_or_default();
        let mut attempts = Attempts::until(Moment::now().after(wait));
        let mut hold = (!wait.is_zero()).then_some(Duration::ZERO);
        loop {
            let (asked, answer) = (Moment::now(), self.ask(wish, hold).await);
            let answered = Moment::now();
            let failure = match answer {
                Ok(Allocation::Granted(answer)) => {
                    self.progress.end();
                    return Ok(Taken { answer, asked, answered });
                }
                Ok(Allocation::Waiting(ticket, age)) => {
                    (attempts.reached, attempts.uncertain) = (true, false);
                    self.ticket = Some(ticket.id);
                    if answered >= attempts.until.after(SLACK) {
                        return Err(self.too_late().await);
                    }
                    self.progress.waiting(ticket.ahead, age);
                    // A server that does not hold requests is not asked without a pause.
                    if hold.is_some_and(|hold| answered.since(asked) < hold / 2) {
                        sleep(jittered(HOLDS.0)).await;
                    }
                    hold = hold.map(|hold| (hold * 2).clamp(HOLDS.0, HOLDS.1));
                    continue;
                }
                Err(failure) => failure,
            };
            let failure = self.repeatable(failure, &mut attempts)?;
            again(&failure);
            sleep(failure.pause(PAUSE).min(LONGEST_PAUSE)).await;
        }
    }

    /// The failure, if the request is to be repeated after it.
    fn repeatable(
        &mut self,
        failure: Failure,
        attempts: &mut Attempts,
    ) -> Result<Failure, NoLease> {
        if !failure.may_pass() {
            self.progress.end();
            if attempts.uncertain && matches!(failure, Failure::Strange { .. }) {
                return Err(NoLease::Uncertain(failure));
            }
            self.open = None;
            return Err(failure.into());
        }
        attempts.reached |= !matches!(failure, Failure::Unreachable { .. });
        attempts.uncertain |= may_be_done(&failure);
        let patience = if attempts.reached { self.patience.unsettled } else { Duration::ZERO };
        let gives_up = !attempts.reached && !self.patience.unreached;
        if gives_up || Moment::now() >= attempts.until.after(patience) {
            self.progress.end();
            // That the last attempt did nothing says nothing about those before.
            return Err(if attempts.uncertain {
                NoLease::Uncertain(failure)
            } else {
                NoLease::Failed(failure)
            });
        }
        self.progress.interrupted();
        Ok(failure)
    }

    /// One request; meanwhile the line on a terminal goes on.
    async fn ask(&mut self, wish: &Wish, hold: Option<Duration>) -> Result<Allocation, Failure> {
        let mut asking = std::pin::pin!(self.api.allocate_once(wish, hold));
        let mut ticks = interval(TICK);
        ticks.reset();
        loop {
            tokio::select! {
                answer = &mut asking => return answer,
                _ = ticks.tick() => self.progress.tick(),
            }
        }
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

/// Whether the request may have been done.
fn may_be_done(failure: &Failure) -> bool {
    match failure.code() {
        Some(code) => !matches!(code, "busy" | "not-done" | "stopping"),
        None => !matches!(failure, Failure::Unreachable { .. }),
    }
}
