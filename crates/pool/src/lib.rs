//! The rules of a pool, and nothing else.
//!
//! A [`Pool`] is a state machine. It is given the time, the ids and the commands, and answers with
//! outcomes and with the changes that make them true. It performs no I/O, reads no clock, draws no
//! random number and knows neither JSON nor SQL, so whatever it decides can be repeated, tested
//! and replayed. None of those may enter this crate.
//!
//! The work per command grows with the logarithm of the pool's size (`Clear`, which ends every
//! running lease, with their number). Each batch looks once at all who wait; a command does not, unless
//! leases could be evicted for others that came before it.

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
pub use policy::{InvalidPolicy, Policy, PolicyField, PolicyPatch, ValueKind, WhenFull};
pub use queue::{
    HEARTBEAT_INTERVAL, MAX_COUNTED_GAP, MAX_TICKETS, Observer, SERVER_TIMEOUT, ServerId,
    TICKET_GRACE, Ticket,
};
pub use state::{Inconsistent, Pool, TokenView};
pub use time::Timestamp;
pub use token::{Token, TokenId, TokenValue};
pub use user::{InvalidUser, User, UserId};
