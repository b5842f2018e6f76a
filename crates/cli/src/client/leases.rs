//! `token-manager leases`

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::term::Data;
use crate::term::exit::Exit;
use client::{Client, Error, Lease};

use super::find::{self, Named};
use super::history::end;
use super::{Common, remark_more, time_of};
use crate::term::error::CliError;
use crate::term::format::{When, ago};
use crate::term::output::{Out, QUIET, remark, status_style};
use crate::term::table::{Cell, Table, Yields};

/// Search the leases, past and present, newest first
///
/// A TIME is one such as 2026-11-22T15:36:02Z, or how long ago by the server's clock: 30m, 2h, 7d.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager leases --user ann
      what ann had last
  token-manager leases --at 2h
      who had what two hours ago
  token-manager leases --reason evicted --from 1d
      who lost a token to others since yesterday
  token-manager leases --csv > leases.csv
      all of the history, for a spreadsheet")]
pub struct Leases {
    /// Only this user's
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,
    /// Only this token's: its number, its id, or the first 4 or more characters of its id
    #[arg(long, value_name = "TOKEN", value_parser = find::named)]
    token: Option<Named>,
    /// Only those that run, or that are over
    #[arg(long, value_parser = ["active", "ended"])]
    status: Option<String>,
    /// Only those that ended for this reason
    #[arg(long, value_parser = ["released", "expired", "evicted", "cleared", "imported"])]
    reason: Option<String>,
    /// Only those that began then or later
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<When>,
    /// Only those that began before
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<When>,
    /// Only those that ran at that time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    at: Option<When>,
    /// Show so many at most
    #[arg(long, value_name = "COUNT", value_parser = super::rows, allow_hyphen_values = true, default_value = "20")]
    limit: usize,
    /// Print all of them as CSV, however many there are
    #[arg(long, conflicts_with_all = ["limit", "json"])]
    csv: bool,
    #[command(flatten)]
    common: Common,
}

impl Leases {
    /// Prints them.
    pub async fn perform(self) -> Result<(), CliError> {
        let (client, out) = (self.common.client()?, Out::standard());
        let query = self.query(&client).await?;
        let mut query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if self.csv {
            query.push(("format", "csv"));
            return export(&client, &query).await;
        }
        let answer = client.pages("/api/leases", &query, Some("leases"), self.limit).await?;
        if self.common.json {
            out.json(&answer.json)?;
        } else {
            let found: client::Leases = answer.read()?;
            if found.leases.is_empty() {
                remark(if query.is_empty() {
                    "There has been no lease yet."
                } else {
                    "There is no such lease."
                });
                return Ok(());
            }
            let now = time_of(&answer, found.leases.iter().map(Lease::read_at))?;
            let numbers = find::numbers(&client).await;
            out.print(&table(&found.leases, now, &numbers).text(out.width))?;
            if answer.next.is_some() {
                remark_more(self.limit);
            }
        }
        Ok(())
    }

    /// What the server is to be asked.
    async fn query(&self, client: &Client) -> Result<Vec<(&'static str, String)>, CliError> {
        let mut query = Vec::new();
        if let Some(token) = &self.token {
            query.push(("token_id", find::token(client, token).await?.to_string()));
        }
        for (name, value) in
            [("user", &self.user), ("status", &self.status), ("end_reason", &self.reason)]
        {
            query.extend(value.as_ref().map(|value| (name, value.clone())));
        }
        let mut now = None;
        for (name, when) in [("from", self.from), ("to", self.to), ("at", self.at)] {
            let Some(when) = when else { continue };
            let at = match when {
                When::At(at) => at,
                When::Ago(ago) => {
                    let now = match now {
                        Some(now) => now,
                        None => *now.insert(time_at(client).await?),
                    };
                    before(now, ago).ok_or_else(|| {
                        CliError::new(Exit::Usage, format!("--{name} is too long ago"))
                    })?
                }
            };
            query.push((name, at.to_string()));
        }
        Ok(query)
    }
}

/// What time it is at the server.
async fn time_at(client: &Client) -> Result<Timestamp, Error> {
    time_of(&client.get("/health/live", &[]).await?, None)
}

fn before(now: Timestamp, ago: Duration) -> Option<Timestamp> {
    now.checked_sub(SignedDuration::try_from(ago).ok()?).ok()
}

/// Passes the export on as it comes.
async fn export(client: &Client, query: &[(&str, &str)]) -> Result<(), CliError> {
    let mut download = client.download("/api/leases", query).await?;
    // By whole pieces; line by line would be slow.
    let mut stdout = io::BufWriter::new(Data::stdout());
    let mut begun = false;
    loop {
        match download.next().await {
            Ok(Some(piece)) => stdout.write_all(&piece)?,
            Ok(None) => return Ok(stdout.flush()?),
            Err(error) => {
                stdout.flush()?;
                let error = CliError::from(error);
                return Err(if begun {
                    error.note("the export is not whole: what was printed is only its beginning")
                } else {
                    error
                });
            }
        }
        begun = true;
    }
}

fn table(leases: &[Lease], now: Timestamp, numbers: &HashMap<Uuid, u64>) -> Table<7> {
    let mut table = Table::new([
        ("USER", Yields::Cuts),
        ("STATUS", Yields::Never),
        ("STARTED", Yields::Goes(2)),
        ("ENDS", Yields::Never),
        (if numbers.is_empty() { "" } else { "NO" }, Yields::Never),
        ("TOKEN", Yields::Shortens(1)),
        ("LEASE", Yields::Never),
    ]);
    for lease in leases {
        let status = lease.end_reason.as_deref().unwrap_or("active");
        table.row([
            (&lease.user).into(),
            Cell::styled(status_style(status), status),
            ago(now, lease.started_at).into(),
            end(now, lease.ended_at, lease.expires_at),
            numbers.get(&lease.token_id).map_or(String::new(), u64::to_string).into(),
            lease.token_id.to_string().into(),
            Cell::styled(QUIET, lease.lease_id.to_string()),
        ]);
    }
    table
}
