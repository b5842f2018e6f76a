//! What is known of a pool that is watched, and how that looks on a screen.

use std::collections::{HashMap, VecDeque};

use anstyle::Style;
use jiff::{SignedDuration, Timestamp};
use store::MAX_POOL_SIZE;
use tokio::time::Instant;
use uuid::Uuid;

use crate::term::format::count;
use crate::term::harmless;
use client::{EventKind, Lease, LeaseEvent, PoolView};

use crate::term::format::{ago, left, span, until};
use crate::term::output::{BAD, GOOD, PLAIN, QUIET, STRONG, left_style, paint, status_style};
use crate::term::table::{Cell, Table, Yields, cut};

/// How many events are kept.
const EVENTS: usize = 100;

/// The server's time, as far as its answers and events tell it: they come to the second, or late,
/// but never early.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    at: Timestamp,
    since: Instant,
}

impl Clock {
    /// A clock that goes on from a time.
    pub fn at(at: Timestamp) -> Self {
        Clock { at, since: Instant::now() }
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.since.elapsed()).unwrap_or_default();
        self.at.checked_add(elapsed).unwrap_or(self.at)
    }

    /// Learns that it is at least that late.
    pub fn learn(&mut self, at: Timestamp) {
        if at > self.now() {
            *self = Clock::at(at);
        }
    }

    /// Learns from an event, which has happened.
    pub fn not_before(&mut self, event: &LeaseEvent) {
        self.learn(event.ended_at.unwrap_or(event.started_at));
    }

    /// When something happened that was told just now.
    pub fn of(&self, event: &LeaseEvent) -> Timestamp {
        match event.kind {
            EventKind::Started => event.started_at,
            EventKind::Renewed => self.now(),
            EventKind::Ended => event.ended_at.unwrap_or_else(|| self.now()),
        }
    }
}

/// What happened, in a word.
pub fn word(event: &LeaseEvent) -> &'static str {
    match (event.kind, event.reason.as_deref()) {
        (EventKind::Started, _) => "started",
        (EventKind::Renewed, _) => "renewed",
        (_, Some("released")) => "released",
        (_, Some("expired")) => "expired",
        (_, Some("evicted")) => "evicted",
        (_, Some("cleared")) => "cleared",
        _ => "ended",
    }
}

/// How the connection is.
enum Link {
    /// What is shown is being read.
    Opening,
    /// What is shown is how it is.
    Live,
    /// What is shown is how it was.
    Lost { since: Instant, why: String },
}

struct Held {
    lease: Uuid,
    user: String,
    fence: i64,
    started: Timestamp,
    expires: Timestamp,
}

struct Event {
    at: Timestamp,
    word: &'static str,
    user: String,
    token: Uuid,
    lease: Uuid,
}

/// What is known.
pub struct Board {
    title: String,
    pool: PoolView,
    pub clock: Clock,
    /// The tokens' numbers, where the pool is not too large for that.
    numbers: HashMap<Uuid, u64>,
    link: Link,
    held: HashMap<Uuid, Held>,
    events: VecDeque<Event>,
    /// How often each of [`COUNTED`] happened.
    counts: [usize; COUNTED.len()],
}

const COUNTED: [&str; 5] = ["started", "released", "expired", "evicted", "cleared"];

impl Board {
    /// A board that knows how full the pool is.
    pub fn new(title: String, pool: PoolView, clock: Clock, numbers: HashMap<Uuid, u64>) -> Self {
        let (link, held) = (Link::Opening, HashMap::new());
        let (events, counts) = (VecDeque::new(), [0; 5]);
        Board { title, pool, clock, numbers, link, held, events, counts }
    }

    /// Learns how full the pool is.
    pub fn fill(&mut self, pool: PoolView) {
        self.pool = pool;
    }

    /// Learns all leases that run.
    pub fn load(&mut self, leases: Vec<Lease>) {
        self.held = leases.into_iter().map(|lease| (lease.token_id, Held::from(lease))).collect();
    }

    /// What is known is how it is from now on.
    pub fn live(&mut self) {
        self.link = Link::Live;
    }

    /// What is known is how it was.
    pub fn lost(&mut self, why: String) {
        let since = match self.link {
            Link::Lost { since, .. } => since,
            _ => Instant::now(),
        };
        self.link = Link::Lost { since, why };
    }

    /// Learns what happened. What it knows already does no harm.
    pub fn tell(&mut self, event: LeaseEvent) {
        self.clock.not_before(&event);
        let word = word(&event);
        if let Some(counted) = COUNTED.iter().position(|counted| *counted == word) {
            self.counts[counted] += 1;
        }
        let (at, user) = (self.clock.of(&event), event.user.clone());
        self.events.push_front(Event {
            at,
            word,
            user,
            token: event.token_id,
            lease: event.lease_id,
        });
        self.events.truncate(EVENTS);
        let known = self.held.get(&event.token_id).map_or(i64::MIN, |held| held.fence);
        if event.kind == EventKind::Ended {
            if known == event.fence {
                self.held.remove(&event.token_id);
            }
        } else if known <= event.fence && (known > i64::MIN || self.held.len() < MAX_POOL_SIZE) {
            self.held.insert(event.token_id, Held::from(event));
        }
    }

    /// The lines of a screen.
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
        let PoolView { size, active, available, waiting, .. } = self.pool;
        let size = count(size, "token");
        let text = format!("{active} of {size} held, {available} free, {waiting} waiting");
        let was = if matches!(self.link, Link::Lost { .. }) { "  (as it was)" } else { "" };
        spans(&[(PLAIN, &text), (QUIET, was)], width)
    }

    /// Who has what, those first that end first.
    fn table(&self, width: usize, height: usize) -> Vec<String> {
        if self.held.is_empty() {
            return vec![spans(&[(QUIET, "Nobody has a token.")], width)];
        }
        let mut held: Vec<_> = self.held.iter().collect();
        held.sort_unstable_by_key(|(_, held)| (held.expires, held.fence));
        // A line is the header's, and one may have to say how many more there are.
        let shown = if held.len() < height { held.len() } else { height.saturating_sub(2) };
        let mut table = Table::new([
            ("USER", Yields::Cuts),
            ("ENDS", Yields::Never),
            ("STARTED", Yields::Goes(2)),
            (if self.numbers.is_empty() { "" } else { "NO" }, Yields::Never),
            ("TOKEN", Yields::Shortens(3)),
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
                token.to_string().into(),
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
        let counts = COUNTED.iter().zip(self.counts).filter(|(_, count)| *count > 0);
        let counts: Vec<_> = counts.map(|(what, count)| format!("{count} {what}")).collect();
        let counts = if counts.is_empty() { "nothing yet".to_owned() } else { counts.join(", ") };
        spans(&[(QUIET, "Since you watch: "), (PLAIN, &counts)], width)
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
                Cell::styled(status_style(event.word), event.word),
                (&event.user).into(),
                event.token.to_string().into(),
                Cell::styled(QUIET, event.lease.to_string()),
            ]);
        }
        // Without the empty header.
        table.lines(Some(width)).split_off(1)
    }
}

impl From<Lease> for Held {
    fn from(lease: Lease) -> Self {
        let Lease { lease_id, user, fence, started_at, expires_at, .. } = lease;
        Held { lease: lease_id, user, fence, started: started_at, expires: expires_at }
    }
}

impl From<LeaseEvent> for Held {
    fn from(event: LeaseEvent) -> Self {
        let LeaseEvent { lease_id, user, fence, started_at, expires_at, .. } = event;
        Held { lease: lease_id, user, fence, started: started_at, expires: expires_at }
    }
}

/// A relative time, as wide as most, so that columns don't move with it.
fn steady(time: &str) -> String {
    format!("{time:10}")
}

/// Pieces of a line, cut where it is full.
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
