//! `token-manager history`

use clap::Args;
use jiff::Timestamp;
use wire::HistoryEntry;

use crate::term::error::CliError;
use crate::term::format::{ago, lasted, left, until};
use crate::term::output::{QUIET, left_style, status_style};
use crate::term::table::{Cell, Table, Yields};

use super::find::{self, Named};
use super::{Common, time_of};

/// Show the leases of a token, newest first
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  token-manager history 17 --limit 5
      the last holders of token number 17")]
pub struct History {
    /// Token: its number, its id, or the first 4 or more characters of its id
    #[arg(value_name = "TOKEN", value_parser = find::named)]
    token: Named,
    /// Maximum number of rows
    #[arg(long, value_name = "COUNT", value_parser = super::rows, allow_hyphen_values = true, default_value = "20")]
    limit: usize,
    #[command(flatten)]
    common: Common,
}

impl History {
    pub async fn perform(self) -> Result<(), CliError> {
        let client = self.common.client()?;
        let token = find::token(&client, &self.token).await?;
        let reply = client.history(token, self.limit).await?;
        self.common.list(&reply, self.limit, "This token has no leases yet.", |page| {
            let happened =
                |entry: &HistoryEntry| entry.ended_at.map_or(entry.started_at.0, |at| at.0);
            let now = time_of(&reply, page.history.iter().map(happened))?;
            Ok((!page.history.is_empty()).then(|| table(&page.history, now)))
        })
    }
}

fn table(entries: &[HistoryEntry], now: Timestamp) -> Table<6> {
    let mut table = Table::new([
        ("USER", Yields::Cuts),
        ("STATUS", Yields::Never),
        ("STARTED", Yields::Goes(2)),
        ("ENDS", Yields::Never),
        ("LASTED", Yields::Goes(1)),
        ("LEASE", Yields::Never),
    ]);
    for entry in entries {
        let status = entry.end_reason.as_deref().unwrap_or("active");
        let ended = entry.ended_at.map(|at| at.0);
        table.row([
            (&entry.user).into(),
            Cell::styled(status_style(status), status),
            ago(now, entry.started_at.0).into(),
            end(now, ended, entry.expires_at.0),
            lasted(entry.started_at.0, ended.unwrap_or(now)).into(),
            Cell::styled(QUIET, entry.lease_id.to_string()),
        ]);
    }
    table
}

/// Returns when a lease ended or will end.
pub fn end(now: Timestamp, ended: Option<Timestamp>, expires: Timestamp) -> Cell {
    match ended {
        Some(ended) => ago(now, ended).into(),
        None => Cell::styled(left_style(left(now, expires)), until(now, expires)),
    }
}
