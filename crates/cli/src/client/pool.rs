//! `token-manager pool`

use clap::Args;
use jiff::Timestamp;
use pool::{HumanDuration, WhenFull};
use wire::{Lease, Policy, Seconds};

use crate::term::error::CliError;
use crate::term::format::{ago, count, until};
use crate::term::harmless;
use crate::term::output::{GOOD, MIND, Out, PLAIN, QUIET, STRONG, paint};

use super::{Common, read_at, time_of};

/// Width of the bar in characters.
const BAR: usize = 40;

/// Show the pool's usage and policy
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  token-manager pool --json | jq .available
      number of free tokens")]
pub struct Pool {
    #[command(flatten)]
    common: Common,
}

impl Pool {
    pub async fn perform(self) -> Result<(), CliError> {
        let reply = self.common.client()?.pool().await?;
        self.common.print(&reply, |pool| {
            let out = Out::standard();
            let mut paragraphs = vec![format!("{}.", usage(&pool))];
            if out.is_terminal() && pool.size > 0 {
                paragraphs[0].push('\n');
                paragraphs[0].push_str(&bar(&pool));
            }
            paragraphs.push(policy(&pool.policy).join("\n"));
            if let Some(lease) = &pool.oldest_lease {
                paragraphs.push(oldest(&pool, lease, time_of(&reply, [read_at(lease)])?));
            }
            Ok(out.line(paragraphs.join("\n\n"))?)
        })
    }
}

/// Describes the usage of a pool in one line.
pub fn usage(pool: &wire::Pool) -> String {
    let wire::Pool { size, active, available, waiting, .. } = pool;
    let size = count(*size, "token");
    format!("{active} of {size} held, {available} free, {waiting} waiting")
}

fn bar(pool: &wire::Pool) -> String {
    let share = usize::try_from(pool.active).unwrap_or(usize::MAX).saturating_mul(BAR);
    let held = share.div_ceil(usize::try_from(pool.size).unwrap_or(usize::MAX)).min(BAR);
    let style = if pool.available == 0 { MIND } else { GOOD };
    [paint(style, "█".repeat(held)), paint(QUIET, "░".repeat(BAR - held))].concat()
}

/// Describes a policy in sentences.
pub fn policy(policy: &Policy) -> Vec<String> {
    let Policy {
        when_full,
        lease_seconds: Seconds(lease),
        max_lease_seconds: Seconds(longest),
        min_hold_seconds: Seconds(hold),
        max_per_user,
    } = policy;
    let renewals = if longest > lease {
        format!("can be renewed until {} after its start", HumanDuration(*longest))
    } else {
        "can't be renewed".to_owned()
    };
    let full = match WhenFull::from_word(when_full) {
        Some(WhenFull::EvictOldest) if hold.is_zero() => {
            "a request evicts the oldest lease".to_owned()
        }
        Some(WhenFull::EvictOldest) => {
            format!("a request evicts the oldest lease, once that is {} old", HumanDuration(*hold))
        }
        Some(WhenFull::Reject) => "requests are rejected".to_owned(),
        Some(WhenFull::Wait) => "requests wait in a queue, first come, first served".to_owned(),
        None => harmless(when_full),
    };
    let mut sentences = vec![
        format!("A lease lasts {} and {renewals}.", HumanDuration(*lease)),
        format!("When all tokens are in use, {full}."),
    ];
    if let Some(max) = max_per_user {
        sentences.push(format!("A user may hold {} at the same time.", count(*max, "token")));
    }
    sentences
}

/// Describes the oldest lease.
fn oldest(pool: &wire::Pool, lease: &Lease, now: Timestamp) -> String {
    let evicts = policy_evicts(&pool.policy);
    let what = match (evicts, pool.available) {
        (true, 0) => paint(MIND, "Next to be evicted:"),
        (true, _) => paint(PLAIN, "Next to be evicted when the pool is full:"),
        (false, _) => paint(PLAIN, "Oldest lease:"),
    };
    format!(
        "{what} {}, who took token {} {}; the lease ends {}.",
        paint(STRONG, harmless(&lease.user)),
        lease.token_id,
        ago(now, lease.started_at.0),
        until(now, lease.expires_at.0),
    )
}

fn policy_evicts(policy: &Policy) -> bool {
    WhenFull::from_word(&policy.when_full) == Some(WhenFull::EvictOldest)
}
