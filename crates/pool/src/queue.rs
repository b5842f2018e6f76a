use std::collections::{HashMap, VecDeque};

use crate::{Inconsistent, LeaseId, ServerId, Ticket, Timestamp, TokenId};

/// The queue of a pool, first come first served.
///
/// Finding a ticket by rank or by lease does not search the queue. Removing a ticket moves the tickets
/// behind it (or before it, if they are fewer).
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    /// Tickets in the order of their numbers.
    tickets: VecDeque<Ticket>,
    numbers: HashMap<LeaseId, i64>,
    /// Number of tickets that name each token, if any.
    named: HashMap<TokenId, usize>,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.tickets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    /// Tickets in queue order.
    pub fn tickets(&self) -> impl Iterator<Item = &Ticket> {
        self.tickets.iter()
    }

    pub fn ticket(&self, lease_id: LeaseId) -> Option<&Ticket> {
        self.rank(lease_id).map(|rank| &self.tickets[rank])
    }

    /// Number of tickets before this one.
    pub fn rank(&self, lease_id: LeaseId) -> Option<usize> {
        let number = self.numbers.get(&lease_id)?;
        self.tickets.binary_search_by_key(number, |ticket| ticket.number).ok()
    }

    /// Whether any ticket names a token.
    pub fn names_tokens(&self) -> bool {
        !self.named.is_empty()
    }

    /// Whether a ticket names this token.
    pub fn names(&self, token: TokenId) -> bool {
        self.named.contains_key(&token)
    }

    /// Adds a ticket at the end.
    pub fn add(&mut self, ticket: Ticket) -> Result<(), Inconsistent> {
        let Ticket { number, lease_id, token, .. } = ticket;
        if self.tickets.back().is_some_and(|last| last.number >= number) {
            return Err(Inconsistent(format!("ticket {number} comes too late")));
        }
        if let Some(token) = token {
            *self.named.entry(token).or_default() += 1;
        }
        self.numbers.insert(lease_id, number);
        self.tickets.push_back(ticket);
        Ok(())
    }

    pub fn remove(&mut self, lease_id: LeaseId) -> Option<Ticket> {
        let ticket = self.tickets.remove(self.rank(lease_id)?)?;
        self.numbers.remove(&lease_id);
        if let Some(token) = ticket.token
            && let Some(count) = self.named.get_mut(&token)
        {
            *count -= 1;
            if *count == 0 {
                self.named.remove(&token);
            }
        }
        Some(ticket)
    }

    /// Moves the ticket to another server.
    pub fn transfer(&mut self, lease_id: LeaseId, server: ServerId, at: Timestamp) {
        if let Some(rank) = self.rank(lease_id) {
            let ticket = &mut self.tickets[rank];
            (ticket.server, ticket.heard_at) = (server, at);
        }
    }

    pub fn hear(&mut self, server: ServerId, at: Timestamp) {
        for ticket in self.tickets.iter_mut().filter(|ticket| ticket.server == server) {
            ticket.heard_at = at;
        }
    }
}
