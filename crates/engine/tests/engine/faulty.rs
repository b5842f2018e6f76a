//! A wrapper around a real database whose commits fail on demand.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use pool::{ApiKeyId, Fence, ServerId, Timestamp, UserKey};
use store::{
    Backup, BatchId, Begun, Database, Entry, Error, Housekeeper, ImportedPool, KeyUsage, KeysFound,
    NewEpoch, News, Opened, Position, Store, Swept, Wanted,
};
use tokio::sync::Notify;
use uuid::Uuid;

/// Fault of the next commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The batch becomes durable, but the reply is lost.
    DoneUnsaid,
    /// The same, and the next to begin receives the whole pool, which has it.
    DoneUnsaidLongAgo,
    /// The batch does not become durable, and the reply is lost.
    UndoneUnsaid,
    /// The database refuses its data.
    Refused,
    /// The batch is refused temporarily; and the next to begin receives a batch that does not
    /// follow.
    Misfit,
    /// The batch is refused temporarily.
    TryAgain,
    /// The commit waits at the gate, and then proceeds with the next planned fault.
    Held(&'static Gate),
    /// The batch becomes durable, and the reply waits at the gate.
    DoneHeld(&'static Gate),
    /// The batch becomes durable and the next one is begun, but the server stalls before it
    /// continues.
    Stalled,
}

/// A gate at which a commit waits until the test opens it.
#[derive(Debug)]
pub struct Gate {
    reached: AtomicBool,
    open: Notify,
}

impl PartialEq for Gate {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Gate {}

impl Gate {
    /// Returns a closed gate.
    pub fn new() -> &'static Self {
        Box::leak(Box::new(Gate { reached: AtomicBool::new(false), open: Notify::new() }))
    }

    /// Whether a commit waits, or has waited.
    pub fn is_reached(&self) -> bool {
        self.reached.load(Ordering::SeqCst)
    }

    pub fn open(&self) {
        self.open.notify_one();
    }

    async fn pass(&self) {
        self.reached.store(true, Ordering::SeqCst);
        self.open.notified().await;
    }
}

/// Duration of a stall.
pub const STALL: std::time::Duration = std::time::Duration::from_millis(400);

/// The faults of the next commits, in order.
pub type Plan = Arc<Mutex<Vec<Fault>>>;

pub struct FaultyDatabase {
    real: Box<dyn Database>,
    plan: Plan,
    /// Number of clock readings within batches.
    pub clock_reads: Arc<AtomicUsize>,
    /// If set, housekeeping waits at this gate.
    pub housekeeping: Option<&'static Gate>,
}

impl FaultyDatabase {
    pub fn new(real: Box<dyn Database>, plan: &Plan) -> Self {
        let plan = Arc::clone(plan);
        FaultyDatabase { real, plan, clock_reads: Arc::default(), housekeeping: None }
    }
}

/// Waits at the gate at its first step.
struct StuckHousekeeper(&'static Gate);

#[async_trait]
impl Housekeeper for StuckHousekeeper {
    async fn prune(&mut self, _: Timestamp, _: i64) -> Result<u64, Error> {
        self.0.pass().await;
        Ok(0)
    }
    async fn forget_keys(&mut self, _: Timestamp) -> Result<u64, Error> {
        self.0.pass().await;
        Ok(0)
    }
    async fn forget_keys_early(&mut self, _: Timestamp) -> Result<u64, Error> {
        Ok(0)
    }
    async fn key_count(&mut self) -> Result<u64, Error> {
        Ok(0)
    }
    async fn forget_leases(&mut self, _: Timestamp, _: Fence) -> Result<Swept, Error> {
        self.0.pass().await;
        Ok(Swept { deleted: 0, up_to: None })
    }
    async fn forget_acts(&mut self, _: i64) -> Result<u64, Error> {
        Ok(0)
    }
    async fn forget_sessions(&mut self, _: Timestamp) -> Result<u64, Error> {
        Ok(0)
    }
    async fn note_key_uses(&mut self, _: &[(ApiKeyId, Timestamp)]) -> Result<(), Error> {
        Ok(())
    }
}

struct FaultyStore {
    real: Box<dyn Store>,
    plan: Plan,
    clock_reads: Arc<AtomicUsize>,
    gives_all: bool,
    misfits: bool,
}

#[async_trait]
impl Database for FaultyDatabase {
    async fn migrate(&self) -> Result<Vec<String>, Error> {
        self.real.migrate().await
    }
    async fn open(&self, wanted: Wanted) -> Result<Opened, Error> {
        let opened = self.real.open(wanted).await?;
        let store = Box::new(FaultyStore {
            real: opened.store,
            plan: Arc::clone(&self.plan),
            clock_reads: Arc::clone(&self.clock_reads),
            gives_all: false,
            misfits: false,
        });
        let housekeeper = match self.housekeeping {
            Some(gate) => Box::new(StuckHousekeeper(gate)),
            None => opened.housekeeper,
        };
        Ok(Opened { store, housekeeper, ..opened })
    }
    async fn import(&self, pool: ImportedPool<'_>) -> Result<(), Error> {
        self.real.import(pool).await
    }
    async fn audit(&self) -> Result<Vec<String>, Error> {
        self.real.audit().await
    }
    async fn describe(&self) -> Result<Vec<(String, String)>, Error> {
        self.real.describe().await
    }
    async fn begin_epoch(&self, behind: bool) -> Result<NewEpoch, Error> {
        self.real.begin_epoch(behind).await
    }
    async fn backup(&self, file: &Path, replace: bool) -> Result<Backup, Error> {
        self.real.backup(file, replace).await
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn begin(&mut self, known: &Position) -> Result<Begun, Error> {
        if std::mem::take(&mut self.gives_all) {
            let nowhere = Position { epoch: 0, version: 0, batch: BatchId(Uuid::nil()) };
            return self.real.begin(&nowhere).await;
        }
        let mut begun = self.real.begin(known).await?;
        if std::mem::take(&mut self.misfits) {
            let position = Position { version: known.version + 2, ..*known };
            let (server, at, fence) = (ServerId(Uuid::nil()), begun.now, Fence::new(0));
            let (changes, keys) = Default::default();
            let entry = Entry { position, server, at, fence, changes, keys };
            begun.news = News::Entries(vec![entry]);
        }
        Ok(begun)
    }
    async fn commit(&mut self, entry: &Entry) -> Result<(), Error> {
        let mut fault = self.plan.lock().unwrap().pop();
        while let Some(Fault::Held(gate)) = fault {
            gate.pass().await;
            fault = self.plan.lock().unwrap().pop();
        }
        match fault {
            None | Some(Fault::Held(_)) => self.real.commit(entry).await,
            Some(Fault::DoneHeld(gate)) => {
                self.real.commit(entry).await?;
                gate.pass().await;
                Ok(())
            }
            Some(fault @ (Fault::DoneUnsaid | Fault::DoneUnsaidLongAgo)) => {
                self.gives_all = fault == Fault::DoneUnsaidLongAgo;
                self.real.commit(entry).await?;
                Err(Error::Unknown("the word was lost".into()))
            }
            Some(Fault::Stalled) => {
                self.real.commit_and_begin(entry).await?;
                tokio::time::sleep(STALL).await;
                Ok(())
            }
            Some(Fault::UndoneUnsaid) => {
                self.real.abandon().await;
                Err(Error::Unknown("the commit was lost".into()))
            }
            Some(Fault::Refused) => {
                self.real.abandon().await;
                Err(Error::Data("it does not fit".into()))
            }
            Some(fault @ (Fault::Misfit | Fault::TryAgain)) => {
                self.misfits = fault == Fault::Misfit;
                self.real.abandon().await;
                Err(Error::TryAgain { what: "committing", cause: "not now".into() })
            }
        }
    }
    async fn commit_and_begin(&mut self, entry: &Entry) -> Result<(), Error> {
        if self.plan.lock().unwrap().is_empty() {
            return self.real.commit_and_begin(entry).await;
        }
        self.commit(entry).await
    }
    async fn read_clock(&mut self) -> Result<Timestamp, Error> {
        self.clock_reads.fetch_add(1, Ordering::SeqCst);
        self.real.read_clock().await
    }
    async fn abandon(&mut self) {
        self.real.abandon().await;
    }
    async fn has(&mut self, entry: &Position) -> Result<Option<bool>, Error> {
        self.real.has(entry).await
    }
    async fn keys(&mut self, keys: &[UserKey]) -> Result<KeysFound, Error> {
        self.real.keys(keys).await
    }
    async fn key_usage(&mut self, sample: u64) -> Result<KeyUsage, Error> {
        self.real.key_usage(sample).await
    }
}
