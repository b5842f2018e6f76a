//! `token-manager status`

use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use wire::Code;

use crate::term::exit::Exit;
use crate::term::harmless;
use client::{Client, Error};

use super::Common;
use super::in_pool::{InPool, PoolState};
use crate::term::error::CliError;
use crate::term::output::{BAD, GOOD, MIND, Out, paint};

/// Check that the server is up and ready, and show its version
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  until token-manager status; do sleep 1; done
      waits until the server is ready

Exit codes:
    0  ready
    1  not a TokenManager server
    2  invalid address
    4  no such pool
    6  not reachable, or not ready")]
pub struct Status {
    #[command(flatten)]
    pool: InPool,
    #[command(flatten)]
    common: Common,
}

impl Status {
    pub async fn perform(self) -> Result<(), CliError> {
        let (client, out) = (self.common.client()?, Out::standard());
        // The first request opens the connection; the second one measures the round trip.
        let there = async {
            client.live().await?;
            let since = Instant::now();
            let live = client.live().await?;
            Ok((since.elapsed(), live))
        };
        let (took, live) = match there.await {
            Ok(there) => there,
            Err(error) => return Err(self.away(&client, &out, error)),
        };
        let took = took.as_secs_f64() * 1000.0;
        let version = live.json["version"].as_str().unwrap_or("unknown");
        let ready = match client.ready().await {
            Ok(_) => self.pool(&client).await,
            Err(error) => Err(error),
        };
        let (pool, state, journal) = match ready {
            Ok(pool) => pool,
            Err(error) if error.code() == Some(Code::UnknownPool) => return Err(error.into()),
            // The server is ready, and this caller may not know more.
            Err(error) if is_denied(&error) => {
                return self.denied(&client, &out, version, took, &error);
            }
            Err(error) => {
                let (state, why) = ("not ready", error.to_string());
                if self.common.json {
                    out.json(&json!({
                        "server": client.url(), "version": version, "state": state, "why": why,
                        "round_trip_ms": took,
                    }))?;
                } else {
                    out.facts(&[
                        ("server", client.url()),
                        ("version", harmless(version)),
                        ("state", paint(MIND, state)),
                        ("round trip", milliseconds(took)),
                        ("why", harmless(&why)),
                    ])?;
                }
                return Err(CliError::Reported(Exit::Away));
            }
        };
        if self.common.json {
            return Ok(out.json(&json!({
                "server": client.url(), "version": version, "state": "ready", "round_trip_ms": took, "pool": pool,
            }))?);
        }
        let mut facts = vec![
            ("server", client.url()),
            ("version", harmless(version)),
            ("state", paint(GOOD, "ready")),
            ("round trip", milliseconds(took)),
            ("pool", super::pool::usage(&state)),
        ];
        facts.extend(journal.map(|at| ("journal", at)));
        Ok(out.facts(&facts)?)
    }

    /// Reads the pool: its JSON, its usage, and the position of the journal.
    async fn pool(&self, client: &Client) -> Result<(Value, PoolState, Option<String>), Error> {
        if let Some(name) = self.pool.name() {
            let reply = client.pool_details(name).await?;
            let state = reply.read()?.into();
            return Ok((reply.json, state, None));
        }
        let reply = client.pool().await?;
        let pool = reply.read()?;
        let journal = format!("at {}-{}", pool.epoch, pool.version);
        Ok((reply.json, pool.into(), Some(journal)))
    }

    /// Prints that the server is ready, but does not show its pool to this caller.
    fn denied(
        &self,
        client: &Client,
        out: &Out,
        version: &str,
        took: f64,
        error: &Error,
    ) -> Result<(), CliError> {
        let why = error.to_string();
        if self.common.json {
            return Ok(out.json(&json!({
                "server": client.url(), "version": version, "state": "ready", "round_trip_ms": took, "pool": null,
                "why": why,
            }))?);
        }
        Ok(out.facts(&[
            ("server", client.url()),
            ("version", harmless(version)),
            ("state", paint(GOOD, "ready")),
            ("round trip", milliseconds(took)),
            ("pool", harmless(&why)),
        ])?)
    }

    /// Prints that the server is away.
    fn away(&self, client: &Client, out: &Out, error: Error) -> CliError {
        let why = error.to_string();
        let error = CliError::from(error).of_reading();
        let printed = if self.common.json {
            out.json(&json!({ "server": client.url(), "state": "away", "why": why }))
        } else {
            out.facts(&[("server", client.url()), ("state", paint(BAD, "away"))])
        };
        match printed {
            Ok(()) => error,
            Err(error) => error.into(),
        }
    }
}

fn is_denied(error: &Error) -> bool {
    matches!(error.code(), Some(Code::Unauthenticated | Code::Forbidden))
}

fn milliseconds(took: f64) -> String {
    format!("{took:.1} ms")
}
