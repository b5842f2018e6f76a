//! The prepared statements of the connections that write.

use futures_util::future::join_all;
use tokio_postgres::{Client, Error as PgError, Statement};

/// Declares a set of statements, each in the file `sql/ENTITY/NAME.sql`.
macro_rules! statements {
    ($set:ident { $($entity:ident: $($name:ident),+;)+ }) => {
        pub(crate) struct $set {
            $($(pub(crate) $name: Statement,)+)+
        }

        impl $set {
            /// Prepares all of them in about one round trip.
            pub(crate) async fn prepare(client: &Client) -> Result<Self, PgError> {
                let texts = [$($(sql!(concat!(stringify!($entity), "/", stringify!($name))),)+)+];
                let all = join_all(texts.into_iter().map(|text| client.prepare(text))).await;
                let mut all = all.into_iter();
                let mut next = || all.next().expect("each text has its statement");
                Ok($set { $($($name: next()?,)+)+ })
            }
        }
    };
}

statements! {
    Statements {
        session: begin, lock, now, commit, rollback;
        journal: news, write_batch, has;
        leases: renew_leases;
        tickets: leave_queue, move_tickets, join_queue, hear_servers;
        keys: keys, use_keys, key_ends, key_users;
        access: change_keys, end_sessions, start_sessions, append_acts;
        ledger: update_epoch, raise_longest;
        pools: delete_pools, change_pools, insert_pools;
        tokens: retire_tokens, change_tokens, insert_tokens, note_retiring;
    }
}

statements! {
    HousekeepingStatements {
        session: begin, lock, commit;
        journal: prune;
        leases: forget_leases, index_pools, tidy_pools;
        keys: forget_keys, forget_keys_early, key_ends;
        access: forget_acts, forget_sessions, note_key_uses;
    }
}
