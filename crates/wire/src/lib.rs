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

pub use allocation::*;
pub use event::*;
pub use health::*;
pub use lease::*;
pub use pool::*;
pub use problem::*;
pub use queue::*;
pub use time::*;
pub use token::*;
pub use words::*;

/// Maximum number of rows in one answer with a list, which is also the default.
pub const MAX_ROWS: u16 = 1_000;
