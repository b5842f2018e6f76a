//! `token-manager watch`

mod board;
mod lines;
mod screen;

use std::collections::HashMap;

use clap::Args;

use client::{Client, Error};

use self::board::{Board, Clock};
use super::in_pool::InPools;
use super::pool::usage;
use super::{Common, find};
use crate::term::error::CliError;
use crate::term::output::Out;

/// Watch leases start and end, live
///
/// On a terminal it shows the tokens in use, with the time left, and the latest events, until you press q. Otherwise it
/// prints a line for each event, or with --json a JSON object, until it is stopped. After a lost connection it reconnects
/// and continues without a gap.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager watch
      all leases
  token-manager watch --user ann
      only leases of ann
  token-manager watch --pool staging
      only leases of that pool; --all-pools for those of all
  token-manager watch --json | jq -r 'select(.reason == \"evicted\") | .user'
      users whose leases are evicted")]
pub struct Watch {
    /// Only leases of this user
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,
    /// Only leases of this token: its number, its id, or the first 4 or more characters of its id; with --pool, its name
    /// or id
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    #[command(flatten)]
    pools: InPools,
    #[command(flatten)]
    common: Common,
}

/// Watched leases.
struct Watched {
    client: Client,
    pools: InPools,
    user: Option<String>,
    token: Option<String>,
}

impl Watch {
    pub async fn perform(self) -> Result<(), CliError> {
        let (client, out) = (self.common.client()?, Out::standard());
        // Fails early if the server is not running.
        let (pool, at) = self.pools.state(&client).await?;
        let token = match &self.token {
            Some(named) => Some(find::token(&client, self.pools.one(), named).await?.to_string()),
            None => None,
        };
        let watched = Watched { client, pools: self.pools, user: self.user, token };
        let clock = Clock::at(at);
        if self.common.json || !out.is_terminal() || !screen::is_possible() {
            lines::print(&watched, &out, clock, self.common.json).await
        } else {
            let title = watched.title();
            let numbers = if watched.pools.has_names() {
                HashMap::new()
            } else {
                find::numbers(&watched.client).await
            };
            screen::show(&watched, Board::new(title, usage(&pool), clock, numbers)).await
        }
    }
}

impl Watched {
    /// Returns the filter as query parameters.
    fn query(&self) -> Vec<(&str, &str)> {
        let user = self.user.as_deref().map(|user| ("user", user));
        let token = self.token.as_deref().map(|token| ("token_id", token));
        self.pools.query().into_iter().chain(user).chain(token).collect()
    }

    fn title(&self) -> String {
        let query = self.query().into_iter();
        let filters =
            query.map(|(name, value)| format!("{}: {value}", name.trim_end_matches("_id")));
        let title: Vec<String> = std::iter::once(self.client.url()).chain(filters).collect();
        title.join("  ")
    }
}

/// Returns whether retrying can't help.
fn is_final(error: &Error) -> bool {
    matches!(error, Error::Refused(problem) if (400..500).contains(&problem.status))
}
