//! `token-manager renew`

use clap::Args;
use pool::HumanDuration;
use uuid::Uuid;

use crate::term::error::CliError;
use crate::term::format::moment;
use crate::term::harmless;
use crate::term::output::Out;

use super::release::of_lease;
use super::{Common, find};

/// Renew a lease
///
/// The new deadline is the lease's granted duration from now, but no later than the pool's policy allows from the lease's
/// start. Unless the pool has --max-lease, leases can't be renewed.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  token-manager renew 01a203e6-6a15-75b1-8dcf-8dddd1dbd0dd

Exit codes:
    4  no such lease
    5  the lease has ended, or can't be renewed further
    6  the server is away; nothing was done
    7  no reply; it is safe to repeat the command")]
pub struct Renew {
    /// Lease: its whole id
    #[arg(value_name = "LEASE_ID", value_parser = find::lease)]
    lease: Uuid,
    #[command(flatten)]
    common: Common,
}

impl Renew {
    pub async fn perform(self) -> Result<(), CliError> {
        let client = self.common.client()?;
        let reply = match client.renew(self.lease).await {
            Ok(reply) => reply,
            Err(error) => return Err(of_lease(&client, self.lease, error).await),
        };
        self.common.print(&reply, |lease| {
            let left = lease.expires_in.0.as_secs_f64().round();
            let left = std::time::Duration::try_from_secs_f64(left).unwrap_or_default();
            Ok(Out::standard().line(format!(
                "Renewed: {} has token {} for another {}, until {}.",
                harmless(&lease.user),
                lease.token_id,
                HumanDuration(left),
                moment(lease.expires_at.0)
            ))?)
        })
    }
}
