use crate::{
    Change, Fence, HEARTBEAT_INTERVAL, LeaseId, MAX_COUNTED_GAP, Observer, Policy, Pool, ServerId,
    Ticket, Timestamp, UserKey, Waiting, WhenFull,
};

/// Availability of a token for an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Available {
    /// A free token.
    Free,
    /// The token of this lease, which may be evicted after the leases for earlier tickets.
    Evictable { fence: Fence },
    /// No token before this moment, when the next lease may be evicted.
    Later { from: Timestamp },
    /// No token until a lease ends.
    Nothing,
}

impl Pool {
    /// Number of tickets that are valid for `observer`.
    #[must_use]
    pub fn waiting(&self, observer: &Observer) -> usize {
        self.queue.tickets().filter(|ticket| ticket.is_live(observer)).count()
    }

    /// The queue, in order.
    pub fn tickets(&self) -> impl Iterator<Item = &Ticket> {
        self.queue.tickets()
    }

    /// The ticket that may become this lease.
    #[must_use]
    pub fn ticket(&self, lease_id: LeaseId) -> Option<&Ticket> {
        self.queue.ticket(lease_id)
    }

    /// The ticket with this key.
    #[must_use]
    pub fn ticket_of_key(&self, key: &UserKey) -> Option<&Ticket> {
        self.queue.of_key(key)
    }

    /// The queue position of a ticket.
    #[must_use]
    pub fn place_in_queue(&self, lease_id: LeaseId) -> Option<Waiting> {
        let rank = self.queue.rank(lease_id)?;
        let Ticket { lease_id: ticket, since, until, .. } = *self.queue.ticket(lease_id)?;
        Some(Waiting { ticket, position: rank + 1, since, until })
    }

    /// Number of tickets before the ticket of this lease.
    #[must_use]
    pub fn rank(&self, lease_id: LeaseId) -> Option<usize> {
        self.queue.rank(lease_id)
    }

    /// First ticket of the observer with a `connected` client, and the number of valid tickets before
    /// it.
    pub(crate) fn first_of(
        &self,
        observer: &Observer,
        connected: impl Fn(&Ticket) -> bool,
    ) -> Option<(usize, &Ticket)> {
        let live = self.queue.tickets().filter(|ticket| ticket.is_live(observer));
        live.enumerate().find(|(_, ticket)| ticket.server == observer.server && connected(ticket))
    }

    /// Earliest moment at which the observer's first ticket with a `connected` client may be served, if
    /// nothing else happens. `None` if only the end of a lease can help, or without such a ticket.
    #[must_use]
    pub fn next_chance(
        &self,
        observer: &Observer,
        connected: impl Fn(&Ticket) -> bool,
    ) -> Option<Timestamp> {
        let (rank, _) = self.first_of(observer, connected)?;
        match self.available(rank, observer.now) {
            Available::Free | Available::Evictable { .. } => Some(observer.now),
            Available::Later { from } => Some(from),
            Available::Nothing => None,
        }
    }

    /// Subtracts outages from every server's silence: the time beyond [`MAX_COUNTED_GAP`] between the
    /// newest journal entry and one at `now`. Each change moves a server's last sign of life.
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

    /// Whether the observer has to write a heartbeat as a witness: another server with tickets is
    /// silent, and no server has written to the journal for one heartbeat interval.
    #[must_use]
    pub fn needs_witness(&self, observer: &Observer) -> bool {
        let now = observer.now;
        // A little less than a heartbeat, or every other heartbeat would be skipped.
        let lately = |at: Timestamp| at.after(HEARTBEAT_INTERVAL * 9 / 10) > now;
        let silent = |ticket: &Ticket| ticket.heard_at.after(HEARTBEAT_INTERVAL) <= now;
        observer.journal_at.is_some_and(|at| !lately(at)) && self.others(observer).any(silent)
    }

    /// When the first of the other servers with tickets will have been silent for too long, or when
    /// the observer takes over a kept ticket.
    #[must_use]
    pub fn next_death(&self, observer: &Observer) -> Option<Timestamp> {
        let death = |ticket: &Ticket| match observer.journal_at {
            Some(_) => ticket.heard_at.after(ticket.silence()),
            None => observer.now,
        };
        self.others(observer).map(death).min()
    }

    /// Tickets of other servers that have not timed out.
    fn others(&self, observer: &Observer) -> impl Iterator<Item = &Ticket> {
        let Observer { now, server, .. } = *observer;
        let others = self.queue.tickets().filter(move |ticket| ticket.server != server);
        others.filter(move |ticket| ticket.until > now)
    }

    /// Availability of a token at `now` for an allocation with `rank` tickets before it.
    ///
    /// The work grows with the number of tickets before it that could evict already: none if the queue
    /// is empty, few otherwise.
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

    /// Leases that may be evicted, oldest first, each with the time from which it may be. Empty if the
    /// policy does not evict.
    fn evictable(&self) -> impl Iterator<Item = (Fence, Timestamp)> {
        let Policy { when_full, min_hold, .. } = self.policy;
        let leases = self.running_leases().take_while(move |_| when_full == WhenFull::EvictOldest);
        leases.map(move |lease| (lease.fence, lease.started_at.after(min_hold)))
    }

    /// Earliest moment after `now` at which a running lease reaches its deadline, or may be evicted.
    #[must_use]
    pub fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        let deadline = self.deadlines().find(|at| *at > now);
        let evictable = self.evictable().map(|(_, from)| from).find(|from| *from > now);
        deadline.into_iter().chain(evictable).min()
    }
}
