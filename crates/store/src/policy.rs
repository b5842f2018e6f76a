//! The policy as databases store it: one JSON document.

use pool::Policy;

/// The policy in a document, if it is legal.
pub(crate) fn read(document: &str) -> Result<Policy, Box<dyn std::error::Error + Send + Sync>> {
    Ok(serde_json::from_str::<Policy>(document)?.check()?)
}

/// The document of a policy.
pub(crate) fn document(policy: &Policy) -> String {
    serde_json::to_string(policy).expect("a policy has plain fields, which always serialize")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_checked_when_it_is_read() {
        assert_eq!(read(&document(&Policy::DEFAULT)).unwrap(), Policy::DEFAULT);
        assert_eq!(read("{}").unwrap(), Policy::DEFAULT, "an older document lacks fields");
        for wrong in ["", r#"{"lease": "0s"}"#, r#"{"lease": 2}"#, r#"{"leese": "2m"}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
