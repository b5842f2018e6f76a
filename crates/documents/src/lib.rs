//! Documents that describe pools and their tokens.
//!
//! [`read()`] and [`parse`] make a [`wire::PoolsDocument`] of a file or request; [`plan()`] makes a
//! [`pool::Plan`] of it, by which the rules decide the changes; [`apply_result`] describes those for
//! programs and [`summary()`] for people. [`export()`] and the `to_` functions go the other way.
//!
//! A mistake is a [`Finding`] with file, line, pool, token and field, and states the remedy. Findings never
//! contain the value of a token.

mod changes;
mod export;
mod finding;
mod lines;
mod node;
mod plan;
mod range;
mod read;
mod summary;
mod table;
mod write;

pub use changes::{applied_result, apply_result};
pub use export::export;
pub use finding::{Finding, Invalid, MAX_FINDINGS};
pub use node::Format;
pub use plan::{Options, plan, shared_values};
pub use range::MAX_RANGE;
pub use read::{MAX_DOCUMENT_BYTES, Parsed, Source, parse, parse_pool, read};
pub use summary::summary;
pub use write::{to_csv, to_json, to_toml};
