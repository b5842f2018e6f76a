use crate::{
    Change, Command, End, EndReason, Fence, Lease, LeaseId, Outcome, Pool, Timestamp, TokenId,
    TokenValue, User,
};

/// Commands that are decided together, at one moment, and are to be made durable together.
#[derive(Debug)]
pub struct Batch<'a> {
    pool: &'a mut Pool,
    now: Timestamp,
    /// The last fence given before this batch: leases above it were granted in this one.
    fence_before: Fence,
    changes: Vec<Change>,
}

impl<'a> Batch<'a> {
    pub(crate) fn begin(pool: &'a mut Pool, now: Timestamp) -> Self {
        let fence_before = pool.fence();
        let mut batch = Batch { pool, now, fence_before, changes: Vec::new() };
        // However late anyone looks, a lease ended at its deadline, and the name of the lease and
        // not of its token says what ends.
        while let Some(lease) = batch.pool.first_overdue(now) {
            let (id, fence) = (lease.id, lease.fence);
            let end = End { at: lease.expires_at, reason: EndReason::Expired };
            batch.record(Change::LeaseEnded { lease_id: id, fence, end });
        }
        batch
    }

    /// Decides one command. `None` means that nothing was decided because the command would evict
    /// a lease granted in this very batch: end the batch and put the command first in the next.
    #[must_use]
    pub fn decide(&mut self, command: &Command) -> Option<Outcome> {
        match command {
            Command::Allocate { lease_id, user } => self.allocate(*lease_id, user),
            Command::Release { token_id } => Some(self.release(*token_id)),
            Command::Withdraw { lease_id, token_id } => Some(self.withdraw(*lease_id, *token_id)),
            Command::Clear => Some(self.clear()),
        }
    }

    /// The changes this batch made, in order. Empty when nothing changed.
    #[must_use]
    pub fn finish(self) -> Vec<Change> {
        self.changes
    }

    fn allocate(&mut self, lease_id: LeaseId, user: &User) -> Option<Outcome> {
        let mut evicted = None;
        if self.pool.longest_free().is_none() {
            let Some(oldest) = self.pool.oldest_running().cloned() else {
                return Some(Outcome::NoTokens);
            };
            if oldest.fence > self.fence_before {
                return None;
            }
            evicted = Some(self.end(oldest, EndReason::Evicted));
        }
        let free = self.pool.longest_free().expect("a token is free or was just made free");
        let lease = Lease {
            id: lease_id,
            token_id: free.token.id,
            user: user.clone(),
            fence: self.pool.fence().plus(1),
            previous_fence: free.latest.map_or(Fence::NONE, |latest| latest.fence),
            started_at: self.now,
            expires_at: self.now.after(self.pool.policy.lease),
            end: None,
        };
        let value: TokenValue = free.token.value;
        self.record(Change::LeaseStarted(lease.clone()));
        Some(Outcome::Allocated { lease, value, evicted })
    }

    fn release(&mut self, token_id: TokenId) -> Outcome {
        let Some(token) = self.pool.token(token_id) else {
            return Outcome::UnknownToken;
        };
        let running = token.running(self.now).cloned();
        Outcome::Released { ended: running.map(|lease| self.end(lease, EndReason::Released)) }
    }

    fn withdraw(&mut self, lease_id: LeaseId, token_id: TokenId) -> Outcome {
        let token = self.pool.token(token_id);
        let running = token.and_then(|token| token.running(self.now)).cloned();
        let this = running.filter(|lease| lease.id == lease_id);
        let ended = this.map(|lease| self.end(lease, EndReason::Released));
        Outcome::Withdrawn { ended: ended.is_some() }
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
        self.record(Change::LeaseEnded { lease_id: lease.id, fence: lease.fence, end });
        lease.end = Some(end);
        lease
    }

    fn record(&mut self, change: Change) {
        self.pool.apply(&change).expect("a change that was decided on this state fits it");
        self.changes.push(change);
    }
}
