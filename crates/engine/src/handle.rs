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

/// How everybody but the engine's own task reaches a pool. Clones share the one engine.
///
/// A future of these methods may be dropped at any time. A command whose future was dropped before
/// it was decided is not carried out, a place in the queue is given up, and a lease whose grant could
/// not be handed over is released, unless it bears an idempotency key.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) mailbox: mpsc::Sender<Request>,
    pub(crate) withdrawals: Withdrawals,
}

impl Handle {
    /// Grants a lease, where the policy allows: of the token free longest or, when none is free and
    /// the policy is to evict, of the one held longest, whose lease ends. Waits for one as long as is
    /// asked for.
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
            // It waits no longer than it is held.
            AllocateOutcome::Waiting(_) => Err(Error::OutcomeUnknown),
        }
    }

    /// As [`Handle::allocate`]; but an allocation with a key that still waits after [`Asked::hold`] is
    /// answered with its place in the queue. It keeps the place while the same is asked again, here or
    /// at another server, within [`pool::TICKET_GRACE`].
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

    /// Gives up a ticket: the place of an allocation that waits.
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

    /// Ends exactly this lease. That it was released before is as good.
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

    /// Ends every running lease and tells how many there were.
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

    /// Calls `look` with the pool as it is at one moment between call and return; it should be quick,
    /// since no batch is published meanwhile. A read is linearizable: it sees every command that was
    /// answered before, by any server, and no later read sees an earlier state.
    ///
    /// # Errors
    ///
    /// [`Error::NotDone`] when the database is away, or a batch in flight that decides what the read
    /// shows is not settled in time; [`Error::Busy`] when too many reads wait.
    pub async fn read<T>(&self, look: impl FnOnce(View<'_>) -> T) -> Result<T, Error> {
        self.read_of(Scope::Pool, look).await
    }

    /// As [`Handle::read`], for a `look` that applies no deadlines but those in `scope`, so that it has
    /// to wait for fewer batches.
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

    /// All that happens to leases from now on, batch by batch, in the order of the journal. A
    /// receiver that falls some thousand batches behind loses the oldest. This is for one listener,
    /// who passes it on: each one is woken before commands are answered.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Arc<EventBatch>> {
        self.shared.feed()
    }

    /// Whether requests can be served.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// Whether the history can be read, by a probe that is made once a second.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.shared.is_readable()
    }

    /// Waits until the health is another than this one, and tells which.
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

/// What an allocation asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Who asks.
    pub user: User,
    /// How long the lease is to last, if shorter than the policy says.
    pub lease: Option<Duration>,
    /// How long to wait where nothing can be handed out, at most [`Allocation::MAX_WAIT`], or
    /// [`Allocation::MAX_KEPT_WAIT`] with a key.
    pub wait: Option<Duration>,
    /// Makes a repetition of it recognisable.
    pub key: Option<IdempotencyKey>,
    /// How long the request is held while the allocation waits; without a key, or for `None`, as long
    /// as that takes.
    pub hold: Option<Duration>,
}

impl From<User> for Asked {
    /// Everything else as the policy says.
    fn from(user: User) -> Self {
        Asked { user, lease: None, wait: None, key: None, hold: None }
    }
}

/// What came of an allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllocateOutcome {
    /// A lease was granted.
    Granted(Box<Allocated>),
    /// It waits.
    Waiting(Waiting),
    /// No lease was granted.
    Refused(Refusal),
}

/// What came of giving up a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GiveUpOutcome {
    /// Its place is given up.
    Done,
    /// It has become this lease.
    Served(Lease),
    /// There is no such ticket.
    Unknown,
}

/// A lease that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocated {
    /// The lease; over already, maybe, where it was granted to an earlier use of the same key.
    pub lease: Lease,
    /// The value of its token.
    pub value: TokenValue,
    /// The lease that ended so that this one could start.
    pub evicted: Option<Lease>,
    /// When that was decided, in the pool's time.
    pub at: Timestamp,
}

/// What came of releasing a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReleaseOutcome {
    /// It is free now.
    Free {
        /// The lease that ended for it; none if it was free already.
        ended: Option<Lease>,
    },
    /// It is not held as was expected; nothing was done.
    HolderMismatch {
        /// Its latest lease, running or over; none if it was never used.
        latest: Option<Lease>,
    },
    /// The pool has no such token.
    UnknownToken,
}

/// What came of a command that names a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// It was done.
    Done {
        /// The lease as it is now.
        lease: Lease,
        /// When that was decided, in the pool's time.
        at: Timestamp,
    },
    /// The lease can't be renewed any further; nothing was done.
    AtLimit {
        /// The lease, which runs.
        lease: Lease,
        /// When that was decided, in the pool's time.
        at: Timestamp,
    },
    /// The lease was over already; nothing was done.
    Over {
        /// The lease, with its end.
        lease: Lease,
        /// The lease for which it was evicted, where it was.
        evicted_by: Option<LeaseId>,
    },
    /// There is no such lease, and maybe there never was.
    Unknown,
}

/// The pool at one moment.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The pool; ask it about `now`.
    pub pool: &'a Pool,
    /// The moment, in the pool's time.
    pub now: Timestamp,
    /// Equal stamps mean that nothing differs, in views of [`Scope::Pool`].
    pub stamp: Stamp,
    observer: Observer,
}

impl View<'_> {
    /// How many wait for a token. Not part of what a [`Stamp`] stands for.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.pool.waiting(&self.observer)
    }

    /// The queue, first come first. Not part of what a [`Stamp`] stands for.
    pub fn queue(&self) -> impl Iterator<Item = &Ticket> {
        let observer = self.observer;
        self.pool.tickets().filter(move |ticket| ticket.is_live(&observer))
    }
}

/// Which state of the pool a reader saw. While two stamps are equal, so is all that can be read of
/// its tokens and leases.
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
    /// They can.
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

/// Why a command or read was not answered; a variant for each thing the caller can do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too many requests are waiting; this one was not taken. Try again after the given time.
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
    /// The connection to the database was lost while it committed, and whether it did could not be
    /// found out in time. Look before repeating.
    #[error("the connection to the database was lost; the command may or may not have been done")]
    OutcomeUnknown,
    /// The database does not accept what the command says. It did nothing.
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
