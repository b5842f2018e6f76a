mod allocate;

use uuid::Uuid;

use crate::waiting::Available;
use crate::{
    Change, Command, End, EndReason, Fence, HolderCondition, IdempotencyKeys, KeyUse, Lease,
    LeaseId, Outcome, Pool, ServerId, Ticket, Timestamp, TokenId,
};

/// What a batch is decided by, besides the pool. A bare [`Timestamp`] stands for a server that is
/// alone and remembers no keys.
#[derive(Debug)]
pub struct BatchContext {
    /// The moment at which all of it happens.
    pub now: Timestamp,
    /// The server that decides.
    pub server: ServerId,
    /// The time of the journal's newest entry, where other servers may share the pool; None where no
    /// others can. See [`Ticket::is_live`].
    pub journal_at: Option<Timestamp>,
    /// What is remembered of the keys that the commands bear.
    pub keys: IdempotencyKeys,
}

impl From<Timestamp> for BatchContext {
    fn from(now: Timestamp) -> Self {
        let server = ServerId(Uuid::nil());
        BatchContext { now, server, journal_at: None, keys: IdempotencyKeys::default() }
    }
}

/// Commands that are decided together, at one moment, and are to be made durable together.
#[derive(Debug)]
pub struct Batch<'a> {
    pool: &'a mut Pool,
    now: Timestamp,
    server: ServerId,
    journal_at: Option<Timestamp>,
    keys: IdempotencyKeys,
    /// The last fence given before this batch: leases above it were granted in this one.
    fence_before: Fence,
    changes: Vec<Change>,
    /// When those leases had started that ended, in the order of the changes.
    starts_of_ended: Vec<Timestamp>,
    keys_used: Vec<KeyUse>,
}

impl<'a> Batch<'a> {
    pub(crate) fn begin(pool: &'a mut Pool, context: BatchContext) -> Self {
        let BatchContext { now, server, journal_at, keys } = context;
        let fence_before = pool.fence();
        let mut batch = Batch {
            pool,
            now,
            server,
            journal_at,
            keys,
            fence_before,
            changes: Vec::new(),
            starts_of_ended: Vec::new(),
            keys_used: Vec::new(),
        };
        // However late anyone looks, a lease ended at its deadline, and the name of the lease and
        // not of its token says what ends.
        while let Some(lease) = batch.pool.first_overdue(now) {
            let (id, fence, started_at) = (lease.id, lease.fence, lease.started_at);
            let end = End { at: lease.expires_at, reason: EndReason::Expired };
            batch.starts_of_ended.push(started_at);
            batch.record(Change::LeaseEnded { lease_id: id, fence, end });
        }
        match journal_at {
            Some(journal_at) => {
                for change in batch.pool.forgive_silence(now, journal_at) {
                    batch.record(change);
                }
            }
            None => batch.take_over_kept_tickets(),
        }
        batch.drop_dead_tickets();
        batch
    }

    /// Decides one command. `None` means that nothing was decided because the command would evict
    /// a lease granted in this very batch: end the batch and put the command first in the next.
    #[must_use]
    pub fn decide(&mut self, command: &Command) -> Option<Outcome> {
        match command {
            Command::Allocate(allocation) => return self.allocate(allocation),
            Command::Release { token_id, if_held } => self.release(*token_id, if_held),
            Command::ReleaseLease { lease_id } => self.release_lease(*lease_id),
            Command::Renew { lease_id } => self.renew(*lease_id),
            Command::Withdraw { lease_id } => self.withdraw(*lease_id),
            Command::GiveUp { lease_id } => self.give_up(*lease_id),
            Command::Lapse { lease_id } => self.lapse(*lease_id),
            Command::TimeoutDelivered { key } => {
                self.told(key.clone());
                Outcome::GaveUp
            }
            Command::Heartbeat => self.heartbeat(),
            Command::Clear => self.clear(),
        }
        .into()
    }

    /// The ticket of this server that is to be served next, among those whose clients are `connected`;
    /// None when there is none, or when there is nothing for those who wait.
    #[must_use]
    pub fn next_in_queue(&self, connected: impl Fn(&Ticket) -> bool) -> Option<&Ticket> {
        let first = self.pool.first_of(self.now, self.server, self.judged_at(), connected);
        let (rank, ticket) = first?;
        let available = match self.pool.available(rank, self.now) {
            Available::Free => true,
            Available::Evictable { fence } => fence <= self.fence_before,
            Available::Later { .. } | Available::Nothing => false,
        };
        available.then_some(ticket)
    }

    /// The leases that are waited for at this server, first come first.
    pub fn queue(&self) -> impl Iterator<Item = LeaseId> {
        let own = self.pool.queue.tickets().filter(|ticket| ticket.server == self.server);
        own.map(|ticket| ticket.lease_id)
    }

    /// Adds what is remembered of further keys, after some commands were decided.
    pub fn learn(&mut self, keys: IdempotencyKeys) {
        self.keys.learn(keys, self.keys_used.len());
    }

    /// The leases that this batch granted to allocations with keys.
    #[must_use]
    pub fn granted_with_keys(&self) -> Vec<LeaseId> {
        self.keys_used.iter().map(|used| used.lease_id).collect()
    }

    /// The keys that were used for the first time, to be made durable with the changes. Empty when
    /// asked again.
    pub fn take_keys_used(&mut self) -> Vec<KeyUse> {
        std::mem::take(&mut self.keys_used)
    }

    /// When the leases had started whose ends are among the changes, in their order. Empty when asked
    /// again.
    pub fn take_starts_of_ended(&mut self) -> Vec<Timestamp> {
        std::mem::take(&mut self.starts_of_ended)
    }

    /// The changes this batch made, in order. Empty when nothing changed.
    #[must_use]
    pub fn finish(self) -> Vec<Change> {
        self.changes
    }

    /// By which moment of the journal this batch judges other servers' silence: its own, since what was to be
    /// left out of it is left out already.
    fn judged_at(&self) -> Option<Timestamp> {
        self.journal_at.map(|_| self.now)
    }

    /// No other server is left for the clients that come back to ask for these.
    fn take_over_kept_tickets(&mut self) {
        let (server, at) = (self.server, self.now);
        let others = self.pool.queue.tickets().filter(|ticket| ticket.server != server);
        let kept: Vec<LeaseId> =
            others.filter(|ticket| ticket.is_kept()).map(|ticket| ticket.lease_id).collect();
        for lease_id in kept {
            self.record(Change::WaitMoved { lease_id, server, at });
        }
    }

    /// Whoever waited there waits no more.
    fn drop_dead_tickets(&mut self) {
        let (now, server, journal_at) = (self.now, self.server, self.judged_at());
        let tickets = self.pool.queue.tickets();
        let dead = tickets.filter(|ticket| !ticket.is_live(now, server, journal_at));
        let end = |ticket: &Ticket| match ticket.lease_id {
            lease_id if ticket.is_kept() && ticket.until <= now => {
                Change::WaitTimedOut { lease_id, at: now }
            }
            lease_id => Change::WaitEnded { lease_id },
        };
        let ends: Vec<Change> = dead.map(end).collect();
        for end in ends {
            self.record(end);
        }
    }

    fn release(&mut self, token_id: TokenId, if_held: &HolderCondition) -> Outcome {
        let Some(token) = self.pool.token(token_id) else {
            return Outcome::UnknownToken;
        };
        let latest = token.latest.map(|lease| lease.clone().seen_at(self.now));
        // Giving back twice what one held is no error.
        let as_expected = |lease: &Lease| {
            let given_back = lease.end.is_none_or(|end| end.reason == EndReason::Released);
            if_held.fits(lease) && given_back
        };
        if !if_held.is_anything() && !latest.as_ref().is_some_and(as_expected) {
            return Outcome::HolderMismatch { latest };
        }
        let running = latest.filter(|lease| lease.end.is_none());
        Outcome::Released { ended: running.map(|lease| self.end(lease, EndReason::Released)) }
    }

    fn release_lease(&mut self, lease_id: LeaseId) -> Outcome {
        let Some(lease) = self.pool.lease(lease_id).cloned() else {
            return Outcome::NotLatest;
        };
        match lease.end_at(self.now).map(|end| end.reason) {
            None => Outcome::LeaseReleased(self.end(lease, EndReason::Released)),
            Some(EndReason::Released) => Outcome::LeaseReleased(lease),
            Some(_) => Outcome::LeaseOver(lease.seen_at(self.now)),
        }
    }

    fn renew(&mut self, lease_id: LeaseId) -> Outcome {
        let Some(mut lease) = self.pool.lease(lease_id).cloned() else {
            return Outcome::NotLatest;
        };
        if !lease.is_running(self.now) {
            return Outcome::LeaseOver(lease.seen_at(self.now));
        }
        let limit = lease.started_at.after(self.pool.policy.max_lease());
        if limit <= lease.expires_at {
            return Outcome::NotRenewable(lease);
        }
        let expires_at = self.now.after(lease.length()).min(limit);
        if expires_at > lease.expires_at {
            let Lease { fence, .. } = lease;
            self.record(Change::LeaseRenewed { lease_id, fence, expires_at });
            lease.expires_at = expires_at;
        }
        Outcome::Renewed(lease)
    }

    fn withdraw(&mut self, lease_id: LeaseId) -> Outcome {
        self.leave_queue(lease_id);
        let lease = self.pool.lease(lease_id).filter(|lease| lease.is_running(self.now)).cloned();
        let ended = lease.map(|lease| self.end(lease, EndReason::Released));
        Outcome::Withdrawn { ended: ended.is_some() }
    }

    fn give_up(&mut self, lease_id: LeaseId) -> Outcome {
        if self.pool.rank(lease_id).is_some() {
            self.record(Change::WaitGivenUp { lease_id });
            return Outcome::GaveUp;
        }
        let lease = self.pool.lease(lease_id).cloned();
        lease.map_or(Outcome::UnknownTicket, |lease| Outcome::Served(lease.seen_at(self.now)))
    }

    fn lapse(&mut self, lease_id: LeaseId) -> Outcome {
        // Its client may have asked at another server meanwhile.
        if self.pool.ticket(lease_id).is_some_and(|ticket| ticket.server == self.server) {
            self.leave_queue(lease_id);
        }
        Outcome::GaveUp
    }

    fn heartbeat(&mut self) -> Outcome {
        let (server, at) = (self.server, self.now);
        let has_tickets = self.pool.queue.tickets().any(|ticket| ticket.server == server);
        if has_tickets || self.pool.needs_witness(at, server, self.journal_at) {
            self.record(Change::ServerHeard { server, at });
        }
        Outcome::Heard
    }

    fn clear(&mut self) -> Outcome {
        let mut ended = 0;
        while let Some(oldest) = self.pool.oldest_running().cloned() {
            self.end(oldest, EndReason::Cleared);
            ended += 1;
        }
        Outcome::Cleared { ended }
    }

    fn end(&mut self, mut lease: Lease, reason: EndReason) -> Lease {
        let end = End { at: self.now, reason };
        self.starts_of_ended.push(lease.started_at);
        self.record(Change::LeaseEnded { lease_id: lease.id, fence: lease.fence, end });
        lease.end = Some(end);
        lease
    }

    fn record(&mut self, change: Change) {
        self.pool.apply(&change).expect("a change that was decided on this state fits it");
        self.changes.push(change);
    }
}
