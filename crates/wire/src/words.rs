//! Members whose text is one of a fixed list of words.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

/// The words of a type. Those of the rules are listed by the rules.
#[cfg(test)]
fn known(name: &str, words: &[&'static str]) -> Vec<&'static str> {
    match name {
        "EndReason" => ::pool::EndReason::ALL.map(::pool::EndReason::as_str).to_vec(),
        "WhenFull" => ::pool::WhenFull::WORDS.to_vec(),
        "Membership" => ::pool::Membership::WORDS.to_vec(),
        "ShowValues" => ::pool::ShowValues::WORDS.to_vec(),
        "Rights" => ::pool::Rights::WORDS.to_vec(),
        "AuditAction" => ::pool::Action::WORDS.to_vec(),
        "TaintEffect" => ::pool::Effect::WORDS.to_vec(),
        _ => words.to_vec(),
    }
}

/// Text types, each with the words that this version knows. Any text can be read, because later versions
/// may add words.
macro_rules! words {
    ($($(#[doc = $doc:literal])* $name:ident $(: $($constant:ident = $word:literal),+)?;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Cow<'static, str>);

        $(impl $name {
            $(
                #[doc = concat!("`", $word, "`")]
                pub const $constant: Self = Self(Cow::Borrowed($word));
            )+

            /// The words that this version knows.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word, if this version knows it.
            #[must_use]
            pub fn known(&self) -> Option<&'static str> {
                Self::WORDS.iter().find(|word| **word == self.0).copied()
            }
        })?

        impl From<&'static str> for $name {
            fn from(word: &'static str) -> Self {
                Self(Cow::Borrowed(word))
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        #[cfg(test)]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            /// A single word is no schema of its own.
            fn inline_schema() -> bool {
                known(stringify!($name), &[$($($word),+)?]).len() == 1
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let description = concat!($($doc, "\n"),*).replace("\n ", "\n");
                let words = known(stringify!($name), &[$($($word),+)?]);
                schemars::json_schema!({
                    "type": "string",
                    "description": description.trim(),
                    "enum": words,
                })
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, word: &str) -> bool {
                self.0 == word
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, word: &&str) -> bool {
                self.0 == *word
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    )*};
}

words! {
    /// `active` while the token has a running lease.
    TokenStatus: AVAILABLE = "available", ACTIVE = "active";
    /// `active` while the lease runs.
    LeaseStatus: ACTIVE = "active", ENDED = "ended";
    /// Why a lease ended.
    EndReason;
    /// What the pool does with a request while all tokens are in use.
    WhenFull;
    /// Whether the tokens of a pool can change.
    Membership;
    /// Who sees the values of tokens.
    ShowValues;
    /// Effect of a taint on its token.
    TaintEffect;
    /// Rights of an API key. Each includes those before it.
    Rights: READ = "read", USE = "use", OPERATE = "operate", ADMIN = "admin";
    /// How a caller identified itself.
    SessionVia: KEY = "key", SESSION = "session", CERTIFICATE = "certificate", PROXY = "proxy",
        ANONYMOUS = "anonymous";
    /// Kind of an action in the audit log.
    AuditAction;
    /// Whether a token of a pool can be handed out.
    PoolTokenStatus: AVAILABLE = "available", ACTIVE = "active", TAINTED = "tainted";
    /// What changes in the pools.
    ChangeKind: POOL_CREATED = "pool.created", POOL_CHANGED = "pool.changed", POOL_DELETED = "pool.deleted",
        TOKEN_ADDED = "token.added", TOKEN_CHANGED = "token.changed", TOKEN_RETIRED = "token.retired";
    /// Type of an event.
    EventType: LEASE_STARTED = "lease.started", LEASE_RENEWED = "lease.renewed", LEASE_ENDED = "lease.ended",
        POOL_CREATED = "pool.created", POOL_CHANGED = "pool.changed", POOL_DELETED = "pool.deleted",
        TOKEN_ADDED = "token.added", TOKEN_CHANGED = "token.changed", TOKEN_TAINTED = "token.tainted",
        TOKEN_RETIRED = "token.retired", RESYNC = "resync";
    /// State of the server.
    HealthStatus: LIVE = "live", READY = "ready";
    /// Why events may be missing.
    ResyncReason: OTHER_EPOCH = "other-epoch", NOT_IN_JOURNAL = "not-in-journal", TOO_SLOW = "too-slow",
        TOO_MUCH = "too-much", RELOADED = "reloaded";
    /// The lease has ended.
    Released: RELEASED = "released";
    /// The request waits in the queue.
    WaitingStatus: WAITING = "waiting";
    /// The ticket was removed from the queue.
    GivenUp: GIVEN_UP = "given_up";
    /// All leases have ended.
    Cleared: ALL = "All active tokens cleared";
    /// The token never had a lease.
    NoHistory: NONE = "No usage history found";
}
