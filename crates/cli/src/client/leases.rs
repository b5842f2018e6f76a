//! `token-manager leases`

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::time::Duration;

use clap::Args;
use client::{Client, Download};
use jiff::{SignedDuration, Timestamp};
use pool::EndReason;
use uuid::Uuid;
use wire::Lease;

use crate::term::Data;
use crate::term::error::CliError;
use crate::term::exit::Exit;
use crate::term::format::{When, ago};
use crate::term::output::{QUIET, status_style};
use crate::term::table::{Cell, Table, Yields};

use super::history::end;
use super::in_pool::InPools;
use super::{Common, find, read_at, server_time, time_of};

/// Search running and ended leases, newest first
///
/// A TIME is a time such as 2026-11-22T15:36:02Z, or a duration before the server's time: 30m, 2h, 7d.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager leases --user ann
      the latest leases of ann
  token-manager leases --at 2h
      the leases that ran two hours ago
  token-manager leases --reason evicted --from 1d
      the leases of the last day that were evicted
  token-manager leases --pool staging --token staging-1
      the leases of a token of another pool
  token-manager leases --csv > leases.csv
      all leases, for a spreadsheet")]
pub struct Leases {
    /// Only leases of this user
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,
    /// Only leases of this token: its number, its id, or the first 4 or more characters of its id; with --pool, its name
    /// or id
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Only running or only ended leases
    #[arg(long, value_parser = ["active", "ended"])]
    status: Option<String>,
    /// Only leases with this end reason
    #[arg(long, value_parser = EndReason::WORDS)]
    reason: Option<String>,
    /// Only leases that started then or later
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<When>,
    /// Only leases that started earlier
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<When>,
    /// Only leases that ran at that time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    at: Option<When>,
    /// Maximum number of rows
    #[arg(long, value_name = "COUNT", value_parser = super::rows, allow_hyphen_values = true, default_value = "20")]
    limit: usize,
    /// Print all rows as CSV
    #[arg(long, conflicts_with_all = ["limit", "json"])]
    csv: bool,
    #[command(flatten)]
    pools: InPools,
    #[command(flatten)]
    common: Common,
}

impl Leases {
    pub async fn perform(self) -> Result<(), CliError> {
        let client = self.common.client()?;
        let query = self.query(&client).await?;
        let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if self.csv {
            return print_download(client.export(&query).await?).await;
        }
        let reply = client.leases(&query, self.limit).await;
        let reply = reply.map_err(|error| find::of_pool(error, self.pools.one().name()))?;
        let is_named = self.common.json || self.pools.has_names();
        let numbers = if is_named { HashMap::new() } else { find::numbers(&client).await };
        let empty = if query.is_empty() { "No leases yet." } else { "No such lease." };
        self.common.list(&reply, self.limit, empty, |page| {
            let now = time_of(&reply, page.leases.iter().map(read_at))?;
            Ok((!page.leases.is_empty())
                .then(|| table(&page.leases, now, &numbers, self.pools.is_all())))
        })
    }

    /// Returns the query parameters.
    async fn query(&self, client: &Client) -> Result<Vec<(&'static str, String)>, CliError> {
        let mut query = Vec::new();
        query.extend(self.pools.query().map(|(name, pool)| (name, pool.to_owned())));
        if let Some(token) = &self.token {
            let pool = self.pools.one();
            query.push(if self.pools.is_all() {
                ("token_id", find::token(client, pool, token).await?.to_string())
            } else {
                find::query(client, pool, token).await?
            });
        }
        for (name, value) in
            [("user", &self.user), ("status", &self.status), ("end_reason", &self.reason)]
        {
            query.extend(value.as_ref().map(|value| (name, value.clone())));
        }
        let limits = [("from", "from", self.from), ("to", "to", self.to), ("at", "at", self.at)];
        query.extend(times(client, limits).await?);
        Ok(query)
    }
}

/// Returns query parameters with times. Each has the name of its option.
pub async fn times<const N: usize>(
    client: &Client,
    given: [(&'static str, &str, Option<When>); N],
) -> Result<Vec<(&'static str, String)>, CliError> {
    let (mut now, mut times) = (None, Vec::new());
    for (name, option, when) in given {
        let at = match when {
            None => continue,
            Some(When::At(at)) => at,
            Some(When::Ago(ago)) => {
                let now = match now {
                    Some(now) => now,
                    None => *now.insert(server_time(client).await?),
                };
                before(now, ago).ok_or_else(|| {
                    CliError::new(Exit::Usage, format!("--{option} is too long ago"))
                })?
            }
        };
        times.push((name, at.to_string()));
    }
    Ok(times)
}

fn before(now: Timestamp, ago: Duration) -> Option<Timestamp> {
    now.checked_sub(SignedDuration::try_from(ago).ok()?).ok()
}

/// Prints an export.
pub async fn print_download(mut download: Download) -> Result<(), CliError> {
    // The standard output alone is line-buffered, which is slow.
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
                    error.note("the export is incomplete: only its beginning was printed")
                } else {
                    error
                });
            }
        }
        begun = true;
    }
}

fn table(
    leases: &[Lease],
    now: Timestamp,
    numbers: &HashMap<Uuid, u64>,
    all_pools: bool,
) -> Table<9> {
    let is_named = leases.iter().any(|lease| lease.token_name.is_some());
    let has_note = leases.iter().any(|lease| lease.note.is_some());
    let mut table = Table::new([
        ("USER", Yields::Cuts),
        ("STATUS", Yields::Never),
        ("STARTED", Yields::Goes(2)),
        ("ENDS", Yields::Never),
        (if numbers.is_empty() { "" } else { "NO" }, Yields::Never),
        (if all_pools { "POOL" } else { "" }, Yields::Cuts),
        ("TOKEN", if is_named { Yields::Never } else { Yields::Shortens(1) }),
        (if has_note { "NOTE" } else { "" }, Yields::Goes(3)),
        ("LEASE", Yields::Never),
    ]);
    for lease in leases {
        let status = lease.end_reason.as_deref().unwrap_or("active");
        table.row([
            (&lease.user).into(),
            Cell::styled(status_style(status), status),
            ago(now, lease.started_at.0).into(),
            end(now, lease.ended_at.map(|at| at.0), lease.expires_at.0),
            numbers.get(&lease.token_id).map_or(String::new(), u64::to_string).into(),
            lease.pool.as_deref().filter(|_| all_pools).unwrap_or_default().into(),
            lease
                .token_name
                .as_deref()
                .map_or_else(|| lease.token_id.to_string(), str::to_owned)
                .into(),
            lease.note.as_deref().unwrap_or_default().into(),
            Cell::styled(QUIET, lease.lease_id.to_string()),
        ]);
    }
    table
}
