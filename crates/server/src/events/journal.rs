//! The journal as streams read it that go on where another ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::{BatchEvents, Error, EventBatch, Handle};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, sleep};

use super::position::Position;

/// How many pages are kept, how many events they may have together, and for how long: many that
/// were cut off together read the same.
const KEPT: (usize, usize, Duration) = (8, 50_000, Duration::from_secs(2));

/// The shortest time from a read that failed to the next.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// All streams' way to the journal: they read one at a time, in turn, and share what they read.
pub(crate) struct Journal {
    engine: Handle,
    turn: Semaphore,
    kept: Mutex<VecDeque<Kept>>,
    /// Since when no read has succeeded, if the last one failed.
    away: Mutex<Option<Instant>>,
}

/// What was read.
#[derive(Clone)]
pub(crate) struct Page {
    batches: Arc<[EventBatch]>,
    /// The position among them of the one that was query for.
    first: usize,
    /// Whether there may have been more in the journal even then.
    pub(crate) full: bool,
}

impl Page {
    /// The batch that was query for, and those that follow on it.
    pub(crate) fn batches(&self) -> &[EventBatch] {
        &self.batches[self.first..]
    }
}

struct Kept {
    page: Page,
    events: usize,
    read: Instant,
}

/// None where the journal has no such batch, or not any more.
pub(crate) type Answer = Result<Option<Page>, Error>;

impl Journal {
    pub(crate) fn new(engine: Handle) -> Arc<Self> {
        let (kept, away) = Default::default();
        Arc::new(Journal { engine, turn: Semaphore::new(1), kept, away })
    }

    /// The batch of that position and some that follow on it; about so many are read at once.
    ///
    /// It goes on without whoever query: a client that takes no more must not keep the others from
    /// their turn.
    pub(crate) fn read(
        self: &Arc<Self>,
        from: Position,
        limit: usize,
    ) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        if let Some(page) = self.find(from) {
            // It is held right here.
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
        // Whoever had a turn before may have wanted the same. The client may leave at any time.
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
        // However many want to read it, the journal is read half of the time at most.
        sleep(rest).await;
    }

    /// For how long the journal could not be read.
    pub(crate) fn away_for(&self) -> Duration {
        lock(&self.away).map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// A page that has that batch and more.
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
