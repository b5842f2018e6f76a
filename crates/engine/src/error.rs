use std::time::Duration;

/// Why a command or read was not answered; a variant for each possible reaction of the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too many requests are waiting; this one was not accepted. Try again after the given time.
    #[error("too many requests are waiting")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The database is away. The command certainly did nothing and may be repeated.
    #[error("the database can't be used right now; nothing was done")]
    NotDone {
        /// When to try again.
        retry_after: Duration,
    },
    /// The connection to the database was lost during the commit, and the outcome could not be
    /// determined in time. Check before repeating.
    #[error("the connection to the database was lost; the command may or may not have been done")]
    OutcomeUnknown,
    /// The database does not accept the command's values. It did nothing.
    #[error("the database does not accept this request's text")]
    Refused,
    /// The pool does not exist: it was deleted meanwhile. The command did nothing.
    #[error("the pool does not exist")]
    UnknownPool,
    /// The acting API key may not do this. The command did nothing.
    #[error(transparent)]
    Forbidden(pool::Forbidden),
    /// The server is shutting down. The command did nothing.
    #[error("the server is shutting down; nothing was done")]
    Stopping,
}

impl Error {
    const RETRY_AFTER: Duration = Duration::from_secs(1);

    pub(crate) const fn busy() -> Self {
        Error::Busy { retry_after: Self::RETRY_AFTER }
    }

    pub(crate) const fn not_done() -> Self {
        Error::NotDone { retry_after: Self::RETRY_AFTER }
    }
}

/// Why an engine stopped by itself: a sentence for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fatal(pub(crate) String);
