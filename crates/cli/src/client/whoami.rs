//! `token-manager whoami`

use clap::Args;
use wire::{Caller, KeyName, SessionVia};

use crate::term::error::CliError;
use crate::term::format::{moment, until};
use crate::term::harmless;
use crate::term::output::Out;

use super::{Common, time_of};

/// Show which API key the server sees, and what it permits
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  token-manager whoami --json | jq -r .rights
      the rights of the API key in use")]
pub struct Whoami {
    #[command(flatten)]
    common: Common,
}

impl Whoami {
    pub async fn perform(self) -> Result<(), CliError> {
        let client = self.common.client()?;
        let reply = client.caller().await?;
        let now = time_of(&reply, None)?;
        self.common.print(&reply, |caller| {
            let names = |names: &[String]| match names {
                [] => "none".to_owned(),
                names => harmless(&names.join(", ")),
            };
            let rights = caller.rights.as_deref().unwrap_or("none");
            let mut facts = vec![
                ("server", client.url()),
                ("caller", name(&caller)),
                ("rights", harmless(rights)),
                ("pools", names(&caller.pools)),
                ("users", names(&caller.users)),
            ];
            if let Some(at) = caller.expires_at {
                facts.push(("expires", format!("{} ({})", moment(at.0), until(now, at.0))));
            }
            Ok(Out::standard().facts(&facts)?)
        })
    }
}

/// The caller in words.
pub fn name(caller: &Caller) -> String {
    match &caller.key {
        Some(KeyName { id, name }) => format!("API key {} ({})", harmless(name), harmless(id)),
        None if caller.via == *SessionVia::ANONYMOUS => "anonymous".to_owned(),
        None => harmless(&caller.via),
    }
}
