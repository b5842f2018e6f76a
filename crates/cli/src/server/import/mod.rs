//! `token-manager import`: copies tokens, values and history of an original `TokenManager`'s database, which it
//! only reads. The SQL files here are for that database.

mod source;
mod usage;

use anyhow::Context as _;
use pool::Policy;
use store::{Clock as _, ImportedPool, NewPool, SystemClock};

use self::source::{Source, Usages};
use self::usage::Tally;
use crate::server::database;
use crate::settings::{Settings, mask};
use crate::term::format::count;
use crate::term::print::say;

/// Copies the original at `from` into a new pool, completely or not at all.
///
/// # Errors
///
/// When a database can't be used, the original has data that a pool can't have, or the pool exists.
pub async fn import(settings: &Settings, from: &str) -> anyhow::Result<()> {
    let policy = settings.policy.apply(Policy::DEFAULT).check();
    let policy = policy.context("invalid policy")?;
    let mut source = Source::connect(from).await?;
    let snapshot = source.snapshot().await?;
    let tokens = snapshot.tokens().await?;
    let moment = snapshot.moment().await?;
    // No imported time may be in the new pool's future.
    let at = SystemClock.now().max(moment.now).max(moment.last_start);
    let mut history = Usages::open(&snapshot, &tokens, policy.lease, moment.now).await?;
    let count = tokens.len();
    let new = NewPool { policy, tokens, at };
    database(settings).import(ImportedPool { new, history: &mut history }).await?;
    let to = &settings.database.shown;
    say(&summary(&history.tally, count, &format!("from {} into {to}", mask::url(from))));
    Ok(())
}

fn summary(tally: &Tally, tokens: usize, from_to: &str) -> String {
    let Tally { usages, running, reversed, left_open } = *tally;
    let [tokens, usages] = [count(tokens, "token"), count(usages, "usage")];
    let mut lines = vec![format!("Imported {tokens} and {usages} ({running} running) {from_to}.")];
    if reversed > 0 {
        let which = count(reversed, "usage");
        lines.push(format!(
            "Repaired: {which} that ended before the start; the end is now the start."
        ));
    }
    if left_open > 0 {
        let which = count(left_open, "usage");
        lines.push(format!("Repaired: {which} without an end that were not running; they now end at their deadline."));
    }
    lines.join("\n")
}
