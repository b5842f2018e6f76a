//! `token-manager clear`

use std::io::{self, IsTerminal as _, Write as _};

use clap::Args;
use reqwest::Method;

use crate::term::exit::Exit;
use crate::term::format::count;
use client::PoolView;

use super::Common;
use crate::term::error::CliError;
use crate::term::output::{MIND, Out, paint};

/// Take all tokens back from all holders
///
/// It says how many lose their token, and asks before it does it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager clear
      asks first
  token-manager clear --yes
      for scripts

Exit codes:
    6  the server is away, nothing was done
    7  the answer was lost: look first, for clearing again also takes the tokens of those that came since
    8  it was not confirmed, nothing was done")]
pub struct Clear {
    /// Do it without asking
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

impl Clear {
    /// Does it, if it is meant.
    pub async fn perform(self) -> Result<(), CliError> {
        let (client, out) = (self.common.client()?, Out::standard());
        if !self.yes {
            let pool: PoolView = client.get("/api/pool", &[]).await?.read()?;
            if pool.active == 0 && !self.common.json {
                return Ok(out.line("Nobody has a token, so there is nothing to clear.")?);
            }
            confirm(pool.active)?;
        }
        let answer = client.send(Method::DELETE, "/api/tokens/clear-active", None).await?;
        if self.common.json {
            return Ok(out.json(&answer.json)?);
        }
        let cleared = answer.json["tokens_cleared"].as_u64().unwrap_or_default();
        let cleared = count(usize::try_from(cleared).unwrap_or(usize::MAX), "holder");
        Ok(out.line(format!("Cleared: {cleared} lost their token."))?)
    }
}

/// Asks whether it is meant.
fn confirm(holders: usize) -> Result<(), CliError> {
    let lose = format!(
        "{} {} token",
        count(holders, "holder"),
        if holders == 1 { "loses its" } else { "lose their" }
    );
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        let what = format!(
            "{lose} by that, and there is no terminal to ask on whether it is meant; nothing was done"
        );
        return Err(CliError::new(Exit::Declined, what).hint("--yes, to do it without being asked"));
    }
    let mut stderr = anstream::stderr();
    write!(stderr, "{} at once. Clear? [y/N] ", paint(MIND, lose))?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.read_line(&mut answer)?;
    if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
        return Ok(());
    }
    if !answer.ends_with('\n') {
        writeln!(stderr)?;
    }
    Err(CliError::new(Exit::Declined, "it was not confirmed; nothing was done"))
}
