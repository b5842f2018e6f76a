//! Display of a wait for a token: the position in the queue, or that the server does not reply.

use std::env;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use client::Error;
use pool::HumanDuration;
use tokio::time::Instant;
use wire::Code;

use super::harmless;

/// Moves the cursor to the start of the line and clears it.
const CLEAR: &str = "\r\x1b[K";

/// Minimum interval of lines that repeat a state, where lines are not rewritten.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Time without a request after which the server drops a ticket.
const LAPSE_TIME: Duration = Duration::from_secs(15);

/// Display of a wait: on a terminal one line that is rewritten; elsewhere a line when the wait begins, when the
/// position changes, and while the server does not reply.
#[derive(Debug)]
pub struct ProgressLine {
    /// Output; None shows nothing.
    write: Option<fn(&str)>,
    rewrites: bool,
    position: Option<Position>,
    /// Position and time of the last line about it.
    printed: Option<(u64, Instant)>,
    /// Set from a failed request until the next reply.
    away: Option<Away>,
    /// Error and time of the last line about it.
    printed_error: Option<(String, Instant)>,
    /// Whether the terminal shows a line that has to be cleared.
    shown: bool,
}

#[derive(Clone, Copy, Debug)]
struct Position {
    ahead: u64,
    /// Age of the ticket at this moment.
    age: (Duration, Instant),
    /// Start of the time after which the ticket lapses. Time with the server down does not count.
    heard: Instant,
}

#[derive(Debug)]
struct Away {
    since: Instant,
    state: &'static str,
}

impl ProgressLine {
    /// Creates a display that writes by a function to the standard error output.
    pub fn new(write: Option<fn(&str)>) -> Self {
        let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
        ProgressLine {
            write,
            rewrites: io::stderr().is_terminal() && !dumb,
            position: None,
            printed: None,
            away: None,
            printed_error: None,
            shown: false,
        }
    }

    fn text(&self) -> Option<String> {
        let Some(away) = &self.away else { return self.position.map(|position| position.text()) };
        let position = match self.position.map(Position::is_kept) {
            None => "",
            Some(true) => "place in the queue kept, ",
            Some(false) => "the place in the queue may have lapsed, ",
        };
        let time = HumanDuration::rough(away.since.elapsed());
        Some(format!("server {} for {time}, {position}retrying", away.state))
    }

    /// Prints a line of its own.
    fn line(&mut self, text: &str) {
        self.clear();
        if let Some(write) = self.write {
            write(&format!("{}\n", harmless(text)));
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown)
            && let Some(write) = self.write
        {
            write(CLEAR);
        }
    }
}

impl client::Progress for ProgressLine {
    fn waiting(&mut self, ahead: u64, age: Duration) {
        if self.away.take().is_some() {
            self.printed = None;
        }
        // The server's time is to the second, so a later age may appear smaller.
        let known = self.position.map_or(Duration::ZERO, |position| position.age());
        let now = Instant::now();
        self.position = Some(Position { ahead, age: (age.max(known), now), heard: now });
        self.tick();
    }

    fn lost_place(&mut self) {
        self.line(
            "the place in the queue lapsed after 15 seconds without a request; now at the end of the queue",
        );
        (self.position, self.printed) = (None, None);
    }

    fn failed(&mut self, error: &Error) {
        let known = self.away.take().map(|away| away.since);
        let since = known.unwrap_or_else(Instant::now);
        let stopping = error.code() == Some(Code::Stopping);
        let state = match error {
            _ if stopping => "restarting",
            Error::Refused(_) => "not ready",
            _ => "away",
        };
        if stopping || error.is_connection_refused() {
            self.position = self.position.map(Position::kept);
        }
        let what = if stopping {
            "the server is restarting".to_owned()
        } else {
            error.to_string().trim_end_matches('.').to_owned()
        };
        let kept = match self.position.map(Position::is_kept) {
            None => "retrying, for the same token",
            Some(true) => "the place in the queue is kept, retrying",
            Some(false) => "the place in the queue may have lapsed, retrying",
        };
        self.away = Some(Away { since, state });
        // `tick` repeats the same error at intervals.
        let repeated = self.printed_error.as_ref().is_some_and(|(last, at)| {
            *last == what && (known.is_some() || at.elapsed() < LINE_INTERVAL)
        });
        if !self.rewrites && !repeated {
            self.line(&format!("{what}; {kept}"));
            self.printed_error = Some((what, Instant::now()));
        }
        self.tick();
    }

    fn undoing(&mut self, what: &str) {
        self.line(&format!("giving up the {what} ..."));
    }

    fn tick(&mut self) {
        let (Some(write), Some(text)) = (self.write, self.text()) else { return };
        if self.rewrites {
            write(&format!("{CLEAR}{text}"));
            self.shown = true;
            return;
        }
        let now = Instant::now();
        if self.away.is_some() {
            let Some((_, at)) = &mut self.printed_error else { return };
            if at.elapsed() < LINE_INTERVAL {
                return;
            }
            *at = now;
        } else {
            let Some(position) = self.position else { return };
            let changed =
                |(ahead, at): (u64, Instant)| ahead != position.ahead && at + LINE_INTERVAL <= now;
            if !self.printed.is_none_or(changed) {
                return;
            }
            self.printed = Some((position.ahead, now));
        }
        write(&format!("{text}\n"));
    }

    fn end(&mut self) {
        self.clear();
        (self.position, self.away) = (None, None);
    }
}

impl Position {
    /// Returns the position once the server is known to be down.
    fn kept(self) -> Self {
        let heard = if self.is_kept() { Instant::now() } else { self.heard };
        Position { heard, ..self }
    }

    fn is_kept(self) -> bool {
        self.heard.elapsed() < LAPSE_TIME
    }

    fn age(&self) -> Duration {
        self.age.0 + self.age.1.elapsed()
    }

    fn text(&self) -> String {
        let age = HumanDuration::rough(self.age());
        format!("waiting: number {} in the queue, for {age}", self.ahead.saturating_add(1))
    }
}
