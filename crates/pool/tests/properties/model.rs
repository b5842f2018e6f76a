//! Second implementation of the rules: too slow to use, and too simple to be wrong.

use std::collections::HashMap;
use std::time::Duration;

use pool::{
    Allocation, Command, End, EndReason, Fence, Grant, HEARTBEAT_INTERVAL, IdempotencyKeys, Lease,
    LeaseId, MAX_COUNTED_GAP, MAX_TICKETS, Outcome, Policy, Refusal, Remembered, SERVER_TIMEOUT,
    ServerId, TICKET_GRACE, Timestamp, Token, TokenId, UserKey, WhenFull,
};

/// Whole history of a pool.
pub struct Model {
    pub now: Timestamp,
    pub tokens: Vec<Token>,
    pub policy: Policy,
    pub shared: bool,
    pub most_keys: u64,
    /// All granted leases, in the order of granting.
    pub leases: Vec<Lease>,
    pub queue: Vec<Waiting>,
    pub keys: HashMap<UserKey, Used>,
    pub given_up: Vec<LeaseId>,
    /// Clients that still have to receive the response that their wait timed out, as each server knows
    /// them. A server that has just started knows none.
    pub timed_out: HashMap<ServerId, HashMap<UserKey, Timestamp>>,
    /// Server that decides the batch, and the last fence before the batch.
    server: ServerId,
    fence_before: Fence,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub lease_id: LeaseId,
    pub server: ServerId,
    pub heard_at: Timestamp,
    pub since: Timestamp,
    pub until: Timestamp,
    pub key: Option<UserKey>,
    pub asked: (Option<Duration>, Option<Duration>),
}

impl Waiting {
    fn told(&self, position: usize) -> Outcome {
        let Waiting { lease_id: ticket, since, until, .. } = *self;
        Outcome::Queued(pool::Waiting { ticket, position, since, until })
    }
}

#[derive(Clone)]
pub struct Used {
    pub lease_id: LeaseId,
    pub evicted: Option<LeaseId>,
    pub asked: Allocation,
}

impl Model {
    pub fn new(policy: Policy, tokens: Vec<Token>, shared: bool, most_keys: u64) -> Self {
        let (now, server) = (Timestamp::from_micros(0), ServerId(uuid::Uuid::nil()));
        let (leases, queue, keys, given_up, timed_out) = Default::default();
        let fence_before = Fence::NONE;
        Model {
            now,
            tokens,
            policy,
            shared,
            most_keys,
            leases,
            queue,
            keys,
            given_up,
            timed_out,
            server,
            fence_before,
        }
    }

    pub fn fence(&self) -> Fence {
        self.leases.last().map_or(Fence::NONE, |lease| lease.fence)
    }

    pub fn latest(&self, id: TokenId) -> Option<&Lease> {
        self.leases.iter().rev().find(|lease| lease.token_id == id)
    }

    pub fn lease(&self, id: LeaseId) -> Option<&Lease> {
        self.leases.iter().find(|lease| lease.id == id)
    }

    /// Running leases, oldest first.
    pub fn running(&self) -> Vec<&Lease> {
        self.leases.iter().filter(|lease| lease.is_running(self.now)).collect()
    }

    /// Tokens without a running lease, longest-free first.
    pub fn free(&self) -> Vec<&Token> {
        let mut free = vec![];
        for (place, token) in self.tokens.iter().enumerate() {
            match self.latest(token.id).map(|lease| (lease.fence, lease.end_at(self.now))) {
                None => free.push((Timestamp::MIN, Fence::NONE, place, token)),
                Some((fence, Some(end))) => free.push((end.at, fence, place, token)),
                Some((_, None)) => {}
            }
        }
        free.sort_by_key(|&(at, fence, place, _)| (at, fence, place));
        free.into_iter().map(|(.., token)| token).collect()
    }

    /// Running leases, oldest first, each with the time from which it may be evicted.
    pub fn evictable(&self) -> Vec<(Fence, Timestamp)> {
        let evicts = self.policy.when_full == WhenFull::EvictOldest;
        let running = self.running().into_iter().filter(|_| evicts);
        running.map(|lease| (lease.fence, lease.started_at.after(self.policy.min_hold))).collect()
    }

    pub fn position_of(&self, lease_id: LeaseId) -> Option<usize> {
        self.queue.iter().position(|waiting| waiting.lease_id == lease_id)
    }

    /// All remembered keys, as a store would find them.
    pub fn remembered(&self) -> IdempotencyKeys {
        let found = self.keys.iter().map(|(key, used)| {
            let lease = self.lease(used.lease_id).unwrap().clone();
            let evicted = used.evicted.map(|id| self.lease(id).unwrap().clone());
            let (asked_lease, asked_wait) = (used.asked.lease, used.asked.wait);
            (key.clone(), Remembered { lease, evicted, asked_lease, asked_wait })
        });
        let room = self.most_keys - self.keys.len() as u64;
        IdempotencyKeys { found: found.collect(), room, ..IdempotencyKeys::default() }
    }

    /// Subtracts outages from every server's silence: time since the newest journal entry counts only
    /// up to a limit.
    pub fn forgive(&mut self, journal_at: Timestamp) {
        let beyond = self.now.since(journal_at).saturating_sub(MAX_COUNTED_GAP);
        if !self.shared || beyond.is_zero() {
            return;
        }
        let heard = self.queue.clone();
        for waiting in &mut self.queue {
            let same = heard.iter().filter(|other| other.server == waiting.server);
            waiting.heard_at = same.map(|other| other.heard_at).max().unwrap().after(beyond);
        }
    }

    pub fn begin(&mut self, server: ServerId, journal_at: Timestamp) {
        self.forgive(journal_at);
        (self.server, self.fence_before) = (server, self.fence());
        for lease in &mut self.leases {
            lease.end = lease.end_at(self.now);
        }
        let (now, shared) = (self.now, self.shared);
        for waiting in self.queue.iter_mut().filter(|w| !shared && w.key.is_some()) {
            if waiting.server != server {
                (waiting.server, waiting.heard_at) = (server, now);
            }
        }
        for over in self.queue.iter().filter(|waiting| waiting.until <= now) {
            for known in self.timed_out.values_mut() {
                known.extend(over.key.clone().map(|key| (key, now)));
            }
        }
        for known in self.timed_out.values_mut() {
            known.retain(|_, at| at.after(TICKET_GRACE + MAX_COUNTED_GAP) > now);
        }
        self.queue.retain(|waiting| {
            let most = if waiting.key.is_some() {
                TICKET_GRACE + HEARTBEAT_INTERVAL + MAX_COUNTED_GAP
            } else {
                SERVER_TIMEOUT
            };
            let heard = shared && waiting.heard_at.after(most) > now;
            waiting.until > now && (waiting.server == server || heard)
        });
    }

    pub fn decide(&mut self, command: &Command) -> Option<Outcome> {
        Some(match command {
            Command::Allocate(allocation) => return self.allocate(allocation),
            Command::Release { token_id, if_held } => {
                if self.tokens.iter().all(|token| token.id != *token_id) {
                    return Some(Outcome::UnknownToken);
                }
                let latest = self.latest(*token_id).cloned();
                let held = latest.as_ref().is_some_and(|lease| {
                    let as_expected = if_held.lease_id.is_none_or(|id| id == lease.id)
                        && if_held.user.is_none_or(|user| user == lease.user.id);
                    as_expected && lease.end.is_none_or(|end| end.reason == EndReason::Released)
                });
                if !held && (if_held.lease_id.is_some() || if_held.user.is_some()) {
                    return Some(Outcome::HolderMismatch { latest });
                }
                let running = latest.filter(|lease| lease.end.is_none());
                Outcome::Released { ended: running.map(|l| self.end(l.id, EndReason::Released)) }
            }
            Command::ReleaseLease { lease_id } => match self.if_latest(*lease_id) {
                None => Outcome::NotLatest,
                Some(Lease { end: None, .. }) => {
                    Outcome::LeaseReleased(self.end(*lease_id, EndReason::Released))
                }
                Some(lease) if lease.end.unwrap().reason == EndReason::Released => {
                    Outcome::LeaseReleased(lease)
                }
                Some(lease) => Outcome::LeaseOver(lease),
            },
            Command::Renew { lease_id } => self.renew(*lease_id),
            Command::Withdraw { lease_id } => {
                self.queue.retain(|waiting| waiting.lease_id != *lease_id);
                let ended = self.lease(*lease_id).is_some_and(|lease| lease.end.is_none());
                if ended {
                    self.end(*lease_id, EndReason::Released);
                }
                Outcome::Withdrawn { ended }
            }
            Command::GiveUp { lease_id } => match self.position_of(*lease_id) {
                Some(place) => {
                    self.queue.remove(place);
                    self.given_up.push(*lease_id);
                    Outcome::GaveUp
                }
                None => self.if_latest(*lease_id).map_or(Outcome::UnknownTicket, Outcome::Served),
            },
            Command::Lapse { lease_id } => {
                let server = self.server;
                self.queue.retain(|one| one.lease_id != *lease_id || one.server != server);
                Outcome::GaveUp
            }
            Command::TimeoutDelivered { key } => {
                self.told(key);
                Outcome::GaveUp
            }
            Command::Heartbeat => {
                let (server, now) = (self.server, self.now);
                let own = self.queue.iter_mut().filter(|waiting| waiting.server == server);
                own.for_each(|waiting| waiting.heard_at = now);
                Outcome::Heard
            }
            Command::Clear => {
                let running: Vec<LeaseId> = self.running().iter().map(|lease| lease.id).collect();
                for id in &running {
                    self.end(*id, EndReason::Cleared);
                }
                Outcome::Cleared { ended: running.len() }
            }
        })
    }

    /// First ticket of the deciding server, if a token is available for it.
    pub fn next_in_queue(&self, connected: impl Fn(LeaseId) -> bool) -> Option<LeaseId> {
        let here = |waiting: &Waiting| waiting.server == self.server && connected(waiting.lease_id);
        let before = self.queue.iter().position(here)?;
        let there = self.free().len()
            + self
                .evictable()
                .into_iter()
                .filter(|&(fence, from)| from <= self.now && fence <= self.fence_before)
                .count();
        (before < there).then(|| self.queue[before].lease_id)
    }

    fn allocate(&mut self, asked: &Allocation) -> Option<Outcome> {
        if asked.until.is_some() && self.given_up.contains(&asked.lease_id) {
            return Some(Outcome::NotAllocated(Refusal::GivenUp));
        }
        let key = asked.user_key();
        let of_key = self.queue.iter().position(|w| key.is_some() && w.key == key);
        let known = key.as_ref().is_some_and(|key| self.keys.contains_key(key));
        let ticket = of_key.or_else(|| self.position_of(asked.lease_id));
        if of_key.is_some_and(|place| self.queue[place].asked != (asked.lease, asked.wait)) {
            return Some(Outcome::NotAllocated(Refusal::KeyReused));
        }
        let asked = &match ticket {
            Some(place) => Allocation { lease_id: self.queue[place].lease_id, ..asked.clone() },
            None => asked.clone(),
        };
        if !known && key.as_ref().is_some_and(|key| self.told(key)) {
            return Some(self.full(self.queue.len() + 1));
        }
        if let Some(outcome) = self.settled(asked, ticket.is_some()) {
            ticket.map(|place| self.queue.remove(place));
            return Some(outcome);
        }
        let before = ticket.unwrap_or(self.queue.len());
        let position = before + 1;
        let free = self.free().len();
        let mut there = vec![Fence::NONE; free];
        let evictable = self.evictable();
        there.extend(evictable.iter().filter(|(_, from)| *from <= self.now).map(|(f, _)| f));
        if (before < there.len() || ticket.is_none())
            && let Some(outcome) = self.limit_reached(asked)
        {
            ticket.map(|place| self.queue.remove(place));
            return Some(outcome);
        }
        if let Some(fence) = there.get(before) {
            if *fence > self.fence_before {
                return None;
            }
            ticket.map(|place| self.queue.remove(place));
            return Some(Outcome::Allocated(self.grant(asked)));
        }
        if let Some(place) = ticket {
            let waiting = &mut self.queue[place];
            if waiting.server != self.server {
                (waiting.server, waiting.heard_at) = (self.server, self.now);
            }
            return Some(waiting.told(position));
        }
        let wait = match (asked.wait, self.policy.when_full) {
            (Some(wait), _) => wait,
            (None, WhenFull::Wait) => Duration::from_secs(30),
            (None, _) => Duration::ZERO,
        };
        if wait.is_zero() {
            return Some(self.full(position));
        }
        if self.queue.len() == MAX_TICKETS {
            return Some(Outcome::NotAllocated(Refusal::QueueFull));
        }
        let most = Duration::from_secs(if key.is_some() { 86_400 } else { 60 });
        let (lease_id, server, now) = (asked.lease_id, self.server, self.now);
        let until = now.after(wait.min(most));
        let asked = (asked.lease, asked.wait);
        for known in self.timed_out.values_mut() {
            known.retain(|timed_out, _| key.as_ref() != Some(timed_out));
        }
        let waiting = Waiting { lease_id, server, heard_at: now, since: now, until, key, asked };
        let told = waiting.told(position);
        self.queue.push(waiting);
        Some(told)
    }

    /// Delivers the response that the wait timed out, if the deciding server knows of the timeout.
    fn told(&mut self, key: &UserKey) -> bool {
        let knows = self.timed_out[&self.server].contains_key(key);
        if knows {
            for known in self.timed_out.values_mut() {
                known.remove(key);
            }
        }
        knows
    }

    fn full(&self, position: usize) -> Outcome {
        let deadlines = self.running().into_iter().map(|lease| lease.expires_at);
        let moments = deadlines.chain(self.evictable().into_iter().map(|(_, from)| from));
        let next = moments.filter(|at| *at > self.now).min();
        let retry_after = next.map_or(Duration::ZERO, |at| at.since(self.now));
        Outcome::NotAllocated(Refusal::Full { position, retry_after })
    }

    /// Outcome of an allocation that does not depend on available tokens, if any.
    fn settled(&self, asked: &Allocation, queued: bool) -> Option<Outcome> {
        let used = asked.user_key().and_then(|key| self.keys.get(&key));
        if let Some(Used { lease_id, evicted, asked: before }) = used {
            if (asked.lease, asked.wait) != (before.lease, before.wait) {
                return Some(Outcome::NotAllocated(Refusal::KeyReused));
            }
            let lease = self.lease(*lease_id).unwrap().clone();
            let token = self.tokens.iter().find(|token| token.id == lease.token_id).unwrap();
            let evicted = evicted.map(|id| self.lease(id).unwrap().clone());
            return Some(Outcome::Allocated(Grant { lease, value: token.value, evicted }));
        }
        let Policy { lease, when_full, .. } = self.policy;
        Some(Outcome::NotAllocated(match () {
            () if self.tokens.is_empty() => Refusal::NoTokens,
            () if asked.lease > Some(lease) => Refusal::LeaseTooLong { longest: lease },
            () if !queued && asked.wait.is_some() && when_full == WhenFull::Reject => {
                Refusal::WaitNotOffered
            }
            () => return None,
        }))
    }

    /// Refusal because of a limit of the user, if any.
    fn limit_reached(&self, asked: &Allocation) -> Option<Outcome> {
        let has = self.running().iter().filter(|l| l.user.id == asked.user.id).count();
        Some(Outcome::NotAllocated(match self.policy.max_per_user {
            Some(limit) if has >= limit as usize => Refusal::UserLimit { limit },
            _ if asked.key.is_some() && self.keys.len() as u64 == self.most_keys => {
                Refusal::KeysFull { retry_after: Duration::ZERO }
            }
            _ => return None,
        }))
    }

    fn grant(&mut self, asked: &Allocation) -> Grant {
        let oldest = self.running().first().map(|lease| lease.id);
        let evicts = oldest.filter(|_| self.free().is_empty());
        let evicted = evicts.map(|id| self.end(id, EndReason::Evicted));
        let Token { id, value, .. } = *self.free()[0];
        let until = self.now.after(asked.lease.unwrap_or(self.policy.lease));
        let (user, fence) = (asked.user.clone(), self.fence().plus(1));
        let lease = Lease {
            previous_fence: self.latest(id).map_or(Fence::NONE, |lease| lease.fence),
            ..Lease::granted(asked.lease_id, id, user, fence, self.now, until)
        };
        self.leases.push(lease.clone());
        if let Some(key) = asked.user_key() {
            let (lease_id, evicted) = (lease.id, evicts);
            self.keys.insert(key, Used { lease_id, evicted, asked: asked.clone() });
        }
        Grant { lease, value, evicted }
    }

    fn renew(&mut self, lease_id: LeaseId) -> Outcome {
        let Some(lease) = self.if_latest(lease_id) else { return Outcome::NotLatest };
        if lease.end.is_some() {
            return Outcome::LeaseOver(lease);
        }
        let limit = lease.started_at.after(self.policy.max_lease.unwrap_or(self.policy.lease));
        if lease.expires_at >= limit {
            return Outcome::NotRenewable(lease);
        }
        let length = lease.granted_until.since(lease.started_at);
        let renewed = lease.expires_at.max(self.now.after(length).min(limit));
        let lease = self.leases.iter_mut().find(|lease| lease.id == lease_id).unwrap();
        lease.expires_at = renewed;
        Outcome::Renewed(lease.clone())
    }

    fn if_latest(&self, id: LeaseId) -> Option<Lease> {
        self.lease(id).filter(|lease| self.latest(lease.token_id).unwrap().id == id).cloned()
    }

    fn end(&mut self, id: LeaseId, reason: EndReason) -> Lease {
        let lease = self.leases.iter_mut().find(|lease| lease.id == id).unwrap();
        lease.end = Some(End { at: self.now, reason });
        lease.clone()
    }
}
