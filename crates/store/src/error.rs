use std::error::Error as Cause;

/// Why the database did not do what it was asked to; a variant for each thing a caller can do
/// about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was done; it may work in a moment.
    #[error("the database can't be used right now: {what}")]
    TryAgain {
        /// What was being done, or what is in the way.
        what: &'static str,
        /// What the database or the network said.
        #[source]
        cause: Box<dyn Cause + Send + Sync>,
    },
    /// Nothing was done, and this data will be refused each time (SQLSTATE classes 22 and 23).
    #[error("the database refused the data")]
    Data(#[source] Box<dyn Cause + Send + Sync>),
    /// The connection was lost, or the file failed, while committing: ask the journal.
    #[error("it is not known whether the commit became durable")]
    Unknown(#[source] Box<dyn Cause + Send + Sync>),
    /// Nothing was done, and nothing will be until a person does what the sentences say.
    #[error("{0}")]
    Operator(String),
}
