//! `token-manager tokens`

use std::collections::HashSet;

use clap::Args;
use serde::Deserialize as _;
use serde_json::Value;
use uuid::Uuid;

use crate::term::harmless;
use client::{Client, Error, Leases, Token};

use super::{Common, remark_more, time_of};
use crate::term::error::CliError;
use crate::term::format as words;
use crate::term::output::{GOOD, Out, QUIET, left_style, remark};
use crate::term::table::{Cell, Table, Yields};

/// List the tokens, who has them and for how long
///
/// Tables show values only with --values. Other commands take a token by its number (NO), its id, or the first 4 or more
/// characters of its id.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager tokens --active
      the tokens that somebody has
  token-manager tokens --user ann --values
      what ann has, with the tokens' values
  token-manager tokens --available --json | jq -r '.[].id'
      the ids of those that are free")]
pub struct Tokens {
    /// Only those that somebody has
    #[arg(long)]
    active: bool,
    /// Only those that nobody has
    #[arg(long, conflicts_with_all = ["active", "user"])]
    available: bool,
    /// Only those that this user has
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,
    /// Show the tokens' values in the table; JSON has them in any case
    #[arg(long)]
    values: bool,
    /// Show so many at most
    #[arg(long, value_name = "COUNT", value_parser = super::rows, allow_hyphen_values = true)]
    limit: Option<usize>,
    #[command(flatten)]
    common: Common,
}

impl Tokens {
    /// Prints them.
    pub async fn perform(self) -> Result<(), CliError> {
        let (client, out) = (self.common.client()?, Out::standard());
        let path = match (self.available, self.active || self.user.is_some()) {
            (true, _) => "/api/tokens/available",
            (_, true) => "/api/tokens/active",
            _ => "/api/tokens",
        };
        let limit = self.limit.unwrap_or(usize::MAX);
        // Of one user there may be some anywhere.
        let most = if self.user.is_some() { usize::MAX } else { limit };
        let mut answer = client.pages(path, &[], None, most).await?;
        let mut more = answer.next.is_some();
        if let (Some(user), Value::Array(rows)) = (&self.user, &mut answer.json) {
            let leases = leases_of(&client, user).await?;
            rows.retain(|row| {
                Token::deserialize(row)
                    .is_ok_and(|token| token.lease_id.is_some_and(|id| leases.contains(&id)))
            });
            more = rows.len() > limit;
            rows.truncate(limit);
        }
        if self.common.json {
            out.json(&answer.json)?;
        } else {
            let rows: Vec<Token> = answer.read()?;
            if rows.is_empty() {
                remark(self.nothing());
                return Ok(());
            }
            let now = time_of(&answer, rows.iter().map(|token| token.updated_at))?;
            out.print(&table(&rows, now, self.values).text(out.width))?;
            if more {
                remark_more(limit);
            }
        }
        Ok(())
    }

    fn nothing(&self) -> String {
        match &self.user {
            Some(user) => format!("{} has no token.", harmless(user)),
            None if self.active => "Nobody has a token.".to_owned(),
            None if self.available => "No token is free.".to_owned(),
            None => "The pool has no token.".to_owned(),
        }
    }
}

/// The running leases of a user, who is named by the server's rules.
async fn leases_of(client: &Client, user: &str) -> Result<HashSet<Uuid>, Error> {
    let query = [("user", user), ("status", "running")];
    let leases: Leases =
        client.pages("/api/leases", &query, Some("leases"), usize::MAX).await?.read()?;
    Ok(leases.leases.iter().map(|lease| lease.lease_id).collect())
}

fn table(tokens: &[Token], now: jiff::Timestamp, values: bool) -> Table<8> {
    let mut table = Table::new([
        ("NO", Yields::Never),
        ("TOKEN", Yields::Shortens(3)),
        (if values { "VALUE" } else { "" }, Yields::Never),
        ("STATUS", Yields::Never),
        ("USER", Yields::Cuts),
        ("ENDS", Yields::Never),
        ("STARTED", Yields::Goes(2)),
        ("LEASE", Yields::Goes(1)),
    ]);
    for token in tokens {
        let value = if values { token.value.as_str() } else { "" };
        let held = token.expires_at.filter(|_| token.lease_id.is_some());
        let status = if held.is_some() {
            Cell::styled(GOOD, "active")
        } else {
            Cell::styled(QUIET, "available")
        };
        table.row([
            token.number.map_or(String::new(), |number| number.to_string()).into(),
            token.id.to_string().into(),
            value.into(),
            status,
            token.user.as_deref().unwrap_or_default().into(),
            held.map_or("".into(), |at| {
                Cell::styled(left_style(words::left(now, at)), words::until(now, at))
            }),
            token.activated_at.map_or("".into(), |at| words::ago(now, at).into()),
            token.lease_id.map_or("".into(), |id| Cell::styled(QUIET, id.to_string())),
        ]);
    }
    table
}
