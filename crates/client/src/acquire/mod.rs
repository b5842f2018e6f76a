//! Acquisition of a lease: one request, repeated under its key until it has an outcome. While no token
//! is free, the request keeps its ticket through lost connections and server restarts.

mod undo;

use std::time::Duration;

use serde_json::Value;
use tokio::time::{interval, sleep};
use wire::{Allocation, Code, Waiting};

use crate::{AllocateRequest, Allocated, Client, Error, Moment, Problem, Reply, jittered};

pub use self::undo::{RELEASE_TIMEOUT, release};

/// First and longest delay before a failed request is repeated. The longest delay plus the connect
/// time-out is below the 15 seconds after which a ticket lapses.
const DELAYS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3));

/// Longest delay with a `Retry-After` of the server.
const MAX_DELAY: Duration = Duration::from_secs(4);

/// Time for which the server holds a waiting request. The first request is not held, so that the position is
/// known at once; later ones are held longer and longer. Together with the reply time-out it is less than the
/// 15 seconds after which a ticket lapses.
const HOLDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(6));

/// Time that the server may take to notice that the wait is over.
const SLACK: Duration = Duration::from_secs(5);

/// Interval of [`Progress::tick`].
const TICK: Duration = Duration::from_secs(1);

/// Time to try a server that has not replied yet, if the request may wait.
const CONNECT_PERIOD: Duration = Duration::from_secs(3);

/// Reason why no lease was acquired.
#[derive(Debug)]
pub enum AcquireError {
    /// The request failed and granted nothing, unless the error itself says otherwise.
    Failed(Error),
    /// The last attempt failed, and an earlier one, without a reply, may have granted a lease.
    Uncertain(Error),
}

/// Receives the progress of an [`Acquire`], for display.
pub trait Progress {
    /// The request is in the queue behind `ahead` tickets; its ticket has this age.
    fn waiting(&mut self, ahead: u64, age: Duration);
    /// The ticket lapsed; the request has a new one at the end of the queue.
    fn lost_place(&mut self);
    /// A request failed and will be repeated.
    fn failed(&mut self, error: &Error);
    /// The server does not confirm the removal of `what` at once.
    fn undoing(&mut self, what: &str);
    /// One more second has passed.
    fn tick(&mut self);
    /// No further calls follow.
    fn end(&mut self);
}

/// Granted lease, with the times of its request.
#[derive(Debug)]
pub struct Acquired {
    /// Reply of the server.
    pub reply: Reply<Allocation>,
    /// Time just before the request.
    pub requested: Moment,
    /// Time just after the reply.
    pub received: Moment,
}

/// State of the attempts so far.
#[derive(Debug)]
struct Attempts {
    begun: Moment,
    wait: Duration,
    /// Whether the server has replied.
    replied: bool,
    /// Whether a request without a reply may have granted a lease.
    uncertain: bool,
    /// Whether a request is in flight.
    in_flight: bool,
    /// Failed requests since the last reply.
    failures: u32,
}

impl Attempts {
    fn new(wait: Duration) -> Self {
        let begun = Moment::now();
        Attempts { begun, wait, replied: false, uncertain: false, in_flight: false, failures: 0 }
    }

    /// Returns the end of the wait.
    const fn until(&self) -> Moment {
        self.begun.after(self.wait)
    }

    /// Returns when to give up after an error. `unsettled` is the time for a request that may have been
    /// executed.
    fn last(&self, unsettled: Duration) -> Moment {
        match (self.replied, self.uncertain) {
            (true, _) => self.until().after(unsettled),
            (false, true) => self.begun.after(unsettled),
            (false, false) => self.begun.after(self.wait.min(CONNECT_PERIOD)),
        }
    }

    /// Returns the delay after the last error.
    fn delay(&self) -> Duration {
        (DELAYS.0 * (1 << self.failures.saturating_sub(1).min(8))).min(DELAYS.1)
    }
}

/// Acquisition of a lease.
pub struct Acquire<'a> {
    client: &'a Client,
    /// Time to repeat a request that may have reached the server, beyond the wait.
    unsettled: Duration,
    progress: Box<dyn Progress + Send + 'a>,
    /// Request without an outcome.
    open: Option<AllocateRequest>,
    ticket: Option<Waiting>,
    attempts: Attempts,
}

impl<'a> Acquire<'a> {
    /// Creates an acquisition. Sends nothing. A request that may have reached the server is repeated for
    /// `unsettled` beyond its wait.
    pub fn new(
        client: &'a Client,
        unsettled: Duration,
        progress: impl Progress + Send + 'a,
    ) -> Self {
        let attempts = Attempts::new(Duration::ZERO);
        let progress = Box::new(progress);
        Acquire { client, unsettled, progress, open: None, ticket: None, attempts }
    }

    /// Requests a token until the request has an outcome. When the future is dropped early,
    /// [`Acquire::undo`] removes the remaining ticket or lease on the server.
    ///
    /// # Errors
    ///
    /// See [`AcquireError`].
    pub async fn acquire(&mut self, request: &AllocateRequest) -> Result<Acquired, AcquireError> {
        self.open = Some(request.clone());
        self.ticket = None;
        let wait = request.wait.unwrap_or_default();
        self.attempts = Attempts::new(wait);
        let mut hold = (!wait.is_zero()).then_some(Duration::ZERO);
        loop {
            self.attempts.in_flight = true;
            let sent = self.client.allocate_once(request, hold);
            let (requested, outcome) = (Moment::now(), ticking(&mut *self.progress, sent).await);
            let received = Moment::now();
            self.attempts.in_flight = false;
            let error = match outcome {
                Ok(Allocated::Granted(reply)) => {
                    self.progress.end();
                    return Ok(Acquired { reply, requested, received });
                }
                Ok(Allocated::Waiting(ticket, age)) => {
                    self.queued(ticket, age);
                    if received >= self.attempts.until().after(SLACK) {
                        return Err(self.too_late().await);
                    }
                    // Prevents a busy loop with a server that does not hold requests.
                    if hold.is_some_and(|hold| received.since(requested) < hold / 2) {
                        sleep(jittered(HOLDS.0)).await;
                    }
                    hold = hold.map(|hold| (hold * 2).clamp(HOLDS.0, HOLDS.1));
                    continue;
                }
                Err(error) => error,
            };
            let error = self.retryable(error)?;
            let delay = error.retry_delay(self.attempts.delay()).min(MAX_DELAY);
            ticking(&mut *self.progress, sleep(delay)).await;
        }
    }

    /// Records the position in the queue.
    fn queued(&mut self, ticket: Waiting, age: Duration) {
        let attempts = &mut self.attempts;
        (attempts.replied, attempts.uncertain, attempts.failures) = (true, false, 0);
        let same = |old: &Waiting| (old.ticket, old.since) == (ticket.ticket, ticket.since);
        if !self.ticket.as_ref().is_none_or(same) {
            self.progress.lost_place();
        }
        self.progress.waiting(ticket.ahead, age);
        self.ticket = Some(ticket);
    }

    /// Returns the error if the request is to be repeated.
    fn retryable(&mut self, error: Error) -> Result<Error, AcquireError> {
        let attempts = &mut self.attempts;
        if !error.is_temporary() {
            self.progress.end();
            if attempts.uncertain && matches!(error, Error::NotTokenManager { .. }) {
                return Err(AcquireError::Uncertain(error));
            }
            self.open = None;
            return Err(AcquireError::Failed(error));
        }
        attempts.replied |= matches!(error, Error::Refused(_));
        attempts.uncertain |= error.may_be_done();
        attempts.failures = attempts.failures.saturating_add(1);
        if Moment::now() >= attempts.last(self.unsettled) {
            self.progress.end();
            // Even if the last attempt did nothing, an earlier one may have.
            return Err(if attempts.uncertain {
                AcquireError::Uncertain(error)
            } else {
                AcquireError::Failed(error)
            });
        }
        self.progress.failed(&error);
        Ok(error)
    }

    /// Ends a wait whose time is over although the server continues it, as after a ticket lapsed.
    async fn too_late(&mut self) -> AcquireError {
        self.progress.end();
        self.undo().await;
        AcquireError::Failed(Error::Refused(Box::new(Problem {
            status: 503,
            code: Some(Code::PoolFull),
            detail: "No token became free in time.".to_owned(),
            after: None,
            json: Value::Null,
        })))
    }

    /// Leaves the lease to the caller: [`Acquire::undo`] has nothing left to do.
    pub fn keep(&mut self) {
        (self.open, self.ticket) = (None, None);
    }
}

/// Waits for a future and reports the seconds meanwhile.
async fn ticking<T>(progress: &mut (dyn Progress + Send), future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut ticks = interval(TICK);
    ticks.reset();
    loop {
        tokio::select! {
            output = &mut future => return output,
            _ = ticks.tick() => progress.tick(),
        }
    }
}
