//! Output to people and programs: text, tables, messages, exit codes.

pub mod error;
mod escape;
pub mod exit;
pub mod format;
pub mod output;
pub mod print;
pub mod printer;
pub mod progress;
pub mod stderr;
pub mod table;

#[cfg(test)]
pub use escape::is_harmful;
pub use escape::{Data, coloured, harmless, json};
pub use stderr::say;
