//! Messages of a run.

use std::fmt::Display;

use jiff::Timestamp;

use crate::keep::LeaseEnd;

/// Receives the messages of a run. Must not block.
pub trait Report {
    /// Reports normal progress.
    fn info(&self, text: &str);
    /// Reports a problem for which the command is not stopped.
    fn warn(&self, text: &str);
    /// Reports a failure, with possible actions.
    fn error(&self, text: &str, hints: &[&str]);
}

/// Writes an error as one or more complete sentences.
pub fn sentence(error: &impl Display) -> String {
    let mut text = error.to_string();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    if !text.ends_with('.') {
        text.push('.');
    }
    text
}

/// Writes a time as the API does.
pub(crate) fn time(at: Timestamp) -> String {
    format!("{at:.6}")
}

/// Describes the end of a lease, as part of a sentence.
pub(crate) fn lease_ended(end: &LeaseEnd) -> String {
    let how = end.reason.as_deref().unwrap_or("the server has no record of it");
    let at = end.at.map_or(String::new(), |at| format!(" at {}", time(at)));
    let holder = end.holder.as_ref();
    // Quoted and escaped, because users choose their names.
    let holder = holder.map_or(String::new(), |user| format!("; {user:?} has the token now"));
    format!("{how}{at}{holder}")
}
