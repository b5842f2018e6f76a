//! The position in the queue on the standard error output, while a command waits for a token.

use std::env;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use pool::HumanDuration;
use tokio::time::Instant;

/// Returns to the beginning of the terminal's line and clears it.
const CLEAR: &str = "\r\x1b[K";

/// How long a line stays the last one where lines are not rewritten.
const LINES: Duration = Duration::from_secs(10);

/// What is shown of a wait: on a terminal one line that is rewritten, elsewhere a line when the wait begins
/// and when the position has changed.
#[derive(Debug)]
pub struct Progress {
    /// Where texts go; None shows nothing.
    to: Option<fn(&str)>,
    rewrites: bool,
    place: Option<Place>,
    /// The position that was told last by a line of its own, and when.
    told: Option<(u64, Instant)>,
    /// Whether a line is on the terminal that has to be cleared.
    shown: bool,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    ahead: u64,
    /// The age of the ticket at that moment.
    age: (Duration, Instant),
}

impl Progress {
    /// Shows the wait by this function, for the standard error output.
    pub fn on(to: Option<fn(&str)>) -> Self {
        let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
        let rewrites = io::stderr().is_terminal() && !dumb;
        Progress { to, rewrites, place: None, told: None, shown: false }
    }

    /// Learns the position.
    pub fn waiting(&mut self, ahead: u64, age: Duration) {
        // The server tells its time to the second, so that the age may be told as less than it was.
        let known = self.place.map_or(Duration::ZERO, |place| place.age());
        self.place = Some(Place { ahead, age: (age.max(known), Instant::now()) });
        self.tick();
    }

    /// Shows the position, if it is time to.
    pub fn tick(&mut self) {
        let (Some(to), Some(place)) = (self.to, self.place) else { return };
        if self.rewrites {
            to(&format!("{CLEAR}{}", place.text()));
            self.shown = true;
            return;
        }
        let due = self.told.is_none_or(|(ahead, at)| ahead != place.ahead && at.elapsed() >= LINES);
        if due {
            self.told = Some((place.ahead, Instant::now()));
            to(&format!("{}\n", place.text()));
        }
    }

    /// Clears the line, so that something else can be written. It comes again with the next position.
    pub fn interrupted(&mut self) {
        if std::mem::take(&mut self.shown)
            && let Some(to) = self.to
        {
            to(CLEAR);
        }
    }

    /// Clears the line: the wait is over.
    pub fn end(&mut self) {
        self.interrupted();
        self.place = None;
    }
}

impl Place {
    fn age(&self) -> Duration {
        self.age.0 + self.age.1.elapsed()
    }

    fn text(&self) -> String {
        format!("waiting: {} ahead, since {}", self.ahead, HumanDuration::rough(self.age()))
    }
}
