//! `token-manager show`

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use client::{Client, DEFAULT_POOL, Error, Reply};
use jiff::Timestamp;
use uuid::Uuid;
use wire::{Code, LeaseDetails, PoolToken, PoolTokenLease, Taint, Token};

use crate::term::error::CliError;
use crate::term::exit::Exit;
use crate::term::format::{ago, lasted, left, moment, until};
use crate::term::harmless;
use crate::term::output::{Out, QUIET, STRONG, left_style, paint, status_style};

use super::find::{self, Named};
use super::in_pool::InPool;
use super::{Common, read_at, time_of};

/// Show a token, or a lease
///
/// An ended lease is shown with its end reason and the token's present holder.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager show d52018b5
      the token whose id begins like that
  token-manager show 17
      token number 17
  token-manager show 01a203e6-6a15-75b1-8dcf-8dddd1dbd0dd
      that lease")]
pub struct Show {
    /// Token: its number, its id, or the first 4 or more characters of its id; with --pool, its name or id. Or a lease: its
    /// whole id
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    pool: InPool,
    #[command(flatten)]
    common: Common,
}

type Facts = Vec<(&'static str, String)>;

impl Show {
    pub async fn perform(self) -> Result<(), CliError> {
        let client = self.common.client()?;
        if let Some(pool) = self.pool.name() {
            return self.in_pool(&client, pool).await;
        }
        let found = find::token(&client, &self.pool, &self.id).await;
        let id = found.map_err(|error| match error {
            CliError::Message { exit: Exit::Unknown, .. }
                if matches!(find::named(&self.id), Ok(Named::Begun(_))) =>
            {
                error.hint("the whole id, if it is a lease's")
            }
            error => error,
        })?;
        let out = Out::standard();
        match client.token(id).await {
            Err(error) if error.code() == Some(Code::UnknownToken) => self.lease(&client, id).await,
            reply => {
                let reply = reply?;
                self.common.print(&reply, |details| {
                    let now = time_of(&reply, [details.token.updated_at.0])?;
                    Ok(out.facts(&of_token(&details.token, now))?)
                })
            }
        }
    }

    async fn in_pool(&self, client: &Client, pool: &str) -> Result<(), CliError> {
        let reply = match (find::in_pool(client, pool, &self.id).await, find::whole(&self.id)) {
            (Err(CliError::Message { exit: Exit::Unknown, .. }), Some(id)) => {
                return self.lease(client, id).await;
            }
            (reply, _) => reply?,
        };
        self.common.print(&reply, |token| {
            let now = time_of(&reply, None)?;
            Ok(Out::standard().facts(&of_pool_token(pool, &token, now))?)
        })
    }

    async fn lease(&self, client: &Client, id: Uuid) -> Result<(), CliError> {
        let reply = lease(client, id).await?;
        self.common.print(&reply, |details| {
            let now = time_of(&reply, [read_at(&details.lease)])?;
            Ok(Out::standard().facts(&of_lease(&details, now))?)
        })
    }
}

fn of_pool_token(pool: &str, token: &PoolToken, now: Timestamp) -> Facts {
    let mut facts = vec![
        ("token", paint(STRONG, format!("{pool}/{}", token.name))),
        ("id", token.id.to_string()),
        ("number", token.number.to_string()),
    ];
    let value = token.value.as_ref().map(|value| harmless(&value.to_string()));
    facts.extend(value.map(|value| ("value", paint(STRONG, value))));
    if !token.labels.is_empty() {
        facts.push(("labels", harmless(&labels(&token.labels))));
    }
    let status = harmless(&token.status);
    facts.push(("status", paint(status_style(&status), &status)));
    if let Some(PoolTokenLease { lease, note }) = &token.lease {
        facts.extend([
            ("user", paint(STRONG, harmless(&lease.user))),
            ("lease", lease.lease_id.to_string()),
            ("started", both(&ago(now, lease.started_at.0), lease.started_at.0)),
            ("ends", deadline(now, lease.expires_at.0)),
            ("fence", lease.fence.to_string()),
        ]);
        facts.extend(note.as_ref().map(|note| ("note", harmless(note))));
    }
    if token.retiring {
        facts.push(("retiring", "leaves the pool when its lease ends".to_owned()));
    }
    facts.extend(token.taints.iter().map(|taint| ("taint", describe(taint))));
    facts
}

/// Describes a taint: `cordon (no-new-leases): disk full, by ann, until ...`.
fn describe(taint: &Taint) -> String {
    let mut parts = vec![format!("{} ({})", taint.name, taint.effect)];
    parts.extend((!taint.reason.is_empty()).then(|| taint.reason.to_string()));
    parts.extend(taint.by.as_ref().map(|by| format!("by {by}")));
    parts.push(format!("since {}", moment(taint.since.0)));
    parts.extend(taint.until.map(|at| format!("until {}", moment(at.0))));
    harmless(&parts.join(", "))
}

/// Formats labels: `region=eu, size=large`.
pub fn labels(labels: &BTreeMap<Arc<str>, Arc<str>>) -> String {
    let pairs: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(", ")
}

async fn lease(client: &Client, id: Uuid) -> Result<Reply<LeaseDetails>, CliError> {
    client.lease(id).await.map_err(|error| match error.code() {
        Some(Code::UnknownLease) => {
            CliError::new(Exit::Unknown, format!("no token and no lease {id}"))
                .hint("`token-manager tokens` or `token-manager leases` to list them")
        }
        _ => error.into(),
    })
}

fn of_token(token: &Token, now: Timestamp) -> Facts {
    let mut facts = vec![("token", token.id.to_string())];
    facts.extend(token.number.map(|number| ("number", number.to_string())));
    let value = token.token.as_ref().map(|value| harmless(&value.to_string()));
    facts.extend(value.map(|value| ("value", paint(STRONG, value))));
    let (Some(user), Some(lease), Some(started), Some(expires)) =
        (&token.user, token.lease_id, token.activated_at, token.expires_at)
    else {
        facts.push(("status", "available".to_owned()));
        facts.push(("since", both(&ago(now, token.updated_at.0), token.updated_at.0)));
        return facts;
    };
    facts.extend([
        ("status", paint(status_style("active"), "active")),
        ("user", paint(STRONG, harmless(user))),
        ("lease", lease.to_string()),
        ("started", both(&ago(now, started.0), started.0)),
        ("ends", deadline(now, expires.0)),
    ]);
    facts.extend(token.fence.map(|fence| ("fence", fence.to_string())));
    facts
}

fn of_lease(details: &LeaseDetails, now: Timestamp) -> Facts {
    let lease = &details.lease;
    let started = lease.started_at.0;
    let status = harmless(lease.end_reason.as_deref().unwrap_or("active"));
    // Users know the tokens of the pool `default` by number or id.
    let pool = lease.pool.as_deref().filter(|pool| *pool != DEFAULT_POOL);
    let named = pool.zip(lease.token_name.as_deref());
    let named =
        named.map(|(pool, name)| format!("{pool}/{name}  {}", paint(QUIET, lease.token_id)));
    let mut facts = vec![
        ("lease", lease.lease_id.to_string()),
        ("token", named.unwrap_or_else(|| lease.token_id.to_string())),
        ("user", paint(STRONG, harmless(&lease.user))),
        ("status", paint(status_style(&status), &status)),
        ("started", both(&ago(now, started), started)),
    ];
    match lease.ended_at {
        Some(ended) => facts.extend([
            ("ended", both(&ago(now, ended.0), ended.0)),
            ("lasted", lasted(started, ended.0)),
        ]),
        None => facts.push(("ends", deadline(now, lease.expires_at.0))),
    }
    facts.push(("fence", lease.fence.to_string()));
    facts.extend(lease.note.as_ref().map(|note| ("note", harmless(note))));
    facts.extend(lease.evicted_by.map(|by| ("evicted by", by.to_string())));
    if let Some(current) = &details.current {
        let holder = format!(
            "by {}, whose lease ends {}  {}",
            harmless(&current.user),
            until(now, current.expires_at.0),
            paint(QUIET, current.lease_id),
        );
        facts.push(("held now", holder));
    }
    facts
}

fn deadline(now: Timestamp, at: Timestamp) -> String {
    both(&paint(left_style(left(now, at)), until(now, at)), at)
}

/// Formats a time relative to now, and absolute.
pub fn both(relative: &str, at: Timestamp) -> String {
    format!("{relative}  {}", paint(QUIET, moment(at)))
}

/// Describes the present holder of an ended lease's token.
pub async fn current_holder(client: &Client, lease: Uuid) -> Result<String, Error> {
    let reply = client.lease(lease).await?;
    let details = reply.read()?;
    let now = time_of(&reply, [read_at(&details.lease)])?;
    Ok(match details.current {
        Some(current) => format!(
            "{} has the token now: lease {}, which ends {}",
            current.user,
            current.lease_id,
            until(now, current.expires_at.0)
        ),
        None => "the token is free now".to_owned(),
    })
}
