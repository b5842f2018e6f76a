//! Standard output: colours, width, JSON.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use serde_json::Value;

use super::{Data, coloured, harmless, json};

/// Style of secondary text.
pub const QUIET: Style = Style::new().dimmed();
/// Style of the main value.
pub const STRONG: Style = Style::new().bold();
/// Style of a good state.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Style of a warning.
pub const MIND: Style = AnsiColor::Yellow.on_default();
/// Style of an error.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Style of ordinary text.
pub const PLAIN: Style = Style::new();

/// Adds a style to a text. The output removes it where colours are off.
pub fn paint(style: Style, text: impl Display) -> String {
    if style == PLAIN { text.to_string() } else { format!("{style}{text}{style:#}") }
}

/// Returns the style of a lease's status or end reason.
pub fn status_style(status: &str) -> Style {
    match status {
        "active" => GOOD,
        "available" | "started" | "renewed" | "released" | "imported" | "ended" => PLAIN,
        _ => MIND,
    }
}

/// Returns the style of a remaining time.
pub fn left_style(seconds: u64) -> Style {
    if seconds <= 15 { MIND } else { PLAIN }
}

/// Standard output: a terminal, a file, another program.
#[derive(Debug)]
pub struct Out {
    /// Width, if it is a terminal.
    pub width: Option<usize>,
}

impl Out {
    pub fn standard() -> Self {
        let width = io::stdout().is_terminal().then(|| terminal_size().0);
        Out { width }
    }

    pub fn is_terminal(&self) -> bool {
        self.width.is_some()
    }

    /// Prints text with styles.
    #[expect(clippy::unused_self, reason = "the text goes to this output")]
    pub fn print(&self, text: &str) -> io::Result<()> {
        let mut stdout = anstream::stdout().lock();
        stdout.write_all(coloured(text).as_bytes())?;
        stdout.flush()
    }

    /// Prints data unchanged; control characters are escaped on a terminal only.
    #[expect(clippy::unused_self, reason = "the data goes to this output")]
    pub fn bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = Data::stdout();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    pub fn line(&self, line: impl Display) -> io::Result<()> {
        self.print(&format!("{line}\n"))
    }

    /// Prints JSON: indented on a terminal, otherwise on one line.
    pub fn json(&self, value: &Value) -> io::Result<()> {
        if self.is_terminal() {
            return self.bytes(json(&format!("{value:#}\n")).as_bytes());
        }
        self.one_line(value)
    }

    pub fn one_line(&self, value: &Value) -> io::Result<()> {
        self.bytes(json(&format!("{value}\n")).as_bytes())
    }

    /// Prints names and values, a line each, with aligned values.
    pub fn facts(&self, facts: &[(&str, String)]) -> io::Result<()> {
        let widest = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let lines = facts.iter().map(|(name, value)| {
            let name = paint(QUIET, format!("{name:widest$}"));
            format!("{name}  {value}\n")
        });
        self.print(&lines.collect::<String>())
    }
}

/// Prints a remark on the standard error output.
pub fn remark(text: impl Display) {
    // A closed standard error output changes nothing.
    let text = harmless(&text.to_string());
    let _ = writeln!(anstream::stderr(), "{}", paint(QUIET, text));
}

/// Returns the columns and rows of the terminal.
pub fn terminal_size() -> (usize, usize) {
    match crossterm::terminal::size() {
        // A terminal of unknown size reports 0.
        Ok((columns, rows)) if columns > 0 && rows > 0 => (columns.into(), rows.into()),
        _ => (80, 24),
    }
}
