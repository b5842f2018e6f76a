use std::time::Duration;

use pool::{Fence, Lease, Pool, Timestamp, TokenId, TokenValue, User};

/// How everybody but the engine's own task reaches a pool. Clones share the one engine.
///
/// A future of these methods may be dropped at any time. A command whose future was dropped before
/// it was decided is not carried out, and a lease whose grant could not be handed over is released.
#[derive(Clone)]
pub struct Handle {
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
    /// Too many commands are waiting; this one was not taken. Try again after the given time.
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
