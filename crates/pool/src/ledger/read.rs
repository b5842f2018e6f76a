//! Read access to a ledger.

use std::collections::BinaryHeap;
use std::ops::Bound;
use std::sync::Arc;

use crate::{
    Access, Change, Fence, HEARTBEAT_INTERVAL, Lease, LeaseId, Ledger, MAX_COUNTED_GAP, Observer,
    Pool, PoolId, ServerId, Ticket, Timestamp, TokenId, TokenView, UserKey, Waiting,
};

impl Ledger {
    /// The pool with this number.
    #[must_use]
    pub fn pool(&self, id: PoolId) -> Option<&Pool> {
        self.pools.get(&id).map(Arc::as_ref)
    }

    /// The pool with this name.
    #[must_use]
    pub fn pool_named(&self, name: &str) -> Option<&Pool> {
        self.names.get(name).and_then(|id| self.pool(*id))
    }

    /// The pools, in the order of their numbers.
    pub fn pools(&self) -> impl ExactSizeIterator<Item = &Pool> {
        self.pools.values().map(Arc::as_ref)
    }

    /// The pools after this one, in the order of their numbers.
    pub fn pools_after(&self, id: PoolId) -> impl Iterator<Item = &Pool> {
        let after = (Bound::Excluded(id), Bound::Unbounded);
        self.pools.range(after).map(|(_, pool)| &**pool)
    }

    /// The pools in the order of their names, from this name.
    pub fn pools_by_name(&self, from: &str) -> impl Iterator<Item = &Pool> {
        let from = (Bound::Included(from), Bound::Unbounded);
        self.names.range::<str, _>(from).filter_map(|(_, id)| self.pool(*id))
    }

    /// Largest number of a pool so far, of deleted ones too.
    #[must_use]
    pub fn last_pool(&self) -> Option<PoolId> {
        self.last_pool
    }

    /// Number of tokens in all pools, with those that are being retired.
    #[must_use]
    pub fn size(&self) -> usize {
        self.tokens.len()
    }

    /// The API keys and sessions.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Last granted fence.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// The token with this id.
    #[must_use]
    pub fn token(&self, id: TokenId) -> Option<TokenView<'_>> {
        self.tokens.get(&id).and_then(|pool| self.pool(*pool)?.token(id))
    }

    /// The lease with this id, running or over, if it is the latest of its token.
    #[must_use]
    pub fn lease(&self, id: LeaseId) -> Option<&Lease> {
        let (pool, place) = self.leases.get(&id)?;
        self.pool(*pool)?.view(*place).latest
    }

    /// Leases with fences below `before` that run at `now`, newest first. Lists of one pool need less
    /// work: [`Pool::running`].
    pub fn running(&self, now: Timestamp, before: Fence) -> impl Iterator<Item = &Lease> {
        let mut pools: Vec<_> = self.pools().map(|pool| pool.running(now, before)).collect();
        let mut next: BinaryHeap<(Fence, usize)> = BinaryHeap::new();
        let mut leases: Vec<Option<&Lease>> = pools.iter_mut().map(Iterator::next).collect();
        next.extend(
            leases
                .iter()
                .enumerate()
                .filter_map(|(pool, lease)| Some((lease.as_ref()?.fence, pool))),
        );
        std::iter::from_fn(move || {
            let (_, pool) = next.pop()?;
            let following = pools[pool].next();
            next.extend(following.map(|lease| (lease.fence, pool)));
            std::mem::replace(&mut leases[pool], following)
        })
    }

    /// Number of tokens held at `now`.
    #[must_use]
    pub fn active(&self, now: Timestamp) -> usize {
        self.pools().map(|pool| pool.active(now)).sum()
    }

    /// Earliest deadline of the leases whose end has not been decided, or of the taints that have not
    /// been removed.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// Earliest such deadline after `moment`.
    #[must_use]
    pub fn next_deadline_after(&self, moment: Timestamp) -> Option<Timestamp> {
        let moment_end = (moment, PoolId(i32::MAX));
        let after = (Bound::Excluded(moment_end), Bound::Unbounded);
        let first = self.deadlines.range(after).next().map(|&(deadline, _)| deadline);
        let before = self.deadlines.range(..=moment_end).filter_map(|&(_, id)| self.pool(id));
        before.filter_map(|pool| pool.next_deadline_after(moment)).chain(first).min()
    }

    /// Number of leases and taints past their deadline at `now` whose end has not been decided.
    #[must_use]
    pub fn overdue(&self, now: Timestamp) -> usize {
        let overdue = self.deadlines.range(..=(now, PoolId(i32::MAX)));
        overdue.filter_map(|&(_, id)| self.pool(id)).map(|pool| pool.overdue(now)).sum()
    }

    /// The pool with the earliest deadline, if that has passed at `now`.
    pub(crate) fn first_overdue(&self, now: Timestamp) -> Option<PoolId> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now).map(|&(_, pool)| pool)
    }

    /// Pools with tickets in their queue, in the order of their numbers.
    pub fn queues(&self) -> impl Iterator<Item = &Pool> {
        self.waits.pools().filter_map(|id| self.pool(id))
    }

    /// All tickets, pool by pool, each queue in order.
    pub fn tickets(&self) -> impl Iterator<Item = &Ticket> {
        self.queues().flat_map(Pool::tickets)
    }

    /// Number of tickets that are valid for `observer`.
    #[must_use]
    pub fn waiting(&self, observer: &Observer) -> usize {
        self.queues().map(|pool| pool.waiting(observer)).sum()
    }

    /// The ticket that may become this lease.
    #[must_use]
    pub fn ticket(&self, lease_id: LeaseId) -> Option<&Ticket> {
        self.pool(self.waits.pool_of(lease_id)?)?.ticket(lease_id)
    }

    /// The ticket with this key.
    #[must_use]
    pub fn ticket_of_key(&self, key: &UserKey) -> Option<&Ticket> {
        self.ticket(self.waits.of_key(key)?)
    }

    /// The queue position of a ticket, in its pool.
    #[must_use]
    pub fn place_in_queue(&self, lease_id: LeaseId) -> Option<Waiting> {
        self.pool(self.waits.pool_of(lease_id)?)?.place_in_queue(lease_id)
    }

    /// Earliest moment at which one of the observer's tickets with a `connected` client may be served, if
    /// nothing else happens. `None` if only the end of a lease can help, or without such a ticket.
    #[must_use]
    pub fn next_chance(
        &self,
        observer: &Observer,
        connected: impl Fn(&Ticket) -> bool,
    ) -> Option<Timestamp> {
        self.queues().filter_map(|pool| pool.next_chance(observer, &connected)).min()
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
        self.servers().into_iter().map(heard).collect()
    }

    /// Servers that have tickets, each with the time of its last sign of life.
    fn servers(&self) -> Vec<(ServerId, Timestamp)> {
        let mut servers: Vec<(ServerId, Timestamp)> = Vec::new();
        for ticket in self.tickets() {
            match servers.iter_mut().find(|(server, _)| *server == ticket.server) {
                Some((_, heard_at)) => *heard_at = ticket.heard_at.max(*heard_at),
                None => servers.push((ticket.server, ticket.heard_at)),
            }
        }
        servers
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
        let others = self.tickets().filter(move |ticket| ticket.server != server);
        others.filter(move |ticket| ticket.until > now)
    }
}
