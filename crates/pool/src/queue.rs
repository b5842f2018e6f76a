use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{IdempotencyKey, Inconsistent, LeaseId, Timestamp, User, UserKey};

/// Id of a running server. Several servers may share a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServerId(pub Uuid);

/// Maximum number of tickets in the queue.
pub const MAX_TICKETS: usize = 10_000;

/// Silence after which a server is dead, and its tickets with it. Only time in which some server
/// reached the database counts, see [`MAX_COUNTED_GAP`].
pub const SERVER_TIMEOUT: Duration = Duration::from_secs(5);

/// Interval of the heartbeats of a server with tickets. A server that sees tickets of another, silent
/// server writes heartbeats as well, as a witness of that silence.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Time for which a ticket with a key keeps its place without a request.
pub const TICKET_GRACE: Duration = Duration::from_secs(15);

/// Time for which a timed out wait is remembered, for the client's next request.
const TOLD_WITHIN: Duration = TICKET_GRACE.saturating_add(MAX_COUNTED_GAP);

/// Maximum number of given up tickets that are remembered.
const GIVEN_UP: usize = 1_000;

/// Maximum silence that counts between two journal entries. While the queue has tickets and any server
/// reaches the database, heartbeats keep entries closer together. A larger gap is an outage, in which
/// no server could write a heartbeat.
pub const MAX_COUNTED_GAP: Duration = Duration::from_secs(2);

/// A place in the queue for a token.
///
/// A ticket without a key lasts as long as its request. A ticket with a key keeps its place between
/// requests for at most [`TICKET_GRACE`], and its client may send requests to any server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Id of the ticket, and of the lease that it may become.
    pub lease_id: LeaseId,
    /// Number in the queue; the smallest is the first.
    pub number: i64,
    /// Server to which the client is, or was last, connected.
    pub server: ServerId,
    /// Time of the last sign of life from the server.
    pub heard_at: Timestamp,
    /// When the wait began.
    pub since: Timestamp,
    /// When the wait times out.
    pub until: Timestamp,
    /// The waiting user.
    pub user: User,
    /// The idempotency key of the client's requests.
    pub key: Option<IdempotencyKey>,
    /// The requested length of the lease, if any.
    pub asked_lease: Option<Duration>,
    /// The requested wait, if any.
    pub asked_wait: Option<Duration>,
}

impl Ticket {
    /// Whether the ticket keeps its place between requests.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.key.is_some()
    }

    /// The key and its user, by which requests find the ticket.
    #[must_use]
    pub fn user_key(&self) -> Option<UserKey> {
        self.key.as_ref().map(|key| key.of(self.user.id))
    }

    /// Maximum silence of the ticket's server. The client may have sent a request up to a heartbeat
    /// after the server's last sign of life, and an outage that began then counts for
    /// [`MAX_COUNTED_GAP`].
    pub(crate) fn silence(&self) -> Duration {
        if self.is_kept() {
            TICKET_GRACE + HEARTBEAT_INTERVAL + MAX_COUNTED_GAP
        } else {
            SERVER_TIMEOUT
        }
    }

    /// Whether the ticket is valid, as `observer` has to assume.
    #[must_use]
    pub fn is_live(&self, observer: &Observer) -> bool {
        let Observer { now, server, journal_at } = *observer;
        let heard = |at: Timestamp| {
            self.heard_at.after(self.silence()) > now.min(at.after(MAX_COUNTED_GAP))
        };
        let served = self.server == server || journal_at.map_or(self.is_kept(), heard);
        self.until > now && served
    }
}

/// A server that judges at `now` which tickets are valid.
///
/// Other servers are dead if they are silent for too long. The journal measures their silence, so that
/// all servers judge alike, however recently they started or reached the database again.
#[derive(Clone, Copy, Debug)]
pub struct Observer {
    /// The time.
    pub now: Timestamp,
    /// The server.
    pub server: ServerId,
    /// Time of the newest journal entry: at most [`MAX_COUNTED_GAP`] after it counts as silence. `None`
    /// if no other server can share the pool: then all others are dead, and their kept tickets belong
    /// to this server.
    pub journal_at: Option<Timestamp>,
}

impl Observer {
    /// The observer with these fields.
    #[must_use]
    pub const fn new(now: Timestamp, server: ServerId, journal_at: Option<Timestamp>) -> Self {
        Observer { now, server, journal_at }
    }
}

/// The queue, first come first served.
///
/// Finding a ticket by rank or by lease does not search the queue. Removing a ticket moves the tickets
/// behind it (or before it, if they are fewer).
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    /// Tickets in the order of their numbers.
    tickets: VecDeque<Ticket>,
    numbers: HashMap<LeaseId, i64>,
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

impl Queue {
    pub fn len(&self) -> usize {
        self.tickets.len()
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

    /// The ticket with that key.
    pub fn of_key(&self, key: &UserKey) -> Option<&Ticket> {
        self.keys.get(key).and_then(|lease_id| self.ticket(*lease_id))
    }

    pub fn was_given_up(&self, lease_id: LeaseId) -> bool {
        self.given_up.contains(&lease_id)
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
        if let Some(key) = ticket.user_key() {
            if self.keys.contains_key(&key) {
                return Err(Inconsistent(format!("ticket {number} has the key of another one")));
            }
            // A server that did not know of the timeout queued the client again.
            self.timed_out.remove(&key);
            self.keys.insert(key, lease_id);
        }
        // A server that does not know that the ticket was given up may queue it again.
        self.given_up.retain(|given_up| *given_up != lease_id);
        self.last_number = self.last_number.max(number);
        self.numbers.insert(lease_id, number);
        self.tickets.push_back(ticket);
        Ok(())
    }

    pub fn remove(&mut self, lease_id: LeaseId) -> Result<(), Inconsistent> {
        let rank = self.rank(lease_id).ok_or_else(|| no_ticket(lease_id))?;
        self.numbers.remove(&lease_id);
        if let Some(key) = self.tickets.remove(rank).and_then(|ticket| ticket.user_key()) {
            self.keys.remove(&key);
        }
        Ok(())
    }

    /// Removes a ticket whose wait timed out, and remembers the timeout for its client.
    pub fn time_out(&mut self, lease_id: LeaseId, at: Timestamp) -> Result<(), Inconsistent> {
        let key = self.ticket(lease_id).and_then(Ticket::user_key);
        self.remove(lease_id)?;
        let is_old = |(then, _): &mut (Timestamp, UserKey)| then.after(TOLD_WITHIN) <= at;
        while let Some((then, key)) = self.timed_out_order.pop_front_if(is_old) {
            if self.timed_out.get(&key) == Some(&then) {
                self.timed_out.remove(&key);
            }
        }
        if let Some(key) = key {
            self.timed_out.insert(key.clone(), at);
            self.timed_out_order.push_back((at, key));
        }
        Ok(())
    }

    pub fn time_out_told(&mut self, key: &UserKey) {
        self.timed_out.remove(key);
    }

    /// Whether a request with this key at `now` gets the response that its wait timed out.
    pub fn has_timed_out(&self, key: &UserKey, now: Timestamp) -> bool {
        self.timed_out.get(key).is_some_and(|at| at.after(TOLD_WITHIN) > now)
    }

    pub fn give_up(&mut self, lease_id: LeaseId) -> Result<(), Inconsistent> {
        self.remove(lease_id)?;
        if self.given_up.len() == GIVEN_UP {
            self.given_up.pop_front();
        }
        self.given_up.push_back(lease_id);
        Ok(())
    }

    /// Moves the ticket to another server.
    pub fn transfer(
        &mut self,
        lease_id: LeaseId,
        server: ServerId,
        at: Timestamp,
    ) -> Result<(), Inconsistent> {
        let rank = self.rank(lease_id).ok_or_else(|| no_ticket(lease_id))?;
        let ticket = &mut self.tickets[rank];
        (ticket.server, ticket.heard_at) = (server, at);
        Ok(())
    }

    /// Servers that have tickets, each with the time of its last sign of life.
    pub fn servers(&self) -> Vec<(ServerId, Timestamp)> {
        let mut servers: Vec<(ServerId, Timestamp)> = Vec::new();
        for ticket in &self.tickets {
            match servers.iter_mut().find(|(server, _)| *server == ticket.server) {
                Some((_, heard_at)) => *heard_at = ticket.heard_at.max(*heard_at),
                None => servers.push((ticket.server, ticket.heard_at)),
            }
        }
        servers
    }

    pub fn hear(&mut self, server: ServerId, at: Timestamp) {
        for ticket in self.tickets.iter_mut().filter(|ticket| ticket.server == server) {
            ticket.heard_at = at;
        }
    }
}

fn no_ticket(lease_id: LeaseId) -> Inconsistent {
    Inconsistent(format!("there is no ticket for lease {lease_id:?}"))
}
