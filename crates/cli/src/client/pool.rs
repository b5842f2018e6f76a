//! `token-manager pool`

use clap::Args;
use jiff::Timestamp;
use pool::{HumanDuration, Membership, ShowValues, WhenFull};
use wire::{Lease, Policy, PoolDetails, Seconds};

use crate::term::error::CliError;
use crate::term::format::{ago, count, until};
use crate::term::harmless;
use crate::term::output::{GOOD, MIND, Out, PLAIN, QUIET, STRONG, paint};

use super::in_pool::{InPool, PoolState};
use super::{Common, read_at, time_of};

/// Width of the bar in characters.
const BAR: usize = 40;

/// Show a pool's usage and policy
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  token-manager pool --json | jq .available
      number of free tokens
  token-manager pool --pool staging
      another pool")]
pub struct Pool {
    #[command(flatten)]
    pool: InPool,
    #[command(flatten)]
    common: Common,
}

impl Pool {
    pub async fn perform(self) -> Result<(), CliError> {
        let client = self.common.client()?;
        if let Some(name) = self.pool.name() {
            let reply = client.pool_details(name).await?;
            return self.common.print(&reply, |pool| {
                let now = time_of(&reply, None)?;
                Ok(Out::standard().line(details(pool, now).join("\n\n"))?)
            });
        }
        let reply = client.pool().await?;
        self.common.print(&reply, |pool| {
            let out = Out::standard();
            let mut paragraphs = vec![fullness(&pool.clone().into(), &out)];
            paragraphs.push(policy(&pool.policy).join("\n"));
            if let Some(lease) = &pool.oldest_lease {
                paragraphs.push(oldest(&pool, lease, time_of(&reply, [read_at(lease)])?));
            }
            Ok(out.line(paragraphs.join("\n\n"))?)
        })
    }
}

/// Describes a pool in paragraphs.
fn details(pool: PoolDetails, now: Timestamp) -> Vec<String> {
    let mut paragraphs = Vec::new();
    if !pool.description.is_empty() {
        paragraphs.push(paint(STRONG, harmless(&pool.description)));
    }
    let mut rules = policy(&pool.policy.leases);
    rules.push(match Membership::from_word(&pool.policy.membership) {
        Some(Membership::Fixed) => "Its tokens are fixed.".to_owned(),
        _ => "Its tokens can be added, changed and retired.".to_owned(),
    });
    rules.push(match ShowValues::from_word(&pool.policy.show_values) {
        Some(ShowValues::Everyone) => "Everyone sees the values of its tokens.".to_owned(),
        _ => "Only holders see the values of its tokens.".to_owned(),
    });
    let mut events = Vec::new();
    if pool.retiring > 0 {
        let leave = if pool.retiring == 1 { "leaves" } else { "leave" };
        let what = count(pool.retiring, "token");
        events.push(format!("{what} {leave} the pool when the lease ends."));
    }
    if let Some(at) = pool.next_deadline {
        events.push(format!("The next lease or taint ends {}.", until(now, at.0)));
    }
    paragraphs.push(fullness(&pool.into(), &Out::standard()));
    paragraphs.push(rules.join("\n"));
    paragraphs.extend((!events.is_empty()).then(|| events.join("\n")));
    paragraphs
}

/// Describes the usage of a pool, with a bar on terminals.
fn fullness(pool: &PoolState, out: &Out) -> String {
    let bar = if out.is_terminal() && pool.size > 0 { bar(pool) } else { String::new() };
    let line_break = if bar.is_empty() { "" } else { "\n" };
    format!("{}.{line_break}{bar}", usage(pool))
}

/// Describes the usage of a pool in one line.
pub fn usage(pool: &PoolState) -> String {
    let PoolState { size, active, available, tainted, waiting, .. } = pool;
    let size = count(*size, "token");
    let tainted = if *tainted == 0 { String::new() } else { format!("{tainted} tainted, ") };
    format!("{active} of {size} held, {available} free, {tainted}{waiting} waiting")
}

fn bar(pool: &PoolState) -> String {
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
