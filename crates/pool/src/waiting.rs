use crate::{
    Change, Fence, HEARTBEAT_INTERVAL, LeaseId, MAX_COUNTED_GAP, Policy, Pool, ServerId, Ticket,
    Timestamp, UserKey, Waiting, WhenFull,
};

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
        journal_at: Option<Timestamp>,
    ) -> usize {
        self.queue.tickets().filter(|ticket| ticket.is_live(now, server, journal_at)).count()
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

    /// The ticket that a user's key leads to.
    #[must_use]
    pub fn ticket_of_key(&self, key: &UserKey) -> Option<&Ticket> {
        self.queue.of_key(key)
    }

    /// What the client of that ticket is told; None when there is no such ticket.
    #[must_use]
    pub fn place_in_queue(&self, lease_id: LeaseId) -> Option<Waiting> {
        let rank = self.queue.rank(lease_id)?;
        let Ticket { lease_id: ticket, since, until, .. } = *self.queue.ticket(lease_id)?;
        Some(Waiting { ticket, position: rank + 1, since, until })
    }

    /// How many are before the ticket of that lease; None when nobody waits for it.
    #[must_use]
    pub fn rank(&self, lease_id: LeaseId) -> Option<usize> {
        self.queue.rank(lease_id)
    }

    /// The first of the tickets that `server` can serve, which are those of connected clients, and how
    /// many live ones are before it.
    pub(crate) fn first_of(
        &self,
        now: Timestamp,
        server: ServerId,
        journal_at: Option<Timestamp>,
        connected: impl Fn(&Ticket) -> bool,
    ) -> Option<(usize, &Ticket)> {
        let live = self.queue.tickets().filter(|ticket| ticket.is_live(now, server, journal_at));
        live.enumerate().find(|(_, ticket)| ticket.server == server && connected(ticket))
    }

    /// When the first that waits at `server` and is `connected` may be served, if nothing happens before:
    /// not earlier than that, and later where others are before it. None when there is none, or only a
    /// lease's end can help.
    #[must_use]
    pub fn next_chance(
        &self,
        now: Timestamp,
        server: ServerId,
        journal_at: Option<Timestamp>,
        connected: impl Fn(&Ticket) -> bool,
    ) -> Option<Timestamp> {
        let (rank, _) = self.first_of(now, server, journal_at, connected)?;
        match self.available(rank, now) {
            Available::Free | Available::Evictable { .. } => Some(now),
            Available::Later { from } => Some(from),
            Available::Nothing => None,
        }
    }

    /// Leaves out of every server's silence what exceeds [`MAX_COUNTED_GAP`] of the time between the journal's newest
    /// entry and one at `now`: no server reached the database then. Each of the changes moves the moment
    /// at which a server was last heard of. None where there was no such gap.
    #[must_use]
    pub fn forgive_silence(&self, now: Timestamp, journal_at: Timestamp) -> Vec<Change> {
        let beyond = now.since(journal_at).saturating_sub(MAX_COUNTED_GAP);
        if beyond.is_zero() {
            return Vec::new();
        }
        let heard = |(server, at): (ServerId, Timestamp)| {
            // Never later than the entry.
            Change::ServerHeard { server, at: at.after(beyond).min(now) }
        };
        self.queue.servers().into_iter().map(heard).collect()
    }

    /// Whether `server` is to write a heartbeat as a witness: another server with tickets is silent,
    /// and no server wrote anything lately.
    #[must_use]
    pub fn needs_witness(
        &self,
        now: Timestamp,
        server: ServerId,
        journal_at: Option<Timestamp>,
    ) -> bool {
        // A little less than a heartbeat, or every other one would come to nothing.
        let lately = |at: Timestamp| at.after(HEARTBEAT_INTERVAL * 9 / 10) > now;
        journal_at.is_some_and(|at| !lately(at))
            && self
                .others(now, server)
                .any(|ticket| ticket.heard_at.after(HEARTBEAT_INTERVAL) <= now)
    }

    /// When the first of the other servers that have tickets will have been silent for too long, or
    /// `server` is to take over a ticket that another one kept.
    #[must_use]
    pub fn next_death(
        &self,
        now: Timestamp,
        server: ServerId,
        journal_at: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let death = |ticket: &Ticket| match journal_at {
            Some(_) => ticket.heard_at.after(ticket.silence()),
            None => now,
        };
        self.others(now, server).map(death).min()
    }

    /// The tickets of other servers whose wait is not over.
    fn others(&self, now: Timestamp, server: ServerId) -> impl Iterator<Item = &Ticket> {
        let others = self.queue.tickets().filter(move |ticket| ticket.server != server);
        others.filter(move |ticket| ticket.until > now)
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
