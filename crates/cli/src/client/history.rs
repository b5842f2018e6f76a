//! `token-manager history`

use clap::Args;
use jiff::Timestamp;
use uuid::Uuid;

use crate::term::error::CliError;
use crate::term::format::{ago, lasted, left, until};
use crate::term::output::{QUIET, left_style, status_style};
use crate::term::table::{Cell, Table, Yields};

use super::in_pool::InPool;
use super::{Common, find, read_at, time_of};

/// Show the leases of a token, newest first
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  token-manager history 17 --limit 5
      the last holders of token number 17")]
pub struct History {
    /// Token: its number, its id, or the first 4 or more characters of its id; with --pool, its name or id. Of
    /// a retired token, the whole id; with --pool, also its name
    #[arg(value_name = "TOKEN")]
    token: String,
    /// Maximum number of rows
    #[arg(long, value_name = "COUNT", value_parser = super::rows, allow_hyphen_values = true, default_value = "20")]
    limit: usize,
    #[command(flatten)]
    pool: InPool,
    #[command(flatten)]
    common: Common,
}

const EMPTY: &str = "This token has no leases yet.";

impl History {
    pub async fn perform(self) -> Result<(), CliError> {
        let client = self.common.client()?;
        if let Some(pool) = self.pool.query() {
            let (name, token) = find::query(&client, &self.pool, &self.token).await?;
            let reply = client.leases(&[pool, (name, &token)], self.limit).await;
            let reply = reply.map_err(|error| find::of_pool(error, self.pool.name()))?;
            return self.common.list(&reply, self.limit, EMPTY, |page| {
                let now = time_of(&reply, page.leases.iter().map(read_at))?;
                let rows = page.leases.iter().map(|lease| Row {
                    user: &lease.user,
                    reason: lease.end_reason.as_deref(),
                    started: lease.started_at.0,
                    ended: lease.ended_at.map(|at| at.0),
                    expires: lease.expires_at.0,
                    lease: lease.lease_id,
                });
                Ok((!page.leases.is_empty()).then(|| table(rows, now)))
            });
        }
        let token = find::token(&client, &self.pool, &self.token).await?;
        let reply = client.history(token, self.limit).await?;
        self.common.list(&reply, self.limit, EMPTY, |page| {
            let rows = page.history.iter().map(|entry| Row {
                user: &entry.user,
                reason: entry.end_reason.as_deref(),
                started: entry.started_at.0,
                ended: entry.ended_at.map(|at| at.0),
                expires: entry.expires_at.0,
                lease: entry.lease_id,
            });
            let now = time_of(&reply, rows.clone().map(|row| row.ended.unwrap_or(row.started)))?;
            Ok((!page.history.is_empty()).then(|| table(rows, now)))
        })
    }
}

/// A lease of the token.
struct Row<'a> {
    user: &'a str,
    reason: Option<&'a str>,
    started: Timestamp,
    ended: Option<Timestamp>,
    expires: Timestamp,
    lease: Uuid,
}

fn table<'a>(rows: impl Iterator<Item = Row<'a>>, now: Timestamp) -> Table<6> {
    let mut table = Table::new([
        ("USER", Yields::Cuts),
        ("STATUS", Yields::Never),
        ("STARTED", Yields::Goes(2)),
        ("ENDS", Yields::Never),
        ("LASTED", Yields::Goes(1)),
        ("LEASE", Yields::Never),
    ]);
    for Row { user, reason, started, ended, expires, lease } in rows {
        let status = reason.unwrap_or("active");
        table.row([
            user.into(),
            Cell::styled(status_style(status), status),
            ago(now, started).into(),
            end(now, ended, expires),
            lasted(started, ended.unwrap_or(now)).into(),
            Cell::styled(QUIET, lease.to_string()),
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
