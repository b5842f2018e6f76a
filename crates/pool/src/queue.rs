use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{IdempotencyKey, Inconsistent, LeaseId, Timestamp, User, UserKey};

/// Names a running server, of which several may share a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServerId(pub Uuid);

/// How many may wait for a token at the same time.
pub const MAX_TICKETS: usize = 10_000;

/// A server that was silent for this long is dead, and its tickets with it. Only time in which some
/// server reached the database counts, see [`MAX_COUNTED_GAP`].
pub const SERVER_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a server with tickets writes a heartbeat. A server that sees tickets of another one that
/// is silent for longer writes them as well, as a witness of that silence.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// How long a ticket with a key keeps its place while its client does not ask for it.
pub const TICKET_GRACE: Duration = Duration::from_secs(15);

/// For how long a client may be told that its wait is over.
const TOLD_WITHIN: Duration = TICKET_GRACE.saturating_add(MAX_COUNTED_GAP);

/// How many tickets are remembered that were given up.
const GIVEN_UP: usize = 1_000;

/// The most that the time between two entries of the journal counts as silence. As long as any server
/// reaches the database, heartbeats keep entries closer together than this while there are tickets.
/// Where they are further apart, no server reached it, and none could be heard of.
pub const MAX_COUNTED_GAP: Duration = Duration::from_secs(2);

/// A place in the queue of those who wait for a token.
///
/// A ticket without a key lasts as long as the request that it is for. One with a key is kept while no
/// request for it is under way, at most for [`TICKET_GRACE`], and its client may ask for it at any server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Names the ticket, and the lease that it is for.
    pub lease_id: LeaseId,
    /// Smaller numbers come first.
    pub number: i64,
    /// The server that serves the ticket: its client is connected to it, or was last.
    pub server: ServerId,
    /// When that server was last heard of.
    pub heard_at: Timestamp,
    /// When the wait began.
    pub since: Timestamp,
    /// When the wait is over.
    pub until: Timestamp,
    /// Who waits.
    pub user: User,
    /// The key by which its client asks for it again.
    pub key: Option<IdempotencyKey>,
    /// The length of the lease that was asked for, if any.
    pub asked_lease: Option<Duration>,
    /// The wait that was asked for, if any.
    pub asked_wait: Option<Duration>,
}

impl Ticket {
    /// Whether it keeps its place while no request for it is under way.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.key.is_some()
    }

    /// What finds the ticket again.
    #[must_use]
    pub fn user_key(&self) -> Option<UserKey> {
        self.key.as_ref().map(|key| key.of(self.user.id))
    }

    /// For how long its server may be silent. Its client may have asked for it up to a heartbeat after
    /// the server was last heard of, and an outage that began then counts for [`MAX_COUNTED_GAP`].
    pub(crate) fn silence(&self) -> Duration {
        if self.is_kept() {
            TICKET_GRACE + HEARTBEAT_INTERVAL + MAX_COUNTED_GAP
        } else {
            SERVER_TIMEOUT
        }
    }

    /// Whether the ticket is valid at `now`, as the server `asker` has to assume.
    ///
    /// Other servers that share the pool have to be heard of, or they are dead. The journal tells how
    /// long they were silent, so that every server judges alike, however recently it was started or
    /// reached the database again: `journal_at` is the time of the newest entry, after which no more
    /// than [`MAX_COUNTED_GAP`] counts. It is `None` where no other server can share the pool: all others are dead,
    /// and the tickets that they kept belong to the asker.
    #[must_use]
    pub fn is_live(&self, now: Timestamp, asker: ServerId, journal_at: Option<Timestamp>) -> bool {
        let heard = |at: Timestamp| {
            self.heard_at.after(self.silence()) > now.min(at.after(MAX_COUNTED_GAP))
        };
        let served = self.server == asker || journal_at.map_or(self.is_kept(), heard);
        self.until > now && served
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
    /// The tickets with a key.
    keys: HashMap<UserKey, LeaseId>,
    /// The tickets that were given up last, for the servers where requests for them may wait.
    given_up: VecDeque<LeaseId>,
    /// When the waits of tickets with a key were over whose clients were not told yet, for as long as
    /// these may ask; the oldest first in the list. A copy that is loaded whole does without.
    timed_out: HashMap<UserKey, Timestamp>,
    timed_out_order: VecDeque<(Timestamp, UserKey)>,
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
            // A server that did not know that the wait before was over let the client wait again.
            self.timed_out.remove(&key);
            self.keys.insert(key, lease_id);
        }
        // A server that does not know that it was given up may queue it again.
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

    /// Removes a ticket whose wait is over, and remembers that its client has to be told.
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

    /// Whether the client that asks with this key at `now` has to be told that its wait is over.
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

    /// Lets another server serve the ticket.
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

    /// The servers that have tickets, and when each was last heard of.
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
