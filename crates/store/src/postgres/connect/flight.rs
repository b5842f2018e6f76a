//! Several statements sent at once.

use futures_util::future::join_all;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error as PgError, Row, Statement};

/// A statement with its parameters.
pub(crate) type Step<'a> = (&'a Statement, Vec<&'a (dyn ToSql + Sync)>);

/// Sends all statements at once, in this order, and waits for all answers.
pub(crate) async fn flight(client: &Client, steps: &[Step<'_>]) -> Vec<Result<Vec<Row>, PgError>> {
    // A query is sent when it is first polled, and these are first polled in their order.
    join_all(steps.iter().map(|(statement, parameters)| client.query(*statement, parameters))).await
}
