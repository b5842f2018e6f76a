//! `token-manager queue`

use clap::Args;
use jiff::Timestamp;
use uuid::Uuid;
use wire::{Code, Ticket};

use crate::term::error::CliError;
use crate::term::format::{ago, until};
use crate::term::output::{Out, QUIET};
use crate::term::table::{Cell, Table, Yields};

use super::in_pool::InPool;
use super::{Common, find, time_of};

/// List the requests that wait for a token, or give up a place
///
/// Requests are listed in the order in which they are served. A ticket is a place in the queue; its id becomes that of the
/// lease.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager queue
      the waiting requests, in order
  token-manager queue --give-up 01a203e6-6a15-75b1-8dcf-8dddd1dbd0dd
      removes that ticket from the queue, of any pool; its client is told

Exit codes:
    4  no such ticket
    5  the ticket has become a lease; nothing was done")]
pub struct Queue {
    /// Remove this ticket from the queue: its whole id
    #[arg(long, value_name = "TICKET", value_parser = find::ticket, conflicts_with = "limit")]
    give_up: Option<Uuid>,
    /// Maximum number of rows
    #[arg(long, value_name = "COUNT", value_parser = super::rows, allow_hyphen_values = true, default_value = "20")]
    limit: usize,
    #[command(flatten)]
    pool: InPool,
    #[command(flatten)]
    common: Common,
}

impl Queue {
    pub async fn perform(self) -> Result<(), CliError> {
        match self.give_up {
            Some(ticket) => self.give_up(ticket).await,
            None => self.list().await.map_err(CliError::of_reading),
        }
    }

    async fn list(&self) -> Result<(), CliError> {
        let query: Vec<_> = self.pool.query().into_iter().collect();
        let reply = self.common.client()?.queue(&query, self.limit).await?;
        self.common.list(&reply, self.limit, "No request waits for a token.", |page| {
            let now = time_of(&reply, page.tickets.iter().map(|ticket| ticket.since.0))?;
            Ok((!page.tickets.is_empty()).then(|| table(&page.tickets, now)))
        })
    }

    async fn give_up(&self, ticket: Uuid) -> Result<(), CliError> {
        let reply = self.common.client()?.give_up(ticket).await.map_err(|error| {
            let served = error.code() == Some(Code::TicketServed);
            let error = CliError::from(error);
            if served { error.hint(format!("`token-manager release {ticket}`")) } else { error }
        })?;
        self.common.print(&reply, |_| {
            let line = format!("Given up: ticket {ticket} is no longer in the queue.");
            Ok(Out::standard().line(line)?)
        })
    }
}

fn table(tickets: &[Ticket], now: Timestamp) -> Table<7> {
    let has_token = tickets.iter().any(|ticket| ticket.token_name.is_some());
    let has_note = tickets.iter().any(|ticket| ticket.note.is_some());
    let mut table = Table::new([
        ("POSITION", Yields::Never),
        ("USER", Yields::Cuts),
        ("SINCE", Yields::Never),
        ("GIVES UP", Yields::Goes(1)),
        (if has_token { "TOKEN" } else { "" }, Yields::Never),
        (if has_note { "NOTE" } else { "" }, Yields::Goes(2)),
        ("TICKET", Yields::Never),
    ]);
    for ticket in tickets {
        table.row([
            ticket.position.to_string().into(),
            (&ticket.user).into(),
            ago(now, ticket.since.0).into(),
            until(now, ticket.until.0).into(),
            ticket.token_name.as_deref().unwrap_or_default().into(),
            ticket.note.as_deref().unwrap_or_default().into(),
            Cell::styled(QUIET, ticket.ticket.to_string()),
        ]);
    }
    table
}
