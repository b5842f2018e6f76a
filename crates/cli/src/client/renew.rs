//! `token-manager renew`

use clap::Args;
use reqwest::Method;
use uuid::Uuid;

use crate::duration::of_seconds;
use crate::term::harmless;
use client::Lease;

use super::release::of_lease;
use super::{Common, find};
use crate::term::error::CliError;
use crate::term::format::moment;
use crate::term::output::Out;

/// Move a lease's deadline
///
/// It moves to as far from now as the lease was granted for, but no farther than the pool's policy lets a lease last from
/// its start. Unless the pool's owner says so by --max-lease, that is not at all.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  token-manager renew 01a203e6-6a15-75b1-8dcf-8dddd1dbd0dd

Exit codes:
    4  there is no such lease
    5  it is over, or can't be renewed further
    6  the server is away, nothing was done
    7  the answer was lost: renewing again does no harm")]
pub struct Renew {
    /// The lease's whole id
    #[arg(value_name = "LEASE_ID", value_parser = find::lease)]
    lease: Uuid,
    #[command(flatten)]
    common: Common,
}

impl Renew {
    /// Moves it.
    pub async fn perform(self) -> Result<(), CliError> {
        let client = self.common.client()?;
        let path = format!("/api/leases/{}/renew", self.lease);
        let answer = match client.send(Method::POST, &path, None).await {
            Ok(answer) => answer,
            Err(error) => return Err(of_lease(&client, self.lease, error).await),
        };
        let out = Out::standard();
        if self.common.json {
            return Ok(out.json(&answer.json)?);
        }
        let lease: Lease = answer.read()?;
        Ok(out.line(format!(
            "Renewed: {} has token {} for another {}, until {}.",
            harmless(&lease.user),
            lease.token_id,
            of_seconds(lease.expires_in.round()),
            moment(lease.expires_at)
        ))?)
    }
}
