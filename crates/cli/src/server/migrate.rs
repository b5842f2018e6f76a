//! `token-manager migrate`: brings the database's schema up to date.

use crate::server::database;
use crate::settings::Settings;
use crate::term::print::say;

/// Brings the schema up to date and prints the applied migrations.
pub async fn migrate(settings: &Settings) -> anyhow::Result<()> {
    let applied = database(settings).migrate().await?;
    let shown = &settings.database.shown;
    if applied.is_empty() {
        say(&format!("Nothing to do: the schema of {shown} is up to date."));
        return Ok(());
    }
    say(&format!("Applied to {shown}:\n  {}", applied.join("\n  ")));
    Ok(())
}
