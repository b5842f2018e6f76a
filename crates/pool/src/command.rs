use std::time::Duration;

use crate::{
    AccessCommand, AccessDone, AccessRefusal, Before, Change, Forbidden, IdempotencyKey, Labels,
    Lease, LeaseId, Note, Plan, PlanRefused, PoolId, Taint, TaintName, Ticket, Timestamp, Token,
    TokenId, TokenName, TokenValue, User, UserId, UserKey,
};

/// A request to a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Grant a lease on the token that has been free longest. If all tokens are in use, the policy
    /// decides.
    Allocate(Allocation),
    /// End the lease of a token, provided that it meets the condition.
    Release {
        /// The pool.
        pool: PoolId,
        /// The token.
        token_id: TokenId,
        /// The condition on its lease.
        if_held: HolderCondition,
    },
    /// End exactly this lease.
    ReleaseLease {
        /// The lease.
        lease_id: LeaseId,
    },
    /// Extend a running lease.
    Renew {
        /// The lease.
        lease_id: LeaseId,
    },
    /// The requester disconnected. End the lease, or remove its ticket from the queue.
    Withdraw {
        /// The lease.
        lease_id: LeaseId,
    },
    /// Give up a ticket of any user.
    GiveUp {
        /// The ticket's lease.
        lease_id: LeaseId,
    },
    /// The client of this kept ticket has sent no request within the grace period.
    Lapse {
        /// The ticket's lease.
        lease_id: LeaseId,
    },
    /// The client that waited with this key has received the response that its wait timed out.
    TimeoutDelivered {
        /// The key.
        key: UserKey,
    },
    /// Show the other servers that this server, which has tickets, is alive; or, as a witness, that the
    /// silence of another server is not a database outage.
    Heartbeat,
    /// End every running lease of a pool.
    Clear {
        /// The pool.
        pool: PoolId,
    },
    /// Create, change and delete pools and tokens: the whole plan, or nothing.
    Apply(Plan),
    /// Set a taint, instead of the one with its name.
    Taint {
        /// The pool.
        pool: PoolId,
        /// The token.
        token: TokenId,
        /// The taint. Its `since` becomes the time of the decision.
        taint: Taint,
    },
    /// Change API keys or sessions.
    Access(AccessCommand),
    /// Remove a taint.
    Untaint {
        /// The pool.
        pool: PoolId,
        /// The token.
        token: TokenId,
        /// Name of the taint.
        name: TaintName,
    },
}

/// A request for a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Id of the new lease. Never used before, except by this same allocation while it waits.
    pub lease_id: LeaseId,
    /// The pool.
    pub pool: PoolId,
    /// The requested token. `None` accepts any.
    pub token: Option<TokenId>,
    /// The requesting user.
    pub user: User,
    /// Requested length of the lease. `None` uses the policy's length.
    pub lease: Option<Duration>,
    /// Maximum wait for a token. `None` leaves it to the policy.
    pub wait: Option<Duration>,
    /// Idempotency key, which identifies repetitions of the request.
    pub key: Option<IdempotencyKey>,
    /// End of a wait that has begun already. A request that lost its place in the queue does not wait
    /// beyond its original limit.
    pub until: Option<Timestamp>,
    /// Note of the requester, which the lease gets.
    pub note: Option<Note>,
}

impl Allocation {
    /// Maximum wait without a key.
    pub const MAX_WAIT: Duration = Duration::from_mins(1);

    /// Maximum wait with a key, over any number of requests.
    pub const MAX_KEPT_WAIT: Duration = Duration::from_hours(24);

    /// Wait of an allocation that names none, if the policy is to wait.
    pub const DEFAULT_WAIT: Duration = Duration::from_secs(30);

    /// The key and its user, if the allocation has a key.
    #[must_use]
    pub fn user_key(&self) -> Option<UserKey> {
        self.key.as_ref().map(|key| key.of(self.user.id))
    }

    pub(crate) fn longest_wait(&self) -> Duration {
        if self.key.is_some() { Self::MAX_KEPT_WAIT } else { Self::MAX_WAIT }
    }

    /// Whether the ticket belongs to an allocation with the same parameters.
    pub(crate) fn is_of(&self, ticket: &Ticket) -> bool {
        let limits = self.lease == ticket.asked_lease && self.wait == ticket.asked_wait;
        let of_same = self.pool == ticket.pool && self.token == ticket.token;
        limits && of_same && self.note == ticket.note
    }

    /// An allocation from the pool `default` that leaves everything to the policy.
    #[must_use]
    pub const fn new(lease_id: LeaseId, user: User) -> Self {
        Allocation {
            lease_id,
            pool: PoolId::DEFAULT,
            token: None,
            user,
            lease: None,
            wait: None,
            key: None,
            until: None,
            note: None,
        }
    }
}

/// Condition on the latest lease of a token. The default accepts any lease, and a token without one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HolderCondition {
    /// The lease has this id.
    pub lease_id: Option<LeaseId>,
    /// The lease belongs to this user.
    pub user: Option<UserId>,
}

impl HolderCondition {
    /// Whether every token meets the condition.
    #[must_use]
    pub fn is_anything(&self) -> bool {
        *self == HolderCondition::default()
    }

    pub(crate) fn fits(&self, lease: &Lease) -> bool {
        self.lease_id.is_none_or(|id| id == lease.id)
            && self.user.is_none_or(|user| user == lease.user.id)
    }
}

/// Result of a [`Command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A lease was granted, now or at the first use of the same key.
    Allocated(Grant),
    /// The allocation waits. Decide the same command again, for the ticket's lease, when
    /// [`Batch::next_in_queue`](crate::Batch::next_in_queue) returns the ticket.
    Queued(Waiting),
    /// No lease was granted.
    NotAllocated(Refusal),
    /// The token is free.
    Released {
        /// The lease that this command ended, if any.
        ended: Option<Lease>,
    },
    /// The token's lease does not meet the condition. Nothing changed.
    HolderMismatch {
        /// Latest lease of the token, running or over, with its end as of now.
        latest: Option<Lease>,
    },
    /// The ledger has no such pool: it was deleted meanwhile.
    UnknownPool,
    /// The pool has no such token.
    UnknownToken,
    /// The lease was released, by this command or before.
    LeaseReleased(Lease),
    /// The lease had ended before for another reason than a release. Nothing changed.
    LeaseOver(Lease),
    /// The id is not that of any token's latest lease: the lease was replaced, or never existed.
    NotLatest,
    /// The lease runs for at least its length from now, or up to the policy's limit.
    Renewed(Lease),
    /// The lease runs up to the policy's limit already. Nothing changed.
    NotRenewable(Lease),
    /// The lease does not run, and no ticket waits for it.
    Withdrawn {
        /// Whether this command ended the lease.
        ended: bool,
    },
    /// The ticket was given up, or had lapsed.
    GaveUp,
    /// The ticket has become this lease.
    Served(Lease),
    /// The id is neither that of a ticket nor that of any token's latest lease.
    UnknownTicket,
    /// The heartbeat was recorded, if it was needed.
    Heard,
    /// No lease of the pool is running.
    Cleared {
        /// Number of leases that ended.
        ended: usize,
    },
    /// The plan was applied, with these changes to what was before. Without changes, everything was as
    /// planned.
    Applied(Vec<Change>, Box<Before>),
    /// The plan breaks a rule. Nothing changed.
    NotApplied(PlanRefused),
    /// The token has the taint, now or from before.
    Tainted {
        /// The token.
        token: Token,
        /// The lease that this command ended, if any.
        ended: Option<Lease>,
    },
    /// The taint breaks a rule. Nothing changed.
    NotTainted(TaintRefusal),
    /// The key or session is as requested.
    Access(AccessDone),
    /// The request about keys or sessions breaks a rule. Nothing changed.
    NoAccess(AccessRefusal),
    /// The acting key may not do this. Nothing changed.
    Forbidden(Forbidden),
    /// The token does not have the taint.
    Untainted {
        /// The token.
        token: Token,
        /// The removed taint. `None` if the token did not have it before.
        removed: Option<Taint>,
    },
}

/// Queue position of a ticket, as reported to its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Id of the ticket, and of the lease that it may become.
    pub ticket: LeaseId,
    /// Position in the queue; 1 is the first.
    pub position: usize,
    /// When the wait began.
    pub since: Timestamp,
    /// When the wait times out.
    pub until: Timestamp,
}

/// A granted lease with the value of its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The lease. It may be over if it was granted at an earlier use of the key.
    pub lease: Lease,
    /// The value of its token.
    pub value: TokenValue,
    /// The name of its token. `None` if the token has left the pool since an earlier use of the key.
    pub name: Option<TokenName>,
    /// The labels of its token; empty without a name.
    pub labels: Labels,
    /// The lease that was evicted for this one.
    pub evicted: Option<Lease>,
}

/// Reason why a taint was not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaintRefusal {
    /// The token has [`Taints::MAX`](crate::Taints::MAX) taints.
    #[error("a token has at most {} taints", crate::Taints::MAX)]
    TooMany,
    /// The taint's `until` has passed.
    #[error("`until` has passed")]
    Over,
}

/// Reason why no lease was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The pool has no tokens.
    NoTokens,
    /// The pool does not have the requested token.
    UnknownToken,
    /// The requested token is being retired.
    TokenRetired,
    /// No token is available that the request could use, and no lease may be evicted.
    Full {
        /// Position in the queue that the request had, or would have.
        position: usize,
        /// Time until such a token may become available: a lease reaches its deadline, or may be
        /// evicted, or a taint is removed. Zero if that is unknown.
        retry_after: Duration,
    },
    /// The queue has [`MAX_TICKETS`](crate::MAX_TICKETS) tickets.
    QueueFull,
    /// The request's ticket was given up.
    GivenUp,
    /// The request asks to wait, but the policy is to reject.
    WaitNotOffered,
    /// The requested lease is longer than the policy allows.
    LeaseTooLong {
        /// Longest lease that the policy allows.
        longest: Duration,
    },
    /// The user has the maximum number of leases that the policy allows.
    UserLimit {
        /// Maximum number of leases.
        limit: u32,
    },
    /// The API key has the maximum number of running leases.
    ApiKeyLimit {
        /// Maximum number of leases.
        limit: u32,
    },
    /// The key was used for another allocation.
    KeyReused,
    /// The limit of remembered keys is reached.
    KeysFull {
        /// Time until the next keys are forgotten.
        retry_after: Duration,
    },
    /// The user has reached its limit of remembered keys, which applies while few keys are left.
    UserKeysFull {
        /// Maximum number of keys.
        limit: u64,
        /// Time until the next keys are forgotten.
        retry_after: Duration,
    },
}
