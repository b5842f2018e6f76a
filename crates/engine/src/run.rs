use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use pool::{Command, Timestamp};
use store::{Database, Opened, ServerId, Wanted};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::copy::Copy;
use crate::mailbox::Request;
use crate::reading::{Asker, Shared};
use crate::writer::{Failure, Writer};
use crate::{Error, Handle, Health, Settings, ids};

/// A clock that is further behind the journal than this was probably set wrong.
const MOST_CLOCK_BEHIND: Duration = Duration::from_hours(1);

/// The longest sleep: a clock may be set, and other servers may have started leases.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Servers that share a database look after a deadline at slightly different times, so that one of
/// them writes its expiry down and the others find that done.
const MOST_JITTER: Duration = Duration::from_millis(15);

/// How long to wait before the database is tried again: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The journal is pruned after so many batches.
const BATCHES_BETWEEN_PRUNINGS: u32 = 256;

/// How long a stopping engine goes on answering what it has already been asked.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Why an engine stopped by itself: a sentence for the person who runs it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fatal(String);

/// The task that decides. It does nothing until [`Engine::run`].
pub struct Engine {
    database: Box<dyn Database>,
    wanted: Wanted,
    settings: Settings,
    shared: Arc<Shared>,
    asker: Asker,
    mailbox: mpsc::Receiver<Request>,
    withdrawals: (mpsc::UnboundedSender<Command>, mpsc::UnboundedReceiver<Command>),
}

/// Sets up an engine for the pool in `database`, and the handle to reach it by. Commands may be
/// sent at once; they wait, within [`Settings::patience`], until it runs.
#[must_use]
pub fn start(database: Box<dyn Database>, wanted: Wanted, settings: Settings) -> (Handle, Engine) {
    let (shared, asker) = Shared::new(settings.patience);
    let (sender, mailbox) = mpsc::channel(settings.mailbox);
    let handle = Handle { shared: Arc::clone(&shared), mailbox: sender };
    let withdrawals = mpsc::unbounded_channel();
    let engine = Engine { database, wanted, settings, shared, asker, mailbox, withdrawals };
    (handle, engine)
}

impl Engine {
    /// Opens the pool, waiting for the database where that is not up yet, and serves it until
    /// `stop` is done; then answers what was already asked and returns.
    ///
    /// # Errors
    ///
    /// [`Fatal`] when the pool can't be served until a person does something: the database is newer
    /// than this program or in use by another server, the pool is not the one wanted, the clock is
    /// wrong.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), Fatal> {
        // Also where it panics.
        let _stopped = StoppedOnDrop(Arc::clone(&self.shared));
        self.serve(pin!(stop)).await
    }

    /// As [`Engine::run`], on a thread of its own, so that no wave of requests keeps a batch waiting
    /// for its turn. The receiver gets the result; it is closed without one if the thread panics.
    ///
    /// # Errors
    ///
    /// When the system has no more threads.
    pub fn spawn(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<oneshot::Receiver<Result<(), Fatal>>> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (ended, result) = oneshot::channel();
        let run = move || {
            // Whoever waits for the result may have left.
            let _ = ended.send(runtime.block_on(self.run(stop)));
        };
        thread::Builder::new().name("engine".to_owned()).spawn(run)?;
        Ok(result)
    }

    async fn serve(self, mut stop: Pin<&mut impl Future<Output = ()>>) -> Result<(), Fatal> {
        let Engine { database, wanted, settings, shared, asker, mailbox, withdrawals } = self;
        let server = ids::server();
        let opened = tokio::select! {
            opened = open(&*database, wanted, server) => opened?,
            () = &mut stop => return Ok(()),
        };
        let Opened { store, reader, snapshot, now } = opened;
        check_clock(now, snapshot.at, settings.allow_clock_behind)?;
        shared.time.observe(now, snapshot.at);
        shared.open(Arc::clone(&reader), Copy::from(snapshot));
        shared.set_health(Health::Ready);
        let mut asker = AbortOnDrop(tokio::spawn(asker.run()));
        let writer = Writer {
            shared: Arc::clone(&shared),
            store,
            server,
            withdrawals: withdrawals.0,
            copy: None,
            loaded_anew: false,
            alone: 0,
            begun: false,
            unsettled: None,
        };
        let waiting = VecDeque::new();
        let turns = Turns {
            writer,
            waiting,
            mailbox,
            withdrawals: withdrawals.1,
            settings,
            jitter: if reader.shared() { ids::jitter(server, MOST_JITTER) } else { Duration::ZERO },
            shared_database: reader.shared(),
            written: 0,
        };
        tokio::select! {
            result = turns.take(stop) => result,
            _ = &mut asker.0 => Err(Fatal("the task that asks for news has died".to_owned())),
        }
    }
}

struct StoppedOnDrop(Arc<Shared>);

impl Drop for StoppedOnDrop {
    fn drop(&mut self) {
        self.0.set_health(Health::Stopped);
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The engine's turns: wait until there is something to do, then do it, and again.
struct Turns {
    writer: Writer,
    waiting: VecDeque<Request>,
    mailbox: mpsc::Receiver<Request>,
    withdrawals: mpsc::UnboundedReceiver<Command>,
    settings: Settings,
    jitter: Duration,
    shared_database: bool,
    /// Batches since the journal was pruned.
    written: u32,
}

impl Turns {
    async fn take(mut self, mut stop: Pin<&mut impl Future<Output = ()>>) -> Result<(), Fatal> {
        let mut backoff = BACKOFF.0;
        let mut stopping: Option<Instant> = None;
        loop {
            if stopping.is_none() {
                tokio::select! {
                    biased;
                    () = &mut stop => {
                        self.mailbox.close();
                        stopping = Some(Instant::now());
                    }
                    () = self.wait() => {}
                }
            }
            self.gather();
            if stopping.is_some_and(|since| !self.pressed() || since.elapsed() > LAST_WORDS) {
                return Ok(());
            }
            match self.turn().await {
                Ok(()) => {
                    self.writer.shared.set_health(Health::Ready);
                    backoff = BACKOFF.0;
                }
                Err(Failure::Away) => {
                    self.writer.shared.set_health(Health::Away);
                    tokio::time::sleep(backoff + self.jitter).await;
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
                Err(Failure::Operator(sentence)) => return Err(Fatal(sentence)),
            }
        }
    }

    /// Returns when there is something to do: a command, or a deadline that may have been reached.
    async fn wait(&mut self) {
        if self.pressed() {
            return;
        }
        let sleep = self.until_next_deadline().min(LONGEST_SLEEP) + self.jitter;
        tokio::select! {
            biased;
            command = self.withdrawals.recv() => {
                self.waiting.extend(command.map(Request::unattended));
            }
            // Once all handles are gone there is nothing to wait for here.
            request = self.mailbox.recv(), if !self.mailbox.is_closed() => {
                self.waiting.extend(request);
            }
            () = tokio::time::sleep(sleep) => {}
        }
    }

    /// Whether there is something to do without waiting for it.
    fn pressed(&self) -> bool {
        !self.waiting.is_empty() || self.writer.begun || self.writer.unsettled.is_some()
    }

    /// Takes in all that waits, up to the limit of a batch.
    fn gather(&mut self) {
        while let Ok(command) = self.withdrawals.try_recv() {
            self.waiting.push_back(Request::unattended(command));
        }
        while self.waiting.len() < self.settings.batch
            && let Ok(request) = self.mailbox.try_recv()
        {
            self.waiting.push_back(request);
        }
    }

    async fn turn(&mut self) -> Result<(), Failure> {
        let away = self.writer.shared.health() == Health::Away;
        if !self.pressed() && !away && !self.writer.has_to_load() {
            if self.shared_database {
                // Other servers may have started leases, or written down the expiry by now; and
                // this is how an idle server learns that the database is away.
                match self.writer.shared.catch_up().await {
                    Ok(_) | Err(Error::Busy { .. }) => {}
                    Err(_) => return Err(Failure::Away),
                }
            }
            if !self.until_next_deadline().is_zero() {
                return Ok(());
            }
        }
        // Nothing may be begun while the journal is pruned, nor when this is to be the last batch.
        let may_begin = self.written + 1 < BATCHES_BETWEEN_PRUNINGS && !self.mailbox.is_closed();
        if self.writer.attempt(&mut self.waiting, self.settings.batch, may_begin).await? {
            self.written += 1;
        }
        if self.written >= BATCHES_BETWEEN_PRUNINGS {
            self.written = 0;
            self.prune().await?;
        }
        Ok(())
    }

    /// How long until the next deadline, by the latest that is known of the pool's time.
    fn until_next_deadline(&self) -> Duration {
        let shared = &self.writer.shared;
        let next = shared.copy().as_ref().and_then(|copy| copy.pool.next_deadline());
        next.map_or(Duration::MAX, |deadline| deadline.since(shared.estimate()))
    }

    async fn prune(&mut self) -> Result<(), Failure> {
        let age = i64::try_from(self.settings.journal_age.as_micros()).unwrap_or(i64::MAX);
        let now = self.writer.shared.estimate().as_micros();
        let before = Timestamp::from_micros(now.saturating_sub(age));
        let keep = i64::from(self.settings.journal_keep);
        self.writer.store.prune(before, keep).await?;
        Ok(())
    }
}

async fn open(database: &dyn Database, wanted: Wanted, server: ServerId) -> Result<Opened, Fatal> {
    let mut backoff = BACKOFF.0;
    loop {
        match database.open(wanted).await {
            Ok(opened) => return Ok(opened),
            Err(store::Error::Operator(sentence)) => return Err(Fatal(sentence)),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(error, "waiting for the database");
            }
        }
        tokio::time::sleep(backoff + ids::jitter(server, MOST_JITTER)).await;
        backoff = (backoff * 2).min(BACKOFF.1);
    }
}

fn check_clock(clock: Timestamp, journal: Timestamp, allowed: bool) -> Result<(), Fatal> {
    let behind = journal.since(clock);
    if behind <= MOST_CLOCK_BEHIND {
        return Ok(());
    }
    let minutes = behind.as_secs() / 60;
    if allowed {
        info!(minutes, "the clock is behind the journal; the pool's time runs on from the journal");
        return Ok(());
    }
    Err(Fatal(format!(
        "the clock is {minutes} minutes behind the pool's last change, so it is probably wrong. \
         Set the clock, or start with --allow-clock-behind to let the pool's time run on from its \
         last change"
    )))
}
