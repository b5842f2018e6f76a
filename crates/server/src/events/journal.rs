//! Reading of the journal by streams that resume.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::{BatchEvents, Error, EventBatch, Handle};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, sleep};

use super::position::Position;

/// Maximum number of cached pages, of their events together, and their age: streams that were
/// disconnected together read the same pages.
const KEPT: (usize, usize, Duration) = (8, 50_000, Duration::from_secs(2));

/// Minimum time between a failed read and the next.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// Shared access to the journal: streams read one at a time, in turn, and share the pages.
pub(crate) struct Journal {
    engine: Handle,
    turn: Semaphore,
    kept: Mutex<VecDeque<Kept>>,
    /// Time since which every read has failed, if the last one did.
    away: Mutex<Option<Instant>>,
}

/// A page of the journal.
#[derive(Clone)]
pub(crate) struct Page {
    batches: Arc<[EventBatch]>,
    /// Index of the requested batch.
    first: usize,
    /// Whether the journal may have had more batches at the time of reading.
    pub(crate) full: bool,
}

impl Page {
    /// Returns the requested batch and those after it.
    pub(crate) fn batches(&self) -> &[EventBatch] {
        &self.batches[self.first..]
    }
}

struct Kept {
    page: Page,
    events: usize,
    read: Instant,
}

/// None if the journal does not contain the batch, or no longer does.
pub(crate) type Answer = Result<Option<Page>, Error>;

impl Journal {
    pub(crate) fn new(engine: Handle) -> Arc<Self> {
        let (kept, away) = Default::default();
        Arc::new(Journal { engine, turn: Semaphore::new(1), kept, away })
    }

    /// Reads the batch at that position and up to `limit` batches in total.
    ///
    /// The read continues without the requester: a client that stops reading must not delay the turns of
    /// others.
    pub(crate) fn read(
        self: &Arc<Self>,
        from: Position,
        limit: usize,
    ) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        if let Some(page) = self.find(from) {
            // The receiver is held right here.
            let _ = reply.send(Ok(Some(page)));
        } else {
            tokio::spawn(Arc::clone(self).read_in_turn(from, limit, reply));
        }
        answer
    }

    async fn read_in_turn(
        self: Arc<Self>,
        from: Position,
        limit: usize,
        reply: oneshot::Sender<Answer>,
    ) {
        let _turn = self.turn.acquire().await;
        if reply.is_closed() {
            return;
        }
        // The previous turn may have read the same page. The client may leave at any time.
        if let Some(page) = self.find(from) {
            let _ = reply.send(Ok(Some(page)));
            return;
        }
        let begun = Instant::now();
        let read = self.engine.journal(from.epoch, from.version, limit).await;
        let mut rest = begun.elapsed();
        if read.is_err() {
            lock(&self.away).get_or_insert(begun);
            rest = rest.max(AFTER_FAILURE);
        } else {
            *lock(&self.away) = None;
        }
        let _ = reply.send(read.map(|found| found.map(|batches| self.keep(batches, limit))));
        // However many streams read, the journal is read at most half of the time.
        sleep(rest).await;
    }

    /// Time for which the journal could not be read.
    pub(crate) fn away_for(&self) -> Duration {
        lock(&self.away).map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Finds a cached page with that batch and later ones.
    fn find(&self, from: Position) -> Option<Page> {
        let kept = lock(&self.kept);
        let fresh = kept.iter().rev().take_while(|kept| kept.read.elapsed() < KEPT.2);
        fresh.map(|kept| &kept.page).find_map(|page| {
            let is_it =
                |batch: &EventBatch| (batch.epoch, batch.version) == (from.epoch, from.version);
            let first = page.batches.iter().position(is_it)?;
            (first + 1 < page.batches.len()).then(|| Page { first, ..page.clone() })
        })
    }

    fn keep(&self, batches: Vec<EventBatch>, limit: usize) -> Page {
        let count = |batch: &EventBatch| match &batch.happened {
            BatchEvents::Events(events) => events.len(),
            BatchEvents::Unknown => 0,
        };
        let (events, full) = (batches.iter().map(count).sum(), batches.len() == limit);
        let page = Page { batches: batches.into(), first: 0, full };
        let mut kept = lock(&self.kept);
        kept.push_back(Kept { page: page.clone(), events, read: Instant::now() });
        while kept.len() > KEPT.0 || kept.iter().map(|kept| kept.events).sum::<usize>() > KEPT.1 {
            kept.pop_front();
        }
        page
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
