//! `token-manager status`

use std::time::Instant;

use clap::Args;
use serde_json::json;

use crate::api::{Api, Failure, PoolView};
use crate::count;
use crate::exit::Exit;
use crate::term::harmless;

use super::Common;
use super::look::{BAD, GOOD, MIND, Out, paint};
use super::trouble::Trouble;

/// Check that the server is up and ready, and show its version
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  until token-manager status; do sleep 1; done
      waits until the server is ready

Exit codes:
    0  it is ready
    1  what is there is no TokenManager
    2  the address is none
    6  it can't be reached, or is not ready")]
pub struct Status {
    #[command(flatten)]
    common: Common,
}

impl Status {
    /// Says it.
    pub async fn perform(self) -> Result<(), Trouble> {
        let (api, out) = (self.common.api()?, Out::standard());
        // The first request pays for the connection; the second one is the round trip.
        let there = async {
            api.get("/health/live", &[]).await?;
            let since = Instant::now();
            let live = api.get("/health/live", &[]).await?;
            Ok((since.elapsed(), live))
        };
        let (took, live) = match there.await {
            Ok(there) => there,
            Err(failure) => return Err(self.away(&api, &out, failure)),
        };
        let took = took.as_secs_f64() * 1000.0;
        // Servers before this version do not tell theirs.
        let version = live.json["version"].as_str().unwrap_or("unknown");
        let ready = match api.get("/health/ready", &[]).await {
            Ok(_) => api.get("/api/pool", &[]).await,
            Err(failure) => Err(failure),
        };
        let pool = match ready {
            Ok(pool) => pool,
            Err(failure) => {
                let (state, why) = ("not ready", failure.to_string());
                if self.common.json {
                    out.json(&json!({
                        "server": api.shown(), "version": version, "state": state, "why": why,
                        "round_trip_ms": took,
                    }))?;
                } else {
                    out.facts(&[
                        ("server", api.shown()),
                        ("version", harmless(version)),
                        ("state", paint(MIND, state)),
                        ("round trip", milliseconds(took)),
                        ("why", harmless(&why)),
                    ])?;
                }
                return Err(Trouble::Over(Exit::Away));
            }
        };
        let PoolView { size, active, available, waiting, epoch, version: newest, .. } =
            pool.read()?;
        if self.common.json {
            return Ok(out.json(&json!({
                "server": api.shown(), "version": version, "state": "ready", "round_trip_ms": took, "pool": pool.json,
            }))?);
        }
        Ok(out.facts(&[
            ("server", api.shown()),
            ("version", harmless(version)),
            ("state", paint(GOOD, "ready")),
            ("round trip", milliseconds(took)),
            (
                "pool",
                format!(
                    "{active} of {} held, {available} free, {waiting} waiting",
                    count(size, "token")
                ),
            ),
            ("journal", format!("at {epoch}-{newest}")),
        ])?)
    }

    /// Nobody answers, or somebody else.
    fn away(&self, api: &Api, out: &Out, failure: Failure) -> Trouble {
        let why = failure.to_string();
        let trouble = Trouble::from(failure).of_reading();
        let printed = if self.common.json {
            out.json(&json!({ "server": api.shown(), "state": "away", "why": why }))
        } else {
            out.facts(&[("server", api.shown()), ("state", paint(BAD, "away"))])
        };
        match printed {
            Ok(()) => trouble,
            Err(error) => error.into(),
        }
    }
}

fn milliseconds(took: f64) -> String {
    format!("{took:.1} ms")
}
