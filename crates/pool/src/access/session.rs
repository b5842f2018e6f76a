use serde::{Deserialize, Serialize};

use super::{ApiKeyId, SecretHash};
use crate::Timestamp;
use crate::words::words;

words! {
    /// Kind of a session.
    pub enum SessionKind {
        Browser = "browser", "A browser that signed in with a key.";
        Code = "code", "A code that starts the session of a browser once.";
    }
}

/// A browser that acts with the rights of an API key, or a code for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Hash of the secret in the cookie, or of the code.
    pub hash: SecretHash,
    /// The key.
    pub key: ApiKeyId,
    /// Kind.
    pub kind: SessionKind,
    /// When the session began.
    pub started_at: Timestamp,
    /// When the session ends.
    pub expires_at: Timestamp,
}

impl Session {
    /// Whether a browser has this session at `now`, if its key is valid.
    pub(crate) fn is_running(&self, now: Timestamp) -> bool {
        self.kind == SessionKind::Browser && now < self.expires_at
    }
}
