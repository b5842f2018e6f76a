//! Parameters and outcomes of the commands of a [`Handle`](crate::Handle).

use std::time::Duration;

use pool::{
    Grant, IdempotencyKey, Lease, LeaseId, Note, PoolId, Refusal, Taint, TaintRefusal, Timestamp,
    Token, TokenId, User, Waiting,
};

/// Parameters of an allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocateRequest {
    /// The pool.
    pub pool: PoolId,
    /// The requested token; any for `None`.
    pub token: Option<TokenId>,
    /// Who requests the lease.
    pub user: User,
    /// Length of the lease, if shorter than the policy's.
    pub lease: Option<Duration>,
    /// How long to wait if no token is available, at most [`pool::Allocation::MAX_WAIT`], or
    /// [`pool::Allocation::MAX_KEPT_WAIT`] with a key.
    pub wait: Option<Duration>,
    /// Identifies repetitions of the request.
    pub key: Option<IdempotencyKey>,
    /// How long the request is held while the allocation waits; without a key, or for `None`, until
    /// the wait ends.
    pub hold: Option<Duration>,
    /// Note for the lease.
    pub note: Option<Note>,
}

impl From<User> for AllocateRequest {
    /// Any token of the pool `default`. Leaves all other parameters to the policy.
    fn from(user: User) -> Self {
        AllocateRequest {
            pool: PoolId::DEFAULT,
            token: None,
            user,
            lease: None,
            wait: None,
            key: None,
            hold: None,
            note: None,
        }
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
    /// The lease, with the value of its token.
    pub grant: Grant,
    /// Time of the decision, in the ledger's time.
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

/// Outcome of setting a taint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaintOutcome {
    /// The token has the taint.
    Done {
        /// The token.
        token: Box<Token>,
        /// The lease that ended; none if none was running, or the taint does not end leases.
        ended: Option<Lease>,
    },
    /// The taint breaks a rule; nothing was done.
    Refused(TaintRefusal),
    /// The pool has no such token.
    UnknownToken,
}

/// Outcome of removing a taint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UntaintOutcome {
    /// The token does not have the taint.
    Done {
        /// The token.
        token: Box<Token>,
        /// The removed taint; none if the token did not have it.
        removed: Option<Taint>,
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
        /// Time of the decision, in the ledger's time.
        at: Timestamp,
    },
    /// The lease can't be renewed any further; nothing was done.
    AtLimit {
        /// The lease, which runs.
        lease: Lease,
        /// Time of the decision, in the ledger's time.
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
