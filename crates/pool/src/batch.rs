mod access;
mod allocate;
mod permit;
mod taint;

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::{
    Action, Change, Command, End, EndReason, Fence, HolderCondition, IdempotencyKeys, KeyUse,
    Lease, LeaseId, Ledger, Observer, Outcome, Plan, Pool, PoolId, Sender, ServerId, Ticket,
    Timestamp, Token, TokenId,
};

/// Inputs of a batch besides the ledger and the commands. A bare [`Timestamp`] is the context of a
/// server that is alone and remembers no keys.
#[derive(Debug)]
pub struct BatchContext {
    /// The deciding server, and the time of the batch.
    pub observer: Observer,
    /// Remembered keys, of those that the commands have.
    pub keys: IdempotencyKeys,
}

impl From<Timestamp> for BatchContext {
    fn from(now: Timestamp) -> Self {
        let observer = Observer { now, server: ServerId(Uuid::nil()), journal_at: None };
        BatchContext { observer, keys: IdempotencyKeys::default() }
    }
}

/// Commands that are decided together, at one moment, and become durable together.
#[derive(Debug)]
pub struct Batch<'a> {
    ledger: &'a mut Ledger,
    /// Its `journal_at` is the time of this batch, since the batch begins by subtracting outages from
    /// every server's silence.
    observer: Observer,
    now: Timestamp,
    /// `journal_at` of the context.
    journal_at: Option<Timestamp>,
    keys: IdempotencyKeys,
    /// The last fence before this batch. Leases above it were granted in this batch.
    fence_before: Fence,
    /// Sender of the command that is being decided.
    sender: Sender,
    /// Pools in which a ticket may be next. `None` means all.
    unserved: Option<BTreeSet<PoolId>>,
    finished: Finished,
}

/// The result of a batch, to be made durable.
#[derive(Debug, Default)]
pub struct Finished {
    /// The changes, in order. Empty if nothing changed.
    pub changes: Vec<Change>,
    /// The keys that were used for the first time.
    pub keys_used: Vec<KeyUse>,
    /// Pools and starts of the leases that ended, in the order of the changes.
    pub ended: Vec<(PoolId, Timestamp)>,
}

impl<'a> Batch<'a> {
    pub(crate) fn begin(ledger: &'a mut Ledger, context: BatchContext) -> Self {
        let BatchContext { observer: Observer { now, server, journal_at }, keys } = context;
        let fence_before = ledger.fence();
        let observer = Observer { now, server, journal_at: journal_at.map(|_| now) };
        let (sender, unserved, finished) = Default::default();
        let mut batch = Batch {
            ledger,
            observer,
            now,
            journal_at,
            keys,
            fence_before,
            sender,
            unserved,
            finished,
        };
        while let Some(pool) = batch.ledger.first_overdue(now) {
            batch.end_overdue(pool);
        }
        match journal_at {
            Some(journal_at) => {
                let heard = batch.ledger.forgive_silence(now, journal_at);
                for change in heard {
                    batch.record(change);
                }
            }
            None => batch.take_over_kept_tickets(),
        }
        batch.drop_dead_tickets();
        batch
    }

    /// Ends the leases and taints of a pool that are past their deadline.
    fn end_overdue(&mut self, pool: PoolId) {
        let now = self.now;
        // A lease ends at its deadline, however late the batch is. The change names the lease, not the
        // token, so it can't end another lease.
        while let Some(lease) = self.ledger.pool(pool).and_then(|pool| pool.first_overdue(now)) {
            let (lease_id, fence, started_at) = (lease.id, lease.fence, lease.started_at);
            let end = End::new(lease.expires_at, EndReason::Expired);
            self.finished.ended.push((pool, started_at));
            self.record(Change::LeaseEnded { lease_id, fence, end });
        }
        let next = |batch: &Self| batch.ledger.pool(pool)?.first_overdue_taint(now).cloned();
        while let Some(token) = next(self) {
            self.record(Change::TokenTainted(Token { taints: token.taints.at(now), ..token }));
        }
    }

    /// Decides one command of this sender. `None` as for [`Batch::decide`].
    #[must_use]
    pub fn decide_for(&mut self, sender: impl Into<Sender>, command: &Command) -> Option<Outcome> {
        let sender = sender.into();
        if let Err(forbidden) = self.permit(&sender, command) {
            return Some(Outcome::Forbidden(forbidden));
        }
        self.sender = sender;
        let outcome = self.decide(command);
        self.sender = Sender::Trusted;
        outcome
    }

    /// Decides one command. `None` if the command would evict a lease that this batch granted: nothing
    /// was decided, and the command belongs at the front of the next batch.
    #[must_use]
    pub fn decide(&mut self, command: &Command) -> Option<Outcome> {
        match command {
            Command::Allocate(allocation) => return self.allocate(allocation),
            Command::Release { pool, token_id, if_held } => self.release(*pool, *token_id, if_held),
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
            Command::Clear { pool } => self.clear(*pool),
            Command::Apply(plan) => self.apply(plan),
            Command::Access(command) => self.access(command),
            Command::Taint { pool, token, taint } => self.taint(*pool, *token, taint),
            Command::Untaint { pool, token, name } => self.untaint(*pool, *token, name),
        }
        .into()
    }

    /// The first ticket of this server that can get a token now, in some pool, among tickets whose
    /// clients are `connected`. Between two commands, a client that was not connected stays so.
    #[must_use]
    pub fn next_in_queue(&mut self, connected: impl Fn(&Ticket) -> bool) -> Option<&Ticket> {
        let ledger = &*self.ledger;
        let pools = self.unserved.get_or_insert_with(|| ledger.waits.pools().collect());
        while let Some(id) = pools.first() {
            let pool = ledger.pool(*id);
            let first =
                pool.map(|pool| pool.first_of(&self.observer, self.fence_before, &connected));
            if let Some(Ok(ticket)) = first {
                return Some(ticket);
            }
            pools.pop_first();
        }
        None
    }

    /// The tickets of this server that [`Batch::next_in_queue`] may name, pool by pool, in order.
    pub fn queue(&self) -> impl Iterator<Item = LeaseId> {
        let may_be_next =
            |pool: &&Pool| self.unserved.as_ref().is_none_or(|pools| pools.contains(&pool.id()));
        let tickets = self.ledger.queues().filter(may_be_next).flat_map(Pool::tickets);
        let own = tickets.filter(|ticket| ticket.server == self.observer.server);
        own.map(|ticket| ticket.lease_id)
    }

    /// Adds further remembered keys, after some commands were decided.
    pub fn learn(&mut self, keys: IdempotencyKeys) {
        self.keys.learn(keys, self.finished.keys_used.len());
    }

    /// The leases that this batch granted to allocations with keys.
    #[must_use]
    pub fn granted_with_keys(&self) -> Vec<LeaseId> {
        self.finished.keys_used.iter().map(|used| used.lease_id).collect()
    }

    /// The result of the batch.
    #[must_use]
    pub fn finish(self) -> Finished {
        self.finished
    }

    /// Moves the kept tickets to this server. Without other servers, clients can only ask here.
    fn take_over_kept_tickets(&mut self) {
        let Observer { server, now: at, .. } = self.observer;
        let others = self.ledger.tickets().filter(|ticket| ticket.server != server);
        let kept: Vec<LeaseId> =
            others.filter(|ticket| ticket.is_kept()).map(|ticket| ticket.lease_id).collect();
        for lease_id in kept {
            self.record(Change::WaitMoved { lease_id, server, at });
        }
    }

    fn drop_dead_tickets(&mut self) {
        let now = self.now;
        let dead = self.ledger.tickets().filter(|ticket| !ticket.is_live(&self.observer));
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

    fn release(&mut self, pool: PoolId, token: TokenId, if_held: &HolderCondition) -> Outcome {
        let Some(pool) = self.ledger.pool(pool) else {
            return Outcome::UnknownPool;
        };
        let Some(token) = pool.token(token) else {
            return Outcome::UnknownToken;
        };
        let latest = token.latest.map(|lease| lease.clone().seen_at(self.now));
        // Releasing twice is idempotent.
        let as_expected = |lease: &Lease| {
            let released = lease.end.is_none_or(|end| end.reason == EndReason::Released);
            if_held.fits(lease) && released
        };
        if !if_held.is_anything() && !latest.as_ref().is_some_and(as_expected) {
            return Outcome::HolderMismatch { latest };
        }
        let running = latest.filter(|lease| lease.end.is_none());
        if let Some(lease) = &running {
            self.act_on_other(Action::LeaseReleased, lease.pool, &lease.user, lease.id);
        }
        Outcome::Released { ended: running.map(|lease| self.end(lease, EndReason::Released)) }
    }

    fn release_lease(&mut self, lease_id: LeaseId) -> Outcome {
        let Some(lease) = self.ledger.lease(lease_id).cloned() else {
            return Outcome::NotLatest;
        };
        match lease.end_at(self.now).map(|end| end.reason) {
            None => {
                self.act_on_other(Action::LeaseReleased, lease.pool, &lease.user, lease_id);
                Outcome::LeaseReleased(self.end(lease, EndReason::Released))
            }
            Some(EndReason::Released) => Outcome::LeaseReleased(lease),
            Some(_) => Outcome::LeaseOver(lease.seen_at(self.now)),
        }
    }

    fn renew(&mut self, lease_id: LeaseId) -> Outcome {
        let Some(mut lease) = self.ledger.lease(lease_id).cloned() else {
            return Outcome::NotLatest;
        };
        if !lease.is_running(self.now) {
            return Outcome::LeaseOver(lease.seen_at(self.now));
        }
        let max_lease = self.ledger.pool(lease.pool).map(|pool| pool.policy().max_lease());
        let limit = lease.started_at.after(max_lease.unwrap_or_default());
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
        let lease = self.ledger.lease(lease_id).filter(|lease| lease.is_running(self.now)).cloned();
        let ended = lease.map(|lease| self.end(lease, EndReason::Released));
        Outcome::Withdrawn { ended: ended.is_some() }
    }

    fn give_up(&mut self, lease_id: LeaseId) -> Outcome {
        if let Some(ticket) = self.ledger.ticket(lease_id) {
            let (pool, user) = (ticket.pool, ticket.user.clone());
            self.act_on_other(Action::TicketRemoved, pool, &user, lease_id);
            self.record(Change::WaitGivenUp { lease_id });
            return Outcome::GaveUp;
        }
        let lease = self.ledger.lease(lease_id).cloned();
        lease.map_or(Outcome::UnknownTicket, |lease| Outcome::Served(lease.seen_at(self.now)))
    }

    fn lapse(&mut self, lease_id: LeaseId) -> Outcome {
        // The client may have asked at another server meanwhile.
        let server = self.observer.server;
        if self.ledger.ticket(lease_id).is_some_and(|ticket| ticket.server == server) {
            self.leave_queue(lease_id);
        }
        Outcome::GaveUp
    }

    fn heartbeat(&mut self) -> Outcome {
        let (server, at) = (self.observer.server, self.now);
        let has_tickets = self.ledger.tickets().any(|ticket| ticket.server == server);
        let observer = Observer { journal_at: self.journal_at, ..self.observer };
        if has_tickets || self.ledger.needs_witness(&observer) {
            self.record(Change::ServerHeard { server, at });
        }
        Outcome::Heard
    }

    fn clear(&mut self, pool: PoolId) -> Outcome {
        let Some(pool) = self.ledger.pool(pool) else {
            return Outcome::UnknownPool;
        };
        let running: Vec<Lease> = pool.running_leases().cloned().collect();
        let (name, ended) = (pool.name().clone(), running.len());
        if ended > 0 {
            self.act(Action::PoolCleared, Some(name), format!("{ended} leases"));
        }
        for lease in running {
            self.end(lease, EndReason::Cleared);
        }
        Outcome::Cleared { ended }
    }

    fn apply(&mut self, plan: &Plan) -> Outcome {
        let mut changes = match self.ledger.plan(plan, self.now) {
            Ok(changes) => changes,
            Err(refused) => return Outcome::NotApplied(refused),
        };
        for change in &mut changes {
            if let Change::LeaseEnded { end, .. } = change {
                end.by = self.sender.key();
            }
        }
        let before = Box::new(self.ledger.before(&changes, self.now));
        if !changes.is_empty() {
            self.act_on(plan, &changes);
        }
        for change in &changes {
            if let Change::LeaseEnded { lease_id, .. } = change {
                let lease = self.ledger.lease(*lease_id);
                self.finished.ended.extend(lease.map(|lease| (lease.pool, lease.started_at)));
            }
            self.record(change.clone());
        }
        Outcome::Applied(changes, before)
    }

    fn end(&mut self, mut lease: Lease, reason: EndReason) -> Lease {
        let end = End { at: self.now, reason, by: self.sender.key() };
        self.finished.ended.push((lease.pool, lease.started_at));
        self.record(Change::LeaseEnded { lease_id: lease.id, fence: lease.fence, end });
        lease.end = Some(end);
        lease
    }

    /// A ticket of the pool may be next.
    fn touch(&mut self, pool: Option<PoolId>) {
        if let Some(pools) = &mut self.unserved {
            pools.extend(pool);
        }
    }

    fn record(&mut self, change: Change) {
        match &change {
            _ if self.unserved.is_none() => {}
            // A new ticket's pool was touched by its allocation.
            Change::LeaseStarted(_)
            | Change::LeaseRenewed { .. }
            | Change::WaitStarted(_)
            | Change::Acted(_) => {}
            Change::LeaseEnded { lease_id, .. } => {
                self.touch(self.ledger.lease(*lease_id).map(|lease| lease.pool));
            }
            Change::WaitEnded { lease_id } | Change::WaitMoved { lease_id, .. } => {
                self.touch(self.ledger.ticket(*lease_id).map(|ticket| ticket.pool));
            }
            _ => self.unserved = None,
        }
        self.ledger.apply(&change).expect("a change fits the state on which it was decided");
        self.finished.changes.push(change);
    }
}
