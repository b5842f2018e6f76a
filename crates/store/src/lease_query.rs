use pool::{
    EndReason, Fence, Lease, LeaseId, PoolId, PoolName, Timestamp, TokenId, TokenName, UserId,
};

/// Lease in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// The lease as stored: one past its deadline may still lack its end.
    pub lease: Lease,
    /// The lease that evicted it, if any.
    pub evicted_by: Option<LeaseId>,
    /// Name of its pool, which may have been deleted.
    pub pool_name: PoolName,
    /// Name of its token, which may have been retired.
    pub token_name: TokenName,
}

/// Conditions on the leases that were ever granted. `None` matches every lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseQuery {
    /// Leases of this user.
    pub user: Option<UserId>,
    /// Leases of this token.
    pub token: Option<TokenId>,
    /// Running leases, or ended ones.
    pub status: Option<LeaseStatus>,
    /// Leases that ended for this reason.
    pub reason: Option<EndReason>,
    /// Leases that started at this moment or later.
    pub from: Option<Timestamp>,
    /// Leases that started before this moment.
    pub to: Option<Timestamp>,
    /// Leases that started at this moment or earlier, and ended later.
    pub at: Option<Timestamp>,
    /// Leases of this pool.
    pub pool: Option<PoolId>,
    /// Leases after this cursor.
    pub after: Option<Cursor>,
}

/// Whether a lease runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseStatus {
    /// Running.
    Running,
    /// Ended, possibly by its deadline.
    Ended,
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
    /// Whether the lease matches at `now`, regardless of `after`. A lease whose deadline is not
    /// after `now` has ended.
    #[must_use]
    pub fn fits(&self, lease: &Lease, now: Timestamp) -> bool {
        let LeaseQuery { user, token, status: _, reason, from, to, at, pool, after: _ } = *self;
        let end = lease.end_at(now);
        let over_at = end.map_or(lease.expires_at, |end| end.at);
        user.is_none_or(|user| user == lease.user.id)
            && token.is_none_or(|token| token == lease.token_id)
            && pool.is_none_or(|pool| pool == lease.pool)
            && self.ended().is_none_or(|ended| ended == end.is_some())
            && (reason.is_none() || reason == end.map(|end| end.reason))
            && from.is_none_or(|from| from <= lease.started_at)
            && to.is_none_or(|to| lease.started_at < to)
            && at.is_none_or(|at| lease.started_at <= at && at < over_at)
    }

    /// Whether leases have to have ended, or must not.
    pub(crate) fn ended(&self) -> Option<bool> {
        self.status.map(|status| status == LeaseStatus::Ended)
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
    /// Leases, newest first. Fewer than the limit, even none, if the work limit of a page was reached
    /// on leases that don't match.
    pub leases: Vec<LeaseRecord>,
    /// Where the next page begins; `None` after the last page.
    pub next: Option<Cursor>,
}
