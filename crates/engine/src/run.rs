use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use pool::Timestamp;
use store::{Database, Opened, Wanted};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::engine_loop::{BACKOFF, EngineLoop, keep_wanted};
use crate::handle::Handle;
use crate::housekeeping::{Housekeeping, LAST_STEP, Signals};
use crate::keys::KeyLimits;
use crate::machine::Machine;
use crate::mailbox::{Left, Request, Withdrawals};
use crate::replica::Replica;
use crate::shared::{NewsTask, SettleTask, Shared};
use crate::writer::Writer;
use crate::{BoxFuture, Fatal, Health, Settings, ids};

/// Servers that share a database check a deadline at slightly different times, so that one of them
/// writes the expiry and the others find it written.
const MOST_JITTER: Duration = Duration::from_millis(15);

/// The deciding task. It does nothing until [`Engine::run`].
pub struct Engine {
    database: Box<dyn Database>,
    wanted: Wanted,
    settings: Settings,
    shared: Arc<Shared>,
    news: NewsTask,
    settlements: SettleTask,
    mailbox: mpsc::Receiver<Request>,
    withdrawals: (Withdrawals, mpsc::UnboundedReceiver<Left>),
}

/// Creates an engine for the pool in `database`, and its handle. Commands may be sent at once; they
/// wait, within [`Settings::timeout`], until it runs.
#[must_use]
pub fn start(database: Box<dyn Database>, wanted: Wanted, settings: Settings) -> (Handle, Engine) {
    start_on(Machine::this(), database, wanted, settings)
}

/// As [`start`], on another machine than this one.
#[must_use]
pub fn start_on(
    machine: Machine,
    database: Box<dyn Database>,
    wanted: Wanted,
    settings: Settings,
) -> (Handle, Engine) {
    let (shared, news, settlements) = Shared::new(settings.timeout, machine);
    let (sender, mailbox) = mpsc::channel(settings.max_queued_requests);
    let withdrawals = mpsc::unbounded_channel();
    let handle = Handle {
        shared: Arc::clone(&shared),
        mailbox: sender,
        withdrawals: withdrawals.0.clone(),
        sender: pool::Sender::Trusted,
        on_queued: None,
    };
    let engine =
        Engine { database, wanted, settings, shared, news, settlements, mailbox, withdrawals };
    (handle, engine)
}

impl Engine {
    /// Opens the pool, waiting for the database if it is not up yet, and serves the pool until
    /// `stop` resolves; then answers the requests that it has and returns.
    ///
    /// # Errors
    ///
    /// [`Fatal`] if the pool can't be served until an operator acts: the database is newer than
    /// this program or in use by another server, the pool is not the expected one, the clock is
    /// wrong.
    pub fn run<'a>(
        self,
        stop: impl Future<Output = ()> + Send + 'a,
    ) -> BoxFuture<'a, Result<(), Fatal>> {
        self.run_until(Box::pin(stop))
    }

    /// Boxed, so that the engine is compiled with this crate and not with each of its users.
    fn run_until(self, stop: BoxFuture<'_, ()>) -> BoxFuture<'_, Result<(), Fatal>> {
        Box::pin(async move { self.run_beside(runtime::Handle::current(), stop).await })
    }

    /// As [`Engine::run`], on a thread of its own, so that no wave of requests delays a batch, and no
    /// write to the disk a request. The receiver gets the result; it is closed without one if the
    /// thread panics.
    ///
    /// # Errors
    ///
    /// If the system has no more threads, or if it is called outside a runtime.
    pub fn spawn(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<oneshot::Receiver<Result<(), Fatal>>> {
        self.spawn_until(Box::pin(stop))
    }

    fn spawn_until(
        self,
        stop: BoxFuture<'static, ()>,
    ) -> io::Result<oneshot::Receiver<Result<(), Fatal>>> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let callers = runtime::Handle::try_current().map_err(io::Error::other)?;
        let (ended, result) = oneshot::channel();
        let run = move || {
            // The receiver of the result may have been dropped.
            let _ = ended.send(runtime.block_on(self.run_beside(callers, stop)));
        };
        thread::Builder::new().name("engine".to_owned()).spawn(run)?;
        Ok(result)
    }

    /// `other`: a runtime that goes on while the engine's thread waits for the disk.
    async fn run_beside(
        self,
        other: runtime::Handle,
        stop: BoxFuture<'_, ()>,
    ) -> Result<(), Fatal> {
        // On a panic, too.
        let _stopped = StoppedOnDrop(Arc::clone(&self.shared));
        self.serve(&other, stop).await
    }

    async fn serve(
        self,
        other: &runtime::Handle,
        mut stop: BoxFuture<'_, ()>,
    ) -> Result<(), Fatal> {
        let Engine {
            database,
            wanted,
            settings,
            shared,
            news,
            settlements,
            mut mailbox,
            withdrawals,
        } = self;
        let mut waiting = VecDeque::new();
        let tend = || {
            keep_wanted(&mut waiting, &mut mailbox, settings.batch);
            shared.metrics.left(waiting.len());
        };
        let opened = tokio::select! {
            biased;
            opened = open(&*database, wanted, &shared, tend) => opened?,
            () = &mut stop => return Ok(()),
        };
        let Opened { mut store, housekeeper, reader, snapshot, now, notifier, durability } = opened;
        check_clock(now, snapshot.at, settings.allow_clock_behind)?;
        shared.time.observe(now, snapshot.at);
        shared.open(Arc::clone(&reader), Replica::from(snapshot), durability);
        // Housekeeping counts them again, and reports a failure.
        let keys = store.key_usage(0).await.map_or(0, |usage| usage.count);
        shared.metrics.keys(keys, settings.keys);
        shared.set_health(Health::Ready);
        let signals = Arc::<Signals>::default();
        let housekeeping =
            Housekeeping::new(housekeeper, Arc::clone(&signals), Arc::clone(&shared), &settings);
        let mut tasks = JoinSet::new();
        tasks.spawn(news.run());
        tasks.spawn(settlements.run());
        tasks.spawn(housekeeping.run());
        tasks.spawn_on(Arc::clone(&shared).watch_turns(), other);
        let key_limits = KeyLimits::new(settings.keys, settings.keys_of_user);
        let writer = Writer::new(Arc::clone(&shared), (store, notifier), withdrawals.0, key_limits);
        let housekeeping_signals = Arc::clone(&signals);
        let engine_loop = EngineLoop {
            writer,
            waiting,
            mailbox,
            withdrawals: withdrawals.1,
            housekeeping: signals,
            batch: settings.batch,
            jitter: if reader.shared() {
                ids::jitter(shared.server, MOST_JITTER)
            } else {
                Duration::ZERO
            },
            shared_database: reader.shared(),
            tended: None,
            tends: 0,
        };
        let result = tokio::select! {
            biased;
            result = engine_loop.run(stop) => result,
            () = shared.probe() => unreachable!("it has no end"),
            _ = tasks.join_next() => Err(Fatal("one of the engine's tasks has died".to_owned())),
        };
        housekeeping_signals.stop();
        // The only task that ends by itself.
        drop(tokio::time::timeout(LAST_STEP, tasks.join_next()).await);
        // Housekeeping's side of the database is closed when its task has ended.
        tasks.shutdown().await;
        result
    }
}

struct StoppedOnDrop(Arc<Shared>);

impl Drop for StoppedOnDrop {
    fn drop(&mut self) {
        self.0.set_health(Health::Stopped);
    }
}

/// Opens the pool; between failed attempts, it answers or drops waiting requests.
async fn open(
    database: &dyn Database,
    wanted: Wanted,
    shared: &Shared,
    mut tend: impl FnMut(),
) -> Result<Opened, Fatal> {
    let mut backoff = BACKOFF.0;
    loop {
        match database.open(wanted).await {
            Ok(opened) => return Ok(opened),
            Err(store::Error::Operator(sentence)) => return Err(Fatal(sentence)),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(error, "waiting for the database");
                shared.metrics.failures.inc();
                tend();
            }
        }
        tokio::time::sleep(backoff + ids::jitter(shared.server, MOST_JITTER)).await;
        backoff = (backoff * 2).min(BACKOFF.1);
    }
}

fn check_clock(clock: Timestamp, journal: Timestamp, allowed: bool) -> Result<(), Fatal> {
    if let Some(sentence) = store::clock_refusal(clock, journal, allowed) {
        return Err(Fatal(sentence));
    }
    let behind = journal.since(clock);
    if behind > store::MOST_CLOCK_BEHIND {
        let minutes = behind.as_secs() / 60;
        info!(
            minutes,
            "the clock is behind the journal; the ledger's time runs on from the journal"
        );
    }
    Ok(())
}
