//! JSON documents in databases: policies, labels and taints.

use std::error::Error as Cause;

use pool::Policy;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The document of a value.
pub(crate) fn of(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts, numbers and lists of them always serialize")
}

/// The value in a document.
pub(crate) fn read<T: DeserializeOwned>(document: &str) -> serde_json::Result<T> {
    serde_json::from_str(document)
}

/// The policy in a document, if it is legal.
pub(crate) fn policy(document: &str) -> Result<Policy, Box<dyn Cause + Send + Sync>> {
    Ok(read::<Policy>(document)?.check()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_checked_when_it_is_read() {
        assert_eq!(policy(&of(&Policy::DEFAULT)).unwrap(), Policy::DEFAULT);
        assert_eq!(policy("{}").unwrap(), Policy::DEFAULT, "an older document lacks fields");
        for wrong in ["", r#"{"lease": "0s"}"#, r#"{"lease": 2}"#, r#"{"leese": "2m"}"#] {
            assert!(policy(wrong).is_err(), "{wrong}");
        }
    }
}
