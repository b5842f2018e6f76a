//! The JSON of the HTTP API: requests, answers, events and problems, in both directions.
//!
//! The server writes these types and clients read them. Members are written in the order of the fields.
//! Readers ignore unknown members, because later versions add some.

mod allocation;
mod event;
mod health;
mod lease;
#[cfg(test)]
mod openapi;
mod pool;
mod problem;
mod queue;
mod time;
mod token;
mod words;

pub use allocation::{Allocation, AllocationRequest, EvictedLease, Waiting};
pub use event::{LeaseEnded, LeaseRenewed, LeaseStarted, Resync};
pub use health::Readiness;
pub use lease::{CurrentLease, Lease, LeaseDetails, LeasePage, LeaseReleased};
pub use pool::{Policy, Pool};
pub use problem::{
    Code, HolderMismatch, LeaseOver, Members, PoolFull, Problem, RenewalLimit, TicketServed,
    UserLimit,
};
pub use queue::{Queue, Ticket, TicketGivenUp};
pub use time::{Seconds, Time};
pub use token::{
    ClearResult, CurrentUser, History, HistoryEntry, ReleaseCondition, Token, TokenDetails,
    TokenReleased, TokenValue,
};
pub use words::{
    Cleared, EndReason, GivenUp, HealthStatus, LeaseStatus, NoHistory, Released, ResyncReason,
    TokenStatus, WaitingStatus, WhenFull,
};

/// Maximum number of rows in one answer with a list, which is also the default.
pub const MAX_ROWS: u16 = 1_000;
