//! Messages on the standard error output that never block a command: a thread writes them. A pipe or a terminal
//! that takes no more text blocks only that thread.

use std::io::Write as _;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use run::{Report, ignoring_sigttou};

use super::error::message;
use super::harmless;
use super::output::{MIND, QUIET};

/// Maximum number of texts that wait to be written. More are dropped.
const MAX_WAITING: usize = 64;

/// Maximum time to write the rest at the end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

static WRITER: LazyLock<Mutex<Option<Writer>>> = LazyLock::new(|| Mutex::new(Writer::start()));

struct Writer {
    texts: SyncSender<String>,
    /// Disconnected once all is written.
    done: Receiver<()>,
}

impl Writer {
    fn start() -> Option<Self> {
        let (texts, waiting) = sync_channel::<String>(MAX_WAITING);
        let (open, done) = channel::<()>();
        let write = move || {
            for text in waiting {
                // Some terminals stop background processes that write.
                let _ = ignoring_sigttou(|| anstream::stderr().write_all(text.as_bytes()));
            }
            drop(open);
        };
        thread::Builder::new().spawn(write).ok().map(|_| Writer { texts, done })
    }
}

/// Prints a text as it is.
pub fn write(text: &str) {
    let writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(writer) = &*writer {
        let _ = writer.texts.try_send(text.to_owned());
    }
}

/// Waits a moment until all is written. Later texts are dropped.
pub fn finish() {
    let writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(Writer { texts, done }) = writer {
        drop(texts);
        // Always an error: either all is written or the time is up.
        let _ = done.recv_timeout(DRAIN_TIMEOUT);
    }
}

/// Prints the messages of a run.
pub struct Printer {
    /// Whether to print normal progress as well.
    pub verbose: bool,
}

impl Report for Printer {
    fn info(&self, text: &str) {
        if self.verbose {
            write(&format!("{QUIET}run:{QUIET:#} {}\n", harmless(text)));
        }
    }

    fn warn(&self, text: &str) {
        write(&format!("{MIND}warning:{MIND:#} {}\n", harmless(text)));
    }

    fn error(&self, text: &str, hints: &[&str]) {
        write(&message(text, &[], hints));
    }
}
