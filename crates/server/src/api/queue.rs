//! The queue of requests that wait for a token.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::http::header::{LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use engine::{Error, GiveUpOutcome, Scope, View};
use pool::{Forbidden, Pool};
use wire::{GivenUp, MAX_ROWS, Queue, Ticket, TicketGivenUp, TicketServed, Waiting, WaitingStatus};

use super::leases::sees;
use super::{DEFAULT, pool_of};
use crate::http::access::Acting;
use crate::http::ids::{PathId, TicketId};
use crate::http::query::{Parameters, Query, Values};
use crate::http::respond::{json, uncached, unknown_pool};
use crate::http::unsupported::EmptyBody;
use crate::json::{count, time};
use crate::problem::{Code, Problem};

/// Path of tickets.
const PATH: &str = "/api/queue/";

/// Seconds after which a waiting client repeats its request. The server holds the request, so the client
/// need not wait.
const ASK_AGAIN_AFTER: u16 = 1;

/// Approximate size of a ticket in JSON.
const BYTES: usize = 320;

fn row(position: usize, ticket: &pool::Ticket) -> Ticket {
    Ticket {
        ticket: ticket.lease_id.0,
        position: count(position),
        user: Arc::clone(&ticket.user.name),
        user_id: ticket.user.id.0,
        since: time(ticket.since),
        until: time(ticket.until),
        kept: ticket.is_kept(),
        pool: None,
        token_name: None,
        note: None,
    }
}

/// A ticket with the names of its pool and of the requested token, and its note.
fn named(row: Ticket, pool: &Pool, ticket: &pool::Ticket) -> Ticket {
    let token = ticket.token.and_then(|token| pool.token(token));
    Ticket {
        pool: Some(pool.name().clone().into()),
        token_name: token.map(|view| view.token.name.clone().into()),
        note: ticket.note.clone().map(Arc::from),
        ..row
    }
}

/// List the queue
pub(crate) async fn list(
    acting: Acting,
    Query(QueueQuery { pool: name, limit, after }): Query<QueueQuery>,
) -> Result<Response, Problem> {
    let look = |view: View<'_>| {
        let pool = match &name {
            Some(name) => acting.find(view, name).ok_or_else(unknown_pool)?,
            None => pool_of(view, acting.default_pool()?)?,
        };
        let (mut tickets, mut last, mut waiting, mut more) = (Vec::new(), 0, 0, false);
        for (position, ticket) in (1..).zip(view.queue(pool)) {
            waiting = position;
            if ticket.number <= after {
                continue;
            }
            if tickets.len() == limit {
                more = true;
                continue;
            }
            last = ticket.number;
            let row = row(position, ticket);
            tickets.push(if name.is_some() { named(row, pool, ticket) } else { row });
        }
        let of = name.as_ref().map_or(String::new(), |_| format!("pool={}&", pool.name()));
        let next = more.then(|| format!("/api/queue?{of}limit={limit}&after={last}"));
        Ok::<_, Problem>(Queue { tickets, waiting: count(waiting), next })
    };
    let answer = acting.engine.read_of(Scope::Timeless, look).await??;
    Ok(uncached(&answer, 128 + answer.tickets.len() * BYTES))
}

/// Parameters of the queue.
pub(crate) struct QueueQuery {
    pool: Option<String>,
    limit: usize,
    /// Number of the last ticket on the previous page.
    after: i64,
}

impl Parameters for QueueQuery {
    const NAMES: &'static [&'static str] = &["limit", "after", "pool"];

    fn read(values: &Values<'_>) -> Result<Self, Problem> {
        let limit = values.limit()?.unwrap_or(MAX_ROWS).into();
        let after = values.number("after", 0..=(1 << 53) - 1)?.unwrap_or(0);
        Ok(QueueQuery { pool: values.text("pool").map(str::to_owned), limit, after })
    }
}

/// Show a ticket
pub(crate) async fn show(
    acting: Acting,
    PathId { id: TicketId(id), .. }: PathId<TicketId>,
    Query(()): Query<()>,
) -> Result<Response, Problem> {
    let look = |view: View<'_>| {
        let pool = acting.pool(view, view.ledger.ticket(id)?.pool)?;
        let found = (1..).zip(view.queue(pool)).try_for_each(|(position, ticket)| {
            if ticket.lease_id == id {
                let row = row(position, ticket);
                let other = pool.id() != DEFAULT;
                ControlFlow::Break(if other { named(row, pool, ticket) } else { row })
            } else {
                ControlFlow::Continue(())
            }
        });
        found.break_value()
    };
    let row = acting.engine.read_of(Scope::Timeless, look).await?.ok_or_else(unknown_ticket)?;
    Ok(uncached(&row, BYTES))
}

/// Give up a ticket
///
/// Requests that wait with the ticket get a 409. If the ticket has become a lease, the request fails:
/// release the lease, which has the same id.
pub(crate) async fn give_up(
    acting: Acting,
    PathId { id: TicketId(id), .. }: PathId<TicketId>,
    EmptyBody: EmptyBody,
) -> Result<Response, Problem> {
    let outcome = match acting.engine.give_up(id).await {
        Err(Error::Forbidden(Forbidden::Pool)) => return Err(unknown_ticket()),
        outcome => outcome?,
    };
    match outcome {
        GiveUpOutcome::Done => {
            Ok(json(&TicketGivenUp { status: GivenUp::GIVEN_UP, ticket: id.0 }, 96))
        }
        GiveUpOutcome::Served(lease) if !sees(&acting, lease.id).await? => Err(unknown_ticket()),
        GiveUpOutcome::Served(lease) => {
            let detail = "The ticket has already become a lease. Nothing was changed. Release the lease, \
                          which has the same id.";
            Err(Problem::with(detail, &TicketServed { lease_id: lease.id.0 }))
        }
        GiveUpOutcome::Unknown => Err(unknown_ticket()),
    }
}

fn unknown_ticket() -> Problem {
    let detail = "The queue has no ticket with this id: it was served or given up, timed out, or \
                  no request used it for 15 seconds.";
    Problem::new(Code::UnknownTicket, detail)
}

/// Responds with the position of a waiting allocation.
pub(crate) fn waiting(waiting: &pool::Waiting) -> Response {
    let pool::Waiting { ticket, position, since, until } = *waiting;
    let answer = Waiting {
        status: WaitingStatus::WAITING,
        ticket: ticket.0,
        position: count(position),
        ahead: count(position.saturating_sub(1)),
        since: time(since),
        until: time(until),
        retry_after: ASK_AGAIN_AFTER,
    };
    let mut response = uncached(&answer, BYTES);
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from(ASK_AGAIN_AFTER));
    let location = HeaderValue::try_from(format!("{PATH}{}", ticket.0));
    headers.insert(LOCATION, location.expect("a path of ASCII is valid in headers"));
    response
}
