//! `token-manager release`

use clap::Args;
use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::term::harmless;
use client::{Client, Error};

use super::Common;
use super::find::{self, Named};
use super::show::who_has_it_now;
use crate::term::error::CliError;
use crate::term::format::lasted;
use crate::term::output::Out;

/// Give a token back
///
/// A lease's id ends exactly that lease, and never another one of the same token. Twice is no error.
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
      ends whatever lease token number 17 has, if it is ann's

Exit codes:
    4  there is no such lease or token
    5  the lease was over already, or the token is not that user's: nothing was done
    6  the server is away, nothing was done
    7  the answer was lost: releasing again does no harm"
)]
pub struct Release {
    /// The lease's whole id
    #[arg(value_name = "LEASE_ID", value_parser = find::lease, required_unless_present = "token")]
    lease: Option<Uuid>,
    /// End the lease of this token, whichever user has it: its number, its id, or the first 4 or more characters of its id
    #[arg(long, value_name = "TOKEN", value_parser = find::named, conflicts_with = "lease")]
    token: Option<Named>,
    /// Only if it is this user's
    #[arg(long, value_name = "NAME", requires = "token")]
    if_user: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// What the release of a lease answers.
#[derive(Deserialize)]
struct Released {
    token_id: Uuid,
    user: String,
    started_at: Timestamp,
    ended_at: Timestamp,
}

impl Release {
    /// Gives it back.
    pub async fn perform(self) -> Result<(), CliError> {
        let client = self.common.client()?;
        match (&self.lease, &self.token) {
            (Some(lease), _) => self.lease(&client, *lease).await,
            (_, Some(token)) => self.token(&client, token).await,
            _ => unreachable!("clap requires one of them"),
        }
    }

    async fn lease(&self, client: &Client, lease: Uuid) -> Result<(), CliError> {
        let path = format!("/api/leases/{lease}/release");
        let answer = match client.send(Method::POST, &path, None).await {
            Ok(answer) => answer,
            Err(error) => return Err(of_lease(client, lease, error).await),
        };
        let out = Out::standard();
        if self.common.json {
            return Ok(out.json(&answer.json)?);
        }
        let Released { token_id, user, started_at, ended_at } = answer.read()?;
        Ok(out.line(format!(
            "Released: {} had token {token_id} for {}.",
            harmless(&user),
            lasted(started_at, ended_at)
        ))?)
    }

    async fn token(&self, client: &Client, token: &Named) -> Result<(), CliError> {
        let token = find::token(client, token).await?;
        let condition = self.if_user.as_ref().map(|user| json!({ "if_user": user }));
        let path = format!("/api/tokens/release/{token}");
        let answer = match client.send(Method::POST, &path, condition.as_ref()).await {
            Ok(answer) => answer,
            Err(error) => return Err(of_token(error)),
        };
        let out = Out::standard();
        if self.common.json {
            return Ok(out.json(&answer.json)?);
        }
        let lease = self
            .if_user
            .as_ref()
            .map_or_else(|| "the lease".to_owned(), |user| format!("{}'s lease", harmless(user)));
        Ok(out.line(format!("Released: {lease} of token {token} has ended."))?)
    }
}

/// Why nothing came of what was to be done to a lease, and who has its token now if it is over.
pub async fn of_lease(client: &Client, lease: Uuid, error: Error) -> CliError {
    let code = error.code().map(str::to_owned);
    let error = CliError::from(error);
    match code.as_deref() {
        Some("lease-over") => match who_has_it_now(client, lease).await {
            Ok(who) => error.note(who),
            Err(_) => error,
        },
        Some("unknown-lease") if client.get(&format!("/api/tokens/{lease}"), &[]).await.is_ok() => {
            error.hint(format!("`token-manager show {lease}`: that is a token, not a lease"))
        }
        _ => error,
    }
}

fn of_token(error: Error) -> CliError {
    #[derive(Deserialize)]
    struct Held {
        user: String,
        lease_id: Uuid,
    }
    let current = match &error {
        Error::Refused(problem) if problem.code == "held-otherwise" => {
            Some(Option::<Held>::deserialize(&problem.json["current"]).ok().flatten())
        }
        _ => None,
    };
    let error = CliError::from(error);
    match current {
        // In fewer words than the server's, which are for programs.
        Some(current) => error.message(match current {
            Some(Held { user, lease_id }) => {
                format!("the token is {user}'s, by lease {lease_id}; nothing was done")
            }
            None => "nobody has the token; nothing was done".to_owned(),
        }),
        None => error,
    }
}
