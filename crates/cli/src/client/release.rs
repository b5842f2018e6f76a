//! `token-manager release`

use clap::Args;
use client::{Client, Error};
use pool::User;
use serde::Deserialize as _;
use serde_json::json;
use uuid::Uuid;
use wire::{Code, CurrentLease, HolderMismatch, PoolTokenLease, ReleaseCondition};

use crate::term::error::CliError;
use crate::term::exit::Exit;
use crate::term::format::lasted;
use crate::term::harmless;
use crate::term::output::Out;

use super::in_pool::InPool;
use super::show::current_holder;
use super::{Common, find};

/// Release a token
///
/// A lease's id ends exactly that lease, never another lease of the same token. Idempotent.
#[derive(Debug, Args)]
#[command(
    override_usage = "\
token-manager release [OPTIONS] <LEASE_ID>
       token-manager release [OPTIONS] --token <TOKEN> [--if-user <NAME>]",
    after_help = "\
Examples:
  token-manager release 01a203e6-6a15-75b1-8dcf-8dddd1dbd0dd
      ends that lease
  token-manager release --token 17 --if-user ann
      ends the lease of token number 17, if ann holds it
  token-manager release --pool staging --token staging-1
      ends the lease of that token

Exit codes:
    4  no such lease or token
    5  the lease had ended, or another user holds the token; nothing was done
    6  the server is away; nothing was done
    7  no reply; it is safe to repeat the command"
)]
pub struct Release {
    /// Lease: its whole id
    #[arg(value_name = "LEASE_ID", value_parser = find::lease, required_unless_present = "token")]
    lease: Option<Uuid>,
    /// End the lease of this token, whichever user holds it: its number, its id, or the first 4 or more characters of its
    /// id; with --pool, its name or id
    #[arg(long, value_name = "TOKEN", conflicts_with = "lease")]
    token: Option<String>,
    /// Only if this user holds it
    #[arg(long, value_name = "NAME", requires = "token")]
    if_user: Option<String>,
    #[command(flatten)]
    pool: InPool,
    #[command(flatten)]
    common: Common,
}

impl Release {
    pub async fn perform(self) -> Result<(), CliError> {
        let client = self.common.client()?;
        match (&self.lease, &self.token) {
            (Some(lease), _) => self.lease(&client, *lease).await,
            (_, Some(token)) => match self.pool.name() {
                Some(pool) => self.token_in(&client, pool, token).await,
                None => self.token(&client, token).await,
            },
            _ => unreachable!("clap requires one of them"),
        }
    }

    async fn lease(&self, client: &Client, lease: Uuid) -> Result<(), CliError> {
        let reply = match client.release_once(lease).await {
            Ok(reply) => reply,
            Err(error) => return Err(of_lease(client, lease, error).await),
        };
        self.common.print(&reply, |released| {
            Ok(Out::standard().line(format!(
                "Released: {} had token {} for {}.",
                harmless(&released.user),
                released.token_id,
                lasted(released.started_at.0, released.ended_at.0)
            ))?)
        })
    }

    /// Releases exactly the lease that the token has now.
    async fn token_in(&self, client: &Client, pool: &str, token: &str) -> Result<(), CliError> {
        let token = find::in_pool(client, pool, token).await?.read()?;
        let Some(PoolTokenLease { lease: held, .. }) = &token.lease else {
            if self.if_user.is_some() {
                return Err(CliError::new(Exit::Conflict, FREE));
            }
            let out = Out::standard();
            return if self.common.json {
                Ok(out.json(&json!({ "status": "released", "token_id": token.id }))?)
            } else {
                Ok(out.line(format!("The token {pool}/{} is free.", token.name))?)
            };
        };
        let is_holder = |user: &String| User::new(user).is_ok_and(|user| user.id.0 == held.user_id);
        if !self.if_user.as_ref().is_none_or(is_holder) {
            return Err(CliError::new(Exit::Conflict, held_by(held)));
        }
        self.lease(client, held.lease_id).await
    }

    async fn token(&self, client: &Client, token: &str) -> Result<(), CliError> {
        let token = find::token(client, &self.pool, token).await?;
        let condition = ReleaseCondition { lease_id: None, if_user: self.if_user.clone() };
        let reply = client.release_token(token, &condition).await.map_err(of_token)?;
        self.common.print(&reply, |_| {
            let user = self.if_user.as_ref();
            let lease =
                user.map_or("the lease".to_owned(), |user| format!("{}'s lease", harmless(user)));
            Ok(Out::standard().line(format!("Released: {lease} of token {token} has ended."))?)
        })
    }
}

/// Converts the error of a request about a lease, and adds the token's present holder if the lease has ended.
pub async fn of_lease(client: &Client, lease: Uuid, error: Error) -> CliError {
    let code = error.code();
    let error = CliError::from(error);
    match code {
        Some(Code::LeaseOver) => match current_holder(client, lease).await {
            Ok(holder) => error.note(holder),
            Err(_) => error,
        },
        Some(Code::UnknownLease) if client.token(lease).await.is_ok() => {
            error.hint(format!("`token-manager show {lease}`: that is a token, not a lease"))
        }
        _ => error,
    }
}

const FREE: &str = "the token is free; nothing was done";

fn held_by(lease: &CurrentLease) -> String {
    format!("{} holds the token, with lease {}; nothing was done", lease.user, lease.lease_id)
}

fn of_token(error: Error) -> CliError {
    let mismatch = match &error {
        Error::Refused(problem) if problem.code == Some(Code::HolderMismatch) => {
            HolderMismatch::deserialize(&problem.json).ok()
        }
        _ => None,
    };
    let error = CliError::from(error);
    // Shorter than the server's text.
    match mismatch {
        Some(HolderMismatch { current: Some(lease) }) => error.message(held_by(&lease)),
        Some(HolderMismatch { current: None }) => error.message(FREE.to_owned()),
        None => error,
    }
}
