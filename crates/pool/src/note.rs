use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A short text for people: the note of a lease, the description of a pool, the reason of a taint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "Arc<str>", try_from = "Arc<str>")]
pub struct Note(Arc<str>);

/// Reason why a text is not a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNote {
    /// The text has more than [`Note::MAX_CHARS`] characters.
    #[error("must have at most {} characters", Note::MAX_CHARS)]
    TooLong,
    /// The text has a control character, such as a line break.
    #[error("must not contain control characters, such as line breaks")]
    Control,
}

impl Note {
    /// Maximum length, in characters.
    pub const MAX_CHARS: usize = 200;

    /// Checks a text and makes it a note.
    ///
    /// # Errors
    ///
    /// [`InvalidNote`] if the text is too long or has a control character.
    pub fn new(text: &str) -> Result<Self, InvalidNote> {
        check(text)?;
        Ok(Note(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(text: &str) -> Result<(), InvalidNote> {
    // Texts within the limit in bytes need no count of their characters.
    if text.len() > Note::MAX_CHARS && text.chars().count() > Note::MAX_CHARS {
        return Err(InvalidNote::TooLong);
    }
    if text.contains(char::is_control) {
        return Err(InvalidNote::Control);
    }
    Ok(())
}

impl Deref for Note {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<Note> for Arc<str> {
    fn from(note: Note) -> Self {
        note.0
    }
}

impl TryFrom<Arc<str>> for Note {
    type Error = InvalidNote;

    fn try_from(text: Arc<str>) -> Result<Self, InvalidNote> {
        check(&text)?;
        Ok(Note(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_short_lines() {
        let longest = "é".repeat(Note::MAX_CHARS);
        for text in ["", "PR 1234", &longest] {
            assert_eq!(Note::new(text).map(|note| note.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(Note::new(&format!("{longest}e")), Err(InvalidNote::TooLong));
        for text in ["a\nb", "a\0", "\u{85}", "\u{1b}[31m"] {
            assert_eq!(Note::new(text), Err(InvalidNote::Control), "{text:?}");
        }
    }
}
