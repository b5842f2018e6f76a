//! News from the database, on behalf of all reads that wait for them.

use std::sync::Arc;
use std::time::Duration;

use pool::Timestamp;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use crate::Error;
use crate::shared::Shared;
use crate::time::STILL;

/// A read that waits for the time, which it gets as soon as the copy is current.
pub(super) type WaitingRead = oneshot::Sender<Timestamp>;

/// Maximum number of reads that wait for one query. One more is answered [`Error::Busy`].
pub(super) const MOST_READS: usize = 10_000;

/// Pause after a failed wait for batches in flight.
const PAUSE_TO_SETTLE: Duration = Duration::from_millis(50);

impl Shared {
    /// Makes the copy current and returns the ledger's time of that moment.
    pub async fn catch_up(&self) -> Result<Timestamp, Error> {
        let reader = self.reader().await?;
        if let Some(clock) = reader.now() {
            return Ok(self.time.observe(clock, Timestamp::MIN));
        }
        if let Some(error) = self.hopeless_to_read() {
            return Err(error);
        }
        let answer = tokio::time::timeout(self.timeout, wait_in(&self.news)).await;
        answer.unwrap_or_else(|_| Err(Error::not_done()))
    }

    /// Waits until no batch that any server has decided by now is in flight, and the copy has them
    /// all.
    pub async fn settle_others(&self) -> Result<Timestamp, Error> {
        wait_in(&self.settlements).await
    }
}

async fn wait_in(reads: &mpsc::Sender<WaitingRead>) -> Result<Timestamp, Error> {
    let (read, answer) = oneshot::channel();
    reads.try_send(read).map_err(|refused| match refused {
        TrySendError::Full(_) => Error::busy(),
        TrySendError::Closed(_) => Error::Stopping,
    })?;
    answer.await.map_err(|_| Error::not_done())
}

/// Requests news from the database on behalf of all waiting reads. A read joins only a query that
/// has not been sent yet, so that its answer is no older than the read.
pub(crate) struct NewsTask {
    shared: Arc<Shared>,
    reads: mpsc::Receiver<WaitingRead>,
    /// The latest time that was returned.
    told: Timestamp,
}

impl NewsTask {
    pub(super) fn new(shared: Arc<Shared>, reads: mpsc::Receiver<WaitingRead>) -> Self {
        NewsTask { shared, reads, told: Timestamp::MIN }
    }

    pub async fn run(mut self) {
        let mut waiting = Vec::new();
        while self.reads.recv_many(&mut waiting, MOST_READS).await > 0 {
            let Some(reader) = self.shared.reader.get() else {
                waiting.clear();
                continue;
            };
            let (known, asked) = (self.shared.position(), self.shared.time.uptime());
            match reader.news(&known).await {
                Ok((clock, news)) => {
                    self.shared.time.note(clock, asked, self.shared.time.uptime());
                    self.shared.publish(&known, news, None);
                    let journal =
                        self.shared.copy().as_ref().map_or(Timestamp::MIN, |copy| copy.at);
                    let now = self.moment(clock, journal);
                    self.shared.reading_ended(true);
                    for read in waiting.drain(..) {
                        // A dropped read needs no answer.
                        let _ = read.send(now);
                    }
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    if waiting.iter().any(|read| !read.is_closed()) {
                        warn!(error, "a read was not answered");
                    } else {
                        debug!(error, "the database can't be read");
                    }
                    self.shared.reading_ended(false);
                    waiting.clear();
                }
            }
        }
    }

    /// Moment for the reads that are answered now: the database's clock, if that runs forward. The
    /// ledger's time may be ahead of it because of later observations by the engine, and batches that
    /// these news lack may have been decided in between.
    fn moment(&mut self, clock: Timestamp, journal: Timestamp) -> Timestamp {
        let observed = self.shared.time.observe(clock, journal);
        let is_behind = clock.after(STILL) < self.told.max(journal);
        self.told = self.told.max(if is_behind { observed } else { clock });
        self.told
    }
}

/// Waits for the batches in flight on behalf of all reads that a deadline keeps waiting. As with
/// [`NewsTask`], a read joins only a wait that has not begun yet.
pub(crate) struct SettleTask {
    shared: Arc<Shared>,
    reads: mpsc::Receiver<WaitingRead>,
}

impl SettleTask {
    pub(super) fn new(shared: Arc<Shared>, reads: mpsc::Receiver<WaitingRead>) -> Self {
        SettleTask { shared, reads }
    }

    pub async fn run(mut self) {
        let mut waiting = Vec::new();
        loop {
            waiting.retain(|read: &WaitingRead| !read.is_closed());
            if waiting.is_empty() {
                if self.reads.recv_many(&mut waiting, MOST_READS).await == 0 {
                    return;
                }
            } else {
                while let Ok(read) = self.reads.try_recv() {
                    waiting.push(read);
                }
            }
            let Some(reader) = self.shared.reader.get() else {
                waiting.clear();
                continue;
            };
            let known = self.shared.position();
            match reader.settled_news(&known).await {
                Ok((settled, news)) => {
                    self.shared.publish_settled(&known, news, settled);
                    for read in waiting.drain(..) {
                        // The read may have given up.
                        let _ = read.send(settled);
                    }
                }
                Err(error) => {
                    debug!(error = &error as &dyn std::error::Error, "batches are still in flight");
                    tokio::time::sleep(PAUSE_TO_SETTLE).await;
                }
            }
        }
    }
}
