//! The statements of the connection that writes, and how several of them are sent at once.

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

/// Declares the statements, each in the file `sql/ENTITY/NAME.sql`.
macro_rules! statements {
    ($($entity:ident: $($name:ident),+;)+) => {
        pub(crate) struct Statements {
            $($(pub(crate) $name: Statement,)+)+
        }

        impl Statements {
            pub(crate) async fn prepare(client: &Client) -> Result<Self, PgError> {
                Ok(Statements {
                    $($($name: client
                        .prepare(sql!(concat!(stringify!($entity), "/", stringify!($name))))
                        .await?,)+)+
                })
            }
        }
    };
}

statements! {
    session: begin, lock, now, commit, rollback;
    journal: news, write_batch, has, prune;
    leases: renew_leases, forget_leases;
    tickets: leave_queue, move_tickets, join_queue, hear_servers;
    keys: keys, use_keys, forget_keys, forget_keys_early, key_ends, key_users;
    pools: update_epoch, update_policy;
}
