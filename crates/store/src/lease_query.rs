use pool::{EndReason, Fence, Lease, LeaseId, Timestamp, TokenId, UserId};

/// A lease as history keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// As it is stored: one past its deadline may still lack its end.
    pub lease: Lease,
    /// The lease for which it was evicted, where it was.
    pub evicted_by: Option<LeaseId>,
}

/// A question to the history: which leases, of all that were ever granted. What is `None` is not
/// asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseQuery {
    /// The moment of asking: a lease whose deadline is not after it is over.
    pub now: Timestamp,
    /// Of this user.
    pub user: Option<UserId>,
    /// Of this token.
    pub token: Option<TokenId>,
    /// Only those that are over at `now`.
    pub ended: bool,
    /// Over at `now` for this reason.
    pub reason: Option<EndReason>,
    /// Started at this moment or later.
    pub from: Option<Timestamp>,
    /// Started before this moment.
    pub to: Option<Timestamp>,
    /// Started at this moment or earlier, and over later.
    pub at: Option<Timestamp>,
    /// Those that come after this place.
    pub after: Option<Cursor>,
    /// So many at most.
    pub limit: usize,
}

/// A place among all leases, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// When the lease there started.
    pub started_at: Timestamp,
    /// Its fence.
    pub fence: Fence,
}

impl LeaseQuery {
    /// Whether the lease is asked for, wherever it stands.
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
    /// The place of a lease.
    #[must_use]
    pub fn of(lease: &Lease) -> Self {
        Cursor { started_at: lease.started_at, fence: lease.fence }
    }
}

/// A page of the answer to a [`LeaseQuery`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasePage {
    /// Newest first. Fewer than asked for, even none, where that many leases that don't fit were
    /// looked at that the work for one page was done.
    pub leases: Vec<LeaseRecord>,
    /// Where the next page begins; None when there is nothing more.
    pub next: Option<Cursor>,
}
