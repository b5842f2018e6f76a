//! State that the database, the servers and the clients of a run share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use pool::Timestamp;
use store::Uptime;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::facts::Facts;
use crate::tables::Stored;

/// Time at which each run begins: 2026-12-01.
const BEGIN: i64 = 1_796_083_200_000_000;

/// Fate of the next commit.
#[derive(Clone, Copy, Debug)]
pub enum CommitFault {
    /// It is refused for now, or its data for good.
    Refuse { data: bool },
    /// Its answer is lost.
    LoseAnswer { done: bool, late: Duration },
}

/// The world of a run.
pub struct World {
    /// The source of everything random.
    pub rng: Rng,
    begin: Instant,
    /// Whether clocks show whole milliseconds only, so that moments coincide.
    is_coarse: bool,
    ticks: u64,
    last_clock: Timestamp,
    /// Number of servers.
    pub servers: u8,
    /// Until when each server stands still.
    pub paused_until: BTreeMap<u8, Instant>,
    /// How much the clock was set, in microseconds.
    pub offset: i64,
    /// The journal, from the first entry.
    pub journal: Vec<Stored>,
    /// Entries before this one were deleted from the journal.
    pub pruned: usize,
    /// Number of failovers.
    pub timeline: u32,
    /// The session that has the ledger's lock, and since when.
    pub lock: Option<(u64, Instant)>,
    /// Number of sessions so far.
    pub sessions: u64,
    /// Whether any fault happened.
    pub is_troubled: bool,
    /// Faults of the next commits.
    pub commit_faults: Vec<CommitFault>,
    /// Until when no commit succeeds.
    pub full_until: Option<Instant>,
    /// Until when each server has no connection.
    pub cut_until: BTreeMap<u8, Instant>,
    /// Wake-ups of the servers.
    pub listeners: Vec<(u8, Arc<Notify>)>,
    /// Requests of clients, and facts that answers have shown.
    pub facts: Facts,
    /// Events of the run, one line for each commit and answer.
    pub trace: Vec<String>,
    /// Number of each id in the trace.
    ids: BTreeMap<String, usize>,
    /// The first broken promise.
    pub failure: Option<String>,
    /// Notified of the failure.
    pub failed: Arc<Notify>,
}

/// Handle of a world.
pub type Shared = Arc<Mutex<World>>;

/// Locks the world. Never held across an await.
pub fn lock(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sleeps for up to `most` milliseconds.
pub async fn delay(world: &Shared, most: u64) {
    let time = lock(world).rng.u64(0..=most);
    if time == 0 {
        tokio::task::yield_now().await;
    } else {
        tokio::time::sleep(Duration::from_millis(time)).await;
    }
}

/// Returns when the server does not stand still.
pub async fn resumed(world: &Shared, server: u8) {
    while let Some(until) = paused_until(world, server) {
        tokio::time::sleep_until(until).await;
    }
}

/// Until when the server stands still, if it does.
pub fn paused_until(world: &Shared, server: u8) -> Option<Instant> {
    lock(world).paused_until.get(&server).copied().filter(|until| *until > Instant::now())
}

impl World {
    /// A world with an empty journal.
    #[must_use]
    pub fn new(seed: u64, servers: u8) -> Self {
        let mut rng = Rng::with_seed(seed);
        World {
            is_coarse: rng.bool(),
            rng,
            begin: Instant::now(),
            ticks: 0,
            last_clock: Timestamp::MIN,
            servers,
            paused_until: BTreeMap::new(),
            offset: 0,
            journal: Vec::new(),
            pruned: 0,
            timeline: 0,
            lock: None,
            sessions: 0,
            is_troubled: false,
            commit_faults: Vec::new(),
            full_until: None,
            cut_until: BTreeMap::new(),
            listeners: Vec::new(),
            facts: Facts::default(),
            trace: Vec::new(),
            ids: BTreeMap::new(),
            failure: None,
            failed: Arc::default(),
        }
    }

    /// Microseconds since the beginning. With a fine clock, each reading is later than the one before.
    fn micros(&mut self) -> u64 {
        self.ticks += u64::from(!self.is_coarse);
        u64::try_from(self.begin.elapsed().as_micros()).unwrap_or(0) + self.ticks
    }

    /// The uptime of every machine.
    pub fn uptime(&mut self) -> Uptime {
        Uptime::from_micros(self.micros())
    }

    /// The clock of the database.
    pub fn clock(&mut self) -> Timestamp {
        let micros = i64::try_from(self.micros()).unwrap_or(0);
        self.last_clock = Timestamp::from_micros(BEGIN + micros + self.offset);
        self.last_clock
    }

    /// The last reading of the clock.
    #[must_use]
    pub fn last_clock(&self) -> Timestamp {
        self.last_clock
    }

    /// The newest entry.
    ///
    /// # Panics
    ///
    /// Before the first entry.
    #[must_use]
    pub fn newest(&self) -> &Stored {
        self.journal.last().expect("the journal has an entry")
    }

    /// Whether a server has no connection to the database.
    #[must_use]
    pub fn is_cut(&self, server: u8) -> bool {
        self.cut_until.get(&server).is_some_and(|until| *until > Instant::now())
    }

    /// Notes a line in the trace, with numbers for ids.
    pub fn note(&mut self, line: &str) {
        let mut text = String::new();
        let mut rest = line;
        while let Some((at, id)) = next_id(rest) {
            let number = self.ids.len();
            let number = *self.ids.entry(id.to_owned()).or_insert(number);
            text += &rest[..at];
            text.push('#');
            text += &number.to_string();
            rest = &rest[at + id.len()..];
        }
        text += rest;
        let at = self.begin.elapsed();
        self.trace.push(format!("{at:?} {text}"));
    }

    /// Notes the first broken promise, and ends the run.
    pub fn fail(&mut self, what: String) {
        if self.failure.is_none() {
            self.note(&format!("BROKEN {what}"));
            self.failure = Some(what);
            self.failed.notify_one();
        }
    }
}

/// The next UUID in a text, and where it begins.
fn next_id(text: &str) -> Option<(usize, &str)> {
    const LENGTH: usize = 36;
    let bytes = text.as_bytes();
    let is_id = |at: &usize| {
        let part = &bytes[*at..*at + LENGTH];
        part.iter().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    };
    let at = (0..(bytes.len() + 1).saturating_sub(LENGTH)).find(is_id)?;
    Some((at, &text[at..at + LENGTH]))
}
