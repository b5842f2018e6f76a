//! `token-manager history`

use clap::Args;
use jiff::Timestamp;

use client::{Usage, Usages};

use super::find::{self, Named};
use super::{Common, remark_more, time_of};
use crate::term::error::CliError;
use crate::term::format::{ago, lasted, left, until};
use crate::term::output::{Out, QUIET, left_style, remark, status_style};
use crate::term::table::{Cell, Table, Yields};

/// Show who had a token, newest first
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  token-manager history 17 --limit 5
      who had token number 17 last")]
pub struct History {
    /// A token's number, its id, or the first 4 or more characters of its id
    #[arg(value_name = "TOKEN", value_parser = find::named)]
    token: Named,
    /// Show so many at most
    #[arg(long, value_name = "COUNT", value_parser = super::rows, allow_hyphen_values = true, default_value = "20")]
    limit: usize,
    #[command(flatten)]
    common: Common,
}

impl History {
    /// Prints it.
    pub async fn perform(self) -> Result<(), CliError> {
        let (client, out) = (self.common.client()?, Out::standard());
        let token = find::token(&client, &self.token).await?;
        let path = format!("/api/tokens/{token}/history");
        let answer = client.pages(&path, &[], Some("history"), self.limit).await?;
        if self.common.json {
            out.json(&answer.json)?;
        } else {
            let usages: Usages = answer.read()?;
            if usages.history.is_empty() {
                remark("Nobody has had this token yet.");
                return Ok(());
            }
            let happened = |usage: &Usage| usage.ended_at.unwrap_or(usage.started_at);
            let now = time_of(&answer, usages.history.iter().map(happened))?;
            out.print(&table(&usages.history, now).text(out.width))?;
            if answer.next.is_some() {
                remark_more(self.limit);
            }
        }
        Ok(())
    }
}

fn table(usages: &[Usage], now: Timestamp) -> Table<6> {
    let mut table = Table::new([
        ("USER", Yields::Cuts),
        ("STATUS", Yields::Never),
        ("STARTED", Yields::Goes(2)),
        ("ENDS", Yields::Never),
        ("LASTED", Yields::Goes(1)),
        ("LEASE", Yields::Never),
    ]);
    for usage in usages {
        let status = usage.end_reason.as_deref().unwrap_or("active");
        table.row([
            (&usage.user).into(),
            Cell::styled(status_style(status), status),
            ago(now, usage.started_at).into(),
            end(now, usage.ended_at, usage.expires_at),
            lasted(usage.started_at, usage.ended_at.unwrap_or(now)).into(),
            Cell::styled(QUIET, usage.lease_id.to_string()),
        ]);
    }
    table
}

/// When a lease ended or will end.
pub fn end(now: Timestamp, ended: Option<Timestamp>, expires: Timestamp) -> Cell {
    match ended {
        Some(ended) => ago(now, ended).into(),
        None => Cell::styled(left_style(left(now, expires)), until(now, expires)),
    }
}
