//! The model's decisions about allocations.

use std::time::Duration;

use pool::{
    Allocation, Effect, EndReason, Fence, Grant, Labels, Lease, MAX_TICKETS, Outcome, Policy,
    PoolRecord, Refusal, Taint, Token, TokenId, TokenName, UserKey, WhenFull,
};

use crate::model::{Model, Parameters, Used, Waiting};

impl Model {
    pub fn allocate(&mut self, asked: &Allocation) -> Option<Outcome> {
        if asked.until.is_some() && self.given_up.contains(&asked.lease_id) {
            return Some(Outcome::NotAllocated(Refusal::GivenUp));
        }
        let key = asked.user_key();
        let of_key = self.queue.iter().find(|w| key.is_some() && w.key == key).cloned();
        let known = key.as_ref().is_some_and(|key| self.keys.contains_key(key));
        if of_key.as_ref().is_some_and(|ticket| ticket.asked != Parameters::of(asked)) {
            return Some(Outcome::NotAllocated(Refusal::KeyReused));
        }
        let lease_id = of_key.map_or(asked.lease_id, |ticket| ticket.lease_id);
        let asked = &Allocation { lease_id, ..asked.clone() };
        let is_there = self.record(asked.pool).is_some();
        if !known && is_there && key.as_ref().is_some_and(|key| self.told(key)) {
            return Some(self.full(asked, self.queue_of(asked.pool).len() + 1));
        }
        let rank = self.position_of(lease_id);
        if let Some(outcome) = self.settled(asked, rank.is_some()) {
            self.leave(lease_id);
            return Some(outcome);
        }
        let queue = self.queue_of(asked.pool);
        let before = rank.unwrap_or(queue.len());
        let needed = self.available_for(asked.pool, asked.token, &queue[..before]);
        if (needed.is_some() || rank.is_none())
            && let Some(outcome) = self.limit_reached(asked)
        {
            self.leave(lease_id);
            return Some(outcome);
        }
        if let Some(fence) = needed {
            let named: Vec<TokenId> =
                queue[..before].iter().filter_map(|waiting| waiting.asked.token).collect();
            if fence > self.fence_before {
                return None;
            }
            self.leave(lease_id);
            return Some(Outcome::Allocated(self.grant(asked, &named)));
        }
        Some(self.wait(asked, before + 1))
    }

    fn wait(&mut self, asked: &Allocation, position: usize) -> Outcome {
        let (server, now, lease_id) = (self.server, self.now, asked.lease_id);
        if let Some(waiting) = self.queue.iter_mut().find(|w| w.lease_id == lease_id) {
            if waiting.server != server {
                (waiting.server, waiting.heard_at) = (server, now);
            }
            return waiting.told(position);
        }
        let wait = match (asked.wait, self.policy(asked.pool).when_full) {
            (Some(wait), _) => wait,
            (None, WhenFull::Wait) => Duration::from_secs(30),
            (None, _) => Duration::ZERO,
        };
        if wait.is_zero() {
            return self.full(asked, position);
        }
        if self.queue.len() == MAX_TICKETS {
            return Outcome::NotAllocated(Refusal::QueueFull);
        }
        let key = asked.user_key();
        let most = Duration::from_secs(if key.is_some() { 86_400 } else { 60 });
        let until = now.after(wait.min(most));
        let asked = Parameters::of(asked);
        for known in self.timed_out.values_mut() {
            known.retain(|timed_out, _| key.as_ref() != Some(timed_out));
        }
        let waiting = Waiting { lease_id, server, heard_at: now, since: now, until, key, asked };
        let told = waiting.told(position);
        self.queue.push(waiting);
        told
    }

    /// Delivers the response that the wait timed out, if the deciding server knows of the timeout.
    pub fn told(&mut self, key: &UserKey) -> bool {
        let knows = self.timed_out[&self.server].contains_key(key);
        if knows {
            for known in self.timed_out.values_mut() {
                known.remove(key);
            }
        }
        knows
    }

    fn full(&self, asked: &Allocation, position: usize) -> Outcome {
        let (pool, now) = (asked.pool, self.now);
        let is_meant = |id: TokenId| asked.token.is_none_or(|token| token == id);
        let leases = self.useful(pool).into_iter().filter(|lease| is_meant(lease.token_id));
        let deadlines = leases.map(|lease| lease.expires_at);
        let evictable = self.evictable(pool).into_iter();
        let evictable = evictable.filter(|(lease, _)| is_meant(lease.token_id));
        let moments = deadlines.chain(evictable.map(|(_, from)| from));
        let tokens = self.tokens_of(pool).into_iter().filter(|token| is_meant(token.id));
        let blocked = |taint: &&Taint| taint.effect != Effect::Note;
        let tainted = tokens.filter(|token| token.taints.iter().any(|t| blocked(&t)));
        let untils = tainted.filter(|token| token.retired_at.is_none()).filter_map(|token| {
            let untils = token.taints.iter().filter_map(|taint| taint.until);
            if asked.token.is_none() {
                return untils.min();
            }
            let stays = token.taints.iter().filter(blocked).any(|taint| taint.until.is_none());
            let last = token.taints.iter().filter(blocked).filter_map(|taint| taint.until).max();
            last.filter(|_| !stays)
        });
        let next = moments.chain(untils).filter(|at| *at > now).min();
        let retry_after = next.map_or(Duration::ZERO, |at| at.since(now));
        Outcome::NotAllocated(Refusal::Full { position, retry_after })
    }

    /// Outcome of an allocation that does not depend on available tokens, if any.
    fn settled(&self, asked: &Allocation, queued: bool) -> Option<Outcome> {
        let used = asked.user_key().and_then(|key| self.keys.get(&key));
        if let Some(Used { lease_id, evicted, asked: before }) = used {
            if Parameters::of(asked) != Parameters::of(before) {
                return Some(Outcome::NotAllocated(Refusal::KeyReused));
            }
            let lease = self.lease(*lease_id).unwrap().clone();
            let value = self.any_token(lease.token_id).value.clone();
            let evicted = evicted.map(|id| self.lease(id).unwrap().clone());
            let (name, labels) = self.name_and_labels(lease.token_id);
            return Some(Outcome::Allocated(Grant { lease, value, name, labels, evicted }));
        }
        let Some(PoolRecord { policy, .. }) = self.record(asked.pool) else {
            return Some(Outcome::UnknownPool);
        };
        let Policy { lease, when_full, .. } = *policy;
        let tokens = self.tokens_of(asked.pool);
        let token = asked.token.map(|token| self.token(asked.pool, token));
        let retired = |token: &Token| token.retired_at.is_some();
        Some(Outcome::NotAllocated(match token {
            Some(None) => Refusal::UnknownToken,
            Some(Some(token)) if retired(token) => Refusal::TokenRetired,
            None if tokens.into_iter().all(retired) => Refusal::NoTokens,
            _ if asked.lease > Some(lease) => Refusal::LeaseTooLong { longest: lease },
            _ if !queued && asked.wait.is_some() && when_full == WhenFull::Reject => {
                Refusal::WaitNotOffered
            }
            _ => return None,
        }))
    }

    /// Refusal because of a limit of the user, if any.
    fn limit_reached(&self, asked: &Allocation) -> Option<Outcome> {
        let running = self.running(asked.pool);
        let has = running.iter().filter(|l| l.user.id == asked.user.id).count();
        Some(Outcome::NotAllocated(match self.policy(asked.pool).max_per_user {
            Some(limit) if has >= limit as usize => Refusal::UserLimit { limit },
            _ if asked.key.is_some() && self.keys.len() as u64 == self.most_keys => {
                Refusal::KeysFull { retry_after: Duration::ZERO }
            }
            _ => return None,
        }))
    }

    /// Grants a lease on the requested token, or on one that no earlier ticket named.
    fn grant(&mut self, asked: &Allocation, named: &[TokenId]) -> Grant {
        let pool = asked.pool;
        let mut free: Vec<TokenId> = self.free(pool).iter().map(|token| token.id).collect();
        free.retain(|id| !named.contains(id));
        let queue = self.queue_of(pool);
        // Rather one that no ticket names.
        free.sort_by_key(|id| queue.iter().any(|waiting| waiting.asked.token == Some(*id)));
        let mut oldest: Vec<TokenId> = self.useful(pool).iter().map(|l| l.token_id).collect();
        oldest.retain(|id| !named.contains(id));
        let id = asked.token.or(free.first().copied()).unwrap_or_else(|| oldest[0]);
        let running = self.latest(id).filter(|lease| lease.end.is_none()).map(|lease| lease.id);
        let evicted = running.map(|id| self.end(id, EndReason::Evicted));
        let until = self.now.after(asked.lease.unwrap_or(self.policy(pool).lease));
        let (user, fence) = (asked.user.clone(), self.fence().plus(1));
        let lease = Lease {
            pool,
            note: asked.note.clone(),
            previous_fence: self.latest(id).map_or(Fence::NONE, |lease| lease.fence),
            ..Lease::granted(asked.lease_id, id, user, fence, self.now, until)
        };
        self.leases.push(lease.clone());
        if let Some(key) = asked.user_key() {
            let (lease_id, evicted) = (lease.id, running);
            self.keys.insert(key, Used { lease_id, evicted, asked: asked.clone() });
        }
        let (name, labels) = self.name_and_labels(id);
        Grant { lease, value: self.any_token(id).value.clone(), name, labels, evicted }
    }

    /// Name and labels of a token, unless it has left its pool.
    fn name_and_labels(&self, id: TokenId) -> (Option<TokenName>, Labels) {
        let token = self.any_token(id);
        let is_held = self.latest(id).is_some_and(|lease| lease.end.is_none());
        let is_gone = self.record(token.pool).is_none() || token.retired_at.is_some() && !is_held;
        if is_gone {
            return Default::default();
        }
        (Some(token.name.clone()), token.labels.clone())
    }
}
