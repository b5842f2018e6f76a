//! Batching engine of a ledger: collects commands, decides each batch by the rules, commits it through the
//! store, and answers once it is durable.
//!
//! One task runs an [`Engine`]; all others use a [`Handle`]. The `pool` crate chooses the token of
//! a request, and the `store` crate persists it; HTTP and SQL must not enter here.

mod engine_loop;
mod error;
mod events;
mod handle;
mod held;
mod housekeeping;
mod ids;
mod key_uses;
mod keys;
mod machine;
mod mailbox;
mod metrics;
mod replica;
mod run;
mod shared;
mod spans;
mod time;
mod writer;

use std::pin::Pin;
use std::time::Duration;

pub use error::{Error, Fatal};
pub use events::{
    BatchEvents, Event, EventBatch, EventKind, LeaseChange, LeaseEvent, PoolEvent, TokenEvent,
    TokenFacts,
};
pub use handle::{
    AllocateOutcome, AllocateRequest, Allocated, GiveUpOutcome, Handle, LeaseOutcome, LeaseView,
    Page, ReleaseOutcome, Stamp, TaintOutcome, UntaintOutcome, View,
};
pub use housekeeping::MAX_AUDIT_ENTRIES;
pub use ids::{plain_key, secret, token_id, token_value, wanted_token};
pub use machine::Machine;
pub use run::{Engine, start, start_on};
pub use shared::{Health, Scope};
pub use spans::TARGET as SPANS;
pub use store::{AuditEntry, AuditQuery, Cursor, LeaseQuery, LeaseRecord, LeaseStatus};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Limits of an engine.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Maximum number of waiting commands; further ones are answered [`Error::Busy`] at once.
    pub max_queued_requests: usize,
    /// Maximum number of commands that are decided together.
    pub batch: usize,
    /// How long a command or read waits for the database before it is answered [`Error::NotDone`]
    /// or [`Error::OutcomeUnknown`].
    pub timeout: Duration,
    /// Whether to start although the clock is more than an hour behind the journal.
    pub allow_clock_behind: bool,
    /// Maximum age of journal entries.
    pub journal_max_age: Duration,
    /// Maximum number of journal entries.
    pub journal_max_entries: u32,
    /// Maximum number of remembered idempotency keys; a new one above that is refused.
    pub keys: u64,
    /// Maximum number of keys of one user, while more than half of `keys` are remembered.
    pub keys_of_user: u64,
    /// How long ended leases stay in the history; forever for `None`.
    pub retention: Option<Duration>,
}

impl Settings {
    /// Default of [`Settings::keys_of_user`] for this value of [`Settings::keys`]: a tenth, and 100
    /// at least.
    #[must_use]
    pub const fn share_of(keys: u64) -> u64 {
        if keys / 10 > 100 { keys / 10 } else { 100 }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            max_queued_requests: 10_000,
            batch: 512,
            timeout: Duration::from_secs(5),
            allow_clock_behind: false,
            journal_max_age: Duration::from_hours(24),
            journal_max_entries: 10_000,
            keys: 1_000_000,
            keys_of_user: Settings::share_of(1_000_000),
            retention: None,
        }
    }
}
