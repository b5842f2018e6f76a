//! Decides an allocation: a lease, a place in the queue, or a refusal.

use std::time::Duration;

use super::Batch;
use crate::waiting::{Available, Claims};
use crate::{
    Allocation, Change, EndReason, Fence, Grant, KeyUse, Lease, LeaseId, MAX_TICKETS, Outcome,
    Pool, Refusal, Remembered, Ticket, Token, UserKey, Waiting, WhenFull,
};

impl Batch<'_> {
    pub(super) fn allocate(&mut self, allocation: &Allocation) -> Option<Outcome> {
        // Only a request that had a ticket has a deadline for its wait.
        if allocation.until.is_some() && self.ledger.waits.was_given_up(allocation.lease_id) {
            return Some(Outcome::NotAllocated(Refusal::GivenUp));
        }
        let mut lease_id = allocation.lease_id;
        if let Some(ticket) = self.ticket_of_key(allocation) {
            if !allocation.is_of(ticket) {
                return Some(Outcome::NotAllocated(Refusal::KeyReused));
            }
            lease_id = ticket.lease_id;
        }
        self.touch(Some(allocation.pool));
        let pool = self.ledger.pool(allocation.pool);
        let place = pool.and_then(|pool| pool.rank(lease_id));
        if let Some(outcome) = self.without_token(allocation, place.is_some()) {
            self.leave_queue(lease_id);
            return Some(outcome);
        }
        let pool = self.ledger.pool(allocation.pool)?;
        let rank = place.unwrap_or(pool.queue.len());
        let claims = pool.claims(rank);
        let available = pool.available(allocation.token, &claims, self.now);
        let has_turn = matches!(available, Available::Free | Available::Evictable { .. });
        // Limits apply when a ticket is served, not while it waits: by then the user may be below them.
        if (has_turn || place.is_none())
            && let Some(refusal) = self.limit_reached(pool, allocation)
        {
            self.leave_queue(lease_id);
            return Some(Outcome::NotAllocated(refusal));
        }
        match available {
            Available::Evictable { fence } if fence > self.fence_before => return None,
            Available::Free | Available::Evictable { .. } => {}
            Available::Later { .. } | Available::Nothing => {
                return Some(match self.waits_on(lease_id) {
                    Some(waiting) => Outcome::Queued(waiting),
                    None => self.nothing_for(allocation, rank + 1),
                });
            }
        }
        self.leave_queue(lease_id);
        Some(Outcome::Allocated(self.grant(lease_id, allocation, &claims)))
    }

    /// The ticket of an earlier request with the same key.
    fn ticket_of_key(&self, allocation: &Allocation) -> Option<&Ticket> {
        self.ledger.ticket_of_key(&allocation.user_key()?)
    }

    /// Queue position of a ticket. The ticket moves to this server if its client used another before.
    fn waits_on(&mut self, lease_id: LeaseId) -> Option<Waiting> {
        let (server, at) = (self.observer.server, self.now);
        if self.ledger.ticket(lease_id)?.server != server {
            self.record(Change::WaitMoved { lease_id, server, at });
        }
        self.ledger.place_in_queue(lease_id)
    }

    /// The outcome that does not depend on available tokens, if there is one.
    fn without_token(&mut self, allocation: &Allocation, queued: bool) -> Option<Outcome> {
        if let Some(known) = self.recall(allocation) {
            return Some(known);
        }
        if self.ledger.pool(allocation.pool).is_none() {
            return Some(Outcome::UnknownPool);
        }
        if let Some(key) = allocation.user_key()
            && self.told(key)
        {
            // The client's wait timed out between two requests.
            let position = self.ledger.pool(allocation.pool)?.queue.len() + 1;
            return Some(self.full(allocation, position));
        }
        let pool = self.ledger.pool(allocation.pool)?;
        refusal(pool, allocation, queued).map(Outcome::NotAllocated)
    }

    /// Records that the client received the response that its wait timed out. False if its wait did
    /// not time out.
    pub(super) fn told(&mut self, key: UserKey) -> bool {
        let timed_out = self.ledger.waits.has_timed_out(&key, self.now);
        if timed_out {
            let UserKey { user, key } = key;
            self.record(Change::WaitTimeoutDelivered { user, key });
        }
        timed_out
    }

    fn grant(&mut self, lease_id: LeaseId, allocation: &Allocation, claims: &Claims) -> Grant {
        let pool = self.ledger.pool(allocation.pool).expect("the pool was found before");
        let place = pool.choose(allocation.token, claims).expect("a token is available");
        let chosen = pool.view(place);
        let length = allocation.lease.unwrap_or(pool.policy().lease);
        let Token { id: token_id, value, name, labels, .. } = chosen.token;
        let (token_id, value) = (*token_id, value.clone());
        let (name, labels) = (Some(name.clone()), labels.clone());
        let previous_fence = chosen.latest.map_or(Fence::NONE, |latest| latest.fence);
        let held = chosen.latest.filter(|lease| lease.end.is_none()).cloned();
        let evicted = held.map(|lease| self.end(lease, EndReason::Evicted));
        let (user, fence) = (allocation.user.clone(), self.ledger.fence().plus(1));
        let until = self.now.after(length);
        let lease = Lease {
            by: self.sender.key(),
            pool: allocation.pool,
            previous_fence,
            note: allocation.note.clone(),
            ..Lease::granted(lease_id, token_id, user, fence, self.now, until)
        };
        self.record(Change::LeaseStarted(lease.clone()));
        let grant = Grant { lease, value, name, labels, evicted };
        if let Some(key) = allocation.user_key() {
            self.remember(key, allocation, grant.clone());
        }
        grant
    }

    fn remember(&mut self, key: UserKey, allocation: &Allocation, grant: Grant) {
        let Grant { lease, value, evicted, .. } = grant;
        let lease_id = lease.id;
        let Allocation { lease: asked_lease, wait: asked_wait, token, .. } = *allocation;
        let asked_token = token.is_some();
        let remembered = Remembered { lease, value, evicted, asked_lease, asked_wait, asked_token };
        self.keys.remember(key.clone(), remembered);
        self.finished.keys_used.push(KeyUse {
            key,
            lease_id,
            asked_lease,
            asked_wait,
            asked_token,
        });
    }

    /// The outcome of the first use of the key.
    fn recall(&self, allocation: &Allocation) -> Option<Outcome> {
        let remembered = self.keys.found.get(&allocation.user_key()?)?;
        if !remembered.is_of(allocation) {
            return Some(Outcome::NotAllocated(Refusal::KeyReused));
        }
        let token = self.ledger.token(remembered.lease.token_id).map(|view| view.token);
        let value = token.map_or(&remembered.value, |token| &token.value).clone();
        let name = token.map(|token| token.name.clone());
        let labels = token.map(|token| token.labels.clone()).unwrap_or_default();
        let (lease, evicted) = (self.as_of_now(&remembered.lease), remembered.evicted.clone());
        Some(Outcome::Allocated(Grant { lease, value, name, labels, evicted }))
    }

    /// The present state of a lease that was read before this batch.
    fn as_of_now(&self, stored: &Lease) -> Lease {
        let mut lease = self.ledger.lease(stored.id).unwrap_or(stored).clone();
        // The lease may have ended in this batch, and its token may have a new one.
        for change in &self.finished.changes {
            match change {
                Change::LeaseEnded { fence, end, .. } if *fence == lease.fence => {
                    lease.end = Some(*end);
                }
                Change::LeaseRenewed { fence, expires_at, .. } if *fence == lease.fence => {
                    lease.expires_at = *expires_at;
                }
                _ => {}
            }
        }
        lease.seen_at(self.now)
    }

    /// The limit that the user has reached, if any.
    fn limit_reached(&self, pool: &Pool, allocation: &Allocation) -> Option<Refusal> {
        if let Some(limit) = pool.policy().max_per_user
            && pool.held_by(allocation.user.id) >= limit
        {
            return Some(Refusal::UserLimit { limit });
        }
        if let Some(key) = self.sender.key().and_then(|id| self.ledger.access.key(id))
            && let Some(limit) = key.max_leases
            && self.ledger.access.leases(key.id) >= limit
        {
            return Some(Refusal::ApiKeyLimit { limit });
        }
        allocation.key.as_ref().and_then(|_| self.keys.refusal(allocation.user.id))
    }

    /// Outcome without an available token: a new ticket, or a refusal.
    fn nothing_for(&mut self, allocation: &Allocation, position: usize) -> Outcome {
        let policy = self.ledger.pool(allocation.pool).map(Pool::policy);
        let waits = policy.is_some_and(|policy| policy.when_full == WhenFull::Wait);
        let wait = allocation.wait.or(waits.then_some(Allocation::DEFAULT_WAIT));
        let longest = self.now.after(wait.unwrap_or_default().min(allocation.longest_wait()));
        let until = allocation.until.unwrap_or(longest).min(longest);
        if until <= self.now {
            return self.full(allocation, position);
        }
        if self.ledger.waits.len() >= MAX_TICKETS {
            return Outcome::NotAllocated(Refusal::QueueFull);
        }
        let ticket = Ticket {
            lease_id: allocation.lease_id,
            number: self.ledger.waits.next_number(),
            server: self.observer.server,
            heard_at: self.now,
            since: self.now,
            until,
            user: allocation.user.clone(),
            key: allocation.key.clone(),
            asked_lease: allocation.lease,
            asked_wait: allocation.wait,
            pool: allocation.pool,
            token: allocation.token,
            note: allocation.note.clone(),
        };
        self.record(Change::WaitStarted(ticket));
        let (ticket, since) = (allocation.lease_id, self.now);
        Outcome::Queued(Waiting { ticket, position, since, until })
    }

    fn full(&self, allocation: &Allocation, position: usize) -> Outcome {
        let pool = self.ledger.pool(allocation.pool);
        let next = pool.and_then(|pool| match allocation.token {
            Some(token) => pool.next_end_of(token, self.now),
            None => pool.next_end(self.now),
        });
        let retry_after = next.map_or(Duration::ZERO, |at| at.since(self.now));
        Outcome::NotAllocated(Refusal::Full { position, retry_after })
    }

    pub(super) fn leave_queue(&mut self, lease_id: LeaseId) {
        if self.ledger.ticket(lease_id).is_some() {
            self.record(Change::WaitEnded { lease_id });
        }
    }
}

/// The refusal that does not depend on available tokens, if there is one.
fn refusal(pool: &Pool, allocation: &Allocation, queued: bool) -> Option<Refusal> {
    let policy = pool.policy();
    match allocation.token.map(|token| pool.token(token)) {
        Some(None) => Some(Refusal::UnknownToken),
        Some(Some(view)) if view.token.retired_at.is_some() => Some(Refusal::TokenRetired),
        None if pool.size() == pool.retiring() => Some(Refusal::NoTokens),
        _ if allocation.lease.is_some_and(|length| length > policy.lease) => {
            Some(Refusal::LeaseTooLong { longest: policy.lease })
        }
        // A ticket in the queue is older than the policy.
        _ if allocation.wait.is_some() && policy.when_full == WhenFull::Reject && !queued => {
            Some(Refusal::WaitNotOffered)
        }
        _ => None,
    }
}
