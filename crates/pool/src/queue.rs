use std::collections::{HashMap, VecDeque};
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
    /// Whether somebody still waits with this ticket at `now`, as the server `asker` has to assume.
    ///
    /// Others that share the pool have to be heard of, or they have died; but while the asker itself
    /// was out of touch with the database, so may they have been, and their silence means nothing.
    /// Where no others can share it, `in_touch_since` is `None`, and they are gone.
    #[must_use]
    pub fn is_live(
        &self,
        now: Timestamp,
        asker: ServerId,
        in_touch_since: Option<Timestamp>,
    ) -> bool {
        let heard = |since| self.heard_at.max(since).after(SILENCE) > now;
        self.until > now && (self.server == asker || in_touch_since.is_some_and(heard))
    }
}

/// Those who wait, first come first served.
///
/// Of the two ways to find a ticket, by its place and by its lease, neither searches the queue. To
/// remove one moves those behind it (or before it, if they are fewer).
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    /// In the order of their numbers.
    tickets: VecDeque<Ticket>,
    numbers: HashMap<LeaseId, i64>,
    /// The largest number seen: one that was given is not given again right after its ticket left,
    /// since both may come to be written in one statement.
    last_number: i64,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.tickets.len()
    }

    /// In their order.
    pub fn tickets(&self) -> impl Iterator<Item = &Ticket> {
        self.tickets.iter()
    }

    pub fn ticket(&self, lease_id: LeaseId) -> Option<&Ticket> {
        self.rank(lease_id).map(|rank| &self.tickets[rank])
    }

    /// How many are before the ticket; None when there is no such ticket.
    pub fn rank(&self, lease_id: LeaseId) -> Option<usize> {
        let number = self.numbers.get(&lease_id)?;
        self.tickets.binary_search_by_key(number, |ticket| ticket.number).ok()
    }

    pub fn next_number(&self) -> i64 {
        self.last_number + 1
    }

    /// Adds a ticket at the end.
    pub fn add(&mut self, ticket: Ticket) -> Result<(), Inconsistent> {
        let (number, lease_id) = (ticket.number, ticket.lease_id);
        if self.tickets.back().is_some_and(|last| last.number >= number) {
            return Err(Inconsistent(format!("ticket {number} comes too late")));
        }
        if self.numbers.contains_key(&lease_id) {
            return Err(Inconsistent(format!("{lease_id:?} is waited for twice")));
        }
        self.last_number = self.last_number.max(number);
        self.numbers.insert(lease_id, number);
        self.tickets.push_back(ticket);
        Ok(())
    }

    pub fn remove(&mut self, lease_id: LeaseId) -> Result<(), Inconsistent> {
        let rank = self.rank(lease_id);
        let rank =
            rank.ok_or_else(|| Inconsistent(format!("nobody waits for lease {lease_id:?}")))?;
        self.numbers.remove(&lease_id);
        self.tickets.remove(rank);
        Ok(())
    }

    pub fn hear(&mut self, server: ServerId, at: Timestamp) {
        for ticket in self.tickets.iter_mut().filter(|ticket| ticket.server == server) {
            ticket.heard_at = at;
        }
    }
}
