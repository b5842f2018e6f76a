//! The writing side: one session, which takes the ledger's lock and commits.

use std::time::Duration;

use async_trait::async_trait;
use pool::{Timestamp, UserKey};
use store::{Begun, Entry, Error, KeyUsage, KeysFound, Position, Store, Uptime};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::again;
use crate::tables::text;
use crate::world::{CommitFault, Shared, World, delay, lock};

/// How long a session waits for the lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// The database ends a session that has the lock for longer than this.
const SESSION_TIMEOUT: Duration = Duration::from_secs(3);

/// A session of a server.
pub struct Session {
    world: Shared,
    server: u8,
    /// The transaction that has the lock, if any.
    transaction: Option<u64>,
    /// The transaction that was begun with the last commit.
    ahead: Option<oneshot::Receiver<Result<Locked, Error>>>,
}

/// A transaction that got the lock.
struct Locked {
    transaction: u64,
    clock: Timestamp,
    asked: Uptime,
    answered: Uptime,
}

impl World {
    fn release(&mut self, transaction: u64) {
        if self.lock.is_some_and(|(holder, _)| holder == transaction) {
            self.lock = None;
        }
    }

    fn holds(&self, transaction: Option<u64>) -> bool {
        transaction.is_some() && self.lock.map(|(holder, _)| holder) == transaction
    }
}

async fn take_lock(world: &Shared, server: u8) -> Result<Locked, Error> {
    let asked = lock(world).uptime();
    delay(world, 3).await;
    let give_up_at = Instant::now() + LOCK_TIMEOUT;
    loop {
        let pause = {
            let mut world = lock(world);
            if world.is_cut(server) {
                return Err(again("connecting"));
            }
            if world.lock.is_some_and(|(_, since)| since.elapsed() > SESSION_TIMEOUT) {
                world.lock = None;
            }
            if world.lock.is_none() {
                world.sessions += 1;
                let transaction = world.sessions;
                world.lock = Some((transaction, Instant::now()));
                let clock = world.clock();
                let answered = world.uptime();
                return Ok(Locked { transaction, clock, asked, answered });
            }
            world.rng.u64(1..6)
        };
        if Instant::now() > give_up_at {
            return Err(again("waiting for the lock"));
        }
        sleep(Duration::from_millis(pause)).await;
    }
}

/// The database's side of a commit. It happens even if the server is paused or killed meanwhile.
async fn execute(
    shared: &Shared,
    server: u8,
    transaction: u64,
    timeline: u32,
    entry: &Entry,
    lost: &mut Option<oneshot::Sender<Result<(), Error>>>,
) -> Result<(), Error> {
    delay(shared, 4).await;
    let late = {
        let mut world = lock(shared);
        if world.timeline != timeline {
            return Err(Error::Unknown("the database failed over".into()));
        }
        if !world.holds(Some(transaction)) {
            return Err(again("the session was ended"));
        }
        if world.is_cut(server) || world.full_until.is_some_and(|until| until > Instant::now()) {
            world.release(transaction);
            return Err(again("committing"));
        }
        match world.commit_faults.pop() {
            Some(CommitFault::Refuse { data }) => {
                world.release(transaction);
                world.note("commit refused");
                return Err(if data {
                    Error::Data("simulated".into())
                } else {
                    again("committing")
                });
            }
            Some(CommitFault::LoseAnswer { done, late }) => Some((done, late)),
            None => {
                world.append(entry);
                world.release(transaction);
                None
            }
        }
    };
    if let Some((done, late)) = late {
        if let Some(lost) = lost.take() {
            // The server may be gone.
            let _ = lost.send(Err(Error::Unknown("the connection was lost".into())));
        }
        sleep(late).await;
        let mut world = lock(shared);
        if done && world.holds(Some(transaction)) && world.timeline == timeline {
            world.append(entry);
        }
        world.release(transaction);
        return Ok(());
    }
    delay(shared, 3).await;
    if lock(shared).is_cut(server) {
        return Err(Error::Unknown("the connection was lost".into()));
    }
    Ok(())
}

impl Session {
    pub fn new(world: Shared, server: u8) -> Self {
        Session { world, server, transaction: None, ahead: None }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let ahead =
            self.ahead.take().and_then(|mut ahead| ahead.try_recv().ok()).and_then(Result::ok);
        let mut world = lock(&self.world);
        for transaction in
            self.transaction.into_iter().chain(ahead.map(|locked| locked.transaction))
        {
            world.release(transaction);
        }
    }
}

#[async_trait]
impl Store for Session {
    async fn begin(&mut self, known: &Position) -> Result<Begun, Error> {
        let locked = match self.ahead.take() {
            Some(ahead) => ahead.await.unwrap_or_else(|_| Err(again("connecting")))?,
            None => take_lock(&self.world, self.server).await?,
        };
        let Locked { transaction, clock: now, asked, answered } = locked;
        // Before the next await, so that the lock is released when this is dropped.
        self.transaction = Some(transaction);
        delay(&self.world, 3).await;
        let mut world = lock(&self.world);
        if world.is_cut(self.server) {
            world.release(transaction);
            return Err(again("connecting"));
        }
        let new_epoch = world.newest().timeline != world.timeline;
        Ok(Begun { now, asked, answered, news: world.news(known), new_epoch })
    }

    async fn commit(&mut self, entry: &Entry) -> Result<(), Error> {
        let Some(transaction) = self.transaction.take() else {
            return Err(again("no batch was begun"));
        };
        let (answer, answered) = oneshot::channel();
        let (world, server, entry) = (self.world.clone(), self.server, entry.clone());
        let timeline = lock(&world).timeline;
        tokio::spawn(async move {
            let mut answer = Some(answer);
            let result = execute(&world, server, transaction, timeline, &entry, &mut answer).await;
            if let Some(answer) = answer {
                // The server may be gone.
                let _ = answer.send(result);
            }
        });
        answered.await.unwrap_or_else(|_| Err(Error::Unknown("no answer".into())))
    }

    async fn commit_and_begin(&mut self, entry: &Entry) -> Result<(), Error> {
        self.commit(entry).await?;
        let (answer, ahead) = oneshot::channel();
        let (world, server) = (self.world.clone(), self.server);
        tokio::spawn(async move {
            if let Err(Ok(unread)) = answer.send(take_lock(&world, server).await) {
                lock(&world).release(unread.transaction);
            }
        });
        self.ahead = Some(ahead);
        Ok(())
    }

    async fn read_clock(&mut self) -> Result<Timestamp, Error> {
        delay(&self.world, 2).await;
        let clock = lock(&self.world).clock();
        delay(&self.world, 2).await;
        Ok(clock)
    }

    async fn abandon(&mut self) {
        if let Some(ahead) = self.ahead.take()
            && let Ok(Ok(locked)) = ahead.await
        {
            lock(&self.world).release(locked.transaction);
        }
        if let Some(transaction) = self.transaction.take() {
            lock(&self.world).release(transaction);
        }
    }

    async fn has(&mut self, entry: &Position) -> Result<Option<bool>, Error> {
        delay(&self.world, 2).await;
        let world = lock(&self.world);
        if world.is_cut(self.server) {
            return Err(again("reading the journal"));
        }
        let found = world.journal.iter().position(|stored| {
            let position = &stored.entry.position;
            (position.epoch, position.version) == (entry.epoch, entry.version)
        });
        Ok(match found {
            Some(place) if place >= world.pruned => {
                Some(world.journal[place].entry.position.batch == entry.batch)
            }
            Some(_) => None,
            None if world.journal[world.pruned].entry.position.version > entry.version => None,
            None => Some(false),
        })
    }

    async fn keys(&mut self, keys: &[UserKey]) -> Result<KeysFound, Error> {
        delay(&self.world, 2).await;
        let world = lock(&self.world);
        if world.is_cut(self.server) {
            return Err(again("looking up keys"));
        }
        let tables = &world.newest().after;
        let found = keys.iter().filter(|key| tables.keys.contains_key(&text(key)));
        let remembered =
            found.filter_map(|key| Some((key.clone(), tables.remembered(key)?))).collect();
        let count = u64::try_from(tables.keys.len()).unwrap_or(u64::MAX);
        Ok(KeysFound { remembered, count })
    }

    async fn key_usage(&mut self, _: u64) -> Result<KeyUsage, Error> {
        let count = u64::try_from(lock(&self.world).newest().after.keys.len()).unwrap_or(u64::MAX);
        Ok(KeyUsage { count, ..KeyUsage::default() })
    }
}
