//! JSON documents in databases: policies, labels and taints.

use std::collections::HashMap;
use std::error::Error as Cause;

use pool::{Labels, Policy, Taints};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The document of a value.
pub(crate) fn of(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts, numbers and lists of them always serialize")
}

/// The value in a document.
pub(crate) fn read<'a, T: Deserialize<'a>>(document: &'a str) -> serde_json::Result<T> {
    serde_json::from_str(document)
}

/// Number of different documents that a [`SharedReader`] remembers.
const MOST_SHARED: usize = 1_000;

/// Reads documents of which many are equal. Equal ones are read once, and their values share memory.
pub(crate) struct SharedReader<T>(HashMap<Box<str>, T>);

impl<T> Default for SharedReader<T> {
    fn default() -> Self {
        SharedReader(HashMap::new())
    }
}

impl<T: DeserializeOwned + Clone> SharedReader<T> {
    pub(crate) fn read(&mut self, document: &str) -> serde_json::Result<T> {
        if let Some(known) = self.0.get(document) {
            return Ok(known.clone());
        }
        let value: T = read(document)?;
        if self.0.len() < MOST_SHARED {
            self.0.insert(document.into(), value.clone());
        }
        Ok(value)
    }
}

/// Readers of the documents of tokens.
#[derive(Default)]
pub(crate) struct TokenDocuments {
    pub(crate) labels: SharedReader<Labels>,
    pub(crate) taints: SharedReader<Taints>,
}

/// The policy in a document, if it is legal.
pub(crate) fn policy(document: &str) -> Result<Policy, Box<dyn Cause + Send + Sync>> {
    Ok(read::<Policy>(document)?.check()?)
}

#[cfg(test)]
mod tests {
    use pool::Patterns;

    use super::*;

    #[test]
    fn equal_documents_are_read_once() {
        let mut reader = SharedReader::default();
        let read: Patterns = reader.read(r#"["a*", "b"]"#).unwrap();
        assert_eq!(read, Patterns::new(["a*", "b"]).unwrap());
        assert_eq!(reader.read(r#"["a*", "b"]"#).unwrap(), read);
        assert!(reader.read(r#"["a*b"]"#).is_err());
        assert_eq!(reader.0.len(), 1);
    }

    #[test]
    fn a_policy_is_checked_when_it_is_read() {
        assert_eq!(policy(&of(&Policy::DEFAULT)).unwrap(), Policy::DEFAULT);
        assert_eq!(policy("{}").unwrap(), Policy::DEFAULT, "an older document lacks fields");
        for wrong in ["", r#"{"lease": "0s"}"#, r#"{"lease": 2}"#, r#"{"leese": "2m"}"#] {
            assert!(policy(wrong).is_err(), "{wrong}");
        }
    }
}
