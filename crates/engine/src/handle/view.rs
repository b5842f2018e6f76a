use pool::{Ledger, Observer, Pool, PoolId, Ticket, Timestamp};

/// The ledger at one moment.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The ledger; ask it about `now`.
    pub ledger: &'a Ledger,
    /// The moment, in the ledger's time.
    pub now: Timestamp,
    /// Equal stamps mean equal contents, in views of the same [`Scope::Pool`](crate::Scope::Pool), or
    /// of [`Scope::Ledger`](crate::Scope::Ledger).
    pub stamp: Stamp,
    pub(super) observer: Observer,
}

impl<'a> View<'a> {
    /// The pool with this number.
    #[must_use]
    pub fn pool(&self, id: PoolId) -> Option<&'a Pool> {
        self.ledger.pool(id)
    }

    /// Number of allocations that wait for a token of this pool. Not covered by a [`Stamp`].
    #[must_use]
    pub fn waiting(&self, pool: &Pool) -> usize {
        pool.waiting(&self.observer)
    }

    /// The queue of a pool, first come first. Not covered by a [`Stamp`].
    pub fn queue(&self, pool: &'a Pool) -> impl Iterator<Item = &'a Ticket> {
        let observer = self.observer;
        pool.tickets().filter(move |ticket| ticket.is_live(&observer))
    }
}

/// State that a reader saw, of a pool or of the ledger. While two stamps of the same are equal, all
/// tokens and leases are equal, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The journal's epoch.
    pub epoch: i64,
    /// The journal's version.
    pub version: i64,
    /// How many deadlines have passed since then.
    pub overdue: usize,
}
