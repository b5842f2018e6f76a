//! A database in memory that implements the traits of `store`.

mod reader;
mod session;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use pool::{Change, Fence};
use store::{
    Backup, BatchId, Database, Durability, Entry, Error, ImportedPool, NewEpoch, News, Notifier,
    Opened, Position, ServerId, Snapshot, Wanted,
};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use uuid::Uuid;

use self::reader::{Housekeeping, Reading};
use self::session::Session;
use crate::tables::{Stored, Tables, text};
use crate::world::{Shared, World, delay, lock};

/// The database as one server sees it.
pub struct SimDatabase {
    /// The world.
    pub world: Shared,
    /// The server.
    pub server: u8,
    /// Whether other servers may use it, too.
    pub is_shared: bool,
}

fn again(what: &'static str) -> Error {
    Error::TryAgain { what, cause: "simulated".into() }
}

impl World {
    /// The changes since `known`.
    pub(crate) fn news(&self, known: &Position) -> News {
        let newest = self.newest();
        if newest.entry.position == *known {
            return News::Entries(Vec::new());
        }
        let found = self.journal.iter().position(|stored| stored.entry.position == *known);
        // A server far behind gets the whole ledger.
        match found.filter(|place| place + 1 >= self.pruned && self.journal.len() - place < 30) {
            Some(place) => {
                let without_keys =
                    |stored: &Stored| Entry { keys: Vec::new(), ..stored.entry.clone() };
                News::Entries(self.journal[place + 1..].iter().map(without_keys).collect())
            }
            None => News::Whole(Box::new(self.snapshot())),
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let Stored { entry, after, .. } = self.newest();
        let mut ledger = after.ledger();
        ledger.skip_fences(entry.fence.get() - ledger.fence().get());
        Snapshot { position: entry.position, at: entry.at, ledger }
    }

    /// Writes an entry, and checks it against the model.
    pub(crate) fn append(&mut self, entry: &Entry) {
        let mut after =
            self.journal.last().map(|stored| Tables::clone(&stored.after)).unwrap_or_default();
        if let Err(broken) = crate::model::check(self, &after, entry) {
            self.fail(broken);
        }
        entry.changes.iter().for_each(|change| after.apply(change));
        after.keys.extend(entry.keys.iter().map(|used| (text(&used.key), used.clone())));
        after.fence = entry.fence;
        let Position { epoch, version, .. } = entry.position;
        self.note(&format!(
            "entry {epoch}.{version} of {:?} at {:?} {:?}",
            entry.server, entry.at, entry.changes
        ));
        self.facts.granted(entry);
        self.journal.push(Stored {
            entry: entry.clone(),
            timeline: self.timeline,
            after: Arc::new(after),
        });
    }

    /// Writes the first entry, with these pools.
    pub(crate) fn create(&mut self, changes: Vec<Change>) {
        let at = self.clock();
        let position = Position { epoch: 1, version: 1, batch: BatchId(Uuid::from_u128(1)) };
        let server = ServerId(Uuid::nil());
        self.append(&Entry { position, server, at, fence: Fence::NONE, changes, keys: Vec::new() });
    }

    /// Lets a database take over that lacks the newest `lost` entries. All connections are lost.
    pub(crate) fn fail_over(&mut self, lost: usize) {
        let left = self.journal.len().saturating_sub(lost).max(self.pruned + 1).max(1);
        let lost = self.journal.split_off(left.min(self.journal.len()));
        self.facts.lost(&lost);
        self.timeline += 1;
        self.lock = None;
        self.note(&format!("failover, {} entries lost", lost.len()));
    }
}

#[async_trait]
impl Database for SimDatabase {
    async fn migrate(&self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    async fn open(&self, _: Wanted) -> Result<Opened, Error> {
        delay(&self.world, 5).await;
        // The file of a database that is not shared is locked until the last commit is over.
        while !self.is_shared && lock(&self.world).lock.is_some() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let carried = self.world.clone();
        let server = self.server;
        let mut world = lock(&self.world);
        if world.is_cut(server) {
            return Err(again("connecting"));
        }
        let notifier = Notifier::carried(|here, elsewhere| {
            carry(&carried, &mut world, server, here, elsewhere)
        });
        let (world_of, is_shared) = (self.world.clone(), self.is_shared);
        Ok(Opened {
            store: Box::new(Session::new(self.world.clone(), server)),
            housekeeper: Box::new(Housekeeping(self.world.clone(), server)),
            reader: Arc::new(Reading { world: world_of, server, is_shared }),
            snapshot: world.snapshot(),
            now: world.clock(),
            notifier,
            durability: Durability::default(),
        })
    }

    async fn import(&self, _: ImportedPool<'_>) -> Result<(), Error> {
        Err(again("importing"))
    }

    async fn audit(&self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    async fn describe(&self) -> Result<Vec<(String, String)>, Error> {
        Ok(Vec::new())
    }

    async fn begin_epoch(&self, _: bool) -> Result<NewEpoch, Error> {
        Err(again("beginning an epoch"))
    }

    async fn backup(&self, _: &Path, _: bool) -> Result<Backup, Error> {
        Err(again("copying"))
    }
}

/// Carries wake-ups to the other servers. Some are lost.
fn carry(
    shared: &Shared,
    world: &mut World,
    server: u8,
    here: Arc<Notify>,
    elsewhere: Arc<Notify>,
) -> JoinSet<()> {
    world.listeners.retain(|(other, _)| *other != server);
    world.listeners.push((server, elsewhere));
    let (shared, mut tasks) = (shared.clone(), JoinSet::new());
    tasks.spawn(async move {
        loop {
            here.notified().await;
            delay(&shared, 20).await;
            let mut world = lock(&shared);
            let listeners = world.listeners.clone();
            for (other, listener) in listeners {
                if other != server && !world.is_cut(other) && world.rng.u8(0..8) > 0 {
                    listener.notify_one();
                }
            }
        }
    });
    tasks
}
