use pool::{EndReason, Fence, Lease, LeaseId, Timestamp, TokenId, UserId};

/// Lease in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// The lease as stored: one past its deadline may still lack its end.
    pub lease: Lease,
    /// The lease that evicted it, if any.
    pub evicted_by: Option<LeaseId>,
}

/// Query of the history: conditions on the leases that were ever granted. A `None` matches every
/// lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseQuery {
    /// The time of the query: a lease whose deadline is not after it is over.
    pub now: Timestamp,
    /// Of this user.
    pub user: Option<UserId>,
    /// Of this token.
    pub token: Option<TokenId>,
    /// Only leases that are over at `now`.
    pub ended: bool,
    /// Over at `now` for this reason.
    pub reason: Option<EndReason>,
    /// Started at this moment or later.
    pub from: Option<Timestamp>,
    /// Started before this moment.
    pub to: Option<Timestamp>,
    /// Started at this moment or earlier, and over later.
    pub at: Option<Timestamp>,
    /// Only leases that come after this position.
    pub after: Option<Cursor>,
    /// Maximum number of leases in a page.
    pub limit: usize,
}

/// Position among all leases, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Start of the lease at this position.
    pub started_at: Timestamp,
    /// Its fence.
    pub fence: Fence,
}

impl LeaseQuery {
    /// Whether the lease matches, regardless of `after`.
    pub(crate) fn fits(&self, lease: &Lease) -> bool {
        let end = lease.end_at(self.now);
        let reason = end.map(|end| end.reason);
        let over_at = end.map_or(lease.expires_at, |end| end.at);
        self.user.is_none_or(|user| user == lease.user.id)
            && self.token.is_none_or(|token| token == lease.token_id)
            && (!self.ended || end.is_some())
            && (self.reason.is_none() || self.reason == reason)
            && self.from.is_none_or(|from| from <= lease.started_at)
            && self.to.is_none_or(|to| lease.started_at < to)
            && self.at.is_none_or(|at| lease.started_at <= at && at < over_at)
    }
}

impl Cursor {
    /// Position of a lease.
    #[must_use]
    pub fn of(lease: &Lease) -> Self {
        Cursor { started_at: lease.started_at, fence: lease.fence }
    }
}

/// A page of the answer to a [`LeaseQuery`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasePage {
    /// Leases, newest first. Fewer than `limit`, even none, if the work limit of a page was reached
    /// on leases that don't match.
    pub leases: Vec<LeaseRecord>,
    /// Where the next page begins; `None` after the last page.
    pub next: Option<Cursor>,
}
