use std::sync::Arc;
use std::time::Duration;

use pool::{
    Allocation, Command, HolderCondition, IdempotencyKey, Lease, LeaseId, Observer, Outcome, Pool,
    Refusal, Ticket, Timestamp, TokenId, TokenValue, User, Waiting,
};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{broadcast, mpsc};

use crate::events::EventBatch;
use crate::mailbox::{Delivery, Request, Unanswered, Withdrawals};
use crate::replica::Replica;
use crate::shared::Shared;
use crate::{Scope, ids};

/// Access to a pool for all tasks but the engine's own. Clones share one engine.
///
/// A future of these methods may be dropped at any time. A command whose future was dropped before
/// it was decided is not carried out, a ticket is removed from the queue, and a lease whose grant
/// could not be delivered is released, unless it has an idempotency key.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) mailbox: mpsc::Sender<Request>,
    pub(crate) withdrawals: Withdrawals,
}

impl Handle {
    /// Grants a lease, if the policy allows: of the token that has been free longest or, if none is
    /// free and the policy is to evict, of the one held longest, whose lease ends. Otherwise waits,
    /// for the requested time at most.
    ///
    /// # Errors
    ///
    /// Any [`Error`].
    pub async fn allocate(
        &self,
        asked: impl Into<Asked>,
    ) -> Result<Result<Allocated, Refusal>, Error> {
        let asked = Asked { hold: None, ..asked.into() };
        match self.ask(asked).await? {
            AllocateOutcome::Granted(allocated) => Ok(Ok(*allocated)),
            AllocateOutcome::Refused(refusal) => Ok(Err(refusal)),
            // Without `hold`, the request is held for the whole wait.
            AllocateOutcome::Waiting(_) => Err(Error::OutcomeUnknown),
        }
    }

    /// As [`Handle::allocate`]; but an allocation with a key that still waits after [`Asked::hold`]
    /// is answered with its position in the queue. It keeps the position as long as the client
    /// repeats the request, here or at another server, within [`pool::TICKET_GRACE`].
    ///
    /// # Errors
    ///
    /// Any [`Error`].
    pub async fn ask(&self, asked: Asked) -> Result<AllocateOutcome, Error> {
        let Asked { user, lease, wait, key, hold } = asked;
        let hold = hold.filter(|_| key.is_some());
        let longest_wait = wait.unwrap_or(Allocation::DEFAULT_WAIT);
        let longest_wait = hold.map_or(longest_wait, |hold| hold.min(longest_wait));
        let lease_id = ids::lease();
        let allocation = Allocation { lease_id, user, lease, wait, key, until: None };
        match self.submit(Command::Allocate(allocation), longest_wait, hold).await? {
            (Outcome::Allocated(grant), at) => {
                let pool::Grant { lease, value, evicted } = grant;
                Ok(AllocateOutcome::Granted(Box::new(Allocated { lease, value, evicted, at })))
            }
            (Outcome::Queued(waiting), _) => Ok(AllocateOutcome::Waiting(waiting)),
            (Outcome::NotAllocated(refusal), _) => Ok(AllocateOutcome::Refused(refusal)),
            // An allocation has no other outcome.
            _ => Err(Error::OutcomeUnknown),
        }
    }

    /// Gives up a ticket, so that its allocation no longer waits.
    ///
    /// # Errors
    ///
    /// Any [`Error`].
    pub async fn give_up(&self, ticket: LeaseId) -> Result<GiveUpOutcome, Error> {
        let command = Command::GiveUp { lease_id: ticket };
        match self.submit(command, Duration::ZERO, None).await?.0 {
            Outcome::GaveUp => Ok(GiveUpOutcome::Done),
            Outcome::Served(lease) => Ok(GiveUpOutcome::Served(lease)),
            _ => Ok(match self.over(ticket).await? {
                LeaseOutcome::Over { lease, .. } => GiveUpOutcome::Served(lease),
                _ => GiveUpOutcome::Unknown,
            }),
        }
    }

    /// Ends the token's running lease, if it has one and it is held as expected.
    ///
    /// # Errors
    ///
    /// Any [`Error`].
    pub async fn release(
        &self,
        token_id: TokenId,
        if_held: HolderCondition,
    ) -> Result<ReleaseOutcome, Error> {
        let command = Command::Release { token_id, if_held };
        Ok(match self.submit(command, Duration::ZERO, None).await?.0 {
            Outcome::Released { ended } => ReleaseOutcome::Free { ended },
            Outcome::HolderMismatch { latest } => ReleaseOutcome::HolderMismatch { latest },
            _ => ReleaseOutcome::UnknownToken,
        })
    }

    /// Ends exactly this lease. Idempotent.
    ///
    /// # Errors
    ///
    /// Any [`Error`].
    pub async fn release_lease(&self, lease_id: LeaseId) -> Result<LeaseOutcome, Error> {
        match self.submit(Command::ReleaseLease { lease_id }, Duration::ZERO, None).await? {
            (Outcome::LeaseReleased(lease), at) => Ok(LeaseOutcome::Done { lease, at }),
            (Outcome::LeaseOver(lease), _) => Ok(LeaseOutcome::Over { lease, evicted_by: None }),
            (_, at) => Ok(match self.over(lease_id).await? {
                LeaseOutcome::Over { lease, .. } if is_released(&lease) => {
                    LeaseOutcome::Done { lease, at }
                }
                other => other,
            }),
        }
    }

    /// Moves a running lease's deadline to its length from now, if that is later, but not past the
    /// policy's limit.
    ///
    /// # Errors
    ///
    /// Any [`Error`].
    pub async fn renew(&self, lease_id: LeaseId) -> Result<LeaseOutcome, Error> {
        match self.submit(Command::Renew { lease_id }, Duration::ZERO, None).await? {
            (Outcome::Renewed(lease), at) => Ok(LeaseOutcome::Done { lease, at }),
            (Outcome::NotRenewable(lease), at) => Ok(LeaseOutcome::AtLimit { lease, at }),
            (Outcome::LeaseOver(lease), _) => Ok(LeaseOutcome::Over { lease, evicted_by: None }),
            _ => self.over(lease_id).await,
        }
    }

    /// Ends every running lease and returns their number.
    ///
    /// # Errors
    ///
    /// Any [`Error`].
    pub async fn clear(&self) -> Result<usize, Error> {
        match self.submit(Command::Clear, Duration::ZERO, None).await?.0 {
            Outcome::Cleared { ended } => Ok(ended),
            _ => Ok(0),
        }
    }

    /// Calls `look` with the pool at one moment between call and return; it should be quick, since
    /// no batch is published meanwhile. A read is linearizable: it sees every command that was
    /// answered before, by any server, and no later read sees an earlier state.
    ///
    /// # Errors
    ///
    /// [`Error::NotDone`] if the database is away, or a batch in flight that affects the result is
    /// not settled in time; [`Error::Busy`] if too many reads wait.
    pub async fn read<T>(&self, look: impl FnOnce(View<'_>) -> T) -> Result<T, Error> {
        self.read_of(Scope::Pool, look).await
    }

    /// As [`Handle::read`], for a `look` that applies only deadlines in `scope`, so it has to wait
    /// for fewer batches.
    ///
    /// # Errors
    ///
    /// As [`Handle::read`].
    pub async fn read_of<T>(
        &self,
        scope: Scope,
        look: impl FnOnce(View<'_>) -> T,
    ) -> Result<T, Error> {
        let view = |copy: &Replica, now| {
            let (epoch, version) = (copy.position.epoch, copy.position.version);
            let stamp = Stamp { epoch, version, overdue: copy.pool.overdue(now) };
            look(View { pool: &copy.pool, now, stamp, observer: self.shared.observer(copy, now) })
        };
        self.shared.read(scope, view).await
    }

    /// Subscribes to all lease events from now on, batch by batch, in the order of the journal. A
    /// receiver that falls some thousand batches behind loses the oldest. Intended for one listener
    /// that passes the events on: each receiver is woken before commands are answered.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Arc<EventBatch>> {
        self.shared.feed()
    }

    /// Whether requests can be served.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// Whether the history can be read, by a probe that runs once a second.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.shared.is_readable()
    }

    /// Waits until the health differs from this one, and returns it.
    pub async fn health_after(&self, health: Health) -> Health {
        self.shared.health_after(health).await
    }

    async fn submit(
        &self,
        command: Command,
        longest_wait: Duration,
        hold: Option<Duration>,
    ) -> Result<(Outcome, Timestamp), Error> {
        if let Some(error) = self.shared.hopeless() {
            return Err(error);
        }
        let (request, mut answer) = Request::new(command, hold, &self.withdrawals);
        self.mailbox.try_send(request).map_err(|refused| match refused {
            TrySendError::Full(_) => Error::busy(),
            TrySendError::Closed(_) => Error::Stopping,
        })?;
        let timeout = self.shared.timeout;
        let mut answered = tokio::time::timeout(timeout, &mut answer.receiver).await;
        if answered.is_err() && answer.was_queued() {
            let timeout = longest_wait + timeout;
            answered = tokio::time::timeout(timeout, &mut answer.receiver).await;
        }
        match answered {
            Ok(Ok(delivery)) => delivery.map(Delivery::receive).map_err(Unanswered::receive),
            Ok(Err(_)) | Err(_) => Err(answer.give_up()),
        }
    }
}

fn is_released(lease: &Lease) -> bool {
    lease.end.is_some_and(|end| end.reason == pool::EndReason::Released)
}

/// Parameters of an allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Who requests the lease.
    pub user: User,
    /// Length of the lease, if shorter than the policy's.
    pub lease: Option<Duration>,
    /// How long to wait if no token is available, at most [`Allocation::MAX_WAIT`], or
    /// [`Allocation::MAX_KEPT_WAIT`] with a key.
    pub wait: Option<Duration>,
    /// Identifies repetitions of the request.
    pub key: Option<IdempotencyKey>,
    /// How long the request is held while the allocation waits; without a key, or for `None`, until
    /// the wait ends.
    pub hold: Option<Duration>,
}

impl From<User> for Asked {
    /// Leaves all other parameters to the policy.
    fn from(user: User) -> Self {
        Asked { user, lease: None, wait: None, key: None, hold: None }
    }
}

/// Outcome of an allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllocateOutcome {
    /// A lease was granted.
    Granted(Box<Allocated>),
    /// The allocation waits.
    Waiting(Waiting),
    /// No lease was granted.
    Refused(Refusal),
}

/// Outcome of giving up a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GiveUpOutcome {
    /// The ticket was removed from the queue.
    Done,
    /// The ticket has become this lease.
    Served(Lease),
    /// No such ticket exists.
    Unknown,
}

/// A lease that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocated {
    /// The lease; possibly over already, if it was granted to an earlier use of the same key.
    pub lease: Lease,
    /// The value of its token.
    pub value: TokenValue,
    /// The lease that ended so that this one could start.
    pub evicted: Option<Lease>,
    /// Time of the decision, in the pool's time.
    pub at: Timestamp,
}

/// Outcome of releasing a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReleaseOutcome {
    /// The token is free now.
    Free {
        /// The lease that ended; none if the token was free already.
        ended: Option<Lease>,
    },
    /// The holder is not the expected one; nothing was done.
    HolderMismatch {
        /// Its latest lease, running or over; none if it was never used.
        latest: Option<Lease>,
    },
    /// The pool has no such token.
    UnknownToken,
}

/// Outcome of a command that names a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// The command was carried out.
    Done {
        /// The lease as it is now.
        lease: Lease,
        /// Time of the decision, in the pool's time.
        at: Timestamp,
    },
    /// The lease can't be renewed any further; nothing was done.
    AtLimit {
        /// The lease, which runs.
        lease: Lease,
        /// Time of the decision, in the pool's time.
        at: Timestamp,
    },
    /// The lease was over already; nothing was done.
    Over {
        /// The lease, with its end.
        lease: Lease,
        /// The lease for which it was evicted, if any.
        evicted_by: Option<LeaseId>,
    },
    /// No such lease exists, and possibly none ever did.
    Unknown,
}

/// The pool at one moment.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The pool; ask it about `now`.
    pub pool: &'a Pool,
    /// The moment, in the pool's time.
    pub now: Timestamp,
    /// Equal stamps mean equal contents, in views of [`Scope::Pool`].
    pub stamp: Stamp,
    observer: Observer,
}

impl View<'_> {
    /// Number of waiting allocations. Not covered by a [`Stamp`].
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.pool.waiting(&self.observer)
    }

    /// The queue, first come first. Not covered by a [`Stamp`].
    pub fn queue(&self) -> impl Iterator<Item = &Ticket> {
        let observer = self.observer;
        self.pool.tickets().filter(move |ticket| ticket.is_live(&observer))
    }
}

/// State of the pool that a reader saw. While two stamps are equal, all tokens and leases are
/// equal, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The journal's epoch.
    pub epoch: i64,
    /// The journal's version.
    pub version: i64,
    /// How many deadlines have passed since then.
    pub overdue: usize,
}

/// Whether requests can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Requests can be served.
    Ready,
    /// The database has not been reached yet since the start.
    Starting,
    /// The database can be read, but not written to at the moment.
    Blocked,
    /// The database is away for the moment.
    Away,
    /// The engine has stopped or is stopping.
    Stopped,
}

impl Health {
    /// Whether the database was usable before and can't be written to now.
    pub(crate) fn is_trouble(self) -> bool {
        matches!(self, Health::Blocked | Health::Away)
    }
}

/// Why a command or read was not answered; a variant for each possible reaction of the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too many requests are waiting; this one was not accepted. Try again after the given time.
    #[error("too many requests are waiting")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The database is away. The command certainly did nothing and may be repeated.
    #[error("the database can't be used right now; nothing was done")]
    NotDone {
        /// When to try again.
        retry_after: Duration,
    },
    /// The connection to the database was lost during the commit, and the outcome could not be
    /// determined in time. Check before repeating.
    #[error("the connection to the database was lost; the command may or may not have been done")]
    OutcomeUnknown,
    /// The database does not accept the command's values. It did nothing.
    #[error("the database does not accept this request's text")]
    Refused,
    /// The server is shutting down. The command did nothing.
    #[error("the server is shutting down; nothing was done")]
    Stopping,
}

impl Error {
    const RETRY_AFTER: Duration = Duration::from_secs(1);

    pub(crate) const fn busy() -> Self {
        Error::Busy { retry_after: Self::RETRY_AFTER }
    }

    pub(crate) const fn not_done() -> Self {
        Error::NotDone { retry_after: Self::RETRY_AFTER }
    }
}
