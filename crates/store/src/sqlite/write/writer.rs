use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use crate::sqlite::disk::checkpoint::Gate;
use crate::sqlite::disk::checkpoint::{Checkpoints, Measured, empty_log};
use crate::sqlite::disk::failure::failed;
use crate::sqlite::disk::files::Files;
use crate::sqlite::disk::held::Held;
use crate::sqlite::disk::system_errors as trouble;
use crate::sqlite::disk::threads;
use crate::sqlite::disk::watch::Watch;
use crate::sqlite::read::reader::SqliteReader;
use crate::sqlite::write::user_index::Indexing;
use crate::{Clock, Error};

type Job = Box<dyn FnOnce(&mut Writing) + Send>;

/// The writing connection, and with it the lock on the whole database. Batches are written on the
/// engine's thread; a thread of its own does the rest between them.
pub(crate) struct Writer {
    writing: Arc<Mutex<Writing>>,
    /// Taken when the writer is dropped.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    pub(crate) files: Files,
    pub(crate) gate: Arc<Gate>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) measured: Arc<Measured>,
}

impl Writer {
    /// Takes the lock, opens the database (created if missing) and starts the thread.
    pub(crate) fn start(path: &Path) -> Result<Self, Error> {
        let files = Files::find(path)?;
        Writer::start_on(&files).map_err(|error| trouble::explain(&files, error))
    }

    fn start_on(files: &Files) -> Result<Self, Error> {
        let mut held = Held::new(files.clone(), files.claim()?)?;
        files.sync_log()?;
        let connection = files.open_to_write().map_err(|error| first(files, error))?;
        held.opened()?;
        let watch = Arc::clone(held.watch());
        let gate = Arc::new(Gate::new(Some(Mutex::default())));
        let checkpoints = Checkpoints::default();
        let measured = Arc::clone(&checkpoints.measured);
        let writing = Arc::new(Mutex::new(Writing {
            connection: Some(connection),
            files: files.clone(),
            gate: Arc::clone(&gate),
            checkpoints,
            indexing: Indexing::default(),
            wrote: Instant::now(),
            is_tend_requested: false,
            held,
        }));
        let (jobs, queue) = mpsc::channel();
        let of_thread = Arc::clone(&writing);
        let thread = threads::spawn("sqlite-writer", move || work(&of_thread, &queue))?;
        let (jobs, files) = (Some(jobs), files.clone());
        Ok(Writer { writing, jobs, thread: Some(thread), files, gate, watch, measured })
    }

    /// The side that reads the same files.
    pub(crate) fn reader(&self, clock: Arc<dyn Clock>) -> Result<SqliteReader, Error> {
        let Writer { files, gate, watch, measured, .. } = self;
        let (gate, watch, measured) = (Arc::clone(gate), Arc::clone(watch), Arc::clone(measured));
        SqliteReader::start(clock, files.clone(), gate, watch, measured)
    }

    /// Runs the job on the thread, after earlier ones.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Writing) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |writing| {
            let done = job(writing).map_err(|error| trouble::explain(&writing.files, error));
            // The caller may have left; the job runs nevertheless.
            let _ = reply.send(done);
        });
        self.send(job)?;
        answer.await.map_err(|_| stopped())?
    }

    /// Runs the job on the caller's thread, which waits for the disk: passing a batch to another
    /// thread, and its outcome back, takes about as long as writing it.
    pub(crate) fn run_here<T>(
        &self,
        job: impl FnOnce(&mut Writing) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(stopped());
        }
        let mut writing = lock(&self.writing);
        let done = job(&mut writing).map_err(|error| trouble::explain(&writing.files, error));
        writing.close_stuck();
        if writing.requests_tend() {
            // The thread does that after each of its jobs. If it has died, the next job fails; this one is done.
            let _ = self.send(Box::new(|_| ()));
        }
        done
    }

    fn send(&self, job: Job) -> Result<(), Error> {
        let jobs = self.jobs.as_ref().expect("jobs are taken only when the writer is dropped");
        jobs.send(job).map_err(|_| stopped())
    }
}

fn stopped() -> Error {
    Error::Operator("the thread that writes has died: restart".to_owned())
}

/// Runs jobs until the writer is dropped, with maintenance after each and in quiet times.
fn work(writing: &Mutex<Writing>, jobs: &mpsc::Receiver<Job>) {
    loop {
        let wait = lock(writing).until_step();
        let job = match wait {
            Some(wait) => jobs.recv_timeout(wait),
            None => jobs.recv().map_err(RecvTimeoutError::from),
        };
        let mut writing = lock(writing);
        match job {
            Ok(job) => {
                job(&mut writing);
                writing.tend();
            }
            Err(RecvTimeoutError::Timeout) => writing.step(),
            Err(RecvTimeoutError::Disconnected) => return writing.finish(),
        }
    }
}

fn lock(writing: &Mutex<Writing>) -> MutexGuard<'_, Writing> {
    writing.lock().unwrap_or_else(PoisonError::into_inner)
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

/// State of the writer; locked by the thread that writes.
pub(crate) struct Writing {
    /// `None` after a failure that only reopening the file can resolve.
    connection: Option<Connection>,
    files: Files,
    gate: Arc<Gate>,
    checkpoints: Checkpoints,
    indexing: Indexing,
    /// When the last batch was written.
    wrote: Instant,
    /// Whether the thread has to tend.
    is_tend_requested: bool,
    /// After the connection, so that the locks are released after it is closed.
    held: Held,
}

impl Writing {
    /// The connection, reopened if it had to be closed. Fails if the database's files are not in
    /// their place.
    pub(crate) fn connection(&mut self) -> Result<&mut Connection, Error> {
        if let Some(connection) = &self.connection {
            self.held.verify_before(connection)?;
        } else {
            self.held.verify_closed()?;
            let connection = self.files.open_to_write()?;
            settle(&connection)?;
            self.held.opened()?;
            self.connection = Some(connection);
        }
        Ok(self.connection.as_mut().expect("it was just opened"))
    }

    /// Check after a commit: fails if the commit is not in the files at the database's paths.
    pub(crate) fn verify_commit(&mut self) -> Result<(), Error> {
        self.connection.as_ref().map_or(Ok(()), |connection| self.held.verify(connection))
    }

    /// Fails if any of the database's files is not in its place.
    pub(crate) fn verify_all(&mut self) -> Result<(), Error> {
        self.connection()?;
        self.connection.as_ref().map_or(Ok(()), |connection| self.held.verify_all(connection))
    }

    /// Runs a step that a crash may undo, so that it does not wait for the disk: the next batch's
    /// commit makes it durable, too.
    pub(crate) fn without_sync<T>(
        &mut self,
        step: impl FnOnce(&mut Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let set = |connection: &Connection, synchronous: &str| {
            let set = connection.pragma_update(None, "synchronous", synchronous);
            set.map_err(failed("setting the durability of a step"))
        };
        let connection = self.connection()?;
        set(connection, "normal")?;
        let done = step(connection);
        if let Err(error) = set(connection, "full") {
            // A new connection has it.
            self.close();
            return Err(error);
        }
        done
    }

    /// Does one step of the work on the index of users.
    fn index(&mut self) {
        let mut indexing = std::mem::take(&mut self.indexing);
        let step = self.without_sync(|connection| {
            indexing.step(connection);
            Ok(())
        });
        if let Err(error) = step {
            indexing.failed(&error);
        }
        self.indexing = indexing;
    }

    /// Closes the connection, after a failure that leaves its state in doubt.
    pub(crate) fn close(&mut self) {
        self.connection = None;
    }

    /// Notes that a batch started so many leases.
    pub(crate) fn wrote(&mut self, leases: usize) {
        self.wrote = Instant::now();
        self.indexing.wrote(leases);
    }

    /// How long the thread waits for a job before it calls [`Writing::step`].
    fn until_step(&self) -> Option<Duration> {
        self.indexing.wait(self.wrote.elapsed()).filter(|_| self.can_write())
    }

    /// Does a step of the work that goes on between jobs, if it is due.
    fn step(&mut self) {
        if self.indexing.is_due(self.wrote.elapsed()) && self.can_write() {
            self.index();
        }
    }

    fn can_write(&self) -> bool {
        self.connection.is_some() && !self.held.watch().is_lost()
    }

    /// Whether to ask the thread for maintenance, which it does not do yet.
    fn requests_tend(&mut self) -> bool {
        let due = self.held.is_due()
            || self.checkpoints.is_due(self.held.log_size())
            || self.indexing.has_to_count();
        due && !std::mem::replace(&mut self.is_tend_requested, true)
    }

    /// Closes the connection if its transaction could not be rolled back.
    fn close_stuck(&mut self) {
        if self.connection.as_ref().is_some_and(|connection| !connection.is_autocommit()) {
            self.close();
        }
    }

    /// Maintenance, once the outcome of the last job is known.
    fn tend(&mut self) {
        self.is_tend_requested = false;
        self.close_stuck();
        let Some(connection) = &mut self.connection else {
            return;
        };
        let due = self.held.is_due();
        // The check logs its error, and the next job fails with it.
        if due && self.held.verify_all(connection).is_err() || self.held.watch().is_lost() {
            return;
        }
        self.checkpoints.tend(connection, &self.gate, self.held.log_size());
        if self.indexing.is_due_after(connection) {
            self.index();
        }
    }

    /// Leaves everything in the database's own file. The last connection to close empties the log
    /// and deletes it, unless it is read-only: so the readers' are closed before.
    fn finish(&mut self) {
        *self.gate.write().unwrap_or_else(PoisonError::into_inner) = None;
        if let Some(connection) = self.connection.take() {
            if self.held.is_truncated() {
                // Pages that are missing from the log would be written as zeros.
                let no_checkpoint = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
                let kept = connection.set_db_config(no_checkpoint, true);
                tracing::warn!(?kept, "the write-ahead log is left as it is");
            } else {
                match empty_log(&connection) {
                    Ok(true) => {}
                    Ok(false) => {
                        let reason = "another program reads the database";
                        tracing::warn!(
                            reason,
                            "the write-ahead log could not be emptied at the end"
                        );
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the write-ahead log could not be emptied at the end");
                    }
                }
            }
        }
        self.held.conclude();
    }
}

/// On the first open, a file that can't be opened is a permanent error, not a temporary one.
fn first(files: &Files, error: Error) -> Error {
    let Error::TryAgain { cause, .. } = &error else { return error };
    let code = cause.downcast_ref().and_then(rusqlite::Error::sqlite_error_code);
    if code != Some(ErrorCode::CannotOpen) {
        return error;
    }
    match trouble::find(files) {
        // The disk may have space again.
        Some((trouble::DISK_FULL | trouble::QUOTA, _)) => error,
        Some((_, sentence)) => Error::Operator(format!("the database can't be opened: {sentence}")),
        None => Error::Operator(format!(
            "{} can't be opened: it must be a file that this user may read and write",
            files.database.display()
        )),
    }
}

/// Makes sure that a commit whose write failed stays undone: its record may be in the log behind
/// the valid part, and would be valid after a crash. Any commit overwrites it.
fn settle(connection: &Connection) -> Result<(), Error> {
    let failed = failed("writing after the file was reopened");
    let count: i32 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(&failed)?;
    connection.pragma_update(None, "user_version", count.wrapping_add(1)).map_err(&failed)
}
