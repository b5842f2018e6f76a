//! `token-manager clear`

use clap::Args;

use crate::term::error::CliError;
use crate::term::format::count;
use crate::term::output::Out;

use super::Common;
use super::confirm::confirm;
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
            let leases = count(pool.active, "lease");
            confirm(&format!("end {leases}"), ["This ends ", &leases, ". Clear?"])?;
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
