//! The thread that encodes metrics, which takes long if the process has many files open.
//!
//! It is started with the server: tokio starts threads for blocking work on demand, and if the system
//! refuses one, the work and its permits are lost.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Metrics;

type Job = Box<dyn FnOnce() + Send>;

pub(super) struct Encoder(mpsc::Sender<Job>);

impl Encoder {
    /// Starts the thread; None if the system refuses it. The thread ends when this is dropped.
    pub(super) fn start() -> Option<Self> {
        let (sender, jobs) = mpsc::channel::<Job>();
        let work = move || {
            for job in jobs {
                if catch_unwind(AssertUnwindSafe(job)).is_err() {
                    tracing::error!("the thread that encodes metrics panicked");
                }
            }
        };
        let thread = thread::Builder::new().name("metrics".to_owned()).spawn(work);
        thread.ok().map(|_| Encoder(sender))
    }
}

/// Returns all metrics as text. The permit is held until they are encoded, even if the client leaves.
pub(super) async fn encode(metrics: Arc<Metrics>, turn: OwnedSemaphorePermit) -> Option<String> {
    let Some(Encoder(jobs)) = &metrics.encoder else {
        return metrics.encode().ok();
    };
    let (reply, text) = oneshot::channel();
    let of = Arc::clone(&metrics);
    let job: Job = Box::new(move || {
        let _turn = turn;
        // The client may have left.
        let _ = reply.send(of.encode());
    });
    jobs.send(job).ok()?;
    text.await.ok()?.ok()
}
