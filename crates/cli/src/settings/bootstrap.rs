//! The first API key of a server, from a setting, a file, or a credential of systemd.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use pool::PlainKey;

use super::Settings;

/// The environment variable in which systemd names the folder of a service's credentials.
const CREDENTIALS_ENV: &str = "CREDENTIALS_DIRECTORY";

/// The credential with the key.
const CREDENTIAL: &str = "bootstrap-key";

/// The first API key.
#[derive(Clone, Debug)]
pub struct BootstrapKey(pub PlainKey);

impl BootstrapKey {
    /// Reads a key. The error does not quote it.
    pub fn read(text: &str) -> Result<Self, String> {
        let key = PlainKey::parse(text.trim());
        key.map(BootstrapKey)
            .map_err(|why| format!("{why}; `token-manager keys generate` prints one"))
    }
}

impl Settings {
    /// The first key: that of the setting, else that of the file, else that of the credential.
    ///
    /// # Errors
    ///
    /// When a file can't be read or has no key.
    pub fn first_key(&self) -> anyhow::Result<Option<PlainKey>> {
        if let Some(BootstrapKey(key)) = &self.bootstrap_key {
            return Ok(Some(key.clone()));
        }
        if let Some(path) = &self.bootstrap_key_file {
            let text = fs::read_to_string(path);
            let text =
                text.with_context(|| format!("can't read bootstrap-key-file {}", path.display()))?;
            return of_file(path, &text);
        }
        let Some(folder) = std::env::var_os(CREDENTIALS_ENV) else { return Ok(None) };
        let path = PathBuf::from(folder).join(CREDENTIAL);
        match fs::read_to_string(&path) {
            Ok(text) => of_file(&path, &text),
            // A service may have other credentials only.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("can't read {}", path.display())),
        }
    }
}

fn of_file(path: &Path, text: &str) -> anyhow::Result<Option<PlainKey>> {
    match BootstrapKey::read(text) {
        Ok(BootstrapKey(key)) => Ok(Some(key)),
        Err(why) => bail!("invalid bootstrap key in {}: {why}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_checked_and_not_quoted() {
        let key = PlainKey::generate(|| 7);
        let read = BootstrapKey::read(&format!(" {}\n", key.reveal())).unwrap();
        assert_eq!(read.0.reveal(), key.reveal());
        let why = BootstrapKey::read("hunter2").unwrap_err();
        assert!(why.contains("keys generate") && !why.contains("hunter2"), "{why}");
    }
}
