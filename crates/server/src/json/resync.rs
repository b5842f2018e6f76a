//! Reasons of resync events.

/// Why an event stream can't continue from its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The id belongs to another epoch than the pool's.
    OtherEpoch,
    /// The journal does not contain the batch of that version, or no longer does.
    NotInJournal,
    /// The client reads too slowly.
    TooSlow,
    /// The pool produced more events than the server sends.
    TooMuch,
    /// The server had to reload the pool, so it does not know the events.
    Reloaded,
}

impl Reason {
    pub(crate) const ALL: [Reason; 5] = [
        Reason::OtherEpoch,
        Reason::NotInJournal,
        Reason::TooSlow,
        Reason::TooMuch,
        Reason::Reloaded,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Reason::OtherEpoch => "other-epoch",
            Reason::NotInJournal => "not-in-journal",
            Reason::TooSlow => "too-slow",
            Reason::TooMuch => "too-much",
            Reason::Reloaded => "reloaded",
        }
    }
}
