//! Rules of a pool, and nothing else.
//!
//! A [`Pool`] is a state machine. Its inputs are the time, the ids and the commands; its results are
//! outcomes and the changes behind them. It performs no I/O, reads no clock, draws no random numbers
//! and knows neither JSON nor SQL, so every decision can be repeated, tested and replayed. None of
//! those may enter this crate.
//!
//! The work per command grows with the logarithm of the pool's size. `Clear` ends every running
//! lease, so its work grows with their number. Each batch looks once at every ticket; a command does
//! not, unless leases could be evicted for earlier tickets.

mod batch;
mod change;
mod command;
mod human;
mod key;
mod lease;
mod policy;
mod queue;
mod state;
mod time;
mod token;
mod user;
mod waiting;
mod words;

pub use batch::{Batch, BatchContext, Finished};
pub use change::Change;
pub use command::{Allocation, Command, Grant, HolderCondition, Outcome, Refusal, Waiting};
pub use human::{HumanDuration, InvalidDuration};
pub use key::{IdempotencyKey, IdempotencyKeys, InvalidKey, KeyUse, Remembered, UserKey};
pub use lease::{End, EndReason, Fence, Lease, LeaseId};
pub use policy::{
    InvalidPolicy, LONGEST_LEASE, Policy, PolicyField, PolicyPatch, SHORTEST_LEASE, ValueKind,
    WhenFull,
};
pub use queue::{
    HEARTBEAT_INTERVAL, MAX_COUNTED_GAP, MAX_TICKETS, Observer, SERVER_TIMEOUT, ServerId,
    TICKET_GRACE, Ticket,
};
pub use state::{Inconsistent, Pool, TokenView};
pub use time::Timestamp;
pub use token::{Token, TokenId, TokenValue};
pub use user::{InvalidUser, User, UserId};
