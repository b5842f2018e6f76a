//! The JSON of the HTTP API: requests, answers, events and problems, in both directions.
//!
//! The server writes these types and clients read them. Members are written in the order of the fields.
//! Readers of answers ignore unknown members, because later versions add some. Documents refuse them, so that
//! a typo is not ignored.

mod access;
mod allocation;
mod document;
mod event;
mod health;
mod lease;
#[cfg(test)]
mod openapi;
mod policy;
mod pool;
mod pools;
mod problem;
mod queue;
mod time;
mod token;
mod words;

pub use access::*;
pub use allocation::*;
pub use document::*;
pub use event::*;
pub use health::*;
pub use lease::*;
pub use policy::*;
pub use pool::*;
pub use pools::*;
pub use problem::*;
pub use queue::*;
pub use time::*;
pub use token::*;
pub use words::*;

/// Maximum number of rows in one answer with a list, which is also the default.
pub const MAX_ROWS: u16 = 1_000;
