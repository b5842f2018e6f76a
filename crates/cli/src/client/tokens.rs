//! `token-manager tokens`

use std::collections::HashSet;

use clap::Args;
use client::{Client, Error, TokenList};
use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::Value;
use uuid::Uuid;
use wire::Token;

use crate::term::error::CliError;
use crate::term::format::{ago, left, until};
use crate::term::harmless;
use crate::term::output::{GOOD, QUIET, left_style};
use crate::term::table::{Cell, Table, Yields};

use super::{Common, time_of};

/// List the tokens with their holders and deadlines
///
/// The table shows values only with --values. Other commands take a token by its number (NO), its id, or the first 4 or more
/// characters of its id.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager tokens --active
      the tokens in use
  token-manager tokens --user ann --values
      the tokens of ann, with their values
  token-manager tokens --available --json | jq -r '.[].id'
      the ids of the free tokens")]
pub struct Tokens {
    /// Only tokens in use
    #[arg(long)]
    active: bool,
    /// Only free tokens
    #[arg(long, conflicts_with_all = ["active", "user"])]
    available: bool,
    /// Only tokens of this user
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,
    /// Show the tokens' values in the table; JSON always has them
    #[arg(long)]
    values: bool,
    /// Maximum number of rows
    #[arg(long, value_name = "COUNT", value_parser = super::rows, allow_hyphen_values = true)]
    limit: Option<usize>,
    #[command(flatten)]
    common: Common,
}

impl Tokens {
    pub async fn perform(self) -> Result<(), CliError> {
        let client = self.common.client()?;
        let list = match (self.available, self.active || self.user.is_some()) {
            (true, _) => TokenList::Available,
            (_, true) => TokenList::Active,
            _ => TokenList::All,
        };
        let limit = self.limit.unwrap_or(usize::MAX);
        // The tokens of one user may be anywhere in the list.
        let max = if self.user.is_some() { usize::MAX } else { limit };
        let mut reply = client.tokens(list, max).await?;
        if let (Some(user), Value::Array(rows)) = (&self.user, &mut reply.json) {
            let leases = leases_of(&client, user).await?;
            rows.retain(|row| {
                Token::deserialize(row)
                    .is_ok_and(|token| token.lease_id.is_some_and(|id| leases.contains(&id)))
            });
            reply.next = (rows.len() > limit).then(String::new);
            rows.truncate(limit);
        }
        self.common.list(&reply, limit, &self.empty(), |rows| {
            let now = time_of(&reply, rows.iter().map(|token| token.updated_at.0))?;
            Ok((!rows.is_empty()).then(|| table(&rows, now, self.values)))
        })
    }

    fn empty(&self) -> String {
        match &self.user {
            Some(user) => format!("{} has no token.", harmless(user)),
            None if self.active => "No token is in use.".to_owned(),
            None if self.available => "No token is free.".to_owned(),
            None => "The pool has no token.".to_owned(),
        }
    }
}

/// Returns the running leases of a user, whose name the server compares.
async fn leases_of(client: &Client, user: &str) -> Result<HashSet<Uuid>, Error> {
    let page = client.leases(&[("user", user), ("status", "running")], usize::MAX).await?.read()?;
    Ok(page.leases.iter().map(|lease| lease.lease_id).collect())
}

fn table(tokens: &[Token], now: Timestamp, values: bool) -> Table<8> {
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
        let value = if values { token.token.to_string() } else { String::new() };
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
                Cell::styled(left_style(left(now, at.0)), until(now, at.0))
            }),
            token.activated_at.map_or("".into(), |at| ago(now, at.0).into()),
            token.lease_id.map_or("".into(), |id| Cell::styled(QUIET, id.to_string())),
        ]);
    }
    table
}
