//! `--pool`: the pool of a command.

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use client::{Client, Error};
use jiff::Timestamp;
use pool::{PoolName, TokenName};
use run::env;
use wire::PoolDetails;

use crate::term::error::CliError;
use crate::term::exit::Exit;

use super::{config, read_at, time_of};

/// Pool of a command; None for the pool `default`, if none is given or configured.
#[derive(Clone, Debug, Default)]
pub struct InPool {
    pool: Option<String>,
}

/// The option.
#[derive(Args)]
struct PoolArgs {
    /// Pool [default: `config set pool`, else the pool `default`]
    #[arg(long, value_name = "NAME", env = env::POOL, hide_env_values = true, value_parser = pool_name)]
    pool: Option<String>,
}

impl Args for InPool {
    fn augment_args(command: Command) -> Command {
        PoolArgs::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for InPool {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        InPool::of(PoolArgs::from_arg_matches(matches)?.pool).map_err(|error| {
            let what = match error {
                CliError::Message { what, .. } => what,
                _ => "the client configuration can't be read".to_owned(),
            };
            clap::Error::raw(ErrorKind::ValueValidation, format!("{what}\n"))
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl InPool {
    /// Returns the given pool, or else the configured one.
    pub fn of(given: Option<String>) -> Result<Self, CliError> {
        if given.is_some() {
            return Ok(InPool { pool: given });
        }
        let pool = config::pool()?.map(|name| pool_name(&name)).transpose();
        let unusable =
            |why| CliError::new(Exit::Usage, format!("the configured pool can't be used: {why}"));
        Ok(InPool { pool: pool.map_err(unusable)? })
    }

    /// Returns the pool's name, if one was given.
    pub fn name(&self) -> Option<&str> {
        self.pool.as_deref()
    }

    /// Returns the query parameter of the pool, if one was given.
    pub fn query(&self) -> Option<(&'static str, &str)> {
        self.name().map(|name| ("pool", name))
    }

    /// Returns the option that repeats the choice, to follow the name of a command.
    pub fn option(&self) -> String {
        self.name().map_or_else(String::new, |name| format!(" --pool {name}"))
    }
}

/// Pool of a command that also takes all pools.
#[derive(Clone, Debug, Default, Args)]
pub struct InPools {
    #[command(flatten)]
    one: InPool,
    /// All pools
    #[arg(long)]
    all_pools: bool,
}

impl InPools {
    /// Returns the single pool.
    pub const fn one(&self) -> &InPool {
        &self.one
    }

    pub const fn is_all(&self) -> bool {
        self.all_pools
    }

    /// Returns whether replies have the names of pools and tokens.
    pub fn has_names(&self) -> bool {
        self.all_pools || self.one.name().is_some()
    }

    /// Returns the query parameter of the pools, if any were given.
    pub fn query(&self) -> Option<(&'static str, &str)> {
        if self.all_pools { Some(("pool", "*")) } else { self.one.query() }
    }

    /// Reads the state of the pool, or the sum of all pools, and the server's time.
    pub async fn state(&self, client: &Client) -> Result<(PoolState, Timestamp), Error> {
        if !self.all_pools {
            return state(client, &self.one).await;
        }
        let reply = client.pools(usize::MAX).await?;
        let pools = reply.read()?.pools.into_iter().map(PoolState::from);
        let sum = pools.reduce(|sum, pool| PoolState {
            size: sum.size + pool.size,
            active: sum.active + pool.active,
            available: sum.available + pool.available,
            tainted: sum.tainted + pool.tainted,
            waiting: sum.waiting + pool.waiting,
        });
        Ok((sum.unwrap_or_default(), time_of(&reply, None)?))
    }
}

/// Parses a pool's name.
pub fn pool_name(text: &str) -> Result<String, String> {
    PoolName::new(text).map(|name| name.to_string()).map_err(|rule| format!("a pool's name {rule}"))
}

/// Parses a token's name.
pub fn token_name(text: &str) -> Result<String, String> {
    let name = TokenName::new(text);
    name.map(|name| name.to_string()).map_err(|rule| format!("a token's name {rule}"))
}

/// Usage of a pool.
#[derive(Clone, Copy, Debug, Default)]
pub struct PoolState {
    pub size: u64,
    pub active: u64,
    pub available: u64,
    pub tainted: u64,
    pub waiting: u64,
}

impl From<wire::Pool> for PoolState {
    fn from(pool: wire::Pool) -> Self {
        let wire::Pool { size, active, available, waiting, .. } = pool;
        PoolState { size, active, available, tainted: 0, waiting }
    }
}

impl From<PoolDetails> for PoolState {
    fn from(pool: PoolDetails) -> Self {
        let PoolDetails { size, active, available, tainted, waiting, .. } = pool;
        PoolState { size, active, available, tainted, waiting }
    }
}

/// Reads the state of a pool, and the server's time.
pub async fn state(client: &Client, pool: &InPool) -> Result<(PoolState, Timestamp), Error> {
    let Some(name) = pool.name() else {
        let reply = client.pool().await?;
        let pool = reply.read()?;
        let at = time_of(&reply, pool.oldest_lease.as_ref().map(read_at))?;
        return Ok((pool.into(), at));
    };
    let reply = client.pool_details(name).await?;
    Ok((reply.read()?.into(), time_of(&reply, None)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_documents() {
        assert_eq!(pool_name("staging.eu-1"), Ok("staging.eu-1".to_owned()));
        assert_eq!(token_name("Seat_1"), Ok("Seat_1".to_owned()));
        for wrong in ["", "Staging", "a/b", "-a", "..", &"a".repeat(64)] {
            let why = pool_name(wrong).unwrap_err();
            assert!(why.starts_with("a pool's name must "), "{wrong}: {why}");
        }
        for wrong in ["", "a/b", "a b", "é"] {
            let why = token_name(wrong).unwrap_err();
            assert!(why.starts_with("a token's name must "), "{wrong}: {why}");
        }
    }

    #[test]
    fn all_pools_are_a_parameter() {
        let one = InPool { pool: Some("a".to_owned()) };
        let pools = |one: &InPool, all_pools| InPools { one: one.clone(), all_pools };
        assert_eq!(pools(&one, false).query(), Some(("pool", "a")));
        assert_eq!(pools(&one, true).query(), Some(("pool", "*")));
        assert_eq!(pools(&InPool::default(), false).query(), None);
        assert_eq!((one.option().as_str(), InPool::default().option().as_str()), (" --pool a", ""));
    }
}
