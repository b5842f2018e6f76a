//! Parts of API keys as documents.

use std::collections::HashMap;
use std::error::Error as Cause;
use std::sync::Arc;

use pool::{Patterns, Secret, SecretHash, Timestamp};
use serde::{Deserialize, Serialize};

use crate::document;

/// Number of different documents of patterns that a start remembers.
const MOST_PATTERNS: usize = 1_000;

#[derive(Serialize, Deserialize)]
struct StoredSecret {
    sha256: String,
    until: Option<i64>,
}

/// The document of a key's secrets.
pub(crate) fn of_secrets(secrets: &[Secret]) -> String {
    let stored = secrets.iter().map(|secret| {
        let bytes = secret.hash.as_bytes().iter().map(|byte| format!("{byte:02x}"));
        StoredSecret { sha256: bytes.collect(), until: secret.expires_at.map(Timestamp::as_micros) }
    });
    document::of(&stored.collect::<Vec<_>>())
}

/// The secrets in a document.
pub(crate) fn secrets(text: &str) -> Result<Arc<[Secret]>, Box<dyn Cause + Send + Sync>> {
    let stored: Vec<StoredSecret> = document::read(text)?;
    let secret = |stored: StoredSecret| {
        let hash = SecretHash::from_bytes(bytes_of(&stored.sha256).ok_or("not a SHA-256")?);
        Ok(Secret { hash, expires_at: stored.until.map(Timestamp::from_micros) })
    };
    stored.into_iter().map(secret).collect()
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

/// Reads patterns of many keys, of which most have the same: these share their memory.
#[derive(Default)]
pub(crate) struct PatternReader(HashMap<Box<str>, Patterns>);

impl PatternReader {
    pub(crate) fn read(&mut self, text: &str) -> serde_json::Result<Patterns> {
        if let Some(known) = self.0.get(text) {
            return Ok(known.clone());
        }
        let patterns: Patterns = document::read(text)?;
        if self.0.len() < MOST_PATTERNS {
            self.0.insert(text.into(), patterns.clone());
        }
        Ok(patterns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_as_they_were_written() {
        let old = Secret { hash: SecretHash::of("old"), expires_at: Some(Timestamp::MIN) };
        let both = [Secret { hash: SecretHash::of("new"), expires_at: None }, old];
        assert_eq!(*secrets(&of_secrets(&both)).unwrap(), both);
        assert!(
            of_secrets(&both)
                .contains("11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437")
        );
        for wrong in ["", "{}", r#"[{"sha256": "ab", "until": null}]"#] {
            assert!(secrets(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn equal_patterns_are_read_once() {
        let mut reader = PatternReader::default();
        let read = reader.read(r#"["a*", "b"]"#).unwrap();
        assert_eq!(read, Patterns::new(["a*", "b"]).unwrap());
        assert_eq!(reader.read(r#"["a*", "b"]"#).unwrap(), read);
        assert!(reader.read(r#"["a*b"]"#).is_err());
        assert_eq!(reader.0.len(), 1);
    }
}
