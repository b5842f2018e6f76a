//! `token-manager watch`

mod board;
mod lines;
mod screen;

use clap::Args;

use client::{Client, Error, Lease, PoolView};

use self::board::{Board, Clock};
use super::find::{self, Named};
use super::{Common, time_of};
use crate::term::error::CliError;
use crate::term::output::Out;

/// Watch who takes tokens and who loses them, as it happens
///
/// On a terminal it shows the tokens that are held, with the time left, and the latest events, until you press q. Elsewhere
/// it prints a line for each event, and with --json a JSON object, until it is stopped. When the connection breaks it says
/// so, and goes on by itself where it was.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager watch
      everything
  token-manager watch --user ann
      only what ann has
  token-manager watch --json | jq -r 'select(.reason == \"evicted\") | .user'
      who loses a token to others")]
pub struct Watch {
    /// Only this user's leases
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,
    /// Only this token's leases: its number, its id, or the first 4 or more characters of its id
    #[arg(long, value_name = "TOKEN", value_parser = find::named)]
    token: Option<Named>,
    #[command(flatten)]
    common: Common,
}

/// What is watched.
struct Watched {
    client: Client,
    user: Option<String>,
    token: Option<String>,
}

impl Watch {
    /// Watches until it is told to stop.
    pub async fn perform(self) -> Result<(), CliError> {
        let (client, out) = (self.common.client()?, Out::standard());
        // Whether there is anything to watch at all.
        let answer = client.get("/api/pool", &[]).await?;
        let token = match &self.token {
            Some(named) => Some(find::token(&client, named).await?.to_string()),
            None => None,
        };
        let watched = Watched { client, user: self.user, token };
        let pool: PoolView = answer.read()?;
        let clock = Clock::at(time_of(&answer, pool.oldest_lease.as_ref().map(Lease::read_at))?);
        if self.common.json || !out.is_terminal() || !screen::is_possible() {
            lines::print(&watched, &out, clock, self.common.json).await
        } else {
            let title = watched.title();
            let numbers = find::numbers(&watched.client).await;
            screen::show(&watched, Board::new(title, pool, clock, numbers)).await
        }
    }
}

impl Watched {
    /// The parameters that leave only what is watched.
    fn query(&self) -> Vec<(&str, &str)> {
        let user = self.user.as_deref().map(|user| ("user", user));
        let token = self.token.as_deref().map(|token| ("token_id", token));
        user.into_iter().chain(token).collect()
    }

    fn title(&self) -> String {
        let query = self.query().into_iter();
        let filters =
            query.map(|(name, value)| format!("{}: {value}", name.trim_end_matches("_id")));
        let title: Vec<String> = std::iter::once(self.client.url()).chain(filters).collect();
        title.join("  ")
    }
}

/// Whether asking again can't help.
fn is_final(error: &Error) -> bool {
    matches!(error, Error::Refused(problem) if (400..500).contains(&problem.status))
}
