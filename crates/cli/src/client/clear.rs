//! `token-manager clear`

use std::io::{self, IsTerminal as _, Write as _};

use clap::Args;

use crate::term::error::CliError;
use crate::term::exit::Exit;
use crate::term::format::count;
use crate::term::output::{MIND, Out, paint};

use super::Common;
use super::in_pool::{self, InPool};

/// End all leases of a pool
///
/// Shows how many leases would end, and asks for confirmation.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager clear
      asks first
  token-manager clear --pool staging
      the leases of another pool
  token-manager clear --yes
      for scripts

Exit codes:
    6  the server is away; nothing was done
    7  no reply; check first, because repeating the command also ends leases granted since
    8  not confirmed; nothing was done")]
pub struct Clear {
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    pool: InPool,
    #[command(flatten)]
    common: Common,
}

impl Clear {
    pub async fn perform(self) -> Result<(), CliError> {
        let (client, out) = (self.common.client()?, Out::standard());
        if !self.yes {
            let (pool, _) = in_pool::state(&client, &self.pool).await?;
            if pool.active == 0 && !self.common.json {
                return Ok(out.line("No token is in use, so there is nothing to clear.")?);
            }
            confirm(pool.active)?;
        }
        let ended = |leases| format!("Cleared: {} ended.", count(leases, "lease"));
        if let Some(pool) = self.pool.name() {
            let reply = client.clear_pool(pool).await?;
            return self.common.print(&reply, |cleared| Ok(out.line(ended(cleared.leases_ended))?));
        }
        let reply = client.clear().await?;
        self.common.print(&reply, |cleared| Ok(out.line(ended(cleared.tokens_cleared))?))
    }
}

fn confirm(leases: u64) -> Result<(), CliError> {
    let leases = count(leases, "lease");
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        let what = format!(
            "refusing to end {leases} without confirmation: no terminal. Nothing was changed."
        );
        return Err(CliError::new(Exit::Declined, what).hint("--yes"));
    }
    let mut stderr = anstream::stderr();
    write!(stderr, "This ends {}. Clear? [y/N] ", paint(MIND, leases))?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.read_line(&mut answer)?;
    if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
        return Ok(());
    }
    if !answer.ends_with('\n') {
        writeln!(stderr)?;
    }
    Err(CliError::new(Exit::Declined, "not confirmed; nothing was changed"))
}
