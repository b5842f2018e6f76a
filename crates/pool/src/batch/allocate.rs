//! Decides an allocation: a lease, a place in the queue, or a refusal.

use std::time::Duration;

use super::Batch;
use crate::waiting::Available;
use crate::{
    Allocation, Change, EndReason, Fence, Grant, KeyUse, Lease, LeaseId, MAX_TICKETS, Outcome,
    Refusal, Remembered, Ticket, TokenValue, UserKey, Waiting, WhenFull,
};

impl Batch<'_> {
    pub(super) fn allocate(&mut self, allocation: &Allocation) -> Option<Outcome> {
        // Only a request that had a ticket has a deadline for its wait.
        if allocation.until.is_some() && self.pool.queue.was_given_up(allocation.lease_id) {
            return Some(Outcome::NotAllocated(Refusal::GivenUp));
        }
        let mut lease_id = allocation.lease_id;
        if let Some(ticket) = self.ticket_of_key(allocation) {
            if !allocation.is_of(ticket) {
                return Some(Outcome::NotAllocated(Refusal::KeyReused));
            }
            lease_id = ticket.lease_id;
        }
        let place = self.pool.rank(lease_id);
        if let Some(outcome) = self.without_token(allocation, place.is_some()) {
            self.leave_queue(lease_id);
            return Some(outcome);
        }
        let rank = place.unwrap_or(self.pool.queue.len());
        let available = self.pool.available(rank, self.now);
        let has_turn = matches!(available, Available::Free | Available::Evictable { .. });
        // Limits apply when a ticket is served, not while it waits: by then the user may be below them.
        if (has_turn || place.is_none())
            && let Some(refusal) = self.limit_reached(allocation)
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
        // Free tokens belong to earlier tickets. If any token is free, the earlier tickets will evict.
        let oldest = self.pool.oldest_running().filter(|_| self.pool.longest_free().is_none());
        let evicted = oldest.cloned().map(|oldest| self.end(oldest, EndReason::Evicted));
        Some(Outcome::Allocated(self.grant(lease_id, allocation, evicted)))
    }

    /// The ticket of an earlier request with the same key.
    fn ticket_of_key(&self, allocation: &Allocation) -> Option<&Ticket> {
        self.pool.ticket_of_key(&allocation.user_key()?)
    }

    /// Queue position of a ticket. The ticket moves to this server if its client used another before.
    fn waits_on(&mut self, lease_id: LeaseId) -> Option<Waiting> {
        let (server, at) = (self.observer.server, self.now);
        if self.pool.ticket(lease_id)?.server != server {
            self.record(Change::WaitMoved { lease_id, server, at });
        }
        self.pool.place_in_queue(lease_id)
    }

    /// The outcome that does not depend on available tokens, if there is one.
    fn without_token(&mut self, allocation: &Allocation, queued: bool) -> Option<Outcome> {
        let known = self.recall(allocation);
        let known = known.or_else(|| self.timed_out(allocation));
        known.or_else(|| self.refusal(allocation, queued).map(Outcome::NotAllocated))
    }

    /// Response to a client whose wait timed out between two requests.
    fn timed_out(&mut self, allocation: &Allocation) -> Option<Outcome> {
        let key = allocation.user_key()?;
        self.told(key).then(|| self.full(self.pool.queue.len() + 1))
    }

    /// Records that the client received the response that its wait timed out. False if its wait did
    /// not time out.
    pub(super) fn told(&mut self, key: UserKey) -> bool {
        let timed_out = self.pool.queue.has_timed_out(&key, self.now);
        if timed_out {
            let UserKey { user, key } = key;
            self.record(Change::WaitTimeoutDelivered { user, key });
        }
        timed_out
    }

    fn grant(
        &mut self,
        lease_id: LeaseId,
        allocation: &Allocation,
        evicted: Option<Lease>,
    ) -> Grant {
        let free = self.pool.longest_free().expect("a token is free or was just made free");
        let length = allocation.lease.unwrap_or(self.pool.policy.lease);
        let (user, fence) = (allocation.user.clone(), self.pool.fence().plus(1));
        let until = self.now.after(length);
        let lease = Lease {
            previous_fence: free.latest.map_or(Fence::NONE, |latest| latest.fence),
            ..Lease::granted(lease_id, free.token.id, user, fence, self.now, until)
        };
        let value: TokenValue = free.token.value;
        self.record(Change::LeaseStarted(lease.clone()));
        if let Some(key) = allocation.user_key() {
            self.remember(key, allocation, &lease, evicted.as_ref());
        }
        Grant { lease, value, evicted }
    }

    fn remember(
        &mut self,
        key: UserKey,
        allocation: &Allocation,
        lease: &Lease,
        evicted: Option<&Lease>,
    ) {
        let Allocation { lease: asked_lease, wait: asked_wait, .. } = *allocation;
        let lease_id = lease.id;
        let evicted = evicted.cloned();
        let remembered = Remembered { lease: lease.clone(), evicted, asked_lease, asked_wait };
        self.keys.remember(key.clone(), remembered);
        self.finished.keys_used.push(KeyUse { key, lease_id, asked_lease, asked_wait });
    }

    /// The outcome of the first use of the key.
    fn recall(&self, allocation: &Allocation) -> Option<Outcome> {
        let remembered = self.keys.found.get(&allocation.user_key()?)?;
        if !remembered.is_of(allocation) {
            return Some(Outcome::NotAllocated(Refusal::KeyReused));
        }
        let value = self.pool.token(remembered.lease.token_id)?.token.value;
        let lease = self.as_of_now(&remembered.lease);
        Some(Outcome::Allocated(Grant { lease, value, evicted: remembered.evicted.clone() }))
    }

    /// The present state of a lease that was read before this batch.
    fn as_of_now(&self, stored: &Lease) -> Lease {
        let mut lease = self.pool.lease(stored.id).unwrap_or(stored).clone();
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

    /// The refusal that does not depend on available tokens, if there is one.
    fn refusal(&self, allocation: &Allocation, queued: bool) -> Option<Refusal> {
        let policy = &self.pool.policy;
        if self.pool.size() == 0 {
            return Some(Refusal::NoTokens);
        }
        if allocation.lease.is_some_and(|length| length > policy.lease) {
            return Some(Refusal::LeaseTooLong { longest: policy.lease });
        }
        // A ticket in the queue is older than the policy.
        if allocation.wait.is_some() && policy.when_full == WhenFull::Reject && !queued {
            return Some(Refusal::WaitNotOffered);
        }
        None
    }

    /// The limit that the user has reached, if any.
    fn limit_reached(&self, allocation: &Allocation) -> Option<Refusal> {
        if let Some(limit) = self.pool.policy.max_per_user
            && self.pool.held_by(allocation.user.id) >= limit
        {
            return Some(Refusal::UserLimit { limit });
        }
        allocation.key.as_ref().and_then(|_| self.keys.refusal(allocation.user.id))
    }

    /// Outcome without an available token: a new ticket, or a refusal.
    fn nothing_for(&mut self, allocation: &Allocation, position: usize) -> Outcome {
        let waits = self.pool.policy.when_full == WhenFull::Wait;
        let wait = allocation.wait.or(waits.then_some(Allocation::DEFAULT_WAIT));
        let longest = self.now.after(wait.unwrap_or_default().min(allocation.longest_wait()));
        let until = allocation.until.unwrap_or(longest).min(longest);
        if until <= self.now {
            return self.full(position);
        }
        if self.pool.queue.len() >= MAX_TICKETS {
            return Outcome::NotAllocated(Refusal::QueueFull);
        }
        let ticket = Ticket {
            lease_id: allocation.lease_id,
            number: self.pool.queue.next_number(),
            server: self.observer.server,
            heard_at: self.now,
            since: self.now,
            until,
            user: allocation.user.clone(),
            key: allocation.key.clone(),
            asked_lease: allocation.lease,
            asked_wait: allocation.wait,
        };
        self.record(Change::WaitStarted(ticket));
        let (ticket, since) = (allocation.lease_id, self.now);
        Outcome::Queued(Waiting { ticket, position, since, until })
    }

    fn full(&self, position: usize) -> Outcome {
        let next = self.pool.next_end(self.now);
        let retry_after = next.map_or(Duration::ZERO, |at| at.since(self.now));
        Outcome::NotAllocated(Refusal::Full { position, retry_after })
    }

    pub(super) fn leave_queue(&mut self, lease_id: LeaseId) {
        if self.pool.rank(lease_id).is_some() {
            self.record(Change::WaitEnded { lease_id });
        }
    }
}
