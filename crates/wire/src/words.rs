//! Members whose text is one of a fixed list of words.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

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
    /// Why a lease ended: it was released, it expired, it was evicted for another lease, all leases were
    /// cleared, or it had ended in the system from which it was imported.
    EndReason;
    /// What the pool does with a request while all tokens are in use.
    WhenFull;
    /// State of the server.
    HealthStatus: LIVE = "live", READY = "ready";
    /// Why events may be missing.
    ResyncReason;
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
