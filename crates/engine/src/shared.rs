use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};
use std::time::Duration;

use pool::{HumanDuration, Observer, ServerId, Timestamp};
use store::{Durability, Entry, LogSize, News, Position, Reader, Uptime};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::events::{BatchEvents, EventBatch};
use crate::high_water::HighWater;
use crate::in_flight::InFlight;
use crate::metrics::{Metrics, Mismatch};
use crate::replica::{NOWHERE, Replica};
use crate::time::{PoolTime, STILL};
use crate::{Error, Health};

/// State that the engine and all handles share: the readers' replica of the pool, and the health.
pub(crate) struct Shared {
    /// None until the pool was opened, and after a copy turned out unfit.
    copy: RwLock<Option<Replica>>,
    pub time: PoolTime,
    pub in_flight: InFlight,
    reader: OnceLock<Arc<dyn Reader>>,
    durability: OnceLock<Durability>,
    pub high_water: HighWater,
    /// Current health, and since when.
    health: watch::Sender<(Health, Instant)>,
    /// Since when the database could not be read, if the last attempt failed.
    unread_since: Mutex<Option<Instant>>,
    pub timeout: Duration,
    /// Id of this server, new at each start.
    pub server: ServerId,
    pub metrics: Metrics,
    feed: broadcast::Sender<Arc<EventBatch>>,
    questions: mpsc::Sender<Question>,
    /// Whether the last probe of the database's readers succeeded.
    readable: AtomicBool,
    /// For reads that wait until the batches of all servers are settled.
    settlements: mpsc::Sender<Question>,
}

/// How often the readers of the database are probed.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// A read that waits for the time, which it gets as soon as the copy is current.
type Question = oneshot::Sender<Timestamp>;

/// Maximum number of reads that wait for one query. One more is answered [`Error::Busy`].
const MOST_QUESTIONS: usize = 10_000;

/// Pause after a failed wait for batches in flight.
const PAUSE_TO_SETTLE: Duration = Duration::from_millis(50);

/// Number of batches that the feed of events keeps for slow receivers.
const FEED: usize = 4_096;

impl Shared {
    pub fn new(timeout: Duration, server: ServerId) -> (Arc<Self>, Asker, Settler) {
        let (questions, receiver) = mpsc::channel(MOST_QUESTIONS);
        let (settlements, settling) = mpsc::channel(MOST_QUESTIONS);
        let shared = Arc::new(Shared {
            copy: RwLock::new(None),
            time: PoolTime::new(),
            in_flight: InFlight::default(),
            reader: OnceLock::new(),
            durability: OnceLock::new(),
            high_water: HighWater::new(),
            health: watch::Sender::new((Health::Starting, Instant::now())),
            unread_since: Mutex::default(),
            timeout,
            server,
            metrics: Metrics::new(),
            feed: broadcast::Sender::new(FEED),
            questions,
            readable: AtomicBool::new(true),
            settlements,
        });
        let asker =
            Asker { shared: Arc::clone(&shared), questions: receiver, told: Timestamp::MIN };
        let settler = Settler { shared: Arc::clone(&shared), questions: settling };
        (shared, asker, settler)
    }

    /// Stores the opened pool.
    pub fn open(&self, reader: Arc<dyn Reader>, copy: Replica, durability: Durability) {
        self.high_water.note(&copy);
        *self.write() = Some(copy);
        assert!(self.durability.set(durability).is_ok(), "a pool is opened once");
        assert!(self.reader.set(reader).is_ok(), "a pool is opened once");
    }

    /// The database's durability settings, and whether each weakens it.
    pub fn durability(&self) -> Vec<(&'static str, bool)> {
        self.durability.get().map(Durability::settings).unwrap_or_default()
    }

    /// Whether other servers may use the pool, too.
    pub fn is_shared(&self) -> bool {
        self.reader.get().is_some_and(|reader| reader.shared())
    }

    /// This server at `now`, with the newest journal entry that the copy has.
    pub fn observer(&self, copy: &Replica, now: Timestamp) -> Observer {
        Observer::new(now, self.server, self.is_shared().then_some(copy.at))
    }

    /// Subscribes to all lease events from now on, batch by batch.
    pub fn feed(&self) -> broadcast::Receiver<Arc<EventBatch>> {
        self.feed.subscribe()
    }

    pub fn health(&self) -> Health {
        self.health.borrow().0
    }

    pub async fn health_after(&self, health: Health) -> Health {
        let mut changes = self.health.subscribe();
        let other = changes.wait_for(|(now, _)| *now != health).await;
        other.expect("the sender is in here, too").0
    }

    pub fn set_health(&self, health: Health) {
        self.health.send_if_modified(|(now, since)| {
            if *now == health {
                return false;
            }
            if health == Health::Ready && now.is_trouble() {
                self.metrics.reconnects.inc();
            }
            if health == Health::Ready {
                *lock(&self.unread_since) = None;
            }
            // The trouble began with the first failed write.
            if !(now.is_trouble() && health.is_trouble()) {
                *since = Instant::now();
            }
            *now = health;
            true
        });
    }

    /// Records that the database could not be written to; the next request for news shows whether
    /// it can be read.
    pub fn writing_failed(&self) {
        if !self.is_shared() {
            self.set_health(Health::Blocked);
            return;
        }
        if self.health() != Health::Blocked {
            self.set_health(Health::Away);
        }
        self.ask_for_news();
    }

    /// Requests news from the database to learn whether it can be read; no read waits for the
    /// answer.
    fn ask_for_news(&self) {
        // If the channel is full, reads are requesting news already.
        drop(self.questions.try_send(oneshot::channel().0));
    }

    /// Records whether the database could be read.
    fn reading_ended(&self, well: bool) {
        let mut unread_since = lock(&self.unread_since);
        *unread_since = if well { None } else { unread_since.or(Some(Instant::now())) };
        drop(unread_since);
        match (self.health(), well) {
            (Health::Away, true) => self.set_health(Health::Blocked),
            (Health::Blocked, false) => self.set_health(Health::Away),
            _ => {}
        }
    }

    /// Error for a command, if waiting for the database has failed for long.
    pub fn hopeless(&self) -> Option<Error> {
        let (health, since) = *self.health.borrow();
        match health {
            Health::Ready => None,
            Health::Stopped => Some(Error::Stopping),
            Health::Starting | Health::Blocked | Health::Away => self.after_patience(since),
        }
    }

    /// Error for a read, if reading the database has failed for long. Failed writes don't count.
    fn hopeless_to_read(&self) -> Option<Error> {
        let (health, since) = *self.health.borrow();
        match health {
            Health::Stopped => Some(Error::Stopping),
            Health::Starting => self.after_patience(since),
            Health::Ready | Health::Blocked | Health::Away => {
                let unread_since = *lock(&self.unread_since);
                let error = unread_since.and_then(|since| self.after_patience(since));
                if error.is_some() {
                    // Refused reads send no query, so this finds out when reading works again.
                    self.ask_for_news();
                }
                error
            }
        }
    }

    fn after_patience(&self, since: Instant) -> Option<Error> {
        (since.elapsed() > self.timeout).then_some(Error::not_done())
    }

    /// The current copy, without checking whether it is up to date.
    pub fn copy(&self) -> RwLockReadGuard<'_, Option<Replica>> {
        self.copy.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Option<Replica>> {
        self.copy.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reading side of the store, once the pool was opened.
    pub async fn reader(&self) -> Result<&Arc<dyn Reader>, Error> {
        if self.reader.get().is_none() {
            let mut health = self.health.subscribe();
            let opened = health.wait_for(|(health, _)| *health != Health::Starting);
            drop(tokio::time::timeout(self.timeout, opened).await);
        }
        self.reader.get().ok_or_else(Error::not_done)
    }

    /// Makes the copy current and returns the pool's time of that moment.
    pub async fn catch_up(&self) -> Result<Timestamp, Error> {
        let reader = self.reader().await?;
        if let Some(clock) = reader.now() {
            return Ok(self.time.observe(clock, Timestamp::MIN));
        }
        if let Some(error) = self.hopeless_to_read() {
            return Err(error);
        }
        let answer = tokio::time::timeout(self.timeout, ask(&self.questions)).await;
        answer.unwrap_or_else(|_| Err(Error::not_done()))
    }

    /// Waits until no batch that any server has decided by now is in flight, and the copy has them
    /// all.
    pub async fn settle_others(&self) -> Result<Timestamp, Error> {
        ask(&self.settlements).await
    }

    /// Whether the history can be read, by the last probe.
    pub fn is_readable(&self) -> bool {
        self.readable.load(SeqCst)
    }

    /// Reads a little of the database once a second, forever, so that [`Shared::is_readable`] is
    /// true only while that works.
    pub async fn probe(&self) {
        loop {
            tokio::time::sleep(PROBE_EVERY).await;
            let Some(reader) = self.reader.get() else { continue };
            let readable = match tokio::time::timeout(self.timeout, reader.probe()).await {
                Ok(Ok(())) => true,
                Ok(Err(error)) => {
                    if self.is_readable() {
                        let error = &error as &dyn std::error::Error;
                        warn!(error, "the history can't be read");
                    }
                    false
                }
                Err(_) => {
                    if self.is_readable() {
                        warn!(timeout = %HumanDuration(self.timeout), "the history can't be read: no answer");
                    }
                    false
                }
            };
            if readable && !self.is_readable() {
                info!("the history can be read again");
            }
            self.readable.store(readable, SeqCst);
        }
    }

    /// Size of the database's write-ahead log, if this server has to empty one.
    pub fn log_size(&self) -> Option<LogSize> {
        self.reader.get().and_then(|reader| reader.log_size())
    }

    /// The latest known value of the pool's time, without a query.
    pub fn estimate(&self) -> Timestamp {
        let clock = self.reader.get().and_then(|reader| reader.now());
        clock.map_or_else(|| self.time.estimate(), |clock| self.time.observe(clock, Timestamp::MIN))
    }

    /// Drops the readers' replica, which differs from the pool in the database. Reads wait until
    /// the writer has loaded it again.
    pub fn forget(&self) {
        *self.write() = None;
    }

    /// Position of the readers' replica.
    pub fn position(&self) -> Position {
        self.copy().as_ref().map_or(NOWHERE, |copy| copy.position)
    }

    /// Brings the readers' replica forward by the news since `known`, and by `own`, which this
    /// server just made durable. Of two concurrent calls, the second finds the work done.
    pub fn publish(&self, known: &Position, news: News, own: Option<&Entry>) {
        let mut copy = self.write();
        self.take_news(&mut copy, known, news);
        if let Some(entry) = own {
            self.advance(&mut copy, entry);
        }
        copy.iter().for_each(|copy| self.high_water.note(copy));
        drop(copy);
        self.in_flight.published();
    }

    /// As [`Shared::publish`], for news after which the copy lacks no batch decided before
    /// `settled`.
    fn publish_settled(&self, known: &Position, news: News, settled: Timestamp) {
        let mut copy = self.write();
        self.take_news(&mut copy, known, news);
        if let Some(copy) = copy.as_mut() {
            copy.settled = copy.settled.max(settled);
            self.high_water.note(copy);
        }
        drop(copy);
        self.in_flight.published();
    }

    fn take_news(&self, copy: &mut Option<Replica>, known: &Position, news: News) {
        match news {
            News::Whole(snapshot) => {
                let age = |position: &Position| (position.epoch, position.version);
                let current = copy.as_ref().map(|copy| copy.position);
                if current.is_none_or(|now| now == *known || age(&now) < age(&snapshot.position)) {
                    let Position { epoch, version, .. } = snapshot.position;
                    let happened = BatchEvents::Unknown;
                    self.announce(EventBatch { epoch, version, at: snapshot.at, happened });
                    *copy = Some(Replica::from(*snapshot));
                    self.high_water.replaced();
                }
            }
            News::Entries(entries) => {
                for entry in &entries {
                    self.advance(copy, entry);
                }
            }
        }
    }

    fn advance(&self, slot: &mut Option<Replica>, entry: &Entry) {
        let Some(copy) = slot else { return };
        let is_new = entry.position.version > copy.position.version;
        let told = is_new && self.feed.receiver_count() > 0;
        let published = told.then(|| EventBatch::before(entry, &copy.pool));
        match copy.advance(entry) {
            Ok(()) => published.into_iter().for_each(|published| self.announce(published)),
            Err(unfit) => {
                error!(%unfit, "readers' replica reloaded");
                self.metrics.mismatched(Mismatch::News);
                *slot = None;
            }
        }
    }

    /// In the order of the journal, since the copy is held meanwhile.
    fn announce(&self, published: EventBatch) {
        // A feed without receivers is fine.
        let _ = self.feed.send(Arc::new(published));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn ask(questions: &mpsc::Sender<Question>) -> Result<Timestamp, Error> {
    let (question, answer) = oneshot::channel();
    questions.try_send(question).map_err(|refused| match refused {
        TrySendError::Full(_) => Error::busy(),
        TrySendError::Closed(_) => Error::Stopping,
    })?;
    answer.await.map_err(|_| Error::not_done())
}

/// Requests news from the database on behalf of all waiting reads. A read joins only a query that
/// has not been sent yet, so that its answer is no older than the read.
pub(crate) struct Asker {
    shared: Arc<Shared>,
    questions: mpsc::Receiver<Question>,
    /// The latest time that was returned.
    told: Timestamp,
}

impl Asker {
    pub async fn run(mut self) {
        let mut waiting = Vec::new();
        while self.questions.recv_many(&mut waiting, MOST_QUESTIONS).await > 0 {
            let Some(reader) = self.shared.reader.get() else {
                waiting.clear();
                continue;
            };
            let (known, asked) = (self.shared.position(), Uptime::now());
            match reader.news(&known).await {
                Ok((clock, news)) => {
                    self.shared.time.note(clock, asked, Uptime::now());
                    self.shared.publish(&known, news, None);
                    let journal =
                        self.shared.copy().as_ref().map_or(Timestamp::MIN, |copy| copy.at);
                    let now = self.moment(clock, journal);
                    self.shared.reading_ended(true);
                    for question in waiting.drain(..) {
                        // A dropped read needs no answer.
                        let _ = question.send(now);
                    }
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    if waiting.iter().any(|question| !question.is_closed()) {
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
    /// pool's time may be ahead of it because of later observations by the engine, and batches that
    /// these news lack may have been decided in between.
    fn moment(&mut self, clock: Timestamp, journal: Timestamp) -> Timestamp {
        let observed = self.shared.time.observe(clock, journal);
        let is_behind = clock.after(STILL) < self.told.max(journal);
        self.told = self.told.max(if is_behind { observed } else { clock });
        self.told
    }
}

/// Waits for the batches in flight on behalf of all reads that a deadline keeps waiting. As with
/// [`Asker`], a read joins only a wait that has not begun yet.
pub(crate) struct Settler {
    shared: Arc<Shared>,
    questions: mpsc::Receiver<Question>,
}

impl Settler {
    pub async fn run(mut self) {
        let mut waiting = Vec::new();
        loop {
            waiting.retain(|question: &Question| !question.is_closed());
            if waiting.is_empty() {
                if self.questions.recv_many(&mut waiting, MOST_QUESTIONS).await == 0 {
                    return;
                }
            } else {
                while let Ok(question) = self.questions.try_recv() {
                    waiting.push(question);
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
                    for question in waiting.drain(..) {
                        // The read may have given up.
                        let _ = question.send(settled);
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

#[cfg(test)]
mod tests;
