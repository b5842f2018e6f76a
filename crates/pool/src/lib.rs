//! Rules of pools and their ledger, and nothing else.
//!
//! A [`Ledger`] is a state machine that holds the pools of one database. Its inputs are the time, the ids and the commands; its results are
//! outcomes and the changes behind them. It performs no I/O, reads no clock, draws no random numbers
//! and knows neither JSON nor SQL, so every decision can be repeated, tested and replayed. None of
//! those may enter this crate.
//!
//! The work per command grows with the logarithm of the pool's size, and of the number of pools. `Clear`
//! ends every running lease of a pool, so its work grows with their number; that of `Apply`, with the
//! plan and the pools that it names. Each batch looks once at every ticket; a command does not, unless
//! leases could be evicted for earlier tickets, or tickets name tokens.

mod access;
mod batch;
mod change;
mod command;
mod human;
mod key;
mod label;
mod lease;
mod ledger;
mod name;
mod note;
mod plan;
mod policy;
mod queue;
mod record;
mod slots;
mod state;
mod taint;
mod ticket;
mod time;
mod token;
mod user;
mod view;
mod waiting;
mod waits;
mod words;

pub use access::{
    Access, AccessCommand, AccessDone, AccessRefusal, Act, Action, Actor, ApiKey, ApiKeyId,
    Forbidden, InvalidApiKey, InvalidKeyId, InvalidPattern, InvalidSecrets, Patterns, PlainKey,
    Rights, Secret, SecretHash, Secrets, Sender, Session, SessionKind,
};
pub use batch::{Batch, BatchContext, Finished};
pub use change::Change;
pub use command::{
    Allocation, Command, Grant, HolderCondition, Outcome, Refusal, TaintRefusal, Waiting,
};
pub use human::{HumanDuration, InvalidDuration};
pub use key::{IdempotencyKey, IdempotencyKeys, InvalidKey, KeyUse, Remembered, UserKey};
pub use label::{InvalidLabels, Labels};
pub use lease::{End, EndReason, Fence, Lease, LeaseId};
pub use ledger::{Counters, Ledger, Restoring};
pub use name::{InvalidName, KeyName, PoolName, TaintName, TokenName};
pub use note::{InvalidNote, Note};
pub use plan::{Before, Expected, Intent, Plan, PlanRefused, PlanRule, PoolWanted, TokenWanted};
pub use policy::{
    InvalidPolicy, LONGEST_LEASE, Membership, Policy, PolicyField, PolicyPatch, SHORTEST_LEASE,
    ShowValues, ValueKind, WhenFull,
};
pub use record::{PoolId, PoolRecord};
pub use state::{Inconsistent, Pool};
pub use taint::{Effect, Taint, Taints};
pub use ticket::{
    HEARTBEAT_INTERVAL, MAX_COUNTED_GAP, MAX_TICKETS, Observer, SERVER_TIMEOUT, ServerId,
    TICKET_GRACE, Ticket,
};
pub use time::Timestamp;
pub use token::{InvalidValue, Token, TokenId, TokenValue};
pub use user::{InvalidUser, User, UserId};
pub use view::TokenView;
