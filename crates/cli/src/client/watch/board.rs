//! State of a watched pool, and its picture on the screen.

use std::collections::{HashMap, VecDeque};

use anstyle::Style;
use jiff::{SignedDuration, Timestamp};
use pool::EndReason;
use store::MAX_POOL_SIZE;
use tokio::time::Instant;
use uuid::Uuid;

use crate::term::harmless;
use client::{EventKind, LeaseEvent};
use wire::{Lease, LeaseRenewed};

use crate::term::format::{ago, left, span, until};
use crate::term::output::{BAD, GOOD, PLAIN, QUIET, STRONG, left_style, paint, status_style};
use crate::term::table::{Cell, Table, Yields, cut};

/// Maximum number of events kept.
const EVENTS: usize = 100;

/// Server's time, from replies and events: they are to the second or late, but never early.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    at: Timestamp,
    since: Instant,
}

impl Clock {
    /// Starts a clock.
    pub fn at(at: Timestamp) -> Self {
        Clock { at, since: Instant::now() }
    }

    pub fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.since.elapsed()).unwrap_or_default();
        self.at.checked_add(elapsed).unwrap_or(self.at)
    }

    /// Moves the clock forward to a time.
    pub fn learn(&mut self, at: Timestamp) {
        if at > self.now() {
            *self = Clock::at(at);
        }
    }

    /// Moves the clock forward to the time of an event.
    pub fn not_before(&mut self, event: &LeaseEvent) {
        self.learn(event.ended_at.unwrap_or(event.lease.started_at.0));
    }

    /// Returns the time of an event that just arrived.
    pub fn of(&self, event: &LeaseEvent) -> Timestamp {
        match event.kind {
            EventKind::Started => event.lease.started_at.0,
            EventKind::Renewed => self.now(),
            EventKind::Ended => event.ended_at.unwrap_or_else(|| self.now()),
        }
    }
}

/// Returns the word for an event: its kind, or the end reason.
pub fn word(event: &LeaseEvent) -> &str {
    match event.kind {
        EventKind::Started => "started",
        EventKind::Renewed => "renewed",
        EventKind::Ended => event.reason.as_deref().unwrap_or("ended"),
    }
}

/// Words of the counted events.
fn counted() -> impl Iterator<Item = &'static str> {
    std::iter::once("started").chain(EndReason::WORDS)
}

/// State of the connection.
enum Link {
    /// The state is being read.
    Opening,
    /// The state is current.
    Live,
    /// The state is old.
    Lost { since: Instant, why: String },
}

struct Held {
    /// Name of the token, if it is known.
    name: Option<String>,
    lease: Uuid,
    user: String,
    fence: i64,
    started: Timestamp,
    expires: Timestamp,
}

struct Event {
    at: Timestamp,
    word: String,
    user: String,
    token: String,
    lease: Uuid,
}

/// State of a watched pool.
pub struct Board {
    title: String,
    usage: String,
    pub clock: Clock,
    /// Numbers of the tokens, unless the pool is too large.
    numbers: HashMap<Uuid, u64>,
    link: Link,
    held: HashMap<Uuid, Held>,
    events: VecDeque<Event>,
    /// Number of started leases, and of ended ones by [`EndReason::WORDS`].
    counts: [u64; 1 + EndReason::WORDS.len()],
}

impl Board {
    pub fn new(title: String, usage: String, clock: Clock, numbers: HashMap<Uuid, u64>) -> Self {
        let (link, held) = (Link::Opening, HashMap::new());
        let (events, counts) = (VecDeque::new(), [0; 1 + EndReason::WORDS.len()]);
        Board { title, usage, clock, numbers, link, held, events, counts }
    }

    pub fn fill(&mut self, usage: String) {
        self.usage = usage;
    }

    /// Replaces the running leases.
    pub fn load(&mut self, leases: Vec<Lease>) {
        self.held = leases.into_iter().map(|lease| (lease.token_id, Held::from(lease))).collect();
    }

    /// Marks the state as current.
    pub fn live(&mut self) {
        self.link = Link::Live;
    }

    /// Marks the state as old.
    pub fn lost(&mut self, why: String) {
        let since = match self.link {
            Link::Lost { since, .. } => since,
            _ => Instant::now(),
        };
        self.link = Link::Lost { since, why };
    }

    /// Applies an event. Idempotent, except for the counts.
    pub fn tell(&mut self, event: LeaseEvent) {
        self.clock.not_before(&event);
        let word = word(&event).to_owned();
        if let Some(counted) = counted().position(|counted| counted == word) {
            self.counts[counted] += 1;
        }
        let (at, user) = (self.clock.of(&event), event.lease.user.to_string());
        self.events.push_front(Event {
            at,
            word,
            user,
            token: token(&event.lease),
            lease: event.lease.lease_id,
        });
        self.events.truncate(EVENTS);
        let known = self.held.get(&event.lease.token_id).map_or(i64::MIN, |held| held.fence);
        if event.kind == EventKind::Ended {
            if known == event.lease.fence {
                self.held.remove(&event.lease.token_id);
            }
        } else if known <= event.lease.fence
            && (known > i64::MIN || self.held.len() < MAX_POOL_SIZE)
        {
            self.held.insert(event.lease.token_id, Held::from(event.lease));
        }
    }

    /// Returns the lines of the screen.
    pub fn lines(&self, width: usize, height: usize) -> Vec<String> {
        // Some terminals erase the last character of a line that is full.
        let width = width.saturating_sub(1);
        let mut lines = vec![self.head(width), self.fullness(width), String::new()];
        let room = height.saturating_sub(lines.len() + 4);
        let table = self.table(width, room.saturating_sub(room / 3));
        let events = room.saturating_sub(table.len());
        lines.extend(table);
        lines.push(String::new());
        lines.push(self.happened(width));
        lines.extend(self.latest(width, events));
        lines.truncate(height.saturating_sub(1));
        lines.push(spans(&[(QUIET, "q quits")], width));
        lines.truncate(height);
        lines
    }

    fn head(&self, width: usize) -> String {
        let title = format!("{}  ", harmless(&self.title));
        let (style, state) = match &self.link {
            Link::Opening => (QUIET, "reading ...".to_owned()),
            Link::Live => (GOOD, "● live".to_owned()),
            Link::Lost { since, why } => {
                let why = harmless(why);
                let since = span(since.elapsed().as_secs());
                (BAD, format!("○ no connection for {since}, trying again: {why}"))
            }
        };
        spans(&[(STRONG, &title), (style, &state)], width)
    }

    fn fullness(&self, width: usize) -> String {
        let was = if matches!(self.link, Link::Lost { .. }) { "  (as it was)" } else { "" };
        spans(&[(PLAIN, &self.usage), (QUIET, was)], width)
    }

    /// Lists the running leases, first the one that ends first.
    fn table(&self, width: usize, height: usize) -> Vec<String> {
        if self.held.is_empty() {
            return vec![spans(&[(QUIET, "No token is in use.")], width)];
        }
        let mut held: Vec<_> = self.held.iter().collect();
        held.sort_unstable_by_key(|(_, held)| (held.expires, held.fence));
        // One line is the header, and one may be the number of further leases.
        let shown = if held.len() < height { held.len() } else { height.saturating_sub(2) };
        let is_named = held.iter().any(|(_, held)| held.name.is_some());
        let mut table = Table::new([
            ("USER", Yields::Cuts),
            ("ENDS", Yields::Never),
            ("STARTED", Yields::Goes(2)),
            (if self.numbers.is_empty() { "" } else { "NO" }, Yields::Never),
            ("TOKEN", if is_named { Yields::Never } else { Yields::Shortens(3) }),
            ("LEASE", Yields::Goes(1)),
        ]);
        let now = self.clock.now();
        for (token, held) in &held[..shown] {
            table.row([
                (&held.user).into(),
                Cell::styled(
                    left_style(left(now, held.expires)),
                    steady(&until(now, held.expires)),
                ),
                steady(&ago(now, held.started)).into(),
                self.numbers.get(token).map_or(String::new(), u64::to_string).into(),
                held.name.clone().unwrap_or_else(|| token.to_string()).into(),
                Cell::styled(QUIET, held.lease.to_string()),
            ]);
        }
        let mut lines = table.lines(Some(width));
        if shown < held.len() {
            lines.push(spans(&[(QUIET, &format!("and {} more", held.len() - shown))], width));
        }
        lines
    }

    fn happened(&self, width: usize) -> String {
        let counts = counted().zip(self.counts).filter(|(_, count)| *count > 0);
        let counts: Vec<_> = counts.map(|(what, count)| format!("{count} {what}")).collect();
        let counts = if counts.is_empty() { "nothing yet".to_owned() } else { counts.join(", ") };
        spans(&[(QUIET, "Since the start: "), (PLAIN, &counts)], width)
    }

    fn latest(&self, width: usize, height: usize) -> Vec<String> {
        let mut table = Table::new([
            ("", Yields::Never),
            ("", Yields::Never),
            ("", Yields::Cuts),
            ("", Yields::Shortens(2)),
            ("", Yields::Goes(1)),
        ]);
        let now = self.clock.now();
        for event in self.events.iter().take(height) {
            table.row([
                steady(&ago(now, event.at)).into(),
                Cell::styled(status_style(&event.word), &event.word),
                (&event.user).into(),
                (&event.token).into(),
                Cell::styled(QUIET, event.lease.to_string()),
            ]);
        }
        // Without the header, which is empty.
        table.lines(Some(width)).split_off(1)
    }
}

impl From<Lease> for Held {
    fn from(lease: Lease) -> Self {
        let name = name(lease.pool.as_deref(), lease.token_name.as_deref());
        let Lease { lease_id, user, fence, started_at, expires_at, .. } = lease;
        let (started, expires) = (started_at.0, expires_at.0);
        Held { name, lease: lease_id, user: user.to_string(), fence, started, expires }
    }
}

impl From<LeaseRenewed> for Held {
    fn from(lease: LeaseRenewed) -> Self {
        let name = name(lease.pool.as_deref(), lease.token_name.as_deref());
        let LeaseRenewed { lease_id, user, fence, started_at, expires_at, .. } = lease;
        let (started, expires) = (started_at.0, expires_at.0);
        Held { name, lease: lease_id, user: user.to_string(), fence, started, expires }
    }
}

/// Returns how people name a token: by pool and name, if they are known.
fn name(pool: Option<&str>, name: Option<&str>) -> Option<String> {
    pool.zip(name).map(|(pool, name)| format!("{pool}/{name}"))
}

/// Returns the token of an event: its pool and name, or its id.
pub fn token(lease: &LeaseRenewed) -> String {
    let name = name(lease.pool.as_deref(), lease.token_name.as_deref());
    name.unwrap_or_else(|| lease.token_id.to_string())
}

/// Pads a relative time, so that columns keep their width.
fn steady(time: &str) -> String {
    format!("{time:10}")
}

/// Joins pieces to a line of limited width.
fn spans(pieces: &[(Style, &str)], width: usize) -> String {
    use unicode_width::UnicodeWidthStr as _;
    let mut line = String::new();
    let mut room = width;
    for (style, text) in pieces {
        let text = cut(text, room);
        room = room.saturating_sub(text.width());
        line += &paint(*style, text);
    }
    line
}
