//! `token-manager import`: takes over tokens, values and history of an original
//! database, which it only reads. The SQL here is about that foreign database.

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

/// The environment variable with the original's password, by the name that PostgreSQL's own programs
/// give it.
const PASSWORD_ENV: &str = "PGPASSWORD";

/// Copies the original at `from` into a new pool, all of it or nothing.
///
/// # Errors
///
/// When either database can't be used, the original holds something that no pool can, or there is
/// a pool already.
pub async fn import(settings: &Settings, from: &str) -> anyhow::Result<()> {
    let policy = settings.policy.apply(Policy::DEFAULT).check();
    let policy = policy.context("there can be no pool with such a policy")?;
    let password = std::env::var(PASSWORD_ENV).ok().filter(|password| !password.is_empty());
    let mut source = Source::connect(from, password.as_deref()).await?;
    let snapshot = source.snapshot().await?;
    let tokens = snapshot.tokens().await?;
    let moment = snapshot.moment().await?;
    // Nothing that was taken over may lie in the new pool's future.
    let at = SystemClock.now().max(moment.now).max(moment.last_start);
    let mut history = Usages::open(&snapshot, &tokens, policy.lease, moment.now).await?;
    let count = tokens.len();
    let new = NewPool { policy, tokens, at };
    database(settings).import(ImportedPool { new, history: &mut history }).await?;
    let to = &settings.database_shown;
    say(&summary(&history.tally, count, &format!("from {} into {to}", mask::url(from))));
    Ok(())
}

fn summary(tally: &Tally, tokens: usize, way: &str) -> String {
    let Tally { usages, running, reversed, left_open } = *tally;
    let [tokens, usages] = [count(tokens, "token"), count(usages, "usage")];
    let mut lines = vec![format!("Imported {tokens} and {usages} ({running} running) {way}.")];
    if reversed > 0 {
        let which = count(reversed, "usage");
        lines.push(format!(
            "Mended: {which} with an end before the start; the start is the end now."
        ));
    }
    if left_open > 0 {
        let which = count(left_open, "usage");
        lines.push(format!("Mended: {which} without an end, but not running; ended when due."));
    }
    lines.join("\n")
}
