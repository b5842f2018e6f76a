//! `token-manager audit`

use std::time::Duration;

use clap::Args;
use client::Client;
use pool::Action;
use wire::{AuditEntry, KeyName};

use crate::term::error::CliError;
use crate::term::format::{When, moment};
use crate::term::harmless;
use crate::term::output::{Out, QUIET, STRONG, paint};
use crate::term::table::{Cell, Table, Yields};

use super::Common;
use super::in_pool::pool_name;
use super::leases::{print_download, times};

/// Interval of requests with --follow.
const POLL: Duration = Duration::from_secs(2);

/// Search the audit log: who changed what, newest first
///
/// Needs an administrator's key. A TIME is a time such as 2026-11-22T15:36:02Z, or a duration before the server's time:
/// 30m, 2h, 7d.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager audit --since 1d
      the actions of the last day
  token-manager audit --action key.created --by admin
      the keys that the key admin created
  token-manager audit --follow --json
      actions as they happen, an object per line
  token-manager audit --csv > audit.csv
      the whole log, oldest first")]
pub struct Audit {
    /// Only actions by this API key: its name or id
    #[arg(long, value_name = "KEY")]
    by: Option<String>,
    /// Only actions of this kind
    #[arg(long, value_parser = Action::WORDS)]
    action: Option<String>,
    /// Only actions about this pool
    #[arg(long, value_name = "NAME", value_parser = pool_name)]
    pool: Option<String>,
    /// Only actions then or later
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<When>,
    /// Only earlier actions
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<When>,
    /// Maximum number of rows
    #[arg(long, value_name = "COUNT", value_parser = super::rows, allow_hyphen_values = true, default_value = "20")]
    limit: usize,
    /// Print all rows as CSV, oldest first
    #[arg(long, conflicts_with_all = ["limit", "json", "follow"])]
    csv: bool,
    /// Print further actions as they happen
    #[arg(short, long, conflicts_with = "until")]
    follow: bool,
    #[command(flatten)]
    common: Common,
}

/// Maximum number of actions between two requests.
const MOST: usize = 10_000;

type Query = Vec<(&'static str, String)>;

impl Audit {
    pub async fn perform(self) -> Result<(), CliError> {
        let client = self.common.client()?;
        let query = self.query(&client).await?;
        if self.follow {
            return self.follow(&client, query).await;
        }
        let pairs = pairs(&query);
        if self.csv {
            return print_download(client.export_audit(&pairs).await?).await;
        }
        let reply = client.audit(&pairs, self.limit).await?;
        let empty = if pairs.is_empty() { "No actions yet." } else { "No such action." };
        self.common.list(&reply, self.limit, empty, |page| {
            Ok((!page.entries.is_empty()).then(|| table(&page.entries)))
        })
    }

    async fn query(&self, client: &Client) -> Result<Query, CliError> {
        let mut query = Vec::new();
        for (name, value) in [("key", &self.by), ("action", &self.action), ("pool", &self.pool)] {
            query.extend(value.as_ref().map(|value| (name, value.clone())));
        }
        let limits = [("from", "since", self.since), ("to", "until", self.until)];
        query.extend(times(client, limits).await?);
        Ok(query)
    }

    /// Prints the newest entries, and then each further one.
    async fn follow(&self, client: &Client, query: Query) -> Result<(), CliError> {
        let out = Out::standard();
        let mut newest: Option<AuditEntry> = None;
        loop {
            let mut query = query.clone();
            if let Some(newest) = &newest {
                query.retain(|(name, _)| *name != "from");
                query.push(("from", newest.at.to_string()));
            }
            let limit = if newest.is_some() { MOST } else { self.limit };
            let mut entries = match client.audit(&pairs(&query), limit).await {
                Ok(reply) => reply.read()?.entries,
                // The next request may work.
                Err(error) if newest.is_some() && error.is_temporary() => Vec::new(),
                Err(error) => return Err(error.into()),
            };
            let known = newest.as_ref().map_or(i64::MIN, |newest| newest.number);
            entries.retain(|entry| entry.number > known);
            entries.sort_unstable_by_key(|entry| entry.number);
            for entry in &entries {
                if self.common.json {
                    out.one_line(&serde_json::to_value(entry).unwrap_or_default())?;
                } else {
                    out.line(line(entry))?;
                }
            }
            newest = entries.pop().or(newest);
            tokio::time::sleep(POLL).await;
        }
    }
}

fn pairs(query: &Query) -> Vec<(&str, &str)> {
    query.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

fn key(entry: &AuditEntry) -> &str {
    entry.key.as_ref().map_or("(no key)", |KeyName { name, .. }| name)
}

fn line(entry: &AuditEntry) -> String {
    let pool =
        entry.pool.as_ref().map_or(String::new(), |pool| format!(" pool {}", harmless(pool)));
    format!(
        "{}  {}  {}{pool}  {}",
        moment(entry.at.0),
        harmless(key(entry)),
        paint(STRONG, harmless(&entry.action)),
        harmless(&entry.subject)
    )
}

fn table(entries: &[AuditEntry]) -> Table<5> {
    let mut table = Table::new([
        ("TIME", Yields::Never),
        ("KEY", Yields::Never),
        ("ACTION", Yields::Never),
        ("POOL", Yields::Goes(1)),
        ("SUBJECT", Yields::Cuts),
    ]);
    for entry in entries {
        table.row([
            Cell::styled(QUIET, moment(entry.at.0)),
            key(entry).into(),
            (&*entry.action).into(),
            entry.pool.as_deref().unwrap_or_default().into(),
            (&*entry.subject).into(),
        ]);
    }
    table
}
