//! Requests of this server that wait in the queue of a pool, and its tickets without a request.

use std::collections::BTreeMap;
use std::time::Duration;

use pool::{HEARTBEAT_INTERVAL, LeaseId, Ledger, ServerId, TICKET_GRACE, Timestamp, Waiting};
use tokio::time::Instant;

use crate::mailbox::Request;

/// How long a ticket with a key is kept without a request. Slightly longer than documented: a
/// request that the client sent in time may still be on its way.
const LAPSES_AFTER: Duration = TICKET_GRACE.saturating_add(HEARTBEAT_INTERVAL);

/// Requests that are held because their allocations wait, by ticket.
#[derive(Default)]
pub(crate) struct Held {
    /// No list is empty. Only requests with the same key share a ticket.
    requests: BTreeMap<LeaseId, Vec<HeldRequest>>,
    /// Tickets with a key whose clients are not connected, and the value of `awake` when they
    /// disconnected.
    absent: BTreeMap<LeaseId, Duration>,
    /// How long clients were able to reach this server. Time during which the machine was
    /// suspended, or the database was away, does not count.
    awake: Duration,
    looked: Option<Instant>,
}

pub(crate) struct HeldRequest {
    pub request: Request,
    /// When the wait ends.
    pub until: Timestamp,
    /// Initial position in the queue, 1 for the first; the current one may be nearer to the front.
    pub position: usize,
}

impl Held {
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Whether this server has tickets.
    pub fn has_tickets(&self) -> bool {
        !self.requests.is_empty() || !self.absent.is_empty()
    }

    /// Tickets of the requests, in the order in which their waits began.
    pub fn tickets(&self) -> Vec<LeaseId> {
        let since =
            |held: &Vec<HeldRequest>| held.first().and_then(|held| held.request.queued_since);
        let mut tickets: Vec<_> =
            self.requests.iter().map(|(ticket, held)| (since(held), *ticket)).collect();
        tickets.sort_unstable();
        tickets.into_iter().map(|(_, ticket)| ticket).collect()
    }

    /// Whether the ticket's client is known to be disconnected.
    pub fn is_absent(&self, ticket: LeaseId) -> bool {
        self.absent.contains_key(&ticket)
    }

    /// Any one of the requests for the ticket.
    pub fn first(&self, ticket: LeaseId) -> Option<&Request> {
        self.requests.get(&ticket).and_then(|held| held.first()).map(|held| &held.request)
    }

    pub fn insert(&mut self, waiting: &Waiting, request: Request) {
        let Waiting { ticket, position, until, .. } = *waiting;
        self.absent.remove(&ticket);
        self.requests.entry(ticket).or_default().push(HeldRequest { request, until, position });
    }

    /// Removes and returns one of the requests for the ticket that still wait.
    pub fn take_one(&mut self, ticket: LeaseId) -> Option<Request> {
        let held = self.requests.get_mut(&ticket)?;
        held.retain(|held| held.request.is_wanted());
        let request = held.pop().map(|held| held.request);
        if held.is_empty() {
            self.requests.remove(&ticket);
        }
        request
    }

    /// Removes and returns the requests for the ticket. The caller decides the ticket's future.
    pub fn take(&mut self, ticket: LeaseId) -> Vec<Request> {
        let held = self.requests.remove(&ticket).unwrap_or_default();
        held.into_iter().map(|held| held.request).collect()
    }

    /// Records that a request for a ticket with a key was in progress until now.
    pub fn left(&mut self, ticket: LeaseId) {
        if let Some(held) = self.requests.get_mut(&ticket) {
            held.retain(|held| held.request.is_wanted());
            if !held.is_empty() {
                return;
            }
            self.requests.remove(&ticket);
        }
        self.absent.insert(ticket, self.awake);
    }

    /// Removes and returns the requests to be answered now: those whose wait is over, and those
    /// whose hold time has passed. Each with its ticket, and whether its wait is over.
    pub fn due(&mut self, now: Timestamp) -> Vec<(LeaseId, HeldRequest, bool)> {
        let instant = Instant::now();
        let mut due = Vec::new();
        for (ticket, held) in &mut self.requests {
            let is_due = |held: &mut HeldRequest| {
                held.until <= now || held.request.answer_by.is_some_and(|at| at <= instant)
            };
            let taken = held.extract_if(.., is_due);
            due.extend(taken.map(|held| (*ticket, held)));
        }
        self.requests.retain(|_, held| !held.is_empty());
        let over = |(ticket, held): (LeaseId, HeldRequest)| {
            let over = held.until <= now;
            (ticket, held, over)
        };
        due.into_iter().map(over).collect()
    }

    /// Time until a request is due.
    pub fn until_due(&self, now: Timestamp) -> Option<Duration> {
        let held = || self.requests.values().flatten();
        let over = held().map(|held| held.until).min().map(|at| at.since(now));
        let instant = Instant::now();
        let answers = held().filter_map(|held| held.request.answer_by).min();
        let answer = answers.map(|at| at.saturating_duration_since(instant));
        over.into_iter().chain(answer).min()
    }

    /// Counts the time since the last call, up to a limit, unless clients were unable to reach this
    /// server.
    pub fn look(&mut self, heard: bool) {
        let now = Instant::now();
        let before = self.looked.replace(now).unwrap_or(now);
        if heard {
            self.awake += (now - before).min(HEARTBEAT_INTERVAL);
        }
    }

    /// Aligns the tickets without requests with the ledger, and returns those that have lapsed.
    /// `server` is this server; None if it is the only one, so that all kept tickets are its own.
    pub fn lapsed(&mut self, ledger: &Ledger, server: Option<ServerId>) -> Vec<LeaseId> {
        let is_own = |ticket: &pool::Ticket| {
            ticket.is_kept() && server.is_none_or(|server| ticket.server == server)
        };
        self.absent.retain(|ticket, _| ledger.ticket(*ticket).is_some_and(is_own));
        for ticket in ledger.tickets().filter(|ticket| is_own(ticket)) {
            if !self.requests.contains_key(&ticket.lease_id) {
                self.absent.entry(ticket.lease_id).or_insert(self.awake);
            }
        }
        let awake = self.awake;
        self.absent
            .extract_if(.., |_, since| awake.saturating_sub(*since) >= LAPSES_AFTER)
            .map(|(ticket, _)| ticket)
            .collect()
    }
}
