//! Availability of a pool's tokens for tickets and allocations.

use std::collections::BTreeSet;

use crate::slots::Slot;
use crate::{
    Fence, Lease, LeaseId, Observer, Policy, Pool, Ticket, Timestamp, TokenId, Waiting, WhenFull,
};

/// Availability of a token for an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Available {
    /// A free token.
    Free,
    /// A token, provided that leases up to this fence may be evicted, for this allocation or for the
    /// tickets before it.
    Evictable { fence: Fence },
    /// No token before this moment, when the next lease may be evicted.
    Later { from: Timestamp },
    /// No token until a lease ends.
    Nothing,
}

/// The tokens that earlier tickets claim. A ticket that can't be served yet, because its client is not
/// connected or uses another server, claims a token that it could use, so that no later one delays it.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// Number of tickets that accept any token.
    any: usize,
    /// Tokens that are named by tickets.
    named: BTreeSet<TokenId>,
    /// How many of these are free.
    free: usize,
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

    /// The claims of the first `rank` tickets.
    pub(crate) fn claims(&self, rank: usize) -> Claims {
        let mut claims = Claims::default();
        if self.queue.names_tokens() {
            self.queue.tickets().take(rank).for_each(|ticket| self.claim(&mut claims, ticket));
        } else {
            claims.any = rank;
        }
        claims
    }

    fn claim(&self, claims: &mut Claims, ticket: &Ticket) {
        match ticket.token {
            None => claims.any += 1,
            Some(token) => {
                let is_new = claims.named.insert(token);
                claims.free += usize::from(is_new && self.is_free(token));
            }
        }
    }

    /// Whether the token is available and has no running lease.
    fn is_free(&self, token: TokenId) -> bool {
        self.token(token).is_some_and(|view| {
            view.token.is_available() && view.latest.is_none_or(|lease| lease.end.is_some())
        })
    }

    /// First ticket of the observer with a `connected` client that can be served now, if leases up to
    /// `fence_before` may be evicted; otherwise the earliest moment at which one may be served, if
    /// nothing else happens.
    pub(crate) fn first_of(
        &self,
        observer: &Observer,
        fence_before: Fence,
        connected: &impl Fn(&Ticket) -> bool,
    ) -> Result<&Ticket, Option<Timestamp>> {
        let (mut claims, mut chance) = (Claims::default(), None::<Timestamp>);
        let names_tokens = self.queue.names_tokens();
        // Whether the tickets that accept any token are still to be considered: if one of them can't be
        // served, neither can those behind it.
        let mut any = true;
        for ticket in self.queue.tickets().filter(|ticket| ticket.is_live(observer)) {
            let is_own = ticket.server == observer.server && connected(ticket);
            if is_own && (any || ticket.token.is_some()) {
                match self.available(ticket.token, &claims, observer.now) {
                    Available::Free => return Ok(ticket),
                    Available::Evictable { fence } if fence <= fence_before => return Ok(ticket),
                    Available::Evictable { .. } => chance = Some(observer.now),
                    Available::Later { from } => {
                        chance = Some(chance.map_or(from, |at| at.min(from)));
                    }
                    Available::Nothing => {}
                }
                any = any && ticket.token.is_some();
                if !any && !names_tokens {
                    break;
                }
            }
            self.claim(&mut claims, ticket);
        }
        Err(chance)
    }

    /// Earliest moment at which a ticket of the observer with a `connected` client may be served, if
    /// nothing else happens. `None` if only the end of a lease can help, or without such a ticket.
    #[must_use]
    pub fn next_chance(
        &self,
        observer: &Observer,
        connected: impl Fn(&Ticket) -> bool,
    ) -> Option<Timestamp> {
        let first = self.first_of(observer, Fence::new(i64::MAX), &connected);
        first.map_or_else(|chance| chance, |_| Some(observer.now))
    }

    /// Availability at `now` of this token, or of any, for an allocation behind tickets with `claims`.
    ///
    /// The work grows with the number of tickets before it that could evict already: none if the queue
    /// is empty, few otherwise.
    pub(crate) fn available(
        &self,
        token: Option<TokenId>,
        claims: &Claims,
        now: Timestamp,
    ) -> Available {
        let own = match token {
            Some(token) => match self.available_token(token, claims, now) {
                own @ (Available::Free | Available::Evictable { .. }) => Some(own),
                not_now => return not_now,
            },
            None => None,
        };
        let Some(behind) = claims.any.checked_sub(self.free() - claims.free) else {
            return own.unwrap_or(Available::Free);
        };
        if claims.any == 0
            && let Some(own) = own
        {
            return own;
        }
        let unclaimed =
            self.evictable().filter(|(lease, _)| !claims.named.contains(&lease.token_id));
        for (before, (lease, from)) in unclaimed.enumerate() {
            if from > now {
                return Available::Later { from };
            }
            if before == behind {
                let fence = match own {
                    Some(Available::Evictable { fence }) => fence.max(lease.fence),
                    _ => lease.fence,
                };
                return Available::Evictable { fence };
            }
        }
        Available::Nothing
    }

    /// Availability of this token, as if only tickets that name it were before the allocation.
    fn available_token(&self, token: TokenId, claims: &Claims, now: Timestamp) -> Available {
        let Some(&place) = self.places.get(&token) else {
            return Available::Nothing;
        };
        let Slot { token, latest } = &self.slots[place];
        if !token.is_available() || claims.named.contains(&token.id) {
            return Available::Nothing;
        }
        let Policy { when_full, min_hold, .. } = self.record.policy;
        match latest.as_ref().filter(|lease| lease.end.is_none()) {
            None => Available::Free,
            Some(_) if when_full != WhenFull::EvictOldest => Available::Nothing,
            Some(lease) => match lease.started_at.after(min_hold) {
                from if from > now => Available::Later { from },
                _ => Available::Evictable { fence: lease.fence },
            },
        }
    }

    /// Place of the token for an allocation with these `claims` before it, which is available: a free
    /// token, or the one whose lease is evicted.
    pub(crate) fn choose(&self, token: Option<TokenId>, claims: &Claims) -> Option<u32> {
        if let Some(token) = token {
            return self.places.get(&token).copied();
        }
        let mut free = self.free.iter().map(|free| free.place);
        let mut running = self.running.values().copied();
        if !self.queue.names_tokens() {
            // Free tokens belong to earlier tickets. If any token is free, these will evict.
            return free.next().or_else(|| running.next());
        }
        let id = |place: &u32| self.slots[*place].token.id;
        let unclaimed = |place: &u32| !claims.named.contains(&id(place));
        // Later tickets that name a token are left theirs, if others are free.
        let unnamed = free.clone().find(|place| !self.queue.names(id(place)));
        unnamed.or_else(|| free.find(unclaimed)).or_else(|| running.find(unclaimed))
    }

    /// Leases that may be evicted, oldest first, each with the time from which it may be. Empty if the
    /// policy does not evict.
    fn evictable(&self) -> impl Iterator<Item = (&Lease, Timestamp)> {
        let Policy { when_full, min_hold, .. } = self.record.policy;
        let places = self.running.values().take_while(move |_| when_full == WhenFull::EvictOldest);
        let leases = places.filter_map(|place| self.slots[*place].latest.as_ref());
        leases.map(move |lease| (lease, lease.started_at.after(min_hold)))
    }

    /// Earliest moment after `now` at which a token may become available: a running lease reaches its
    /// deadline or may be evicted, or a taint is removed.
    #[must_use]
    pub fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        let after = |at: &Timestamp| *at > now;
        let deadline = self.deadlines.iter().find(|(at, fence)| {
            *at > now && (self.last.is_empty() || self.running.contains_key(fence))
        });
        let evictable = self.evictable().map(|(_, from)| from).find(after);
        let blocks = |place: u32| {
            let token = &self.slots[place].token;
            token.retired_at.is_none() && !token.is_available()
        };
        let until = self.untils.iter().find(|(at, place)| *at > now && blocks(*place));
        let [deadline, until] = [deadline.map(|(at, _)| *at), until.map(|(at, _)| *at)];
        [deadline, evictable, until].into_iter().flatten().min()
    }

    /// As [`Pool::next_end`], of this token.
    #[must_use]
    pub fn next_end_of(&self, token: TokenId, now: Timestamp) -> Option<Timestamp> {
        let Slot { token, latest } = &self.slots[*self.places.get(&token)?];
        if !token.is_available() {
            return token.taints.blocked_until().filter(|until| *until > now);
        }
        let lease = latest.as_ref().filter(|lease| lease.end.is_none())?;
        let Policy { when_full, min_hold, .. } = self.record.policy;
        let evictable =
            (when_full == WhenFull::EvictOldest).then(|| lease.started_at.after(min_hold));
        let ends = [Some(lease.expires_at), evictable].into_iter().flatten();
        ends.filter(|at| *at > now).min()
    }
}
