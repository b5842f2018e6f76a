//! `token-manager cordon`, `drain` and `uncordon`

use std::time::Duration;

use clap::Args;
use client::{Client, Reply};
use jiff::{SignedDuration, Timestamp};
use pool::Effect;
use wire::{PoolToken, PoolTokenLease, TaintRequest, TaintResult, Time};

use crate::duration;
use crate::term::error::CliError;
use crate::term::exit::Exit;
use crate::term::format::moment;
use crate::term::harmless;
use crate::term::output::Out;

use super::in_pool::{pool_name, token_name};
use super::{Common, config, server_time};

/// Name of the taint that `cordon` sets.
const CORDON: &str = "cordon";

/// Name of the taint that `drain` sets.
const DRAIN: &str = "drain";

/// Keep a token from new leases
///
/// A running lease continues. Idempotent.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager cordon staging staging-3 --reason 'disk full'
      until `token-manager uncordon staging staging-3`
  token-manager cordon staging staging-3 --until 2h
      for two hours")]
pub struct Cordon {
    #[command(flatten)]
    taint: TaintArgs,
}

/// End a token's lease, and keep the token from new ones
///
/// The lease ends at once, with the reason `drained`. Idempotent.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  token-manager drain staging staging-3 --reason upgrade --until 30m
      for an upgrade of half an hour

Exit codes:
    4  no such pool or token
    6  the server is away; nothing was done
    7  no reply; it is safe to repeat the command")]
pub struct Drain {
    #[command(flatten)]
    taint: TaintArgs,
}

/// Undo `cordon` and `drain`
///
/// Idempotent.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  token-manager uncordon staging staging-3
      the token is available again")]
pub struct Uncordon {
    #[command(flatten)]
    token: TokenArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct TokenArgs {
    /// Pool
    #[arg(value_name = "POOL", value_parser = pool_name)]
    pool: String,
    /// Token: its name or id
    #[arg(value_name = "TOKEN", value_parser = token_name)]
    token: String,
}

#[derive(Debug, Args)]
struct TaintArgs {
    #[command(flatten)]
    token: TokenArgs,
    /// Reason, for people: up to 200 characters
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// When it ends by itself: a time, or a duration from now, such as 2h
    #[arg(long, value_name = "TIME", value_parser = Until::parse, allow_hyphen_values = true)]
    until: Option<Until>,
    /// Author, shown with the reason [default: `config set user`]
    #[arg(short, long, value_name = "NAME", env = ::run::env::USER, hide_env_values = true)]
    user: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// End of a taint.
#[derive(Clone, Copy, Debug)]
enum Until {
    At(Timestamp),
    /// From the server's time on.
    In(Duration),
}

impl Until {
    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(length) = duration::parse(text) {
            return Ok(Until::In(length));
        }
        text.parse().map(Until::At).map_err(|_| {
            "expected a time such as 2026-11-22T15:36:02Z, or a duration from now, such as 2h"
                .to_owned()
        })
    }

    async fn time(self, client: &Client) -> Result<Timestamp, CliError> {
        let length = match self {
            Until::At(at) => return Ok(at),
            Until::In(length) => SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX),
        };
        let now = server_time(client).await?;
        now.checked_add(length)
            .map_err(|_| CliError::new(Exit::Usage, "--until is too far in the future"))
    }
}

impl Cordon {
    pub async fn perform(self) -> Result<(), CliError> {
        self.taint.set(CORDON, Effect::NoNewLeases, "Cordoned").await
    }
}

impl Drain {
    pub async fn perform(self) -> Result<(), CliError> {
        self.taint.set(DRAIN, Effect::EndLease, "Drained").await
    }
}

impl TaintArgs {
    async fn set(self, name: &str, effect: Effect, done: &str) -> Result<(), CliError> {
        let client = self.common.client()?;
        let until = match self.until {
            Some(until) => Some(Time(until.time(&client).await?)),
            None => None,
        };
        let by = config::user_if_any(self.user.as_deref())?;
        let taint = TaintRequest {
            name: name.into(),
            effect: effect.as_str().into(),
            reason: self.reason.as_deref().map(Into::into),
            by: by.map(Into::into),
            until,
        };
        let TokenArgs { pool, token } = &self.token;
        let reply = client.taint(pool, token, &taint).await.map_err(|error| of(error, pool))?;
        self.common.print(&reply, |TaintResult { token, ended_lease_id }| {
            let until = until.map_or(String::new(), |at| format!(" until {}", moment(at.0)));
            let lease = match (ended_lease_id, &token.lease) {
                (Some(lease), _) => format!(" Its lease {lease} has ended."),
                (None, Some(PoolTokenLease { lease, .. })) => {
                    format!(
                        " {} has it until {}.",
                        harmless(&lease.user),
                        moment(lease.expires_at.0)
                    )
                }
                (None, None) => String::new(),
            };
            let line = format!("{done}: {pool}/{} gets no new lease{until}.{lease}", token.name);
            Ok(Out::standard().line(line)?)
        })
    }
}

impl Uncordon {
    pub async fn perform(self) -> Result<(), CliError> {
        let client = self.common.client()?;
        let TokenArgs { pool, token } = &self.token;
        let remove = async |name| client.untaint(pool, token, name).await;
        remove(CORDON).await.map_err(|error| of(error, pool))?;
        let reply: Reply<PoolToken> = remove(DRAIN).await.map_err(|error| of(error, pool))?;
        self.common.print(&reply, |token| {
            let blocking =
                token.taints.iter().filter(|taint| taint.effect != *Effect::Note.as_str());
            let others: Vec<_> = blocking.map(|taint| harmless(&taint.name)).collect();
            let name = format!("{pool}/{}", token.name);
            let line = if others.is_empty() {
                format!("Uncordoned: {name} gets new leases.")
            } else {
                format!("Uncordoned: {name} still has other taints: {}.", others.join(", "))
            };
            Ok(Out::standard().line(line)?)
        })
    }
}

fn of(error: client::Error, pool: &str) -> CliError {
    super::find::of_pool(error, Some(pool))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taint_ends_at_a_time_or_after_one() {
        assert!(matches!(Until::parse("2h"), Ok(Until::In(length)) if length.as_secs() == 7200));
        assert!(matches!(Until::parse("2026-11-22T15:36:02Z"), Ok(Until::At(_))));
        for wrong in ["soon", "2026-11-22", "5", "-2h"] {
            assert!(Until::parse(wrong).is_err_and(|why| why.contains("from now")), "{wrong}");
        }
    }
}
