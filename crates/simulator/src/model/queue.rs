//! Beginnings and ends of waits.

use std::time::Duration;

use pool::{Change, Rights, Ticket, WhenFull};

use super::{
    Ask, Check, Model, Request, State, can_get, ensure, is_at_limit, is_permitted, may_end,
};

/// Silence after which others may remove the ticket of a server; and one with a key.
const SILENCE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(15));

/// Time without a request after which a ticket with a key may be removed.
const GRACE: Duration = Duration::from_secs(15);

/// Difference of two readings of the clock in one server.
const TICK: Duration = Duration::from_millis(20);

/// The wait of a request that names none, if the policy is to wait.
const USUAL: Duration = Duration::from_secs(30);

impl Model<'_> {
    pub(super) fn waits(&self, ticket: &Ticket) -> Check {
        let (tables, at) = (&self.tables, self.entry.at);
        let is_last = tables.tickets.keys().all(|number| *number < ticket.number);
        ensure!(is_last, "queue: {ticket:?} is not the last");
        let policy = tables.pools.get(&ticket.pool).ok_or("queue: unknown pool")?.policy;
        let of = (Some(ticket.pool), Some(&ticket.user));
        let may = |key| is_permitted(tables, key, Rights::Use, of, at);
        let asks = |ask: &Ask| match ask {
            Ask::Allocate(asked) => {
                let is_same = asked.note == ticket.note && asked.key == ticket.key;
                let of_same = asked.pool == ticket.pool && asked.token == ticket.token;
                is_same && of_same && asked.user == ticket.user && asked.wait == ticket.asked_wait
            }
            _ => false,
        };
        self.caused(asks, may)?;
        let may_wait = policy.when_full != WhenFull::Reject || ticket.asked_wait.is_none();
        ensure!(may_wait, "queue: {ticket:?} although the policy is to reject");
        let usual = if policy.when_full == WhenFull::Wait { USUAL } else { Duration::ZERO };
        let until = at.after(ticket.asked_wait.unwrap_or(usual));
        ensure!(ticket.since == at && ticket.until <= until, "queue: {ticket:?} waits too long");
        let ahead: Vec<&Ticket> = tables.queue(ticket.pool).collect();
        let waits = !can_get(tables, ticket.pool, ticket.token, &ahead, at);
        ensure!(waits, "queue: {ticket:?} waits although a token is available");
        Ok(())
    }

    pub(super) fn leaves(&self, ticket: &Ticket, change: &Change) -> Check {
        let (tables, at, facts) = (&self.tables, self.entry.at, &self.world.facts);
        let deletes = |change: &Change| matches!(change, Change::PoolDeleted { pool, .. } if *pool == ticket.pool);
        let is_deleted = self.entry.changes.iter().any(deletes);
        if let Change::WaitGivenUp { .. } = change
            && !is_deleted
        {
            // A plan gives up the tickets for tokens that it retires.
            let gives_up = |ask: &Ask| match ask {
                Ask::GiveUp(id) => *id == ticket.lease_id,
                Ask::Apply(_) => true,
                _ => false,
            };
            let may = |key| may_end(tables, key, ticket.pool, &ticket.user, at);
            return self.caused(gives_up, may);
        }
        let timed_out = matches!(change, Change::WaitTimedOut { .. });
        ensure!(!timed_out || ticket.until <= at, "queue: {ticket:?} timed out early");
        let serves = |change: &Change| matches!(change, Change::LeaseStarted(lease) if lease.id == ticket.lease_id);
        let is_served = self.entry.changes.iter().any(serves);
        let is_explained = is_served || is_deleted || facts.stepped;
        if is_explained || ticket.until <= at.after(TICK) || self.is_silent(ticket) {
            return Ok(());
        }
        let mut requests = facts.of_note(ticket.note.as_ref());
        let is_refused =
            facts.of_note(ticket.note.as_ref()).any(|request| self.refuses(request, ticket));
        let is_kept = ticket.key.is_some();
        let recent = |request: &Request| match request.state {
            State::Open => true,
            State::Answered => is_kept && request.sent.after(GRACE) > at,
            State::Gone(left) => is_kept && left.after(GRACE) > at,
        };
        let lost = !is_refused && requests.any(recent);
        ensure!(!lost, "queue: {ticket:?} lost its place");
        Ok(())
    }

    /// Whether the ticket's server was silent for too long, or is gone and was the only one.
    fn is_silent(&self, ticket: &Ticket) -> bool {
        let is_kept = ticket.key.is_some();
        let is_other = ticket.server != self.entry.server && self.world.is_troubled;
        let silence = if is_kept { SILENCE.1 } else { SILENCE.0 };
        let is_silent = ticket.heard_at.after(silence) <= self.entry.at;
        is_other && (is_silent || (self.world.servers == 1 && !is_kept))
    }

    /// Whether a request is refused that has this ticket.
    fn refuses(&self, request: &Request, ticket: &Ticket) -> bool {
        let (tables, at) = (&self.tables, self.entry.at);
        let of = (Some(ticket.pool), Some(&ticket.user));
        let may = |key| is_permitted(tables, key, Rights::Use, of, at);
        let no_token = match ticket.token {
            Some(token) => tables.tokens.get(&token).is_none_or(|token| token.retired_at.is_some()),
            None => tables.tokens_of(ticket.pool).all(|token| token.retired_at.is_some()),
        };
        let longest = tables.pools.get(&ticket.pool).map(|record| record.policy.lease);
        !request.actor.is_none_or(may)
            || is_at_limit(tables, ticket.pool, &ticket.user, request.actor, at)
            || no_token
            || longest.is_none_or(|longest| ticket.asked_lease > Some(longest))
    }
}
