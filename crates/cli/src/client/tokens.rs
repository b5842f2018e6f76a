//! `token-manager tokens`

use std::collections::HashSet;

use clap::Args;
use client::{Client, Error, TokenList};
use jiff::Timestamp;
use pool::User;
use serde::Deserialize as _;
use serde_json::Value;
use uuid::Uuid;
use wire::{PoolToken, PoolTokenStatus, Token};

use crate::term::error::CliError;
use crate::term::exit::Exit;
use crate::term::format::{ago, left, until};
use crate::term::harmless;
use crate::term::output::{GOOD, MIND, QUIET, left_style};
use crate::term::table::{Cell, Table, Yields};

use super::in_pool::InPool;
use super::show::labels;
use super::{Common, time_of};

/// List the tokens with their holders and deadlines
///
/// The table shows values only with --values. Other commands take a token by its number (NO), its id, or the first 4 or more
/// characters of its id; with --pool, by its name or id.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager tokens --active
      the tokens in use
  token-manager tokens --user ann --values
      the tokens of ann, with their values
  token-manager tokens --available --json | jq -r '.[].id'
      the ids of the free tokens
  token-manager tokens --pool staging
      the tokens of another pool, with their names and labels")]
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
    /// Show the tokens' values in the table; JSON always has them, unless the pool shows them to holders only
    #[arg(long)]
    values: bool,
    /// Maximum number of rows
    #[arg(long, value_name = "COUNT", value_parser = super::rows, allow_hyphen_values = true)]
    limit: Option<usize>,
    #[command(flatten)]
    pool: InPool,
    #[command(flatten)]
    common: Common,
}

impl Tokens {
    pub async fn perform(self) -> Result<(), CliError> {
        let client = self.common.client()?;
        if let Some(pool) = self.pool.name() {
            return self.in_pool(&client, pool).await;
        }
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

    async fn in_pool(&self, client: &Client, pool: &str) -> Result<(), CliError> {
        let limit = self.limit.unwrap_or(usize::MAX);
        let is_filtered = self.active || self.available || self.user.is_some();
        let max = if is_filtered { usize::MAX } else { limit };
        let mut reply = client.pool_tokens(pool, max).await?;
        let user = self.user.as_deref().map(User::new).transpose();
        let user = user.map_err(|why| CliError::new(Exit::Usage, format!("--user {why}")))?;
        if let (true, Some(Value::Array(rows))) = (is_filtered, reply.json.get_mut("tokens")) {
            rows.retain(|row| {
                PoolToken::deserialize(row).is_ok_and(|token| {
                    let held = token.lease.as_ref().map(|held| held.lease.user_id);
                    let is_of = |user: &User| held == Some(user.id.0);
                    user.as_ref().is_none_or(is_of)
                        && (!self.active || held.is_some())
                        && (!self.available || token.status == PoolTokenStatus::AVAILABLE)
                })
            });
            reply.next = (rows.len() > limit).then(String::new);
            rows.truncate(limit);
        }
        self.common.list(&reply, limit, &self.empty(), |page| {
            let rows = page.tokens;
            let started =
                rows.iter().filter_map(|token| Some(token.lease.as_ref()?.lease.started_at.0));
            let now = time_of(&reply, started)?;
            Ok((!rows.is_empty()).then(|| pool_table(&rows, now, self.values)))
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

fn pool_table(tokens: &[PoolToken], now: Timestamp, values: bool) -> Table<8> {
    let has_note =
        tokens.iter().filter_map(|token| token.lease.as_ref()).any(|it| it.note.is_some());
    let mut table = Table::new([
        ("TOKEN", Yields::Never),
        (if values { "VALUE" } else { "" }, Yields::Never),
        ("STATUS", Yields::Never),
        ("USER", Yields::Cuts),
        ("ENDS", Yields::Never),
        (if has_note { "NOTE" } else { "" }, Yields::Goes(3)),
        ("LABELS", Yields::Goes(1)),
        ("LEASE", Yields::Goes(2)),
    ]);
    for token in tokens {
        let held = token.lease.as_ref().map(|held| &held.lease);
        let note = token.lease.as_ref().and_then(|held| held.note.as_deref());
        let value = token.value.as_ref().filter(|_| values);
        let status: &str = if token.retiring { "retiring" } else { &token.status };
        let style = if held.is_some() {
            GOOD
        } else if token.status == PoolTokenStatus::TAINTED {
            MIND
        } else {
            QUIET
        };
        table.row([
            (&token.name).into(),
            value.map_or_else(String::new, ToString::to_string).into(),
            Cell::styled(style, status),
            held.map_or("", |lease| &lease.user).into(),
            held.map_or_else(
                || "".into(),
                |lease| {
                    let at = lease.expires_at.0;
                    Cell::styled(left_style(left(now, at)), until(now, at))
                },
            ),
            note.unwrap_or_default().into(),
            Cell::styled(QUIET, labels(&token.labels)),
            held.map_or_else(|| "".into(), |lease| Cell::styled(QUIET, lease.lease_id.to_string())),
        ]);
    }
    table
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
        let value =
            token.token.as_ref().filter(|_| values).map_or(String::new(), ToString::to_string);
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
