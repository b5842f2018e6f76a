//! API keys of this user, by server: the file that `token-manager login` writes.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::term::error::CliError;
use crate::term::exit::Exit;

use super::config::{Values, folder, no_folder, read_toml, unusable, write_toml};

const HEADER: &str = "# API keys of token-manager's commands, written by `token-manager login`.\n";

/// Permissions that others than the owner must not have.
const OTHERS: u32 = 0o077;

fn path() -> Option<PathBuf> {
    Some(folder()?.join("credentials.toml"))
}

/// Returns the key of a server, if one is stored.
pub fn find(server: &str) -> Result<Option<String>, CliError> {
    let Some(path) = path() else { return Ok(None) };
    match fs::metadata(&path) {
        Ok(file) if file.permissions().mode() & OTHERS != 0 => return Err(readable(&path)),
        // The file of another user, as under `sudo -u`, has no key for this one.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
        _ => {}
    }
    let values = read_toml(&path)?;
    let key = values.get(server).map(|key| key.as_str().map(str::to_owned));
    key.map(|key| key.ok_or_else(|| unusable(&path, "a key must be a text"))).transpose()
}

/// Stores the key of a server, and returns the file.
pub fn store(server: &str, key: String) -> Result<PathBuf, CliError> {
    let path = path().ok_or_else(no_folder)?;
    let mut values = read_toml(&path)?;
    values.insert(server.to_owned(), key.into());
    write_toml(&path, HEADER, &values)?;
    Ok(path)
}

/// Removes the key of a server. Returns whether one was stored.
pub fn remove(server: &str) -> Result<bool, CliError> {
    let Some(path) = path() else { return Ok(false) };
    let mut values: Values = read_toml(&path)?;
    if values.remove(server).is_none() {
        return Ok(false);
    }
    if !values.is_empty() {
        write_toml(&path, HEADER, &values)?;
        return Ok(true);
    }
    fs::remove_file(&path).map_err(|error| unusable(&path, error))?;
    Ok(true)
}

/// Error for a file with a key that others can read.
pub fn readable(path: &Path) -> CliError {
    let path = path.display();
    CliError::new(Exit::Usage, format!("other users can read {path}, which has an API key"))
        .hint(format!("chmod 600 {path}"))
}
