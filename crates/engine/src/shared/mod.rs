//! State that the engine and all handles share: the readers' replica of the pool, the news that
//! move it forward, the moment of a read, and the health.

mod health;
mod high_water;
mod in_flight;
mod moment;
mod news;
mod probe;
mod publish;
mod turn;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use pool::{Observer, ServerId, Timestamp};
use store::{Durability, LogSize, Position, Reader};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::Instant;

use crate::Error;
use crate::events::EventBatch;
use crate::key_uses::KeyUses;
use crate::machine::Machine;
use crate::metrics::Metrics;
use crate::replica::{NOWHERE, Replica};
use crate::time::PoolTime;

pub use self::health::Health;
use self::high_water::HighWater;
use self::in_flight::InFlight;
pub use self::moment::Scope;
use self::news::{MOST_READS, WaitingRead};
pub(crate) use self::news::{NewsTask, SettleTask};
use self::turn::Turn;

/// State that the engine and all handles share: the readers' replica of the pool, and the health.
pub(crate) struct Shared {
    /// None until the pool was opened, and after a copy turned out unfit.
    copy: RwLock<Option<Replica>>,
    pub time: PoolTime,
    pub in_flight: InFlight,
    pub turn: Turn,
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
    pub key_uses: KeyUses,
    feed: broadcast::Sender<Arc<EventBatch>>,
    /// Woken after each change of API keys or sessions.
    access_changed: watch::Sender<()>,
    /// Reads that wait for news.
    news: mpsc::Sender<WaitingRead>,
    /// Whether the last probe of the database's readers succeeded.
    readable: AtomicBool,
    /// Reads that wait until the batches of all servers are settled.
    settlements: mpsc::Sender<WaitingRead>,
}

/// Number of batches that the feed of events keeps for slow receivers.
const FEED: usize = 4_096;

impl Shared {
    pub fn new(timeout: Duration, machine: Machine) -> (Arc<Self>, NewsTask, SettleTask) {
        let (news, waiting_for_news) = mpsc::channel(MOST_READS);
        let (settlements, settling) = mpsc::channel(MOST_READS);
        let Machine { server, uptime } = machine;
        let shared = Arc::new(Shared {
            copy: RwLock::new(None),
            time: PoolTime::new(uptime),
            in_flight: InFlight::default(),
            turn: Turn::default(),
            reader: OnceLock::new(),
            durability: OnceLock::new(),
            high_water: HighWater::new(),
            health: watch::Sender::new((Health::Starting, Instant::now())),
            unread_since: Mutex::default(),
            timeout,
            server,
            metrics: Metrics::new(),
            key_uses: KeyUses::default(),
            feed: broadcast::Sender::new(FEED),
            access_changed: watch::Sender::new(()),
            news,
            readable: AtomicBool::new(true),
            settlements,
        });
        let news = NewsTask::new(Arc::clone(&shared), waiting_for_news);
        let settlements = SettleTask::new(Arc::clone(&shared), settling);
        (shared, news, settlements)
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

    /// Is woken after each change of API keys or sessions.
    pub fn access_changes(&self) -> watch::Receiver<()> {
        self.access_changed.subscribe()
    }

    /// The current copy, without checking whether it is up to date.
    pub fn copy(&self) -> RwLockReadGuard<'_, Option<Replica>> {
        self.copy.read().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub fn is_unlocked(&self) -> bool {
        self.copy.try_write().is_ok()
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

    /// Size of the database's write-ahead log, if this server has to empty one.
    pub fn log_size(&self) -> Option<LogSize> {
        self.reader.get().and_then(|reader| reader.log_size())
    }

    /// The latest known value of the ledger's time, without a query.
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
}

#[cfg(test)]
mod tests;
