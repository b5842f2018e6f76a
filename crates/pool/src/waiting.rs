use crate::{Fence, LeaseId, Policy, Pool, ServerId, Ticket, Timestamp, WhenFull};

/// What there is for somebody who wants a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Available {
    /// A free token.
    Free,
    /// One whose lease may be evicted: this one, once those before have theirs.
    Evictable { fence: Fence },
    /// The next that may be evicted may be so from then on.
    Later { from: Timestamp },
    /// Nothing, until a lease ends.
    Nothing,
}

impl Pool {
    /// How many wait for a token at `now`, as `server` has to assume; see [`Ticket::is_live`].
    #[must_use]
    pub fn waiting(
        &self,
        now: Timestamp,
        server: ServerId,
        in_touch_since: Option<Timestamp>,
    ) -> usize {
        self.queue.tickets().filter(|ticket| ticket.is_live(now, server, in_touch_since)).count()
    }

    /// The queue, first come first.
    pub fn tickets(&self) -> impl Iterator<Item = &Ticket> {
        self.queue.tickets()
    }

    /// The ticket of the one who waits for that lease; None when nobody does.
    #[must_use]
    pub fn ticket(&self, lease_id: LeaseId) -> Option<&Ticket> {
        self.queue.ticket(lease_id)
    }

    /// How many are before the ticket of that lease; None when nobody waits for it.
    #[must_use]
    pub fn rank(&self, lease_id: LeaseId) -> Option<usize> {
        self.queue.rank(lease_id)
    }

    /// The first of the tickets that wait at `server`, and how many live ones are before it.
    pub(crate) fn first_of(
        &self,
        now: Timestamp,
        server: ServerId,
        in_touch_since: Option<Timestamp>,
    ) -> Option<(usize, &Ticket)> {
        let live =
            self.queue.tickets().filter(|ticket| ticket.is_live(now, server, in_touch_since));
        live.enumerate().find(|(_, ticket)| ticket.server == server)
    }

    /// When the first that waits at `server` may be served, if nothing happens before: not earlier
    /// than that, and later where others are before it. None when nobody waits there, or only a
    /// lease's end can help.
    #[must_use]
    pub fn next_chance(
        &self,
        now: Timestamp,
        server: ServerId,
        in_touch_since: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let (rank, _) = self.first_of(now, server, in_touch_since)?;
        match self.available(rank, now) {
            Available::Free | Available::Evictable { .. } => Some(now),
            Available::Later { from } => Some(from),
            Available::Nothing => None,
        }
    }

    /// What there is at `now` for somebody with so many before them.
    ///
    /// The work grows with how many of those before them a token could be taken away for already:
    /// there are none where nobody waits, and few where somebody does.
    pub(crate) fn available(&self, rank: usize, now: Timestamp) -> Available {
        let Some(behind) = rank.checked_sub(self.free()) else {
            return Available::Free;
        };
        for (before, (fence, from)) in self.evictable().enumerate() {
            if from > now {
                return Available::Later { from };
            }
            if before == behind {
                return Available::Evictable { fence };
            }
        }
        Available::Nothing
    }

    /// The leases that may be evicted and from when on, the oldest first; none where the policy is
    /// another.
    fn evictable(&self) -> impl Iterator<Item = (Fence, Timestamp)> {
        let Policy { when_full, min_hold, .. } = self.policy;
        let leases = self.running_leases().take_while(move |_| when_full == WhenFull::EvictOldest);
        leases.map(move |lease| (lease.fence, lease.started_at.after(min_hold)))
    }

    /// The earliest moment after `now` at which a lease ends by itself, or may be evicted from.
    /// None while none is running.
    #[must_use]
    pub fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        let deadline = self.deadlines().find(|at| *at > now);
        let evictable = self.evictable().map(|(_, from)| from).find(|from| *from > now);
        deadline.into_iter().chain(evictable).min()
    }
}
