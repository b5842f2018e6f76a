use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use tokio::sync::oneshot;

use crate::Error;

type Job = Box<dyn FnOnce() + Send>;

/// Threads for work that blocks, started in advance.
///
/// A pool that starts threads on demand, such as tokio's, panics or queues work forever where the
/// system refuses a thread, and with the work it keeps every permit that the work holds.
pub(crate) struct Threads(mpsc::Sender<Job>);

impl Threads {
    /// Starts the threads. They end when this is dropped and their work is done.
    ///
    /// # Errors
    ///
    /// [`Error::TryAgain`] when the system refuses a thread.
    pub(crate) fn start(name: &str, count: usize) -> Result<Self, Error> {
        let (sender, jobs) = mpsc::channel();
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..count {
            let jobs = Arc::clone(&jobs);
            spawn(name, move || work(&jobs))?;
        }
        Ok(Threads(sender))
    }

    /// Runs the work on one of the threads, to its end even if this future is dropped.
    ///
    /// # Errors
    ///
    /// As the work; [`Error::TryAgain`] when the work panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move || {
            // The caller may have left.
            let _ = reply.send(work());
        });
        self.0.send(job).map_err(|_| failed("the threads have ended"))?;
        answer.await.map_err(|_| failed("a thread panicked; see the log"))?
    }
}

/// Starts a thread.
///
/// # Errors
///
/// [`Error::TryAgain`] when the system refuses it.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>, Error> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|error| Error::TryAgain {
        what: "the system refuses another thread (see TasksMax of the systemd unit, the pids limit \
               of the container, or `ulimit -u`)",
        cause: Box::new(error),
    })
}

/// Runs work that blocks on a thread of its own.
///
/// # Errors
///
/// As [`Threads::start`] and [`Threads::run`].
pub(crate) async fn run_on_own<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    Threads::start("sqlite-files", 1)?.run(work).await
}

fn work(jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        // The lock is held while this thread waits for a job, never while it runs one.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            // The job has dropped everything that it held. The panic hook has written the message.
            tracing::error!("a database thread panicked; its request failed");
        }
    }
}

fn failed(why: &'static str) -> Error {
    Error::TryAgain { what: "reading", cause: why.into() }
}
