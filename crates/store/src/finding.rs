use std::fmt::Display;

/// The result of one check of a database, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How serious it is.
    pub level: Level,
    /// The thing that was checked.
    pub what: String,
    /// Its state and, unless that is [`Level::Ok`], the remedy. Never a secret.
    pub text: String,
}

/// How serious a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Nothing has to be done.
    Ok,
    /// Something may go wrong.
    Warning,
    /// A server can't serve, or a promise does not hold.
    Problem,
}

impl Finding {
    pub(crate) fn new(level: Level, what: &str, text: impl Display) -> Self {
        Finding { level, what: what.to_owned(), text: text.to_string() }
    }
}
