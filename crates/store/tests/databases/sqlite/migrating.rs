//! What the first release wrote, and other systems.

use std::time::Duration;

use pool::{Change, Command, End, EndReason, Fence, Lease, Outcome, Policy, Timestamp};
use refinery::Target;
use rusqlite::Connection;
use store::{Search, Wanted};

use super::{Directory, fresh};
use crate::conformance::AnyDb as _;
use crate::conformance::imports::{history, import};
use crate::conformance::search::{everything, search_all};
use crate::conformance::server::{ANY, MINUTE, Server, allocate, under};

mod embedded {
    refinery::embed_migrations!("migrations/sqlite");
}

/// Two tokens with leases of a minute, which were of an hour once: one that was evicted, one that ran
/// for that hour, one that was released and one that runs. The journal has entries of each kind. `#` stands for the first 15 bytes of
/// an id.
const WRITTEN: &str = "
    insert into pools values ('default', 2, 60000000, 1);
    insert into tokens values
        (#0a', 'default', #1a', 0, 5),
        (#0b', 'default', #1b', 1, 5);
    insert into leases values
        (#01', 'default', #0a', #21', 'Ada', 1, 0,
            1000000000, 4600000000, 2000000000, 'evicted'),
        (#02', 'default', #0b', #22', 'Bea', 2, 0,
            1000000000, 4600000000, 4600000000, 'expired'),
        (#03', 'default', #0a', #21', 'Ada', 3, 1,
            2000000000, 5600000000, 5000000000, 'released'),
        (#04', 'default', #0a', #23', 'Cleo', 4, 3,
            9000000000, 9060000000, null, null);
    insert into batches values
        ('default', 1, randomblob(16), #00', 5, 1, 0, x'00'),
        ('default', 2, randomblob(16), #00', 8000000000, 1, 3, x'01023c00'),
        ('default', 3, randomblob(16), #00', 9000000000, 1, 4, x'00');";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

async fn written_before() -> Directory {
    let db = fresh().await;
    let mut connection = Connection::open(db.file()).unwrap();
    let runner = embedded::migrations::runner().set_target(Target::Version(1));
    runner.run(&mut connection).unwrap();
    let ids = format!("x'{}", "0".repeat(30));
    connection.execute_batch(&WRITTEN.replace('#', &ids)).unwrap();
    db.clock.set(at(9_010));
    db
}

#[tokio::test]
async fn what_the_first_release_wrote_is_kept() {
    let db = written_before().await;
    assert_eq!(db.database().migrate().await.unwrap().len(), 1);
    let server = Server::start(&db, ANY).await;
    assert_eq!(server.pool.policy(), Policy::of_lease(Duration::from_mins(1)));
    assert_eq!((server.pool.fence(), server.pool.active(server.at)), (Fence::new(4), 1));
    let token = server.pool.tokens(0).next().unwrap().token.id;
    let records = server.records(token).await;
    let seen: Vec<_> = records.iter().map(|r| (r.lease.fence.get(), r.lease.end)).collect();
    let end = |seconds, reason| Some(End { at: at(seconds), reason });
    let [released, evicted] = [EndReason::Released, EndReason::Evicted];
    assert_eq!(seen, [(4, None), (3, end(5_000, released)), (1, end(2_000, evicted))]);
    assert_eq!(records[2].evicted_by, Some(records[1].lease.id));
    assert!(records.iter().all(|r| r.lease.granted_until == r.lease.expires_at));
    // Long before the policy's minute.
    let search = Search { at: Some(at(4_000)), ..everything(server.at) };
    let found = search_all(&server, &search, 9).await;
    assert_eq!(found.iter().map(|r| r.lease.fence.get()).collect::<Vec<_>>(), [3, 2]);
    let entries = server.reader.journal(1, 1, 9).await.unwrap().unwrap();
    let changes: Vec<_> = entries.into_iter().flat_map(|entry| entry.changes).collect();
    assert_eq!(changes, [Change::LengthChanged { lease: Duration::from_mins(1) }]);
    assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn what_the_first_release_granted_can_be_renewed() {
    let db = written_before().await;
    let policy = Policy { max_lease: Some(Duration::from_hours(1)), ..MINUTE };
    let wanted = Wanted { update_policy: true, ..under(policy, 2) };
    let mut server = Server::start(&db, wanted).await;
    let lease = server.pool.oldest(server.at).unwrap().clone();
    let (_, outcomes) =
        server.run(&[Command::Renew { lease_id: lease.id }, allocate("Dora")]).await;
    let renewed = Lease { expires_at: at(9_070), ..lease };
    assert_eq!(outcomes[0], Outcome::Renewed(renewed.clone()));
    let server = server.restart(&db).await;
    assert_eq!(server.reader.leases(&[renewed.id]).await.unwrap(), [renewed]);
    assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn the_pools_time_does_not_begin_before_what_was_imported() {
    let db = fresh().await;
    let (mut new, parts) = history();
    let newest = parts.concat().pop().unwrap().started_at;
    new.at = at(9_010);
    import(&db, &new, parts.into_iter().map(Ok).collect()).await.unwrap();
    let mut server = Server::start(&db, ANY).await;
    assert_eq!(server.at, newest);
    server.allocate("Ada").await;
    assert_eq!(db.database().audit().await.unwrap(), [""; 0], "leases start in their order");
}
