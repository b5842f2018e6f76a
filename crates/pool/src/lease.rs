use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::words::words;
use crate::{ApiKeyId, Note, PoolId, Timestamp, TokenId, User};

/// Permanent id of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseId(pub Uuid);

/// Fencing number of a lease. It grows with every lease that any pool of a ledger grants.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Fence(i64);

impl Fence {
    /// Fence before the first lease. No lease has it.
    pub const NONE: Fence = Fence(0);

    /// The fence with this number, which is 0 for [`Fence::NONE`] and positive otherwise.
    #[must_use]
    pub const fn new(number: i64) -> Self {
        Fence(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The fence that follows after `grants` further leases.
    #[must_use]
    pub const fn plus(self, grants: i64) -> Self {
        Fence(self.0 + grants)
    }
}

words! {
    /// Why a lease ended.
    pub enum EndReason {
        Released = "released", "The holder, or another caller on its behalf, released the token.";
        Expired = "expired", "The lease reached its deadline.";
        Evicted = "evicted", "The pool was full, and the lease was the oldest.";
        Cleared = "cleared", "All leases were ended together.";
        Imported = "imported", "The lease had ended before it was imported from a system that keeps no reason.";
        Drained = "drained", "The token was tainted so that its lease ended.";
    }
}

impl EndReason {
    /// The reason as the predicate of a sentence about the lease, before the time of its end.
    #[must_use]
    pub const fn predicate(self) -> &'static str {
        match self {
            EndReason::Released => "was released",
            EndReason::Expired => "expired",
            EndReason::Evicted => "was evicted for another lease",
            EndReason::Cleared => "was ended with all others",
            EndReason::Imported => "ended before it was imported,",
            EndReason::Drained => "was ended because its token was drained",
        }
    }
}

/// When and why a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Time of the end: not before the lease started, not after its deadline.
    pub at: Timestamp,
    /// Reason for the end.
    pub reason: EndReason,
    /// The API key of the command that ended the lease, if it had one.
    pub by: Option<ApiKeyId>,
}

impl End {
    /// An end without an API key.
    #[must_use]
    pub const fn new(at: Timestamp, reason: EndReason) -> Self {
        End { at, reason, by: None }
    }
}

/// One user's exclusive hold of one token.
///
/// The serialized form is the lease as granted, without renewals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "AsGranted", into = "AsGranted")]
pub struct Lease {
    /// Id of the lease.
    pub id: LeaseId,
    /// The pool of the held token.
    pub pool: PoolId,
    /// Id of the held token.
    pub token_id: TokenId,
    /// The holder.
    pub user: User,
    /// Number of this lease among all that the ledger granted.
    pub fence: Fence,
    /// Fence of the previous lease of the same token; [`Fence::NONE`] for the token's first lease.
    pub previous_fence: Fence,
    /// Start of the lease.
    pub started_at: Timestamp,
    /// First deadline, without renewals.
    pub granted_until: Timestamp,
    /// Deadline: the lease ends then at the latest. Renewals move it.
    pub expires_at: Timestamp,
    /// Decided end. A lease past its deadline is over even if this is not set yet: see
    /// [`Lease::end_at`].
    pub end: Option<End>,
    /// Note of the request.
    pub note: Option<Note>,
    /// The API key of the request, if it had one.
    pub by: Option<ApiKeyId>,
}

#[derive(Serialize, Deserialize)]
struct AsGranted {
    id: LeaseId,
    token_id: TokenId,
    user: User,
    fence: Fence,
    previous_fence: Fence,
    started_at: Timestamp,
    granted_until: Timestamp,
    end: Option<End>,
    pool: PoolId,
    note: Option<Note>,
    by: Option<ApiKeyId>,
}

impl From<AsGranted> for Lease {
    fn from(lease: AsGranted) -> Self {
        let AsGranted { id, token_id, user, fence, started_at, granted_until, .. } = lease;
        let AsGranted { previous_fence, end, pool, note, by, .. } = lease;
        let granted = Lease::granted(id, token_id, user, fence, started_at, granted_until);
        Lease { pool, previous_fence, end, note, by, ..granted }
    }
}

impl From<Lease> for AsGranted {
    fn from(lease: Lease) -> Self {
        // No `..`, so that a further field of a lease is either encoded or left out on purpose.
        let Lease {
            id,
            token_id,
            user,
            fence,
            previous_fence,
            started_at,
            granted_until,
            expires_at: _,
            end,
            pool,
            note,
            by,
        } = lease;
        AsGranted {
            id,
            token_id,
            user,
            fence,
            previous_fence,
            started_at,
            granted_until,
            end,
            pool,
            note,
            by,
        }
    }
}

impl Lease {
    /// A running lease in the pool `default`, the first of its token. Members without a parameter have
    /// the value of most leases.
    #[must_use]
    pub fn granted(
        id: LeaseId,
        token_id: TokenId,
        user: User,
        fence: Fence,
        started_at: Timestamp,
        until: Timestamp,
    ) -> Self {
        Lease {
            id,
            pool: PoolId::DEFAULT,
            token_id,
            user,
            fence,
            previous_fence: Fence::NONE,
            started_at,
            granted_until: until,
            expires_at: until,
            end: None,
            note: None,
            by: None,
        }
    }

    /// Length of the lease as granted. A renewal extends the lease to this length from now.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.granted_until.since(self.started_at)
    }

    /// End of the lease as seen at `now`: the decided end, or the deadline once it has passed.
    #[must_use]
    pub fn end_at(&self, now: Timestamp) -> Option<End> {
        let expired = || End::new(self.expires_at, EndReason::Expired);
        self.end.or_else(|| (self.expires_at <= now).then(expired))
    }

    /// Whether the lease holds its token at `now`.
    #[must_use]
    pub fn is_running(&self, now: Timestamp) -> bool {
        self.end_at(now).is_none()
    }

    /// The lease, with its end as seen at `now`.
    #[must_use]
    pub fn seen_at(mut self, now: Timestamp) -> Self {
        self.end = self.end_at(now);
        self
    }
}
