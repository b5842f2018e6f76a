use crate::{Lease, LeaseId, TokenId, TokenValue, User};

/// What is asked of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Hand out a token: the one free longest or, when none is free, the one held longest.
    Allocate {
        /// The id the new lease will have; never used before.
        lease_id: LeaseId,
        /// Who asks.
        user: User,
    },
    /// End whatever lease a token has.
    Release {
        /// Which token.
        token_id: TokenId,
    },
    /// End exactly this lease, if it still runs, because its answer never reached the one who
    /// asked for it.
    Withdraw {
        /// Which lease.
        lease_id: LeaseId,
        /// The token it was granted on.
        token_id: TokenId,
    },
    /// End every running lease.
    Clear,
}

/// What came of a [`Command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A lease was granted.
    Allocated {
        /// The new lease.
        lease: Lease,
        /// The value of its token.
        value: TokenValue,
        /// The lease that ended so that this one could start.
        evicted: Option<Lease>,
    },
    /// Nothing can ever be handed out: the pool has no token at all.
    NoTokens,
    /// The token is free. `ended` is the lease that had to end for it, if any.
    Released {
        /// The lease that ended.
        ended: Option<Lease>,
    },
    /// The pool has no such token.
    UnknownToken,
    /// The lease is over. `ended` says whether it was this command that ended it.
    Withdrawn {
        /// Whether it still ran.
        ended: bool,
    },
    /// No lease is running.
    Cleared {
        /// How many ended.
        ended: usize,
    },
}
