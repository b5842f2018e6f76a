//! The standard error output: log lines and messages, in order. Once the log is started, a thread of its own
//! writes them, so that a blocked output blocks nothing else.

mod queue;

use std::fs::File;
use std::io::{self, Write as _, stderr};
use std::os::fd::AsFd as _;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use self::queue::Queue;
use super::escape::plain;

pub use self::queue::Lines;

/// The queue, once it is started.
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();

/// Maximum time that an ending process waits until everything is written.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// Starts the queue and its thread.
///
/// # Errors
///
/// When the system provides no thread or file.
pub fn start() -> io::Result<Arc<Queue>> {
    // A handle of its own: a blocked write would hold the lock of `stderr()`.
    let queue = Queue::start(File::from(stderr().as_fd().try_clone_to_owned()?))?;
    // A process starts one only.
    let _ = QUEUE.set(Arc::clone(&queue));
    Ok(queue)
}

/// Waits until the queue is written, at most [`FLUSH_LIMIT`].
pub fn flush() {
    flush_for(FLUSH_LIMIT);
}

/// Waits until the queue is written, at most `limit`.
pub fn flush_for(limit: Duration) {
    if let Some(queue) = QUEUE.get() {
        queue.flush(limit);
    }
}

/// Prints lines for the user of the program, after those of the log. Waits until they are written, at most
/// [`FLUSH_LIMIT`], and ignores errors.
pub fn say(text: &str) {
    let text = plain(text);
    if let Some(queue) = QUEUE.get() {
        queue.push(text.as_bytes(), usize::MAX);
        flush();
        return;
    }
    let (done, written) = mpsc::channel();
    let print = move || {
        let _ = stderr().write_all(text.as_bytes());
        let _ = done.send(());
    };
    // Without a thread, nothing is printed: the write could block forever.
    if thread::Builder::new().spawn(print).is_ok() {
        let _ = written.recv_timeout(FLUSH_LIMIT);
    }
}
