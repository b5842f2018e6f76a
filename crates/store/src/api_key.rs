//! Parts of API keys as documents.

use std::borrow::Cow;
use std::error::Error as Cause;

use pool::{Secret, SecretHash, Secrets, Timestamp};
use serde::{Deserialize, Serialize};

use crate::document;

#[derive(Serialize, Deserialize)]
struct StoredSecret<'a> {
    #[serde(borrow)]
    sha256: Cow<'a, str>,
    until: Option<i64>,
}

/// The document of a key's secrets.
pub(crate) fn of_secrets(secrets: &Secrets) -> String {
    let stored = secrets.iter().map(|secret| {
        let bytes = secret.hash.as_bytes().iter().map(|byte| format!("{byte:02x}"));
        let sha256 = Cow::Owned(bytes.collect());
        StoredSecret { sha256, until: secret.expires_at.map(Timestamp::as_micros) }
    });
    document::of(&stored.collect::<Vec<_>>())
}

/// The secrets in a document.
pub(crate) fn secrets(text: &str) -> Result<Secrets, Box<dyn Cause + Send + Sync>> {
    let stored: Vec<StoredSecret<'_>> = document::read(text)?;
    let secret = |stored: StoredSecret<'_>| {
        let hash = SecretHash::from_bytes(bytes_of(&stored.sha256).ok_or("not a SHA-256")?);
        Ok(Secret { hash, expires_at: stored.until.map(Timestamp::from_micros) })
    };
    let secrets: Result<Vec<Secret>, Box<dyn Cause + Send + Sync>> =
        stored.into_iter().map(secret).collect();
    Ok(secrets?.try_into()?)
}

fn bytes_of(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 2 * bytes.len() || !hex.is_ascii() {
        return None;
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_as_they_were_written() {
        let old = Secrets::new(SecretHash::of("old"));
        let both = old.rotated(SecretHash::of("new"), Some(Timestamp::MIN));
        for written in [&old, &both] {
            assert_eq!(secrets(&of_secrets(written)).unwrap(), *written);
        }
        assert!(
            of_secrets(&both)
                .contains("11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437")
        );
        for wrong in ["", "{}", "[]", r#"[{"sha256": "ab", "until": null}]"#] {
            assert!(secrets(wrong).is_err(), "{wrong}");
        }
    }
}
