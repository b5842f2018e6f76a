use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use crate::{
    Inconsistent, LeaseId, MAX_COUNTED_GAP, PoolId, TICKET_GRACE, Ticket, Timestamp, UserKey,
};

/// Time for which a timed out wait is remembered, for the client's next request.
const TOLD_WITHIN: Duration = TICKET_GRACE.saturating_add(MAX_COUNTED_GAP);

/// Maximum number of given up tickets that are remembered.
const GIVEN_UP: usize = 1_000;

/// The part of the queues that all pools of a ledger share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waits {
    /// The pool of each ticket.
    tickets: HashMap<LeaseId, PoolId>,
    /// Pools with tickets.
    pools: BTreeSet<PoolId>,
    /// The tickets with a key.
    keys: HashMap<UserKey, LeaseId>,
    /// Latest given up tickets. Requests may still wait with them, at any server.
    given_up: VecDeque<LeaseId>,
    /// Times at which waits of tickets with a key timed out, kept until their clients received the
    /// response or may no longer ask. The list has the oldest first. A replica that was loaded from a
    /// snapshot lacks them.
    timed_out: HashMap<UserKey, Timestamp>,
    timed_out_order: VecDeque<(Timestamp, UserKey)>,
    /// Largest number so far. The number of a ticket that left is not used again at once, since one
    /// statement may write both tickets.
    last_number: i64,
}

impl Waits {
    /// Number of tickets.
    pub fn len(&self) -> usize {
        self.tickets.len()
    }

    /// Pools with tickets, in order.
    pub fn pools(&self) -> impl Iterator<Item = PoolId> {
        self.pools.iter().copied()
    }

    /// The pool of a ticket.
    pub fn pool_of(&self, lease_id: LeaseId) -> Option<PoolId> {
        self.tickets.get(&lease_id).copied()
    }

    /// The ticket with this key.
    pub fn of_key(&self, key: &UserKey) -> Option<LeaseId> {
        self.keys.get(key).copied()
    }

    pub fn was_given_up(&self, lease_id: LeaseId) -> bool {
        self.given_up.contains(&lease_id)
    }

    pub fn next_number(&self) -> i64 {
        self.last_number + 1
    }

    /// Checks that a ticket does not contradict the others.
    pub fn check(&self, ticket: &Ticket) -> Result<(), Inconsistent> {
        let Ticket { number, lease_id, .. } = ticket;
        if self.tickets.contains_key(lease_id) {
            return Err(Inconsistent(format!("{lease_id:?} is waited for twice")));
        }
        if ticket.user_key().is_some_and(|key| self.keys.contains_key(&key)) {
            return Err(Inconsistent(format!("ticket {number} has the key of another one")));
        }
        Ok(())
    }

    /// Records a ticket that a pool's queue got.
    pub fn add(&mut self, ticket: &Ticket) {
        let Ticket { number, lease_id, pool, .. } = *ticket;
        if let Some(key) = ticket.user_key() {
            // A server that did not know of the timeout queued the client again.
            self.timed_out.remove(&key);
            self.keys.insert(key, lease_id);
        }
        // A server that does not know that the ticket was given up may queue it again.
        self.given_up.retain(|given_up| *given_up != lease_id);
        self.last_number = self.last_number.max(number);
        self.tickets.insert(lease_id, pool);
        self.pools.insert(pool);
    }

    /// Records that a ticket left its pool's queue, which is `empty` since.
    pub fn remove(&mut self, ticket: &Ticket, empty: bool) {
        self.tickets.remove(&ticket.lease_id);
        if let Some(key) = ticket.user_key() {
            self.keys.remove(&key);
        }
        if empty {
            self.pools.remove(&ticket.pool);
        }
    }

    /// Remembers, for the client, that the wait of a ticket timed out.
    pub fn time_out(&mut self, ticket: &Ticket, at: Timestamp) {
        let is_old = |(then, _): &mut (Timestamp, UserKey)| then.after(TOLD_WITHIN) <= at;
        while let Some((then, key)) = self.timed_out_order.pop_front_if(is_old) {
            if self.timed_out.get(&key) == Some(&then) {
                self.timed_out.remove(&key);
            }
        }
        if let Some(key) = ticket.user_key() {
            self.timed_out.insert(key.clone(), at);
            self.timed_out_order.push_back((at, key));
        }
    }

    pub fn time_out_told(&mut self, key: &UserKey) {
        self.timed_out.remove(key);
    }

    /// Whether a request with this key at `now` gets the response that its wait timed out.
    pub fn has_timed_out(&self, key: &UserKey, now: Timestamp) -> bool {
        self.timed_out.get(key).is_some_and(|at| at.after(TOLD_WITHIN) > now)
    }

    /// Remembers that a ticket was given up.
    pub fn give_up(&mut self, lease_id: LeaseId) {
        if self.given_up.len() == GIVEN_UP {
            self.given_up.pop_front();
        }
        self.given_up.push_back(lease_id);
    }
}
