//! `token-manager backup`: copies an SQLite database, even while a server uses it.

use std::path::Path;

use crate::server::database;
use crate::settings::Settings;
use crate::term::print::say;

/// Copies the database into `file`.
///
/// # Errors
///
/// When the database can't be read, or the copy can't be written.
pub async fn backup(settings: &Settings, file: &Path, replace: bool) -> anyhow::Result<()> {
    let copy = database(settings).backup(file, replace).await?;
    let (epoch, version, fence) = (copy.position.epoch, copy.position.version, copy.fence.get());
    say(&format!(
        "Backed up {} to {}: {} bytes, up to version {version} of epoch {epoch} and fence {fence}.",
        settings.database.shown,
        file.display(),
        copy.bytes,
    ));
    Ok(())
}
