//! `token-manager show`

use clap::Args;
use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use crate::term::exit::Exit;
use crate::term::harmless;
use client::{Client, Error, Lease, Reply, Token};

use super::find::{self, Named};
use super::{Common, time_of};
use crate::term::error::CliError;
use crate::term::format::{ago, lasted, left, moment, until};
use crate::term::output::{Out, QUIET, STRONG, left_style, paint, status_style};

/// Show a token with its value, or a lease
///
/// A lease is shown with who has its token now, and with why it ended if it did.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager show d52018b5
      the token whose id begins like that
  token-manager show 17
      token number 17
  token-manager show 01a203e6-6a15-75b1-8dcf-8dddd1dbd0dd
      what became of that lease")]
pub struct Show {
    /// A token's number, its id, or the first 4 or more characters of its id; or a lease's whole id
    #[arg(value_name = "ID", value_parser = find::named)]
    id: Named,
    #[command(flatten)]
    common: Common,
}

/// A token's answer.
#[derive(Deserialize)]
struct One {
    token: Token,
}

/// A lease's answer.
#[derive(Deserialize)]
struct Shown {
    #[serde(flatten)]
    lease: Lease,
    current: Option<Current>,
}

/// Who has the token of a lease that is over.
#[derive(Debug, Deserialize)]
pub struct Current {
    pub lease_id: Uuid,
    pub user: String,
    pub expires_at: Timestamp,
}

impl Show {
    /// Prints it.
    pub async fn perform(self) -> Result<(), CliError> {
        let (client, out) = (self.common.client()?, Out::standard());
        let id = find::token(&client, &self.id).await.map_err(|error| match error {
            CliError::Message { exit: Exit::Unknown, .. } if matches!(self.id, Named::Begun(_)) => {
                error.hint("the whole id, if it is a lease's")
            }
            error => error,
        })?;
        let (is_token, answer) = match client.get(&format!("/api/tokens/{id}"), &[]).await {
            Err(error) if error.code() == Some("unknown-token") => {
                (false, lease(&client, id).await?)
            }
            token => (true, token?),
        };
        if self.common.json {
            return Ok(out.json(&answer.json)?);
        }
        let facts = if is_token {
            let One { token } = answer.read()?;
            of_token(&token, time_of(&answer, [token.updated_at])?)
        } else {
            let shown: Shown = answer.read()?;
            of_lease(&shown, time_of(&answer, [shown.lease.read_at()])?)
        };
        Ok(out.facts(&facts)?)
    }
}

async fn lease(client: &Client, id: Uuid) -> Result<Reply, CliError> {
    client.get(&format!("/api/leases/{id}"), &[]).await.map_err(|error| match error.code() {
        Some("unknown-lease") => {
            CliError::new(Exit::Unknown, format!("there is no token and no lease {id}"))
                .hint("`token-manager tokens` and `token-manager leases` show what there is")
        }
        _ => error.into(),
    })
}

fn of_token(token: &Token, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut facts = vec![("token", token.id.to_string())];
    facts.extend(token.number.map(|number| ("number", number.to_string())));
    facts.push(("value", paint(STRONG, harmless(&token.value))));
    let (Some(user), Some(lease), Some(started), Some(expires)) =
        (&token.user, token.lease_id, token.activated_at, token.expires_at)
    else {
        facts.push(("status", "available".to_owned()));
        facts.push(("since", both(&ago(now, token.updated_at), token.updated_at)));
        return facts;
    };
    facts.extend([
        ("status", paint(status_style("active"), "active")),
        ("user", paint(STRONG, harmless(user))),
        ("lease", lease.to_string()),
        ("started", both(&ago(now, started), started)),
        ("ends", deadline(now, expires)),
    ]);
    facts.extend(token.fence.map(|fence| ("fence", fence.to_string())));
    facts
}

fn of_lease(shown: &Shown, now: Timestamp) -> Vec<(&'static str, String)> {
    let lease = &shown.lease;
    let mut facts = vec![
        ("lease", lease.lease_id.to_string()),
        ("token", lease.token_id.to_string()),
        ("user", paint(STRONG, harmless(&lease.user))),
    ];
    let started = ("started", both(&ago(now, lease.started_at), lease.started_at));
    if let Some(ended) = lease.ended_at {
        let reason = harmless(lease.end_reason.as_deref().unwrap_or("ended"));
        facts.extend([
            ("status", paint(status_style(&reason), &reason)),
            started,
            ("ended", both(&ago(now, ended), ended)),
            ("lasted", lasted(lease.started_at, ended)),
        ]);
    } else {
        facts.extend([
            ("status", paint(status_style("active"), "active")),
            started,
            ("ends", deadline(now, lease.expires_at)),
        ]);
    }
    facts.push(("fence", lease.fence.to_string()));
    facts.extend(lease.evicted_by.map(|by| ("evicted by", by.to_string())));
    if let Some(current) = &shown.current {
        facts.push((
            "held now",
            format!(
                "by {}, whose lease ends {}  {}",
                harmless(&current.user),
                until(now, current.expires_at),
                paint(QUIET, current.lease_id),
            ),
        ));
    }
    facts
}

fn deadline(now: Timestamp, at: Timestamp) -> String {
    both(&paint(left_style(left(now, at)), until(now, at)), at)
}

/// A time as it relates to now, and as it is.
pub fn both(relative: &str, at: Timestamp) -> String {
    format!("{relative}  {}", paint(QUIET, moment(at)))
}

/// Who has the token of a lease that is over, as a sentence.
///
/// # Errors
///
/// As [`Error`] says.
pub async fn who_has_it_now(client: &Client, lease: Uuid) -> Result<String, Error> {
    let answer = client.get(&format!("/api/leases/{lease}"), &[]).await?;
    let shown: Shown = answer.read()?;
    let now = time_of(&answer, [shown.lease.read_at()])?;
    Ok(match shown.current {
        Some(Current { lease_id, user, expires_at }) => format!(
            "{user} has the token now: lease {lease_id}, which ends {}",
            until(now, expires_at)
        ),
        None => "nobody has the token now".to_owned(),
    })
}
