//! Escaping of text for a terminal. Names, values, responses, arguments and errors may contain text of
//! untrusted origin, and a terminal executes control sequences in it: it moves the cursor, renames the
//! window, or replies as if the user had typed. So control characters are shown as escapes, such as
//! `\u{1b}`.
//!
//! Every text for people passes one of these functions before it is printed, even if its parts were
//! escaped before. Data for programs is unchanged, unless the output is a terminal.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};

/// Escapes text of untrusted origin, on one line.
pub fn harmless(text: &str) -> String {
    escaped(text, |_| false)
}

/// Lines without colours.
pub fn plain(text: &str) -> String {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

/// Lines with this program's own colours. Untrusted text in them has to be escaped before.
pub fn coloured(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\x1b') {
        let (before, sequence) = rest.split_at(at);
        shown += &plain(before);
        let length = colour(sequence).unwrap_or(0);
        shown += &sequence[..length];
        // An escape character that does not begin a colour is escaped.
        let begins = if length > 0 { length } else { 1 };
        shown += &plain(&sequence[length..begins]);
        rest = &sequence[begins..];
    }
    shown + &plain(rest)
}

/// JSON, in which characters of strings may be escaped without changing the value.
pub fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && is_harmful(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string can't fail.
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

fn escaped(text: &str, keeps: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) && !keeps(c) {
            // Writing to a string can't fail.
            let _ = write!(shown, "{}", c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Length of the sequence at the beginning, if it only sets colours.
fn colour(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\x1b[")?;
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    parameters[end..].starts_with('m').then_some("\x1b[".len() + end + 1)
}

/// Whether a character may mislead a terminal or a reader.
pub fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Marks that change the direction of writing.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
            // Separators of lines and paragraphs.
            | '\u{2028}' | '\u{2029}'
            // Invisible characters, except those that join letters and pictures.
            | '\u{ad}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Writer of data, piece by piece: every byte unchanged, except on a terminal.
#[derive(Debug)]
pub struct Data<W> {
    to: W,
    is_terminal: bool,
    /// Beginning of a character that continues in the next piece.
    begun: Vec<u8>,
}

impl Data<io::StdoutLock<'static>> {
    /// The standard output.
    pub fn stdout() -> Self {
        let to = io::stdout().lock();
        let is_terminal = to.is_terminal();
        Data { to, is_terminal, begun: Vec::new() }
    }
}

impl<W: Write> Data<W> {
    /// Writes the first `length` bytes of the received data.
    fn show(&mut self, length: usize) -> io::Result<()> {
        let text: Vec<u8> = self.begun.drain(..length).collect();
        // CSV lines end with \r\n.
        let text = String::from_utf8_lossy(&text).replace("\r\n", "\n");
        self.to.write_all(plain(&text).as_bytes())
    }
}

impl<W: Write> Write for Data<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_terminal {
            return self.to.write(bytes);
        }
        self.begun.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.begun) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.begun.len() - usize::from(self.begun.ends_with(b"\r")),
        };
        self.show(whole)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_terminal {
            self.show(self.begun.len())?;
        }
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_without_control_characters() {
        for (name, shown) in [
            ("Zoë 王芳 👩\u{200d}🚀", "Zoë 王芳 👩\u{200d}🚀"),
            ("\x1b[2Jann", "\\u{1b}[2Jann"),
            ("a\r\nb\tc\u{9b}d\x7f", "a\\u{d}\\u{a}b\\u{9}c\\u{9b}d\\u{7f}"),
            ("\u{202e}nna\u{2069}", "\\u{202e}nna\\u{2069}"),
            ("ann\u{200b}\u{feff}", "ann\\u{200b}\\u{feff}"),
        ] {
            assert_eq!(harmless(name), shown);
        }
    }

    #[test]
    fn of_a_programs_own_text_only_lines_and_colours_are_left() {
        for (text, shown) in [
            ("a\n\tb\r\n", "a\n\tb\\u{d}\n"),
            ("\x1b[1;31mred\x1b[0m\x1b[m", "\x1b[1;31mred\x1b[0m\x1b[m"),
            ("\x1b[2J\x1b[31", "\\u{1b}[2J\\u{1b}[31"),
            ("\x1b]0;owned\x07\x1b\x1b[1m", "\\u{1b}]0;owned\\u{7}\\u{1b}\x1b[1m"),
            ("\x1b[1é", "\\u{1b}[1é"),
        ] {
            assert_eq!(coloured(text), shown);
        }
        assert_eq!(plain("\x1b[31mred\n"), "\\u{1b}[31mred\n");
        assert_eq!(json("\"\u{9b}\u{e0041}\"\n"), "\"\\u009b\\udb40\\udc41\"\n");
    }

    #[test]
    fn data_is_left_as_it_is_but_for_a_terminal() {
        let bytes = "é\x1b[2J\r\n\u{202e}王\rx\r".as_bytes();
        let shown = "é\\u{1b}[2J\n\\u{202e}王\\u{d}x\\u{d}".as_bytes();
        for (is_terminal, shown) in [(false, bytes), (true, shown)] {
            for size in 1..bytes.len() {
                let mut data = Data { to: Vec::new(), is_terminal, begun: Vec::new() };
                for piece in bytes.chunks(size) {
                    data.write_all(piece).unwrap();
                }
                data.flush().unwrap();
                assert_eq!(data.to, shown, "pieces of {size}");
            }
        }
        let mut data = Data { to: Vec::new(), is_terminal: true, begun: Vec::new() };
        data.write_all(b"a\x9bb\xff\n").unwrap();
        assert_eq!(String::from_utf8(data.to).unwrap(), "a\u{fffd}b\u{fffd}\n");
    }
}
