//! `token-manager pools`

use clap::Args;
use jiff::Timestamp;
use wire::PoolDetails;

use crate::term::error::CliError;
use crate::term::format::until;
use crate::term::output::{MIND, QUIET};
use crate::term::table::{Cell, Table, Yields};

use super::{Common, time_of};

/// List the pools with their usage
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager pools
      all pools
  token-manager pools --json | jq -r '.pools[] | select(.waiting > 0) | .name'
      the pools in which requests wait")]
pub struct Pools {
    /// Maximum number of rows
    #[arg(long, value_name = "COUNT", value_parser = super::rows, allow_hyphen_values = true)]
    limit: Option<usize>,
    #[command(flatten)]
    common: Common,
}

impl Pools {
    pub async fn perform(self) -> Result<(), CliError> {
        let limit = self.limit.unwrap_or(usize::MAX);
        let reply = self.common.client()?.pools(limit).await?;
        self.common.list(&reply, limit, "There is no pool.", |page| {
            let now = time_of(&reply, None)?;
            Ok((!page.pools.is_empty()).then(|| table(&page.pools, now)))
        })
    }
}

fn table(pools: &[PoolDetails], now: Timestamp) -> Table<9> {
    let mut table = Table::new([
        ("POOL", Yields::Cuts),
        ("TOKENS", Yields::Never),
        ("HELD", Yields::Never),
        ("FREE", Yields::Never),
        ("TAINTED", Yields::Goes(4)),
        ("WAITING", Yields::Never),
        ("NEXT END", Yields::Goes(3)),
        ("WHEN FULL", Yields::Goes(2)),
        ("DESCRIPTION", Yields::Goes(1)),
    ]);
    for pool in pools {
        let free = if pool.available == 0 && pool.size > 0 {
            Cell::styled(MIND, pool.available.to_string())
        } else {
            pool.available.to_string().into()
        };
        table.row([
            (&pool.name).into(),
            pool.size.to_string().into(),
            pool.active.to_string().into(),
            free,
            pool.tainted.to_string().into(),
            pool.waiting.to_string().into(),
            pool.next_deadline.map_or_else(|| "".into(), |at| until(now, at.0).into()),
            (&*pool.policy.leases.when_full).into(),
            Cell::styled(QUIET, &pool.description),
        ]);
    }
    table
}
