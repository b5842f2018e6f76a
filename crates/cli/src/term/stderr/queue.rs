//! Bounded queue between the threads that log and the one thread that writes, so that a reader of the
//! log that stalls never blocks a request or a signal.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::{Level, Metadata, warn};
use tracing_subscriber::fmt::MakeWriter;

/// Maximum size of the queue in bytes, including the lines being written.
const MAX_BYTES: usize = 1024 * 1024;

/// Part of the queue that lines below `WARN` may fill. The rest is reserved for warnings and errors.
const MAX_ROUTINE_BYTES: usize = MAX_BYTES / 4 * 3;

/// Maximum size of one write, unless a single line is longer. The system writes up to this many bytes
/// to a pipe as a unit, so lines of several processes do not mix.
const WRITE_BYTES: usize = 4096;

/// Capacity that the buffers keep after a stall.
const KEPT_BYTES: usize = 64 * 1024;

/// Pause before the next attempt to write to a full output that is in non-blocking mode.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// Target of the report of dropped lines.
const TARGET: &str = "token_manager::log";

/// Queue of log lines. Lines that do not fit are dropped and counted.
pub struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    drained: Condvar,
    dropped: Arc<AtomicU64>,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Bytes of the batch that the thread has taken and not yet written.
    writing: usize,
    /// Dropped lines since the last report.
    unreported: u64,
}

impl State {
    fn is_drained(&self) -> bool {
        self.waiting.is_empty() && self.writing == 0
    }
}

impl Queue {
    /// Starts the thread that writes queued lines to `output`.
    ///
    /// # Errors
    ///
    /// When the system has no more threads.
    pub fn start(output: impl Write + Send + 'static) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Queue {
            state: Mutex::default(),
            filled: Condvar::new(),
            drained: Condvar::new(),
            dropped: Arc::default(),
        });
        let (writing, mut output) = (Arc::clone(&queue), Output { output, mid_line: false });
        let write = move || writing.write_all(&mut output);
        thread::Builder::new().name("log".to_owned()).spawn(write)?;
        Ok(queue)
    }

    /// Number of dropped lines since the start.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }

    /// Queues a text of whole lines, unless the queue then exceeds `limit` bytes.
    pub fn push(&self, text: &[u8], limit: usize) {
        let mut state = self.lock();
        if state.writing + state.waiting.len() + text.len() > limit {
            self.count_dropped(&mut state, text);
            return;
        }
        if state.waiting.is_empty() {
            self.filled.notify_one();
        }
        state.waiting.extend_from_slice(text);
    }

    /// Waits until all queued lines are written, at most for `limit`.
    pub fn flush(&self, limit: Duration) {
        let state = self.lock();
        drop(self.drained.wait_timeout_while(state, limit, |state| !state.is_drained()));
    }

    fn write_all(&self, output: &mut Output<impl Write>) {
        let mut batch = Vec::new();
        loop {
            self.take(&mut batch);
            let (mut rest, mut complete) = (&batch[..], true);
            while !rest.is_empty() {
                let (lines, others) = rest.split_at(whole_lines(rest));
                let written = output.write(lines);
                let mut state = self.lock();
                if written.is_err() {
                    self.count_dropped(&mut state, lines);
                    complete = false;
                }
                // Not drained before the report is queued.
                state.writing = others.len().max(1);
                rest = others;
            }
            batch.clear();
            batch.shrink_to(KEPT_BYTES);
            if complete {
                self.report();
            }
            let mut state = self.lock();
            state.writing = 0;
            if state.is_drained() {
                self.drained.notify_all();
            }
        }
    }

    /// Moves all waiting lines to an empty batch. Blocks until at least one line waits.
    fn take(&self, batch: &mut Vec<u8>) {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut state.waiting, batch);
        state.writing = batch.len();
    }

    /// Logs the number of dropped lines, now that writing works again.
    fn report(&self) {
        let lost = std::mem::take(&mut self.lock().unreported);
        if lost > 0 {
            warn!(target: TARGET, lost, "log lines dropped");
        }
    }

    fn count_dropped(&self, state: &mut State, text: &[u8]) {
        let lines = text.split_inclusive(|&byte| byte == b'\n').count() as u64;
        state.unreported += lines;
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Length of the lines at the beginning of `text` that are written together.
fn whole_lines(text: &[u8]) -> usize {
    let end = |within: &[u8]| within.iter().rposition(|&byte| byte == b'\n');
    let together = end(&text[..text.len().min(WRITE_BYTES)]);
    let line = || text.iter().position(|&byte| byte == b'\n');
    together.or_else(line).map_or(text.len(), |end| end + 1)
}

/// The output, and whether its last write ended within a line.
struct Output<W> {
    output: W,
    mid_line: bool,
}

impl<W: Write> Output<W> {
    /// Writes whole lines. After a failed write the rest of them is not written.
    fn write(&mut self, mut lines: &[u8]) -> io::Result<()> {
        if self.mid_line {
            self.write_part(b"\n")?;
        }
        while !lines.is_empty() {
            lines = &lines[self.write_part(lines)?..];
        }
        Ok(())
    }

    fn write_part(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.output.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => {
                    self.mid_line = bytes[length - 1] != b'\n';
                    return Ok(length);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Another process can have set this mode for an output that it shares.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(FULL_PAUSE),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Queues the lines of a subscriber.
pub struct Lines(pub Arc<Queue>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: &self.0, limit: MAX_BYTES }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line<'a> {
        let limit = if metadata.target() == TARGET {
            // The report of dropped lines fits even into a full queue.
            usize::MAX
        } else if *metadata.level() <= Level::WARN {
            MAX_BYTES
        } else {
            MAX_ROUTINE_BYTES
        };
        Line { queue: &self.0, limit }
    }
}

/// One log line, which is written at once.
pub struct Line<'a> {
    queue: &'a Queue,
    limit: usize,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.queue.push(bytes, self.limit);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// An output that takes each write when the test does.
    struct Taken(SyncSender<Vec<u8>>);

    impl Write for Taken {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn queue() -> (Arc<Queue>, Receiver<Vec<u8>>) {
        let (to, from) = sync_channel(0);
        (Queue::start(Taken(to)).unwrap(), from)
    }

    fn push(queue: &Queue, text: &str, limit: usize) {
        queue.push(text.as_bytes(), limit);
    }

    #[test]
    fn lines_arrive_in_order() {
        let (queue, output) = queue();
        let lines: Vec<String> = (0..1_000).map(|number| format!("line {number}\n")).collect();
        for line in &lines {
            push(&queue, line, MAX_BYTES);
        }
        let (mut written, expected) = (Vec::new(), lines.concat());
        while written.len() < expected.len() {
            let part = output.recv_timeout(LIMIT).unwrap();
            assert!(part.len() <= WRITE_BYTES && part.ends_with(b"\n"));
            written.extend(part);
        }
        assert_eq!(String::from_utf8(written).unwrap(), expected);
        queue.flush(LIMIT);
        assert!(queue.lock().is_drained());
    }

    #[test]
    fn lines_beyond_the_limit_are_dropped_and_counted() {
        let (queue, output) = queue();
        push(&queue, "first\n", 12);
        push(&queue, "a long second\n", 12);
        assert_eq!(
            queue.dropped().load(Ordering::Relaxed),
            1,
            "the first one counts until written"
        );
        push(&queue, "third\n", 12);
        let mut written = Vec::new();
        while !written.ends_with(b"third\n") {
            written.extend(output.recv_timeout(LIMIT).unwrap());
        }
        assert_eq!(written, b"first\nthird\n");
        assert_eq!(queue.dropped().load(Ordering::Relaxed), 1);
    }

    #[test]
    fn flushing_is_bounded() {
        let (queue, _output) = queue();
        push(&queue, "line\n", MAX_BYTES);
        queue.flush(Duration::from_millis(10));
        assert!(!queue.lock().is_drained());
    }

    #[test]
    fn a_long_line_is_written_alone() {
        let long = format!("{}\n", "x".repeat(2 * WRITE_BYTES));
        assert_eq!(whole_lines(format!("{long}next\n").as_bytes()), long.len());
        assert_eq!(whole_lines(format!("line\n{long}").as_bytes()), 5);
        assert_eq!(whole_lines(b"unfinished"), 10);
    }

    /// A disk that is full from the second write to the fourth one.
    struct Full {
        writes: usize,
        written: Vec<u8>,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.writes += 1;
            match self.writes {
                2 => self.written.extend_from_slice(&bytes[..2]),
                3 => return Err(ErrorKind::StorageFull.into()),
                _ => self.written.extend_from_slice(bytes),
            }
            Ok(if self.writes == 2 { 2 } else { bytes.len() })
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_after_a_failure_begins_a_line() {
        let full = Full { writes: 0, written: Vec::new() };
        let mut output = Output { output: full, mid_line: false };
        assert!(output.write(b"first\n").is_ok());
        assert!(output.write(b"second\n").is_err());
        assert!(output.write(b"third\n").is_ok());
        assert_eq!(output.output.written, b"first\nse\nthird\n");
    }
}
