//! `token-manager pool`

use clap::Args;
use jiff::Timestamp;

use crate::duration::of_seconds;
use crate::term::format::count;
use crate::term::harmless;
use client::{Lease, Policy, PoolView};

use super::{Common, time_of};
use crate::term::error::CliError;
use crate::term::format::{ago, until};
use crate::term::output::{GOOD, MIND, Out, PLAIN, QUIET, STRONG, paint};

/// How many characters the bar has.
const BAR: usize = 40;

/// Show how full the pool is, and by which policy it works
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  token-manager pool --json | jq .available
      how many tokens are free")]
pub struct Pool {
    #[command(flatten)]
    common: Common,
}

impl Pool {
    /// Prints it.
    pub async fn perform(self) -> Result<(), CliError> {
        let (client, out) = (self.common.client()?, Out::standard());
        let answer = client.get("/api/pool", &[]).await?;
        if self.common.json {
            return Ok(out.json(&answer.json)?);
        }
        let pool: PoolView = answer.read()?;
        let mut paragraphs =
            vec![fullness(&pool, out.is_terminal()), policy(&pool.policy).join("\n")];
        if let Some(lease) = &pool.oldest_lease {
            paragraphs.push(oldest(&pool, lease, time_of(&answer, [lease.read_at()])?));
        }
        Ok(out.line(paragraphs.join("\n\n"))?)
    }
}

/// How full it is: in words, and as a bar for people.
fn fullness(pool: &PoolView, bar: bool) -> String {
    let waiting = match pool.waiting {
        0 => "nobody waits".to_owned(),
        1 => "1 request waits".to_owned(),
        waiting => format!("{waiting} requests wait"),
    };
    let words = format!(
        "{} of {} held, {} free, {waiting}.",
        paint(STRONG, pool.active),
        count(pool.size, "token"),
        pool.available
    );
    if !bar || pool.size == 0 {
        return words;
    }
    let held = pool.active.saturating_mul(BAR).div_ceil(pool.size).min(BAR);
    let style = if pool.available == 0 { MIND } else { GOOD };
    let bar = [paint(style, "█".repeat(held)), paint(QUIET, "░".repeat(BAR - held))];
    format!("{words}\n{}", bar.concat())
}

/// The policy in sentences.
pub fn policy(policy: &Policy) -> Vec<String> {
    let lease = of_seconds(policy.lease_seconds);
    let longest = if policy.max_lease_seconds > policy.lease_seconds {
        format!("it may be renewed to last {} from its start", of_seconds(policy.max_lease_seconds))
    } else {
        "it can't be renewed beyond that".to_owned()
    };
    let mut sentences = vec![format!("A lease lasts {lease}, and {longest}.")];
    let hold = of_seconds(policy.min_hold_seconds);
    sentences.push(match (policy.when_full.as_str(), policy.min_hold_seconds > 0.0) {
        ("evict-oldest", false) => {
            "When every token is held, whoever asks gets the one that was held longest.".to_owned()
        }
        ("evict-oldest", true) => format!(
            "When every token is held, whoever asks gets the one that was held longest, once it was held for {hold}."
        ),
        ("reject", _) => "When every token is held, whoever asks is turned away.".to_owned(),
        ("wait", _) => {
            "When every token is held, whoever asks waits until one is free, first come, first served.".to_owned()
        }
        (other, _) => format!("When every token is held: {}.", harmless(other)),
    });
    if let Some(most) = policy.max_per_user {
        sentences.push(format!("A user may hold {} at the same time.", count(most, "token")));
    }
    sentences
}

/// Who is the next to lose a token, or has had one longest.
fn oldest(pool: &PoolView, lease: &Lease, now: Timestamp) -> String {
    let what = match (pool.policy.when_full.as_str(), pool.available) {
        ("evict-oldest", 0) => paint(MIND, "Next to be evicted:"),
        ("evict-oldest", _) => paint(PLAIN, "Next to be evicted, should the pool become full:"),
        _ => paint(PLAIN, "Held longest:"),
    };
    format!(
        "{what} {}, who took token {} {}; the lease ends {}.",
        paint(STRONG, harmless(&lease.user)),
        lease.token_id,
        ago(now, lease.started_at),
        until(now, lease.expires_at),
    )
}
