//! `token-manager allocate`

use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use nix::sys::signal::Signal;
use run::{Signals, env, is_ignored};
use serde::Deserialize as _;
use wire::{Allocation, Code, LeaseStatus, PoolAllocation};

use crate::duration;
use crate::term::exit::Exit;
use crate::term::harmless;
use crate::term::progress::ProgressLine;
use client::{Acquire, AcquireError, AllocateRequest, Client, Error, Moment, Reply, random_key};

use super::in_pool::{InPool, token_name};
use super::refusal::explain;
use super::show::{both, labels};
use super::{Common, config};
use crate::term::error::CliError;
use crate::term::format::{lasted, until};
use crate::term::output::{Out, QUIET, STRONG, paint, remark};

/// Time to repeat a request that may have been executed, beyond the wait.
const UNSETTLED: Duration = Duration::from_secs(15);

/// Take a token for a user, and print its value
///
/// Only this user has the token until the lease ends: by `release`, at its deadline, or by eviction if the pool's policy
/// allows that. `token-manager run` takes and releases a token around a command.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager allocate ann
      a token for ann, for as long as the pool grants
  token=$(token-manager allocate -q ann --lease 90s --wait 30s)
      only the value, into a variable; waits up to 30 seconds while all tokens are in use
  token-manager allocate ann --pool staging --token staging-3 --note 'PR 1234'
      that token of another pool

Exit codes:
    3  no token is free, or the user has reached the limit of tokens
    4  no such pool or token
    5  the lease granted under --idempotency-key has ended
    6  the server is away; nothing was done
    7  no reply; repeat the command with the same --idempotency-key")]
pub struct Allocate {
    /// User name: any text of up to 255 characters [default: `config set user`]
    #[arg(value_name = "USER", env = env::USER, hide_env_values = true)]
    user: Option<String>,
    /// Length of the lease, such as 90s, at most the pool's, which is the default
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, allow_hyphen_values = true)]
    lease: Option<Duration>,
    /// Maximum time to wait for a token, up to 24h; the wait keeps its place in the queue and shows it [default: 30s if the
    /// pool's policy is to wait]
    #[arg(long, value_name = "DURATION", value_parser = duration::wait, allow_hyphen_values = true)]
    wait: Option<Duration>,
    /// Only this token, by name: waits for it, or evicts its lease, as the pool's policy says
    #[arg(long, value_name = "NAME", value_parser = token_name)]
    token: Option<String>,
    /// Note for the lease, visible to others, such as "PR 1234": up to 200 characters
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Repeating the command with the same key takes no second token [default: random]
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Print only the token's value
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
    #[command(flatten)]
    pool: InPool,
    #[command(flatten)]
    common: Common,
}

impl Allocate {
    pub async fn perform(self) -> Result<(), CliError> {
        let (client, out) = (self.common.client()?, Out::standard());
        let key = self.idempotency_key.clone().unwrap_or_else(random_key);
        let user = config::user(self.user.as_deref())?;
        let request = AllocateRequest {
            pool: self.pool.name().map(str::to_owned),
            token: self.token.clone(),
            note: self.note.clone(),
            user,
            lease: self.lease,
            wait: self.wait,
            key,
        };
        let answer = match self.take(&client, &request).await? {
            Ok(answer) => answer,
            Err((error, waited)) => {
                return Err(refused(&client, error, &request, &self.pool, waited).await);
            }
        };
        let allocated = answer.read()?;
        if self.common.json {
            out.json(&answer.json)?;
        } else if allocated.status == LeaseStatus::ACTIVE {
            self.show(&out, &allocated, PoolAllocation::deserialize(&answer.json).ok())?;
        }
        if allocated.status == LeaseStatus::ACTIVE {
            return Ok(());
        }
        let lease = allocated.lease_id;
        let what = format!("the lease granted under this key has ended: {lease}");
        Err(CliError::new(Exit::Conflict, what)
            .hint("another --idempotency-key, or none")
            .hint(format!("`token-manager show {lease}` for its end reason")))
    }

    /// Acquires a lease. A signal gives up the place in the queue.
    async fn take(
        &self,
        client: &Client,
        request: &AllocateRequest,
    ) -> Result<Result<Reply<Allocation>, (Error, Duration)>, CliError> {
        let mut signals = Signals::of(ENDING.into_iter().filter(|signal| !is_ignored(*signal)))?;
        let progress = ProgressLine::new((!self.quiet).then_some(beside as fn(&str)));
        let mut acquire = Acquire::new(client, UNSETTLED, progress);
        let begun = Moment::now();
        let signal = tokio::select! {
            taken = acquire.acquire(request) => {
                let error = match taken {
                    Ok(taken) => return Ok(Ok(taken.reply)),
                    // Even if the last attempt did nothing, an earlier one may have.
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
            // A second signal ends the cleanup.
            _ = signals.next() => false,
        };
        if !undone {
            remark(format!("warning: {}", acquire.left()));
        }
        Err(CliError::Signal(signal as i32))
    }

    fn show(
        &self,
        out: &Out,
        allocated: &Allocation,
        named: Option<PoolAllocation>,
    ) -> Result<(), CliError> {
        if self.quiet {
            // Unchanged, for a variable, a file or a pipe.
            return Ok(out.bytes(format!("{}\n", allocated.token_value).as_bytes())?);
        }
        let value = harmless(&allocated.token_value.to_string());
        let ends = allocated.expires_at.0;
        let now = ends.checked_sub(allocated.expires_in.0).unwrap_or(ends);
        let id = allocated.token_id;
        let token = named.as_ref().map_or_else(
            || id.to_string(),
            |named| format!("{}/{}  {}", named.pool, named.token_name, paint(QUIET, id)),
        );
        let mut facts = vec![
            ("value", paint(STRONG, value)),
            ("token", token),
            ("user", harmless(&allocated.user)),
            ("lease", allocated.lease_id.to_string()),
            ("ends", both(&until(now, ends), ends)),
            ("fence", allocated.fence.to_string()),
        ];
        if let Some(PoolAllocation { labels: of_token, note, .. }) = named {
            let of_token = (!of_token.is_empty()).then(|| harmless(&labels(&of_token)));
            facts.extend(of_token.map(|labels| ("labels", labels)));
            facts.extend(note.map(|note| ("note", harmless(&note))));
        }
        if let Some(evicted) = &allocated.evicted {
            facts.push((
                "evicted",
                format!(
                    "{}, who had it for {}  {}",
                    harmless(&evicted.user),
                    lasted(evicted.started_at.0, now),
                    paint(QUIET, evicted.lease_id),
                ),
            ));
        }
        out.facts(&facts)?;
        if out.is_terminal() {
            remark(format!("`token-manager release {}` releases it.", allocated.lease_id));
        }
        Ok(())
    }
}

/// Explains a failure.
async fn refused(
    client: &Client,
    error: Error,
    request: &AllocateRequest,
    pool: &InPool,
    waited: Duration,
) -> CliError {
    if let Some(explained) = explain(client, &error, request, waited).await {
        return explained;
    }
    let limit = error.code() == Some(Code::UserLimit);
    let error = CliError::from(error);
    match error {
        _ if limit => error.hint(format!(
            "`token-manager leases{} --status active --user {}` for leases to release",
            pool.option(),
            quoted(&request.user)
        )),
        CliError::Message { exit: Exit::OutcomeUnknown, .. } => error.only_hint(format!(
            "again with --idempotency-key {}, which takes no second token",
            quoted(&request.key)
        )),
        error => error,
    }
}

/// The signals that end the wait.
const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Writes to the standard error output.
fn beside(text: &str) {
    // A closed standard error output changes nothing.
    let _ = anstream::stderr().write_all(text.as_bytes());
}

/// Quotes an argument for a shell.
fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:@/+".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}
