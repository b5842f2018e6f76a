//! The queue: `GET /api/queue`, one of its tickets, and giving it up; and what an allocation that waits
//! is told.

use std::ops::ControlFlow;

use axum::extract::{RawQuery, State};
use axum::http::header::{LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use engine::{GiveUpOutcome, Scope, View};
use pool::{Ticket, Waiting};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::MAX_ROWS;
use crate::answer::{self, Time, fleeting};
use crate::app::{App, SentId};
use crate::openapi::words;
use crate::parameters::{number, only};
use crate::problem::{self, Code, Problem, TicketServed};
use crate::wishes::{Empty, NoQuery};

/// Where tickets are.
pub(crate) const PATH: &str = "/api/queue/";

/// After how many seconds a client that waits is to ask again. Its request is held then, so it may as
/// well do so at once.
const ASK_AGAIN_AFTER: u16 = 1;

/// A place in the queue.
#[derive(Serialize, ToSchema)]
#[schema(as = Ticket)]
pub(crate) struct Row {
    /// Names the ticket, and the lease that it will become.
    ticket: Uuid,
    /// 1 is the first.
    #[schema(minimum = 1)]
    position: usize,
    /// Who waits, as it was sent.
    #[schema(value_type = String)]
    user: std::sync::Arc<str>,
    user_id: Uuid,
    /// When the wait began.
    since: Time,
    /// When the wait is over.
    until: Time,
    /// Whether the ticket keeps its place between requests, because it bears an idempotency key.
    kept: bool,
}

impl Row {
    const BYTES: usize = 320;

    fn of(position: usize, ticket: &Ticket) -> Self {
        Row {
            ticket: ticket.lease_id.0,
            position,
            user: std::sync::Arc::clone(&ticket.user.name),
            user_id: ticket.user.id.0,
            since: Time(ticket.since),
            until: Time(ticket.until),
            kept: ticket.is_kept(),
        }
    }
}

/// A page of the queue.
#[derive(Serialize, ToSchema)]
#[schema(as = Queue)]
struct Answer {
    /// First come first.
    tickets: Vec<Row>,
    /// How many wait in all.
    waiting: usize,
    /// The path of the next page; null when there is no more.
    #[schema(required = true)]
    next: Option<String>,
}

/// List those who wait for a token
#[utoipa::path(
    get,
    path = "/api/queue",
    operation_id = "listQueue",
    tag = "Queue",
    params(
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000,
            description = "How many tickets at most; 1000 when left out"),
        ("after" = Option<i64>, Query, minimum = 0, maximum = 9_007_199_254_740_991i64,
            description = "Where to go on; it comes with `next`"),
    ),
    responses((status = 200, description = "The queue, first come first", body = Answer,
        headers(("Cache-Control" = String, description = "`no-store`")))),
    extensions(("x-problems" = json!(problem::read(&[Code::InvalidParameter])))),
)]
pub(crate) async fn list(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    only("parameter", query.as_deref().unwrap_or_default(), &["limit", "after"])?;
    let query = query.as_deref();
    let limit = number(query, "limit", 1..=MAX_ROWS.into())?.unwrap_or(MAX_ROWS.into());
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // The cursor is the number of the last ticket that the caller has.
    let after = number(query, "after", 0..=(1 << 53) - 1)?.unwrap_or(0);
    let look = |view: View<'_>| {
        let (mut tickets, mut last, mut waiting, mut more) = (Vec::new(), 0, 0, false);
        for (position, ticket) in (1..).zip(view.queue()) {
            waiting = position;
            if ticket.number <= after {
                continue;
            }
            if tickets.len() == limit {
                more = true;
                continue;
            }
            last = ticket.number;
            tickets.push(Row::of(position, ticket));
        }
        let next = more.then(|| format!("/api/queue?limit={limit}&after={last}"));
        Answer { tickets, waiting, next }
    };
    let answer = app.engine.read_of(Scope::Timeless, look).await?;
    Ok(fleeting(&answer, 128 + answer.tickets.len() * Row::BYTES))
}

/// Show a place in the queue
#[utoipa::path(
    get,
    path = "/api/queue/{ticket}",
    operation_id = "getTicket",
    tag = "Queue",
    params(("ticket" = Uuid, Path, description = "The ticket")),
    responses((status = 200, description = "The place", body = Row,
        headers(("Cache-Control" = String, description = "`no-store`")))),
    extensions(("x-problems" = json!(problem::read(&[
        Code::InvalidTicket, Code::InvalidParameter, Code::UnknownTicket,
    ])))),
)]
pub(crate) async fn show(
    State(app): State<App>,
    id: SentId,
    _: NoQuery,
) -> Result<Response, Problem> {
    let look = |view: View<'_>| {
        let found = (1..).zip(view.queue()).try_for_each(|(position, ticket)| {
            if ticket.lease_id == id.lease() {
                ControlFlow::Break(Row::of(position, ticket))
            } else {
                ControlFlow::Continue(())
            }
        });
        found.break_value()
    };
    let row = app.engine.read_of(Scope::Timeless, look).await?.ok_or_else(unknown_ticket)?;
    Ok(fleeting(&row, Row::BYTES))
}

/// A place that was given up.
#[derive(Serialize, ToSchema)]
struct TicketGivenUp {
    #[schema(schema_with = words::given_up)]
    status: &'static str,
    ticket: Uuid,
}

/// Give up a place in the queue
///
/// Requests that wait with the ticket get a 409. Where the ticket has become a lease, nothing is done:
/// release the lease, which has the same id.
#[utoipa::path(
    delete,
    path = "/api/queue/{ticket}",
    operation_id = "giveUpTicket",
    tag = "Queue",
    params(("ticket" = Uuid, Path, description = "The ticket")),
    responses((status = 200, description = "The place is given up", body = TicketGivenUp)),
    extensions(("x-problems" = json!(problem::write(&[
        Code::InvalidTicket, Code::InvalidParameter, Code::UnsupportedContentType,
        Code::UnknownTicket, Code::TicketServed,
    ])))),
)]
pub(crate) async fn give_up(
    State(app): State<App>,
    id: SentId,
    _: Empty,
) -> Result<Response, Problem> {
    match app.engine.give_up(id.lease()).await? {
        GiveUpOutcome::Done => {
            Ok(answer::json(&TicketGivenUp { status: "given_up", ticket: id.uuid }, 96))
        }
        GiveUpOutcome::Served(lease) => {
            let detail = "The ticket has become a lease already, so nothing was done. Release the \
                          lease, which has the same id.";
            Err(Problem::with(detail, &TicketServed { lease_id: lease.id.0 }))
        }
        GiveUpOutcome::Unknown => Err(unknown_ticket()),
    }
}

fn unknown_ticket() -> Problem {
    let detail = "There is no ticket with this id in the queue: it was served, given up or timed \
                  out, or its client did not ask for it for 15 seconds.";
    Problem::new(Code::UnknownTicket, detail)
}

/// What an allocation that waits is told.
#[derive(Serialize, ToSchema)]
#[schema(as = Waiting)]
pub(crate) struct Told {
    #[schema(schema_with = words::waiting)]
    status: &'static str,
    /// Names the place in the queue, and the lease that it will become.
    ticket: Uuid,
    /// 1 is the first.
    #[schema(minimum = 1)]
    position: usize,
    /// How many are before it.
    #[schema(minimum = 0)]
    ahead: usize,
    /// When the wait began.
    since: Time,
    /// When the wait is over.
    until: Time,
    /// After how many seconds to ask again. The place is lost after 15 seconds without a request.
    #[schema(minimum = 0)]
    retry_after: u16,
}

impl Told {
    pub(crate) fn response(waiting: &Waiting) -> Response {
        let Waiting { ticket, position, since, until } = *waiting;
        let told = Told {
            status: "waiting",
            ticket: ticket.0,
            position,
            ahead: position.saturating_sub(1),
            since: Time(since),
            until: Time(until),
            retry_after: ASK_AGAIN_AFTER,
        };
        let mut response = fleeting(&told, Row::BYTES);
        *response.status_mut() = StatusCode::ACCEPTED;
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from(ASK_AGAIN_AFTER));
        let location = HeaderValue::try_from(format!("{PATH}{}", ticket.0));
        headers.insert(LOCATION, location.expect("a path of ASCII may stand in a header"));
        response
    }
}
