use std::fs::{self, File};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::files::{BUSY, Files};
use super::indexing::Indexing;
use super::reader::Gate;
use super::refusal::failed;
use crate::Error;

/// Above this size of the write-ahead log, new readers wait while it is emptied.
pub(super) const WAL_LIMIT: u64 = 64 << 20;

/// How long emptying it may wait for readers in other programs, and how often that is tried.
const CHECKPOINT_WAIT: Duration = Duration::from_millis(50);
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

type Job = Box<dyn FnOnce(&mut Writing) + Send>;

/// The thread that owns the writing connection, and with it the lock on the whole database.
pub(super) struct Writer {
    /// Taken when the writer is dropped.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    pub(super) files: Files,
    pub(super) gate: Arc<Gate>,
}

impl Writer {
    /// Takes the lock, opens the database (made if it is not there) and starts the thread.
    pub(super) fn start(path: &Path) -> Result<Self, Error> {
        let files = Files::find(path)?;
        let lock = files.lock()?;
        let connection = Some(files.open_to_write().map_err(|error| first(&files, error))?);
        let gate = Arc::new(Gate::new(Some(Mutex::default())));
        let mut writing = Writing {
            connection,
            files: files.clone(),
            gate: Arc::clone(&gate),
            tried: None,
            indexing: Indexing::default(),
            _lock: lock,
        };
        let (jobs, queue) = mpsc::channel::<Job>();
        let run = move || {
            while let Some(job) = writing.next(&queue) {
                job(&mut writing);
                writing.tend();
            }
            writing.finish();
        };
        let thread = thread::Builder::new().name("sqlite-writer".to_owned()).spawn(run);
        let thread = thread.map_err(|error| Error::TryAgain {
            what: "starting the thread that writes",
            cause: Box::new(error),
        })?;
        Ok(Writer { jobs: Some(jobs), thread: Some(thread), files, gate })
    }

    /// Runs the job on the thread, after those before it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Writing) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |writing| {
            // Whoever asked may have left; the job is done all the same.
            let _ = reply.send(job(writing));
        });
        let jobs = self.jobs.as_ref().expect("jobs are taken only when the writer is dropped");
        let stopped = || Error::Operator("the thread that writes has died: restart".to_owned());
        jobs.send(job).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // When this returns, the database is closed and the lock free.
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread owns.
pub(super) struct Writing {
    /// None after a failure that only reopening the file can settle. Before the lock, so that it
    /// is closed before the lock is given back.
    connection: Option<Connection>,
    files: Files,
    gate: Arc<Gate>,
    /// When a checkpoint was last tried.
    tried: Option<Instant>,
    indexing: Indexing,
    _lock: File,
}

impl Writing {
    /// The connection, reopened if it had to be closed.
    pub(super) fn connection(&mut self) -> Result<&mut Connection, Error> {
        if self.connection.is_none() {
            let connection = self.files.open_to_write()?;
            settle(&connection)?;
            self.connection = Some(connection);
        }
        Ok(self.connection.as_mut().expect("it was just opened"))
    }

    /// Closes the connection, after a failure that leaves its state in doubt.
    pub(super) fn close(&mut self) {
        self.connection = None;
    }

    /// The next job, when there is one; None when there will be none any more.
    fn next(&mut self, jobs: &mpsc::Receiver<Job>) -> Option<Job> {
        loop {
            let (Some(wait), Some(connection)) = (self.indexing.wait(), &mut self.connection)
            else {
                return jobs.recv().ok();
            };
            match jobs.recv_timeout(wait) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Timeout) => self.indexing.step(connection),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// What is to be done after every job, when its answer is out.
    fn tend(&mut self) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        if !connection.is_autocommit() {
            // A transaction that could not even be rolled back.
            self.close();
            return;
        }
        self.indexing.after_job(connection);
        let size = fs::metadata(&self.files.wal).map_or(0, |wal| wal.len());
        let recently = self.tried.is_some_and(|tried| tried.elapsed() < CHECKPOINT_EVERY);
        if size <= WAL_LIMIT || recently {
            return;
        }
        self.tried = Some(Instant::now());
        let _readers_wait = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = truncate(connection) {
            tracing::warn!(%error, size, "the write-ahead log could not be emptied");
        }
    }

    /// Leaves everything in the database's own file. The last connection to be closed empties the
    /// log and deletes it, unless it only reads: so the readers' are closed before.
    fn finish(&mut self) {
        *self.gate.write().unwrap_or_else(PoisonError::into_inner) = None;
        if let Some(Err(error)) = self.connection.take().map(|connection| truncate(&connection)) {
            tracing::warn!(%error, "the write-ahead log could not be emptied at the end");
        }
    }
}

/// The first time, a file that can't be opened is a mistake and not a passing trouble.
fn first(files: &Files, error: Error) -> Error {
    let Error::TryAgain { cause, .. } = &error else { return error };
    let code = cause.downcast_ref().and_then(rusqlite::Error::sqlite_error_code);
    if code != Some(ErrorCode::CannotOpen) {
        return error;
    }
    Error::Operator(format!(
        "{} can't be opened: it must be a file that this user may read and write",
        files.database.display()
    ))
}

/// Empties the write-ahead log, unless readers in other programs keep it in use.
fn truncate(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(CHECKPOINT_WAIT)?;
    let emptied = connection.query_row("pragma wal_checkpoint(truncate)", (), |_| Ok(()));
    connection.busy_timeout(BUSY)?;
    emptied
}

/// Makes sure that a commit whose write failed stays undone: its record may lie in the log behind
/// what counts, and would count after a crash. Any commit writes over it.
fn settle(connection: &Connection) -> Result<(), Error> {
    let failed = failed("writing after the file was reopened");
    let count: i32 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(&failed)?;
    connection.pragma_update(None, "user_version", count.wrapping_add(1)).map_err(&failed)
}
