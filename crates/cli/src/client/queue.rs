//! `token-manager queue`

use clap::Args;
use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::find;
use super::{Common, remark_more, time_of};
use crate::term::error::CliError;
use crate::term::format::{ago, until};
use crate::term::output::{Out, QUIET, remark};
use crate::term::table::{Cell, Table, Yields};

/// List the requests that wait for a token, or give up a place
///
/// They are listed in the order in which they are served. A ticket is a place in the queue; its id becomes that of the lease.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager queue
      who waits, in order
  token-manager queue --give-up 01a203e6-6a15-75b1-8dcf-8dddd1dbd0dd
      removes that ticket from the queue; its client is told

Exit codes:
    4  there is no such ticket
    5  the ticket has become a lease already: nothing was done")]
pub struct Queue {
    /// Remove this ticket from the queue: its whole id
    #[arg(long, value_name = "TICKET", value_parser = find::ticket, conflicts_with = "limit")]
    give_up: Option<Uuid>,
    /// Maximum number of rows
    #[arg(long, value_name = "COUNT", value_parser = super::rows, allow_hyphen_values = true, default_value = "20")]
    limit: usize,
    #[command(flatten)]
    common: Common,
}

/// A page of `/api/queue`.
#[derive(Deserialize)]
struct Tickets {
    tickets: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    ticket: Uuid,
    position: u64,
    user: String,
    since: Timestamp,
    until: Timestamp,
}

impl Queue {
    /// Prints the queue, or removes a ticket.
    pub async fn perform(self) -> Result<(), CliError> {
        match self.give_up {
            Some(ticket) => self.give_up(ticket).await,
            None => self.list().await.map_err(CliError::of_reading),
        }
    }

    async fn list(&self) -> Result<(), CliError> {
        let (client, out) = (self.common.client()?, Out::standard());
        let answer = client.pages("/api/queue", &[], Some("tickets"), self.limit).await?;
        if self.common.json {
            return Ok(out.json(&answer.json)?);
        }
        let Tickets { tickets } = answer.read()?;
        if tickets.is_empty() {
            remark("No request waits for a token.");
            return Ok(());
        }
        let now = time_of(&answer, tickets.iter().map(|row| row.since))?;
        out.print(&table(&tickets, now).text(out.width))?;
        if answer.next.is_some() {
            remark_more(self.limit);
        }
        Ok(())
    }

    async fn give_up(&self, ticket: Uuid) -> Result<(), CliError> {
        let (client, out) = (self.common.client()?, Out::standard());
        let answer = client.give_up(ticket).await.map_err(|error| {
            let served = error.code() == Some("ticket-served");
            let error = CliError::from(error);
            if served { error.hint(format!("`token-manager release {ticket}`")) } else { error }
        })?;
        if self.common.json {
            return Ok(out.json(&answer.json)?);
        }
        Ok(out.line(format!("Given up: ticket {ticket} is no longer in the queue."))?)
    }
}

fn table(tickets: &[Row], now: Timestamp) -> Table<5> {
    let mut table = Table::new([
        ("POSITION", Yields::Never),
        ("USER", Yields::Cuts),
        ("SINCE", Yields::Never),
        ("GIVES UP", Yields::Goes(1)),
        ("TICKET", Yields::Never),
    ]);
    for row in tickets {
        table.row([
            row.position.to_string().into(),
            (&row.user).into(),
            ago(now, row.since).into(),
            until(now, row.until).into(),
            Cell::styled(QUIET, row.ticket.to_string()),
        ]);
    }
    table
}
