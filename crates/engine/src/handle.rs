use std::sync::Arc;
use std::time::Duration;

use pool::{Command, Fence, Lease, Outcome, Pool, Timestamp, TokenId, TokenValue, User};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::ids;
use crate::mailbox::{Delivery, Request};
use crate::reading::Shared;

/// How everybody but the engine's own task reaches a pool. Clones share the one engine.
///
/// A future of these methods may be dropped at any time. A command whose future was dropped before
/// it was decided is not carried out, and a lease whose grant could not be handed over is released.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) mailbox: mpsc::Sender<Request>,
}

impl Handle {
    /// Grants `user` a lease: of the token free longest or, when none is free, of the one held
    /// longest, whose lease ends. None when the pool has no token at all.
    ///
    /// # Errors
    ///
    /// Any [`Error`].
    pub async fn allocate(&self, user: User) -> Result<Option<Allocated>, Error> {
        match self.submit(Command::Allocate { lease_id: ids::lease(), user }).await? {
            Outcome::Allocated { lease, value, evicted } => {
                Ok(Some(Allocated { lease, value, evicted }))
            }
            _ => Ok(None),
        }
    }

    /// Ends the token's running lease, if it has one. None when the pool has no such token.
    ///
    /// # Errors
    ///
    /// Any [`Error`].
    pub async fn release(&self, token_id: TokenId) -> Result<Option<Released>, Error> {
        match self.submit(Command::Release { token_id }).await? {
            Outcome::Released { ended } => Ok(Some(Released { ended })),
            _ => Ok(None),
        }
    }

    /// Ends every running lease and tells how many there were.
    ///
    /// # Errors
    ///
    /// Any [`Error`].
    pub async fn clear(&self) -> Result<usize, Error> {
        match self.submit(Command::Clear).await? {
            Outcome::Cleared { ended } => Ok(ended),
            _ => Ok(0),
        }
    }

    /// Looks at the pool, which is held still meanwhile: `look` should be quick. A read that starts
    /// after a command was answered, by whatever server, sees what the command did.
    ///
    /// # Errors
    ///
    /// [`Error::NotDone`] when the database is away, [`Error::Busy`] when too many reads wait.
    pub async fn read<T>(&self, look: impl FnOnce(View<'_>) -> T) -> Result<T, Error> {
        let now = self.shared.catch_up().await?;
        let copy = self.shared.copy();
        let copy = copy.as_ref().ok_or_else(Error::not_done)?;
        // The copy may have moved on since the time was told.
        let now = now.max(copy.at);
        let (epoch, version) = (copy.position.epoch, copy.position.version);
        let stamp = Stamp { epoch, version, overdue: copy.pool.overdue(now) };
        Ok(look(View { pool: &copy.pool, now, stamp }))
    }

    /// A page of a token's history: its leases with a fence below `before`, newest first, at most
    /// `limit`. None when the pool has no such token.
    ///
    /// # Errors
    ///
    /// As [`Handle::read`].
    pub async fn history(
        &self,
        token: TokenId,
        before: Option<Fence>,
        limit: usize,
    ) -> Result<Option<History>, Error> {
        let look = |view: View<'_>| view.pool.token(token).map(|_| view.now);
        let Some(now) = self.read(look).await? else {
            return Ok(None);
        };
        let reader = self.shared.reader().await?;
        // One more than asked for tells whether there is another page.
        let page = reader.history(token, before, limit + 1);
        let page = tokio::time::timeout(self.shared.patience, page).await;
        let page = page.map_err(|_| Error::not_done())?;
        let mut leases = page.map_err(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "history was not read");
            Error::not_done()
        })?;
        let more = leases.len() > limit;
        leases.truncate(limit);
        let next = more.then(|| leases.last().map(|lease| lease.fence)).flatten();
        let leases = leases.into_iter().map(|lease| lease.seen_at(now)).collect();
        Ok(Some(History { leases, next }))
    }

    /// Whether requests can be served.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    async fn submit(&self, command: Command) -> Result<Outcome, Error> {
        if let Some(error) = self.shared.hopeless() {
            return Err(error);
        }
        let (request, mut answer) = Request::new(command);
        self.mailbox.try_send(request).map_err(|refused| match refused {
            TrySendError::Full(_) => Error::busy(),
            TrySendError::Closed(_) => Error::Stopping,
        })?;
        match tokio::time::timeout(self.shared.patience, &mut answer.receiver).await {
            Ok(Ok(delivery)) => delivery.map(Delivery::receive),
            Ok(Err(_)) | Err(_) => Err(answer.give_up()),
        }
    }
}

/// A lease that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocated {
    /// The new lease.
    pub lease: Lease,
    /// The value of its token.
    pub value: TokenValue,
    /// The lease that ended so that this one could start.
    pub evicted: Option<Lease>,
}

/// A token that is free now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// The lease that ended for it; none if it was free already.
    pub ended: Option<Lease>,
}

/// A page of a token's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Newest first; ends are filled in as of the moment of reading.
    pub leases: Vec<Lease>,
    /// Where the next page begins: pass it as `before`. None when there is no more.
    pub next: Option<Fence>,
}

/// The pool at one moment.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The pool; ask it about `now`.
    pub pool: &'a Pool,
    /// The moment, in the pool's time.
    pub now: Timestamp,
    /// Equal stamps mean that nothing differs.
    pub stamp: Stamp,
}

/// Which state of the pool a reader saw. While two stamps are equal, so is everything that can be
/// read of the pool.
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
    /// The database is away for the moment.
    Away,
    /// The engine has stopped or is stopping.
    Stopped,
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
