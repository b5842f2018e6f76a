use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Inconsistent, LeaseId, Timestamp};

/// Names a running server, of which several may share a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServerId(pub Uuid);

/// How many may wait for a token at the same time.
pub const MAX_WAITING: usize = 10_000;

/// A server that has not been heard of for so long has died, and those who waited there are gone.
pub const SILENCE: Duration = Duration::from_secs(5);

/// A place in the queue of those who wait for a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Names the ticket, and the lease that it is for.
    pub lease_id: LeaseId,
    /// Smaller numbers come first.
    pub number: i64,
    /// The server that the one who waits is connected to; only it serves the ticket.
    pub server: ServerId,
    /// When that server was last heard of.
    pub heard_at: Timestamp,
    /// When the wait is over.
    pub until: Timestamp,
}

impl Ticket {
    /// Whether somebody still waits with this ticket, as the server `asker` has to assume at `now`.
    /// A pool that is not `shared` has one server at a time, so that all others are gone.
    #[must_use]
    pub fn is_live(&self, now: Timestamp, asker: ServerId, shared: bool) -> bool {
        let alive = self.server == asker || (shared && self.heard_at.after(SILENCE) > now);
        self.until > now && alive
    }
}

/// Those who wait, first come first served.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    tickets: BTreeMap<i64, Ticket>,
    numbers: HashMap<LeaseId, i64>,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.tickets.len()
    }

    /// In their order.
    pub fn tickets(&self) -> impl Iterator<Item = &Ticket> {
        self.tickets.values()
    }

    pub fn ticket(&self, lease_id: LeaseId) -> Option<&Ticket> {
        self.numbers.get(&lease_id).and_then(|number| self.tickets.get(number))
    }

    /// How many are before the ticket; None when there is no such ticket.
    pub fn rank(&self, lease_id: LeaseId) -> Option<usize> {
        let number = self.numbers.get(&lease_id)?;
        Some(self.tickets.range(..number).count())
    }

    pub fn next_number(&self) -> i64 {
        self.tickets.last_key_value().map_or(1, |(number, _)| number + 1)
    }

    pub fn add(&mut self, ticket: Ticket) -> Result<(), Inconsistent> {
        let (number, lease_id) = (ticket.number, ticket.lease_id);
        if self.tickets.contains_key(&number) || self.numbers.contains_key(&lease_id) {
            return Err(Inconsistent(format!("ticket {number} of {lease_id:?} occurs twice")));
        }
        self.numbers.insert(lease_id, number);
        self.tickets.insert(number, ticket);
        Ok(())
    }

    pub fn remove(&mut self, lease_id: LeaseId) -> Result<(), Inconsistent> {
        let number = self.numbers.remove(&lease_id);
        let number =
            number.ok_or_else(|| Inconsistent(format!("nobody waits for lease {lease_id:?}")))?;
        self.tickets.remove(&number);
        Ok(())
    }

    pub fn hear(&mut self, server: ServerId, at: Timestamp) {
        for ticket in self.tickets.values_mut().filter(|ticket| ticket.server == server) {
            ticket.heard_at = at;
        }
    }
}
