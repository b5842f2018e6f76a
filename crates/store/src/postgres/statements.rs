//! The statements of the connection that writes, and how several of them are sent at once.

use futures_util::future::join_all;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error as PgError, Row, Statement};

/// A statement with its parameters.
pub(super) type Step<'a> = (&'a Statement, Vec<&'a (dyn ToSql + Sync)>);

/// Sends all statements at once, in this order, and waits for all answers.
pub(super) async fn flight(client: &Client, steps: &[Step<'_>]) -> Vec<Result<Vec<Row>, PgError>> {
    // A query is sent when it is first polled, and these are first polled in their order.
    join_all(steps.iter().map(|(statement, parameters)| client.query(*statement, parameters))).await
}

/// Declares the statements, each of which is in the file that is called as it is.
macro_rules! statements {
    ($($name:ident),* $(,)?) => {
        pub(super) struct Statements {
            $(pub(super) $name: Statement,)*
        }

        impl Statements {
            pub(super) async fn prepare(client: &Client) -> Result<Self, PgError> {
                Ok(Statements {
                    $($name: {
                        let sql = include_str!(concat!("sql/", stringify!($name), ".sql"));
                        client.prepare(sql).await?
                    },)*
                })
            }
        }
    };
}

statements!(
    begin,
    lock,
    news,
    now,
    keys,
    renew_leases,
    write_batch,
    leave_queue,
    move_tickets,
    join_queue,
    hear_servers,
    use_keys,
    update_epoch,
    update_policy,
    commit,
    rollback,
    has,
    prune,
    forget_keys,
    forget_keys_early,
    key_ends,
    key_users,
    forget_leases,
);
