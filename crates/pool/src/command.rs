use std::time::Duration;

use crate::{
    IdempotencyKey, Lease, LeaseId, Ticket, Timestamp, TokenId, TokenValue, User, UserId, UserKey,
};

/// What is asked of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Hand out a token: the one free longest or, when none is free, what the policy says.
    Allocate(Allocation),
    /// End whatever lease a token has, provided it is held as expected.
    Release {
        /// Which token.
        token_id: TokenId,
        /// What is expected of its lease.
        if_held: HolderCondition,
    },
    /// End exactly this lease.
    ReleaseLease {
        /// Which lease.
        lease_id: LeaseId,
    },
    /// Move a running lease's deadline.
    Renew {
        /// Which lease.
        lease_id: LeaseId,
    },
    /// Whoever asked for this lease is gone: end it if it runs, and give up its place in the queue
    /// if it waits.
    Withdraw {
        /// Which lease.
        lease_id: LeaseId,
    },
    /// Give up a place in the queue. It may be any user's.
    GiveUp {
        /// The ticket's lease.
        lease_id: LeaseId,
    },
    /// The client of this ticket with a key has not asked for it for too long.
    Lapse {
        /// The ticket's lease.
        lease_id: LeaseId,
    },
    /// The client that waited with this key has been told that its wait is over.
    TimeoutDelivered {
        /// The key.
        key: UserKey,
    },
    /// Let the other servers know that this one is alive, which has tickets; or that a silent one's
    /// silence is no outage of the database.
    Heartbeat,
    /// End every running lease.
    Clear,
}

/// An allocation, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// The id the new lease will have; never used before, except by this same allocation while it
    /// waits.
    pub lease_id: LeaseId,
    /// Who asks.
    pub user: User,
    /// How long the lease is to last; as long as the policy says for `None`.
    pub lease: Option<Duration>,
    /// How long to wait where nothing can be handed out; as the policy says for `None`.
    pub wait: Option<Duration>,
    /// Makes a repetition of it recognisable.
    pub key: Option<IdempotencyKey>,
    /// When the wait is over, where it has begun: one that lost its place in the queue does not wait
    /// for longer than it was to.
    pub until: Option<Timestamp>,
}

impl Allocation {
    /// How long an allocation without a key waits at most.
    pub const MAX_WAIT: Duration = Duration::from_mins(1);

    /// How long one with a key waits at most, over as many requests as that takes.
    pub const MAX_KEPT_WAIT: Duration = Duration::from_hours(24);

    /// How long it waits where it does not say so and the policy is to wait.
    pub const DEFAULT_WAIT: Duration = Duration::from_secs(30);

    /// The key it bears, if it bears one, as its user's.
    #[must_use]
    pub fn user_key(&self) -> Option<UserKey> {
        self.key.as_ref().map(|key| key.of(self.user.id))
    }

    pub(crate) fn longest_wait(&self) -> Duration {
        if self.key.is_some() { Self::MAX_KEPT_WAIT } else { Self::MAX_WAIT }
    }

    /// Whether the ticket is of an allocation that asked for the same.
    pub(crate) fn is_of(&self, ticket: &Ticket) -> bool {
        self.lease == ticket.asked_lease && self.wait == ticket.asked_wait
    }

    /// An allocation that leaves everything to the policy.
    #[must_use]
    pub const fn new(lease_id: LeaseId, user: User) -> Self {
        Allocation { lease_id, user, lease: None, wait: None, key: None, until: None }
    }
}

/// What is expected of a token's lease; any lease, and none, for the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HolderCondition {
    /// It is this one.
    pub lease_id: Option<LeaseId>,
    /// It is this user's.
    pub user: Option<UserId>,
}

impl HolderCondition {
    /// Whether anything will do, so that nothing is expected.
    #[must_use]
    pub fn is_anything(&self) -> bool {
        *self == HolderCondition::default()
    }

    pub(crate) fn fits(&self, lease: &Lease) -> bool {
        self.lease_id.is_none_or(|id| id == lease.id)
            && self.user.is_none_or(|user| user == lease.user.id)
    }
}

/// What came of a [`Command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A lease was granted, now or when the same key was used before.
    Allocated(Grant),
    /// It waits. The same command, for the ticket's lease, is to be decided again when
    /// [`Batch::next_in_queue`](crate::Batch::next_in_queue) names it.
    Queued(Waiting),
    /// No lease was granted.
    NotAllocated(Refusal),
    /// The token is free. `ended` is the lease that had to end for it, if any.
    Released {
        /// The lease that ended.
        ended: Option<Lease>,
    },
    /// The token is not held as was expected, so nothing was done.
    HolderMismatch {
        /// Its latest lease, running or over, with its end as of now.
        latest: Option<Lease>,
    },
    /// The pool has no such token.
    UnknownToken,
    /// The lease is over because its holder gave it back, now or before.
    LeaseReleased(Lease),
    /// The lease was over already, for another reason than that; nothing was done.
    LeaseOver(Lease),
    /// No token's latest lease has this id: it is over for long, or there never was one.
    NotLatest,
    /// The lease runs at least as long as its length from now, or up to the policy's limit.
    Renewed(Lease),
    /// The lease runs up to the policy's limit already; nothing was done.
    NotRenewable(Lease),
    /// The lease does not run, and nobody waits for it. `ended` says whether it ran.
    Withdrawn {
        /// Whether it was this command that ended it.
        ended: bool,
    },
    /// The place in the queue is given up, or had lapsed.
    GaveUp,
    /// The ticket has become this lease.
    Served(Lease),
    /// There is no such ticket, and no token's latest lease has its id.
    UnknownTicket,
    /// The heartbeat is written down, where it is of use.
    Heard,
    /// No lease is running.
    Cleared {
        /// How many ended.
        ended: usize,
    },
}

/// A place in the queue, as its client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The ticket: the id of the lease that it is for.
    pub ticket: LeaseId,
    /// Its place; 1 is the first.
    pub position: usize,
    /// When the wait began.
    pub since: Timestamp,
    /// When the wait is over.
    pub until: Timestamp,
}

/// A lease as it is handed to the one who asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The lease; over already if it was granted before.
    pub lease: Lease,
    /// The value of its token.
    pub value: TokenValue,
    /// The lease that ended so that this one could start.
    pub evicted: Option<Lease>,
}

/// Why no lease was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing can ever be handed out: the pool has no token at all.
    NoTokens,
    /// Every token is held, and no lease may be evicted.
    Full {
        /// The place in the queue it had, or would have.
        position: usize,
        /// How long until the next lease ends, or may be evicted, as far as is known.
        retry_after: Duration,
    },
    /// [`MAX_TICKETS`](crate::MAX_TICKETS) wait already.
    QueueFull,
    /// The ticket it waited with was given up.
    GivenUp,
    /// It asks to wait, but the policy is to reject.
    WaitNotOffered,
    /// It asks for a lease longer than the policy grants.
    LeaseTooLong {
        /// The longest.
        longest: Duration,
    },
    /// The user has as many leases as the policy allows.
    UserLimit {
        /// How many.
        limit: u32,
    },
    /// The key was used for another allocation.
    KeyReused,
    /// As many keys as the setting allows are remembered.
    KeysFull {
        /// How long until the next are forgotten.
        retry_after: Duration,
    },
    /// As many keys are remembered of this user as one may have while keys are short.
    UserKeysFull {
        /// How many.
        limit: u64,
        /// How long until the next are forgotten.
        retry_after: Duration,
    },
}
