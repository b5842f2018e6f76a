//! What the standard error output shows while a command waits for a token: the position in the queue, or
//! that the server does not answer.

use std::env;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use pool::HumanDuration;
use tokio::time::Instant;

use crate::api::Failure;
use crate::term::harmless;

/// Returns to the beginning of the terminal's line and clears it.
const CLEAR: &str = "\r\x1b[K";

/// How long a line stays the last one where lines are not rewritten.
const LINES: Duration = Duration::from_secs(10);

/// Time without a request after which a server drops a place.
const LAPSES: Duration = Duration::from_secs(15);

/// What is shown of a wait: on a terminal one line that is rewritten, elsewhere a line when the wait begins,
/// when the position has changed, and while the server does not answer.
#[derive(Debug)]
pub struct Progress {
    /// Where texts go; None shows nothing.
    to: Option<fn(&str)>,
    rewrites: bool,
    place: Option<Place>,
    /// The position that was told last by a line of its own, and when.
    told: Option<(u64, Instant)>,
    /// Set from a failed request to the next answer.
    away: Option<Away>,
    /// The failure that was told last by a line of its own, and when.
    complained: Option<(String, Instant)>,
    /// Whether a line is on the terminal that has to be cleared.
    shown: bool,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    ahead: u64,
    /// The age of the ticket at that moment.
    age: (Duration, Instant),
    /// When the time began that counts against the place: a server that is down does not count it.
    heard: Instant,
}

/// A server that does not answer.
#[derive(Debug)]
struct Away {
    since: Instant,
    state: &'static str,
}

impl Progress {
    /// Shows the wait by this function, for the standard error output.
    pub fn on(to: Option<fn(&str)>) -> Self {
        let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
        let rewrites = io::stderr().is_terminal() && !dumb;
        Progress {
            to,
            rewrites,
            place: None,
            told: None,
            away: None,
            complained: None,
            shown: false,
        }
    }

    /// Learns the position.
    pub fn waiting(&mut self, ahead: u64, age: Duration) {
        if self.away.take().is_some() {
            self.told = None;
        }
        // The server tells its time to the second, so that the age may be told as less than it was.
        let known = self.place.map_or(Duration::ZERO, |place| place.age());
        let now = Instant::now();
        self.place = Some(Place { ahead, age: (age.max(known), now), heard: now });
        self.tick();
    }

    /// Learns that the ticket is another one.
    pub fn lost_place(&mut self) {
        self.say(
            "the place was lost, since nothing was asked for 15 seconds; now at the end of the queue",
        );
        (self.place, self.told) = (None, None);
    }

    /// Learns that a request failed and is sent again.
    pub fn failed(&mut self, failure: &Failure) {
        let known = self.away.take().map(|away| away.since);
        let since = known.unwrap_or_else(Instant::now);
        let stopping = failure.code() == Some("stopping");
        let state = match failure {
            _ if stopping => "restarting",
            Failure::Refused(_) => "not ready",
            _ => "away",
        };
        if stopping || failure.is_connection_refused() {
            self.place = self.place.map(Place::kept);
        }
        let what = if stopping { "the server is restarting".to_owned() } else { failure.clause() };
        let kept = match self.place.map(Place::is_kept) {
            None => "asking again, for the same token",
            Some(true) => "the place in the queue is kept, asking again",
            Some(false) => "the place in the queue may have lapsed, asking again",
        };
        self.away = Some(Away { since, state });
        // While it lasts, `tick` tells of it from time to time.
        let repeated = self
            .complained
            .as_ref()
            .is_some_and(|(last, at)| *last == what && (known.is_some() || at.elapsed() < LINES));
        if !self.rewrites && !repeated {
            self.say(&format!("{what}; {kept}"));
            self.complained = Some((what, Instant::now()));
        }
        self.tick();
    }

    /// Shows the position, if it is time to.
    pub fn tick(&mut self) {
        let (Some(to), Some(text)) = (self.to, self.text()) else { return };
        if self.rewrites {
            to(&format!("{CLEAR}{text}"));
            self.shown = true;
            return;
        }
        let now = Instant::now();
        if self.away.is_some() {
            let Some((_, at)) = &mut self.complained else { return };
            if at.elapsed() < LINES {
                return;
            }
            *at = now;
        } else {
            let Some(place) = self.place else { return };
            let is_news = |(ahead, at): (u64, Instant)| ahead != place.ahead && at + LINES <= now;
            if !self.told.is_none_or(is_news) {
                return;
            }
            self.told = Some((place.ahead, now));
        }
        to(&format!("{text}\n"));
    }

    /// The line of now.
    fn text(&self) -> Option<String> {
        let Some(away) = &self.away else { return self.place.map(|place| place.text()) };
        let place = match self.place.map(Place::is_kept) {
            None => "",
            Some(true) => "place kept, ",
            Some(false) => "the place may have lapsed, ",
        };
        let time = HumanDuration::rough(away.since.elapsed());
        Some(format!("server {} for {time}, {place}asking again", away.state))
    }

    /// A line of its own.
    pub fn say(&mut self, text: &str) {
        self.clear();
        if let Some(to) = self.to {
            to(&format!("{}\n", harmless(text)));
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown)
            && let Some(to) = self.to
        {
            to(CLEAR);
        }
    }

    /// Clears the line: the wait is over.
    pub fn end(&mut self) {
        self.clear();
        (self.place, self.away) = (None, None);
    }
}

impl Place {
    /// The same after it was learned that the server is down.
    fn kept(self) -> Self {
        let heard = if self.is_kept() { Instant::now() } else { self.heard };
        Place { heard, ..self }
    }

    fn is_kept(self) -> bool {
        self.heard.elapsed() < LAPSES
    }

    fn age(&self) -> Duration {
        self.age.0 + self.age.1.elapsed()
    }

    fn text(&self) -> String {
        let age = HumanDuration::rough(self.age());
        format!("waiting: number {} in the queue, for {age}", self.ahead.saturating_add(1))
    }
}
