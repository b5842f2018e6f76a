//! The memory of a ledger: its pools with their tokens, the leases (the state) and the journal of its
//! batches (their order).
//!
//! [`Store`] writes, [`Reader`] reads and [`Housekeeper`] deletes old rows. SQLite and PostgreSQL implement all
//! three and pass the same conformance suite. A store never decides which token a request gets, and knows nothing of HTTP. Only this crate uses
//! SQL and the system clock.

mod api_key;
mod audit_query;
mod clock;
mod database;
mod document;
mod durability;
mod epoch;
mod error;
mod finding;
mod housekeeper;
mod journal;
mod key_sample;
mod lease_query;
mod net_changes;
mod new_pool;
mod notifier;
mod postgres;
mod reader;
mod schema;
mod sql;
mod sqlite;
mod store;
mod url;
mod wanted;

use std::time::Duration;

pub use audit_query::{AuditEntry, AuditQuery};
pub use clock::{Clock, ManualClock, SystemClock, Uptime, clock_refusal};
pub use database::{Backup, Database, Opened, database};
pub use durability::Durability;
pub use epoch::{NewEpoch, epoch_gap};
pub use error::Error;
pub use finding::{Finding, Level};
pub use housekeeper::{Housekeeper, Swept};
pub use journal::{BatchId, Entry, Position};
pub use lease_query::{Cursor, LeasePage, LeaseQuery, LeaseRecord, LeaseStatus};
pub use net_changes::{AccessChanges, MemberChanges, NetChanges};
pub use new_pool::{ImportedPool, LeaseSource, NewPool};
pub use notifier::Notifier;
pub use pool::ServerId;
pub use postgres::connect_other;
pub use reader::{LogSize, News, Reader, Snapshot};
pub use store::{Begun, KeyUsage, KeysFound, Store};
pub use url::{DatabaseUrl, InvalidUrl};
pub use wanted::Wanted;

/// Maximum number of tokens in a pool.
pub const MAX_POOL_SIZE: usize = pool::Ledger::MAX_TOKENS;

/// Maximum number of leases that a search examines for one page, give or take those of one statement.
pub const MAX_EXAMINED: u32 = 100_000;

/// Minimum by which a new epoch raises fence and version, so that it repeats none that the lost time
/// granted. See [`epoch_gap`].
pub const EPOCH_GAP: i64 = 1_000_000;

/// Maximum that the clock may be behind the newest journal entry before servers consider it wrong.
pub const MOST_CLOCK_BEHIND: Duration = Duration::from_hours(1);
