use std::time::Duration;

use super::{ApiKey, ApiKeyId, Rights, SecretHash, Session};

/// A request about API keys and sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessCommand {
    /// Create this key. The decision sets its `created_at` and `created_by`.
    Create(ApiKey),
    /// Give a key a new secret.
    Rotate {
        /// The key.
        id: ApiKeyId,
        /// Hash of the new secret.
        hash: SecretHash,
        /// For how long the present secret stays valid.
        keep_old: Duration,
    },
    /// Revoke a key, and end its sessions.
    Revoke {
        /// The key.
        id: ApiKeyId,
    },
    /// Start a session of the acting key, or make a code for one.
    StartSession {
        /// Hash of the secret in the cookie.
        hash: SecretHash,
        /// Maximum length of the session.
        length: Duration,
        /// Whether the secret is a code, which can be exchanged once.
        is_code: bool,
    },
    /// Exchange a code for a session.
    Redeem {
        /// Hash of the code.
        code: SecretHash,
        /// Hash of the secret in the cookie.
        hash: SecretHash,
        /// Maximum length of the session.
        length: Duration,
    },
    /// End a session. Idempotent.
    EndSession {
        /// Hash of the secret in the cookie.
        hash: SecretHash,
    },
    /// End all sessions of a key. Idempotent.
    EndSessions {
        /// The key.
        key: ApiKeyId,
    },
}

impl AccessCommand {
    /// Maximum time for which a rotation keeps the old secret. Callers check it.
    pub const MAX_KEEP_OLD: Duration = Duration::from_hours(30 * 24);
}

/// Result of an [`AccessCommand`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessDone {
    /// The key, as it is now.
    Key(ApiKey),
    /// The session.
    Session(Session),
    /// This number of sessions ended.
    SessionsEnded(usize),
}

/// Reason why an [`AccessCommand`] changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessRefusal {
    /// The key does not exist, was revoked, or is wider than the acting key.
    #[error("no API key has this id")]
    UnknownKey,
    /// The new key is wider than the acting key.
    #[error("a key can't create a key with more rights, pools or users, or a longer life")]
    TooWide,
    /// Another key has the name.
    #[error("another API key has this name")]
    NameTaken,
    /// The id or secret is in use.
    #[error("the id or secret is in use")]
    IdTaken,
    /// The first key is not an administrator of all pools and users, without an end.
    #[error(
        "the first key must be of an administrator of all pools, for all users, and must not expire"
    )]
    FirstKey,
    /// Without the key, none would be left that can do everything.
    #[error("this is the last key of an administrator of all pools: create another one first")]
    LastKey,
    /// The key would have expired already.
    #[error("`expires_at` has passed")]
    Over,
    /// The ledger would have too many keys.
    #[error("the limit is {} API keys", super::Access::MAX_KEYS)]
    TooManyKeys,
    /// The ledger would have too many sessions.
    #[error("the limit is {} sessions", super::Access::MAX_SESSIONS)]
    TooManySessions,
    /// The code was used, or has expired.
    #[error("the code was used, or has expired")]
    UnknownCode,
}

/// Reason why an acting key may not do this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// The key was revoked or has expired.
    #[error("the API key was revoked or has expired")]
    Key,
    /// The ledger has keys by now, and the caller has none.
    #[error("an API key is needed, because the first one was created meanwhile")]
    KeyNeeded,
    /// A proxy's key is not that of its users.
    #[error("users of a proxy can't change API keys and sessions")]
    Proxied,
    /// The key's rights do not include the needed one.
    #[error("the API key needs the right `{}`", .0.as_str())]
    Right(Rights),
    /// The key does not apply to the pool. For its caller, the pool does not exist.
    #[error("the API key does not apply to this pool")]
    Pool,
    /// The key may not act for the user.
    #[error("the API key may not act for this user")]
    User,
}
