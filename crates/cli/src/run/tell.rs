//! What is said on stderr, and how. That nobody reads it, or can any more, stops nothing: a pipe or
//! a terminal that takes no more keeps only the thread waiting that writes.

use std::fmt::Display;
use std::io::Write as _;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

use crate::term::harmless;

use super::keep::Over;
use super::terminal::undisturbed;

const BAD: Style = AnsiColor::Red.on_default().bold();
const MIND: Style = AnsiColor::Yellow.on_default();
const QUIET: Style = Style::new().dimmed();

/// How much may wait to be written. What comes when there is as much is not said.
const WAITING: usize = 64;

/// How long to wait at the end until all is written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The thread that writes, until the end.
static WRITER: LazyLock<Mutex<Option<Writer>>> = LazyLock::new(|| Mutex::new(Writer::start()));

struct Writer {
    to: SyncSender<String>,
    /// Closed when all is written.
    done: Receiver<()>,
}

impl Writer {
    fn start() -> Option<Self> {
        let (to, texts) = sync_channel::<String>(WAITING);
        let (open, done) = channel::<()>();
        let write = move || {
            for text in texts {
                // Some terminals stop whoever writes from the background.
                let _ = undisturbed(|| anstream::stderr().write_all(text.as_bytes()));
            }
            drop(open);
        };
        thread::Builder::new().spawn(write).ok().map(|_| Writer { to, done })
    }
}

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
            write(&format!("{QUIET}run:{QUIET:#} {}\n", harmless(what)));
        }
    }
}

/// Says what is worth knowing, although the command was not ended for it.
pub fn warn(what: &str) {
    write(&format!("{MIND}warning:{MIND:#} {}\n", harmless(what)));
}

/// Says what went wrong, and what to do next.
pub fn complain(what: &str, hints: &[&str]) {
    let hints = hints.iter().map(|hint| format!("  {QUIET}try:{QUIET:#} {}\n", harmless(hint)));
    write(&format!("{BAD}error:{BAD:#} {}\n{}", harmless(what), hints.collect::<String>()));
}

/// Writes a text as it is, beside what else is said.
pub fn write(text: &str) {
    let writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(writer) = &*writer {
        let _ = writer.to.try_send(text.to_owned());
    }
}

/// Waits a little for what was said to be written. Nothing can be said after that.
pub fn finish() {
    let writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(Writer { to, done }) = writer {
        drop(to);
        // Nothing is ever sent.
        let _ = done.recv_timeout(LAST_WORDS);
    }
}

/// What failed, as a sentence of its own: it may be one, or several, or only a part.
pub fn sentence(failure: &impl Display) -> String {
    let mut text = failure.to_string();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    if !text.ends_with('.') {
        text.push('.');
    }
    text
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
