//! `token-manager allocate`

use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;
use nix::sys::signal::Signal;
use run::{Signals, env, is_ignored};

use crate::duration;
use crate::term::exit::Exit;
use crate::term::harmless;
use crate::term::progress::ProgressLine;
use client::{
    Acquire, AcquireError, AllocateRequest, Allocated, Client, Error, Moment, Reply, random_key,
};

use super::refusal::explain;
use super::show::both;
use super::{Common, config};
use crate::term::error::CliError;
use crate::term::format::{lasted, until};
use crate::term::output::{Out, QUIET, STRONG, paint, remark};

/// How long to repeat a request that may have been done.
const UNSETTLED: Duration = Duration::from_secs(15);

/// Take a token for a user, and print its value
///
/// The token is the user's alone until the lease ends: given back by `release`, at its deadline, or, where the pool's policy
/// is that, when another one needs it. `token-manager run` does all of it around a command.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager allocate ann
      a token for ann, for as long as the pool grants
  token=$(token-manager allocate -q ann --lease 90s --wait 30s)
      only the value, into a variable; waits for up to half a minute if every token is held

Exit codes:
    3  there is no token to be had, or the user has as many as may be
    5  the lease that was granted under --key is over
    6  the server is away, nothing was done
    7  the answer was lost: ask again with the same --key")]
pub struct Allocate {
    /// Who is to have it: any text of up to 255 characters [default: `config set user`]
    #[arg(value_name = "USER", env = env::USER, hide_env_values = true)]
    user: Option<String>,
    /// How long the lease is to last, such as 90s; no longer than the pool grants, which it is when left out
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, allow_hyphen_values = true)]
    lease: Option<Duration>,
    /// How long to wait when no token is free, up to 24h: the place in the queue is kept, and shown; left out, a pool that
    /// lets wait does for 30s
    #[arg(long, value_name = "DURATION", value_parser = duration::wait, allow_hyphen_values = true)]
    wait: Option<Duration>,
    /// Names the request, so that repeating it takes no second token; made up when left out
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Print only the token's value
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
    #[command(flatten)]
    common: Common,
}

impl Allocate {
    /// Takes one and prints it.
    pub async fn perform(self) -> Result<(), CliError> {
        let (client, out) = (self.common.client()?, Out::standard());
        let key = self.key.clone().unwrap_or_else(random_key);
        let user = config::user(self.user.as_deref())?;
        let request = AllocateRequest { user, lease: self.lease, wait: self.wait, key };
        let answer = match self.take(&client, &request).await? {
            Ok(answer) => answer,
            Err((error, waited)) => return Err(refused(&client, error, &request, waited).await),
        };
        let allocated: Allocated = answer.read()?;
        if self.common.json {
            out.json(&answer.json)?;
        } else if allocated.status == "active" {
            self.show(&out, &allocated)?;
        }
        if allocated.status == "active" {
            return Ok(());
        }
        let lease = allocated.lease_id;
        let what = format!("the lease that was granted under this key is over: {lease}");
        Err(CliError::new(Exit::Conflict, what)
            .hint("another --key, or none")
            .hint(format!("`token-manager show {lease}` tells what became of it")))
    }

    /// Asks, and asks again by the same key when the answer is lost. A signal
    /// that ends this program gives up the place in the queue.
    async fn take(
        &self,
        client: &Client,
        request: &AllocateRequest,
    ) -> Result<Result<Reply, (Error, Duration)>, CliError> {
        let mut signals = Signals::of(ENDING.into_iter().filter(|signal| !is_ignored(*signal)))?;
        let progress = ProgressLine::new((!self.quiet).then_some(beside as fn(&str)));
        let mut acquire = Acquire::new(client, UNSETTLED, progress);
        let begun = Moment::now();
        let signal = tokio::select! {
            taken = acquire.acquire(request) => {
                let error = match taken {
                    Ok(taken) => return Ok(Ok(taken.reply)),
                    // That the last attempt did nothing says nothing about those before.
                    Err(AcquireError::Uncertain(error)) if Exit::from(&error) == Exit::Away => {
                        client.no_reply(error.to_string())
                    }
                    Err(AcquireError::Failed(error) | AcquireError::Uncertain(error)) => error,
                };
                return Ok(Err((error, Moment::now().since(begun))));
            }
            signal = signals.next() => signal,
        };
        let undone = tokio::select! {
            undone = acquire.undo() => undone,
            // A second signal insists.
            _ = signals.next() => false,
        };
        if !undone {
            remark(format!("warning: {}", acquire.left()));
        }
        Err(CliError::Signal(signal as i32))
    }

    fn show(&self, out: &Out, allocated: &Allocated) -> Result<(), CliError> {
        if self.quiet {
            // To the letter for a variable, a file or a pipe.
            return Ok(out.bytes(format!("{}\n", allocated.token_value).as_bytes())?);
        }
        let value = harmless(&allocated.token_value);
        let left = seconds(allocated.expires_in);
        let now = allocated.expires_at.checked_sub(left).unwrap_or(allocated.expires_at);
        let mut facts = vec![
            ("value", paint(STRONG, value)),
            ("token", allocated.token_id.to_string()),
            ("user", harmless(&allocated.user)),
            ("lease", allocated.lease_id.to_string()),
            ("ends", both(&until(now, allocated.expires_at), allocated.expires_at)),
            ("fence", allocated.fence.to_string()),
        ];
        if let Some(evicted) = &allocated.evicted {
            facts.push((
                "evicted",
                format!(
                    "{}, who had it for {}  {}",
                    harmless(&evicted.user),
                    lasted(evicted.started_at, now),
                    paint(QUIET, evicted.lease_id),
                ),
            ));
        }
        out.facts(&facts)?;
        if out.is_terminal() {
            remark(format!("`token-manager release {}` gives it back.", allocated.lease_id));
        }
        Ok(())
    }
}

/// What to say when there is no token.
async fn refused(
    client: &Client,
    error: Error,
    request: &AllocateRequest,
    waited: Duration,
) -> CliError {
    if let Some(explained) = explain(client, &error, request, waited).await {
        return explained;
    }
    let limit = error.code() == Some("user-limit");
    let error = CliError::from(error);
    match error {
        _ if limit => error.hint(format!(
            "`token-manager leases --status active --user {}` shows what to release",
            quoted(&request.user)
        )),
        CliError::Message { exit: Exit::OutcomeUnknown, .. } => error.only_hint(format!(
            "the same with --key {}, which takes no second token",
            quoted(&request.key)
        )),
        error => error,
    }
}

/// The signals that end the wait.
const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Writes beside the output, which others may read by machine.
fn beside(text: &str) {
    // That nobody reads it is no reason to fail.
    let _ = anstream::stderr().write_all(text.as_bytes());
}

fn seconds(seconds: f64) -> SignedDuration {
    SignedDuration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// An argument as a shell takes it.
fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:@/+".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}
