//! Wake-ups between servers, by `listen` and `notify`. A notification takes a lock of the whole
//! cluster at its commit, so it is never part of a batch, one covers many batches, and none is sent
//! while no other server listens.

use crate::postgres::connect::locks::LISTENER_LOCK;
use std::error::Error as Cause;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::{Client, Error as PgError, Notification};

use crate::postgres::connect::session::{Access, Purpose};
use crate::postgres::connect::watch::Watch;

/// Minimum time between two notifications.
const PAUSE: Duration = Duration::from_millis(5);

/// For how long the count of other listeners is considered current.
const KNOWN: Duration = Duration::from_secs(3);

/// Time between two readings of the settings on which durability rests.
const LOOK: Duration = Duration::from_secs(3);

/// Timeout of an answer; it matters only when the server has stopped answering.
const ANSWER: Duration = Duration::from_secs(15);

/// Time before a new attempt to connect: the first, and the maximum.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Uptime of PostgreSQL after which every server that waits to reconnect has done so.
pub(crate) const ALL_ARE_BACK: Duration = Duration::from_secs(8);

/// Why a connection can't be used any more.
type Lost = Box<dyn Cause + Send + Sync>;

/// Carries wake-ups while its tasks run: sends one to other servers on `told`, and
/// signals `heard` on one from them.
pub(crate) fn carry(access: &Access, told: Arc<Notify>, heard: Arc<Notify>) -> JoinSet<()> {
    let ear = Arc::new(Ear { heard, ..Ear::default() });
    let (listener, notifier) = (access.clone(), access.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn({
        let ear = Arc::clone(&ear);
        async move {
            let mut back_off = BackOff::default();
            loop {
                let lost = listen(&listener, &ear, &mut back_off).await;
                back_off.wait(lost).await;
            }
        }
    });
    tasks.spawn(async move {
        let mut back_off = BackOff::default();
        loop {
            let lost = notify(&notifier, &ear, &told, &mut back_off).await;
            back_off.wait(lost).await;
        }
    });
    tasks
}

/// Number of servers that listen for wake-ups: all that use the ledger, except one that is
/// just connecting.
pub(crate) async fn listeners(client: &Client) -> Result<i64, PgError> {
    let count = sql!("session/count_listeners");
    let no_backend = 0_i32;
    client.query_one(count, &[&LISTENER_LOCK.0, &LISTENER_LOCK.1, &no_backend]).await?.try_get(0)
}

/// Number of other sessions that this program seems to have, and PostgreSQL's uptime.
pub(crate) async fn sessions(client: &Client) -> Result<(i64, Duration), PgError> {
    let row = client.query_one(sql!("session/count_sessions"), &[]).await?;
    let up = Duration::try_from_secs_f64(row.try_get(1)?).unwrap_or_default();
    Ok((row.try_get(0)?, up))
}

/// Knowledge about other servers.
#[derive(Default)]
struct Ear {
    heard: Arc<Notify>,
    /// Whether one of them listens, as of the last count.
    others: AtomicBool,
    /// The backends of this server's own listener and notifier.
    own: [AtomicI32; 2],
}

const LISTENER: usize = 0;
const NOTIFIER: usize = 1;

/// Message: a batch was written.
const NEWS: &str = "news";

/// Message: another server started to listen.
const HELLO: &str = "hello";

impl Ear {
    fn hear(&self, said: &Notification) {
        if self.own.iter().any(|own| own.load(Ordering::SeqCst) == said.process_id()) {
            return;
        }
        let news = said.payload() == NEWS;
        if news || said.payload() == HELLO {
            self.others.store(true, Ordering::SeqCst);
        }
        if news {
            self.heard.notify_one();
        }
    }

    /// Finds out whether another server listens.
    async fn look_for_others(&self, client: &Client) -> Result<(), PgError> {
        // Before the query, so that a hello after it is not lost.
        self.others.store(false, Ordering::SeqCst);
        let own = self.own[LISTENER].load(Ordering::SeqCst);
        let count = sql!("session/count_listeners");
        let count = client.query_one(count, &[&LISTENER_LOCK.0, &LISTENER_LOCK.1, &own]).await?;
        if count.try_get::<_, i64>(0)? > 0 {
            self.others.store(true, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// Listens until the connection is lost, or can't be made.
async fn listen(access: &Access, ear: &Arc<Ear>, back_off: &mut BackOff) -> Lost {
    let hearing = Arc::clone(ear);
    let connected = access.connect_in_time(Purpose::Hint, move |said| hearing.hear(said)).await;
    let (client, mut connection) = match connected {
        Ok(connected) => connected,
        Err(error) => return error.into(),
    };
    if let Err(error) = within(begin_to_listen(&client, ear)).await {
        return error;
    }
    back_off.reset();
    // Wake-ups may have been missed before this connection.
    ear.heard.notify_one();
    tokio::select! {
        lost = ended(&mut connection) => lost,
        lost = keep_looking(&client, &access.watch) => lost,
    }
}

/// Reads the durability settings while the connection answers. On this connection, since no request
/// waits for it.
async fn keep_looking(client: &Client, watch: &Watch) -> Lost {
    loop {
        if let Err(lost) = within(watch.look(client)).await {
            return lost;
        }
        sleep(LOOK).await;
    }
}

async fn begin_to_listen(client: &Client, ear: &Ear) -> Result<(), PgError> {
    introduce(client, &ear.own[LISTENER]).await?;
    client.batch_execute(sql!("session/listen")).await?;
    let lock = sql!("session/lock_shared");
    client.query(lock, &[&LISTENER_LOCK.0, &LISTENER_LOCK.1]).await?;
    // Of two that begin at the same time, the later one to get its lock sees the other's.
    ear.look_for_others(client).await?;
    if ear.others.load(Ordering::SeqCst) {
        client.query(sql!("session/notify"), &[&HELLO]).await?;
    }
    Ok(())
}

/// Sends wake-ups until the connection is lost, or can't be made.
async fn notify(access: &Access, ear: &Ear, told: &Notify, back_off: &mut BackOff) -> Lost {
    let (client, mut connection) = match access.connect_in_time(Purpose::Hint, |_| ()).await {
        Ok(connected) => connected,
        Err(error) => return error.into(),
    };
    if let Err(error) = within(introduce(&client, &ear.own[NOTIFIER])).await {
        return error;
    }
    back_off.reset();
    let mut looked_at = None;
    loop {
        tokio::select! {
            () = told.notified() => {}
            lost = ended(&mut connection) => return lost,
        }
        if let Err(error) = within(pass_on(&client, ear, &mut looked_at)).await {
            // For the next connection.
            told.notify_one();
            return error;
        }
        sleep(PAUSE).await;
    }
}

async fn pass_on(
    client: &Client,
    ear: &Ear,
    looked_at: &mut Option<Instant>,
) -> Result<(), PgError> {
    if looked_at.is_none_or(|at| at.elapsed() >= KNOWN) {
        ear.look_for_others(client).await?;
        *looked_at = Some(Instant::now());
    }
    if ear.others.load(Ordering::SeqCst) {
        client.query(sql!("session/notify"), &[&NEWS]).await?;
    }
    Ok(())
}

/// Records the backend. Its notifications need not survive a crash, so its commits don't wait for
/// the disk.
async fn introduce(client: &Client, own: &AtomicI32) -> Result<(), PgError> {
    let backend = client.query_one(sql!("session/backend"), &[]).await?.try_get(0)?;
    own.store(backend, Ordering::SeqCst);
    client.batch_execute(sql!("session/lazy_commit")).await
}

async fn within<T>(answer: impl Future<Output = Result<T, PgError>>) -> Result<T, Lost> {
    Ok(timeout(ANSWER, answer).await??)
}

/// Waits for the end of a connection.
async fn ended(connection: impl Future) -> Lost {
    connection.await;
    "the connection was lost".into()
}

/// The time between two attempts to connect.
struct BackOff(Duration);

impl Default for BackOff {
    fn default() -> Self {
        BackOff(BACK_OFF.0)
    }
}

impl BackOff {
    /// An attempt was successful.
    fn reset(&mut self) {
        *self = BackOff::default();
    }

    async fn wait(&mut self, lost: Lost) {
        tracing::debug!(error = lost, "hints from server to server are interrupted");
        sleep(self.0).await;
        self.0 = BACK_OFF.1.min(self.0 * 2);
    }
}
