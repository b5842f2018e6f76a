//! The statements of the connection that writes.

use tokio_postgres::{Client, Error as PgError, Statement};

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
