use std::error::Error as Cause;

/// Why an operation of the database failed: a variant for each possible reaction of the caller.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was done; a retry may succeed.
    #[error("the database can't be used right now: {what}")]
    TryAgain {
        /// The operation that failed, or the obstacle.
        what: &'static str,
        /// The error of the database or the network.
        #[source]
        cause: Box<dyn Cause + Send + Sync>,
    },
    /// Nothing was done, and this data will be refused each time (SQLSTATE classes 22 and 23).
    #[error("the database refused the data")]
    Data(#[source] Box<dyn Cause + Send + Sync>),
    /// The connection was lost, or the file failed, while committing: ask the journal.
    #[error("it is not known whether the commit became durable")]
    Unknown(#[source] Box<dyn Cause + Send + Sync>),
    /// Nothing was done, and retries will fail until an operator follows the sentences.
    #[error("{0}")]
    Operator(String),
}
