use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::words::words;
use crate::{Timestamp, TokenId, User};

/// Names a lease, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseId(pub Uuid);

/// A number that grows with every lease a pool grants; a later lease has the larger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fence(i64);

impl Fence {
    /// Before the first lease: no lease has it.
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

    /// The fence that many grants later.
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
    }
}

/// When and why a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Not before the lease started, not after its deadline.
    pub at: Timestamp,
    /// Why.
    pub reason: EndReason,
}

/// One user's exclusive hold of one token.
///
/// Serialized, it is as it was granted: no renewals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "AsGranted", into = "AsGranted")]
pub struct Lease {
    /// Names the lease.
    pub id: LeaseId,
    /// The token that is held.
    pub token_id: TokenId,
    /// Who holds it.
    pub user: User,
    /// This lease's number among all that the pool granted.
    pub fence: Fence,
    /// The number of the same token's lease before this one; [`Fence::NONE`] for its first.
    pub previous_fence: Fence,
    /// When the hold began.
    pub started_at: Timestamp,
    /// The deadline that it was granted with.
    pub granted_until: Timestamp,
    /// The deadline: when the hold ends by itself, at the latest. Renewals move it.
    pub expires_at: Timestamp,
    /// Set once the end has been decided. A lease past its deadline is over even without it: ask
    /// [`Lease::end_at`].
    pub end: Option<End>,
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
}

impl From<AsGranted> for Lease {
    fn from(lease: AsGranted) -> Self {
        Lease {
            id: lease.id,
            token_id: lease.token_id,
            user: lease.user,
            fence: lease.fence,
            previous_fence: lease.previous_fence,
            started_at: lease.started_at,
            granted_until: lease.granted_until,
            expires_at: lease.granted_until,
            end: lease.end,
        }
    }
}

impl From<Lease> for AsGranted {
    fn from(lease: Lease) -> Self {
        AsGranted {
            id: lease.id,
            token_id: lease.token_id,
            user: lease.user,
            fence: lease.fence,
            previous_fence: lease.previous_fence,
            started_at: lease.started_at,
            granted_until: lease.granted_until,
            end: lease.end,
        }
    }
}

impl Lease {
    /// How long the hold was to last when it was granted; a renewal makes it last as long again.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.granted_until.since(self.started_at)
    }

    /// The end of this lease as seen at `now`: as decided, or its deadline once that is reached.
    #[must_use]
    pub fn end_at(&self, now: Timestamp) -> Option<End> {
        let expired = || End { at: self.expires_at, reason: EndReason::Expired };
        self.end.or_else(|| (self.expires_at <= now).then(expired))
    }

    /// Whether the token is held by this lease at `now`.
    #[must_use]
    pub fn is_running(&self, now: Timestamp) -> bool {
        self.end_at(now).is_none()
    }

    /// This lease with its end filled in as seen at `now`.
    #[must_use]
    pub fn seen_at(mut self, now: Timestamp) -> Self {
        self.end = self.end_at(now);
        self
    }
}
