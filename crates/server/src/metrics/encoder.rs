//! A thread that writes the metrics down, which takes long where the process has many files open.
//!
//! It is started with the server: tokio's threads for blocking work are started on demand, and where
//! the system refuses one, the work and its permits are never seen again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::app::App;

type Job = Box<dyn FnOnce() + Send>;

pub(super) struct Encoder(mpsc::Sender<Job>);

impl Encoder {
    /// Starts the thread; None where the system refuses it. The thread ends when this is dropped.
    pub(super) fn start() -> Option<Self> {
        let (sender, jobs) = mpsc::channel::<Job>();
        let work = move || {
            for job in jobs {
                if catch_unwind(AssertUnwindSafe(job)).is_err() {
                    tracing::error!("the thread that writes the metrics down panicked");
                }
            }
        };
        let thread = thread::Builder::new().name("metrics".to_owned()).spawn(work);
        thread.ok().map(|_| Encoder(sender))
    }
}

/// All metrics, as text. The permit is kept until they are written down, even if the client leaves.
pub(super) async fn encode(app: &App, turn: OwnedSemaphorePermit) -> Option<String> {
    let Some(Encoder(jobs)) = &app.metrics.encoder else {
        return app.metrics.encode().ok();
    };
    let (reply, answer) = oneshot::channel();
    let of = App::clone(app);
    let job: Job = Box::new(move || {
        let _turn = turn;
        // The client may have left.
        let _ = reply.send(of.metrics.encode());
    });
    jobs.send(job).ok()?;
    answer.await.ok()?.ok()
}
