use pool::{Observer, Pool, Ticket, Timestamp};

/// The pool at one moment.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The pool; ask it about `now`.
    pub pool: &'a Pool,
    /// The moment, in the pool's time.
    pub now: Timestamp,
    /// Equal stamps mean equal contents, in views of [`crate::Scope::Pool`].
    pub stamp: Stamp,
    pub(super) observer: Observer,
}

impl View<'_> {
    /// Number of waiting allocations. Not covered by a [`Stamp`].
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.pool.waiting(&self.observer)
    }

    /// The queue, first come first. Not covered by a [`Stamp`].
    pub fn queue(&self) -> impl Iterator<Item = &Ticket> {
        let observer = self.observer;
        self.pool.tickets().filter(move |ticket| ticket.is_live(&observer))
    }
}

/// State of the pool that a reader saw. While two stamps are equal, all tokens and leases are
/// equal, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The journal's epoch.
    pub epoch: i64,
    /// The journal's version.
    pub version: i64,
    /// How many deadlines have passed since then.
    pub overdue: usize,
}
