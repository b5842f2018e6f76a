//! How it looks: colours, the width of the terminal, and where output goes.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use serde_json::Value;

use crate::term::{self, Data, harmless};

/// What nobody needs to look at.
pub const QUIET: Style = Style::new().dimmed();
/// What was asked for.
pub const STRONG: Style = Style::new().bold();
/// What is well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What somebody may want to know of.
pub const MIND: Style = AnsiColor::Yellow.on_default();
/// What is not well.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// What is nothing in particular.
pub const PLAIN: Style = Style::new();

/// A text in a style. Where it goes to takes the colours out if there should be none.
pub fn paint(style: Style, text: impl Display) -> String {
    if style == PLAIN { text.to_string() } else { format!("{style}{text}{style:#}") }
}

/// The style of a lease's status or of why it ended.
pub fn status_style(status: &str) -> Style {
    match status {
        "active" | "running" => GOOD,
        "expired" | "evicted" | "cleared" => MIND,
        _ => PLAIN,
    }
}

/// The style of a time that is left.
pub fn left_style(seconds: u64) -> Style {
    if seconds <= 15 { MIND } else { PLAIN }
}

/// Where a command's output goes: a terminal, a file, another program.
#[derive(Debug)]
pub struct Out {
    /// How wide it is, if it is a terminal.
    pub width: Option<usize>,
}

impl Out {
    /// The standard output.
    pub fn standard() -> Self {
        let width = io::stdout().is_terminal().then(|| terminal_size().0);
        Out { width }
    }

    /// Whether a person looks at it.
    pub fn is_terminal(&self) -> bool {
        self.width.is_some()
    }

    /// Prints text for people, with colours where there may be some.
    ///
    /// # Errors
    ///
    /// When nobody reads it any more.
    #[expect(clippy::unused_self, reason = "it is where this goes")]
    pub fn print(&self, text: &str) -> io::Result<()> {
        let mut stdout = anstream::stdout().lock();
        stdout.write_all(term::coloured(text).as_bytes())?;
        stdout.flush()
    }

    /// Prints data, which only a terminal gets otherwise than it is.
    ///
    /// # Errors
    ///
    /// When nobody reads it any more.
    #[expect(clippy::unused_self, reason = "it is where this goes")]
    pub fn bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = Data::stdout();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    /// Prints a line.
    ///
    /// # Errors
    ///
    /// When nobody reads it any more.
    pub fn line(&self, line: impl Display) -> io::Result<()> {
        self.print(&format!("{line}\n"))
    }

    /// Prints JSON: laid out for a person, on one line for a program.
    ///
    /// # Errors
    ///
    /// When nobody reads it any more.
    pub fn json(&self, json: &Value) -> io::Result<()> {
        if self.is_terminal() {
            return self.bytes(term::json(&format!("{json:#}\n")).as_bytes());
        }
        self.one_line(json)
    }

    /// Prints JSON on one line.
    ///
    /// # Errors
    ///
    /// When nobody reads it any more.
    pub fn one_line(&self, json: &Value) -> io::Result<()> {
        self.bytes(term::json(&format!("{json}\n")).as_bytes())
    }

    /// Prints what names and values are about: a line each, the values below one another.
    ///
    /// # Errors
    ///
    /// When nobody reads it any more.
    pub fn facts(&self, facts: &[(&str, String)]) -> io::Result<()> {
        let widest = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let lines = facts.iter().map(|(name, value)| {
            let name = paint(QUIET, format!("{name:widest$}"));
            format!("{name}  {value}\n")
        });
        self.print(&lines.collect::<String>())
    }
}

/// Says something beside the output, which others may read by machine.
pub fn remark(text: impl Display) {
    // That nobody reads it is no reason to fail.
    let text = harmless(&text.to_string());
    let _ = writeln!(anstream::stderr(), "{}", paint(QUIET, text));
}

/// Columns and rows of the terminal.
pub fn terminal_size() -> (usize, usize) {
    match crossterm::terminal::size() {
        // A terminal that does not know says 0.
        Ok((columns, rows)) if columns > 0 && rows > 0 => (columns.into(), rows.into()),
        _ => (80, 24),
    }
}
