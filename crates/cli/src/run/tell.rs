//! What is said on stderr, and how. That nobody reads it, or can any more, stops nothing.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

use super::keep::Over;
use super::terminal::undisturbed;

const BAD: Style = AnsiColor::Red.on_default().bold();
const MIND: Style = AnsiColor::Yellow.on_default();
const QUIET: Style = Style::new().dimmed();

/// Says what happens, more or less of it.
#[derive(Clone, Copy, Debug)]
pub struct Tell {
    /// Whether to say also what goes as it should.
    pub verbose: bool,
}

impl Tell {
    /// Something that goes as it should.
    pub fn verbose(self, what: &str) {
        if self.verbose {
            write(&format!("{QUIET}run:{QUIET:#} {what}\n"));
        }
    }
}

/// Says what is worth knowing, although the command was not ended for it.
pub fn warn(what: &str) {
    write(&format!("{MIND}warning:{MIND:#} {what}\n"));
}

/// Says what went wrong, and what to do next.
pub fn complain(what: &str, hints: &[&str]) {
    let hints = hints.iter().map(|hint| format!("  {QUIET}try:{QUIET:#} {hint}\n"));
    write(&format!("{BAD}error:{BAD:#} {what}\n{}", hints.collect::<String>()));
}

fn write(text: &str) {
    // Some terminals stop whoever writes from the background.
    let _ = undisturbed(|| anstream::stderr().write_all(text.as_bytes()));
}

/// A time as the API writes it.
pub fn time(at: Timestamp) -> String {
    format!("{at:.6}")
}

/// How a lease ended, as a part of a sentence.
pub fn ended(over: &Over) -> String {
    let how = match over.reason.as_deref() {
        None => "the server does not know it any more",
        Some("released") => "somebody else released it",
        Some("evicted") => "it was the oldest one in a full pool and was evicted",
        Some("cleared") => "all leases were cleared",
        Some("expired") => "its time was up",
        Some(_) => "it ended",
    };
    let at = over.at.map_or(String::new(), |at| format!(" at {}", time(at)));
    let holder = over.holder.as_ref();
    // Users choose their names, so it is quoted, and harmless to a terminal.
    let holder = holder.map_or(String::new(), |user| format!("; {user:?} has the token now"));
    format!("{how}{at}{holder}")
}
