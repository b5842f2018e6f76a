//! Deletion of old leases.

use std::collections::BTreeSet;
use std::time::Duration;

use pool::{Allocation, Command, Fence, IdempotencyKey, Lease, PoolId, Timestamp, User, UserKey};
use store::LeaseQuery;
use testbed::on_both;

use super::search::{EVERYTHING, search_all};
use super::server::{Server, allocate, allocation, lease, tokens};
use super::{AnyDb, EmptyDb};

const INSTANT: Duration = Duration::from_micros(1);

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text).unwrap()
}

/// The key of the lease with that number.
fn users_key(number: u8) -> UserKey {
    key(&format!("key {number}")).of(User::new(&format!("user {number}")).unwrap().id)
}

/// Deletes the leases that ended before that moment, from the first to the last. Returns how many.
async fn sweep(server: &mut Server, before: Timestamp) -> u64 {
    let (mut deleted, mut after) = (0, Fence::NONE);
    loop {
        let swept = server.housekeeper.forget_leases(before, after).await.unwrap();
        assert!(swept.deleted <= 999, "a few hundred at a time");
        deleted += swept.deleted;
        match swept.up_to {
            Some(up_to) => assert!(up_to > after, "{up_to:?} is no step on from {after:?}"),
            None => return deleted,
        }
        after = swept.up_to.unwrap();
    }
}

/// Every stored lease of the pool, by each query that returns all of them: its number, from 1.
async fn fences(server: &Server) -> BTreeSet<i64> {
    let mut found = BTreeSet::new();
    for view in server.pool().tokens(0) {
        let history: Vec<_> =
            server.history(view.token.id).await.iter().map(|lease| lease.fence).collect();
        assert!(history.is_sorted_by(|a, b| a > b));
        let of_token = LeaseQuery { token: Some(view.token.id), ..EVERYTHING };
        let by_token = search_all(server, &of_token, server.at, 3).await;
        assert_eq!(by_token.iter().map(|r| r.lease.fence).collect::<Vec<_>>(), history);
        // Also from the middle on.
        if let Some(middle) = history.get(history.len() / 2) {
            let rest = server.reader.history(view.token.id, Some(*middle), 1000).await.unwrap();
            let rest: Vec<_> = rest.iter().map(|record| record.lease.fence).collect();
            assert_eq!(rest, history[history.len() / 2 + 1..]);
        }
        found.extend(history.iter().map(|fence| fence.get()));
    }
    let all = search_all(server, &EVERYTHING, server.at, 3).await;
    for record in &all {
        let of_user = LeaseQuery { user: Some(record.lease.user.id), ..EVERYTHING };
        assert!(search_all(server, &of_user, server.at, 3).await.contains(record));
    }
    assert_eq!(all.iter().map(|r| r.lease.fence.get()).collect::<BTreeSet<_>>(), found);
    found.into_iter().map(|fence| fence - server.held_beside()).collect()
}

/// Ten leases of two tokens, one a second, each of which evicts the one before the last.
async fn ten(db: &dyn AnyDb) -> (Server, Vec<Lease>) {
    let mut server = Server::start(db, tokens(2)).await;
    let mut granted = Vec::new();
    for number in 1..=10 {
        server.wait(Duration::from_secs(1));
        // The third and the fourth have a key.
        let key = (3..=4).contains(&number).then(|| key(&format!("key {number}")));
        let allocation = Allocation { key, ..allocation(&format!("user {number}")) };
        let (_, outcomes) = server.run(&[Command::Allocate(allocation)]).await;
        granted.push(lease(&outcomes[0]));
    }
    (server, granted)
}

#[on_both]
async fn old_leases_are_deleted(db: EmptyDb) {
    let (mut server, granted) = ten(&db).await;
    db.catch_up();
    let before = server.facts();
    assert_eq!(sweep(&mut server, Timestamp::MIN).await, 0);
    // The first and second ended when the third and fourth started, the fifth just at that moment.
    let moment = granted[6].started_at;
    assert_eq!(sweep(&mut server, moment).await, 2);
    let left: BTreeSet<i64> = (3..=10).collect();
    assert_eq!(fences(&server).await, left, "keys lead to the third and fourth");
    assert_eq!(sweep(&mut server, moment).await, 0);
    assert_eq!(sweep(&mut server, moment.after(INSTANT)).await, 1);
    let left = BTreeSet::from([3, 4, 6, 7, 8, 9, 10]);
    assert_eq!(fences(&server).await, left);
    let mut server = server.restart(&db).await;
    assert_eq!(server.facts(), before);
    assert_eq!(fences(&server).await, left);
    assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
    let found = server.keys(&[3, 4].map(users_key)).await;
    assert_eq!((found.count, found.remembered.len()), (2, 2));
    assert_eq!(found.remembered[&users_key(3)].lease.id, granted[2].id);
    assert_eq!(server.reader.lease(granted[0].id).await.unwrap(), None);
    let third = server.reader.lease(granted[2].id).await.unwrap().unwrap();
    assert_eq!(third.evicted_by, None, "the lease it was evicted for is gone");
    // New leases continue the chains.
    server.allocate("Ada").await;
    assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
}

#[on_both]
async fn what_a_key_led_to_is_deleted_after_the_key(db: EmptyDb) {
    let (mut server, _) = ten(&db).await;
    let far = server.at.after(Duration::from_hours(1));
    assert_eq!(sweep(&mut server, far).await, 6, "not the latest, nor those with keys");
    let left = BTreeSet::from([3, 4, 9, 10]);
    assert_eq!(fences(&server).await, left);
    assert_eq!(server.housekeeper.forget_keys(far).await.unwrap(), 2);
    assert_eq!(fences(&server).await, left, "not by itself");
    server.allocate("Ada").await;
    assert_eq!(sweep(&mut server, far).await, 3);
    assert_eq!(fences(&server).await, BTreeSet::from([10, 11]));
    assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
    // Repeated sweeps delete no more.
    assert_eq!(sweep(&mut server, far).await, 0);
    let mut server = server.restart(&db).await;
    server.run(&[Command::Clear { pool: PoolId::DEFAULT }]).await;
    assert_eq!(sweep(&mut server, far).await, 0, "a token's latest stays, though it is over");
    assert_eq!(fences(&server).await, BTreeSet::from([10, 11]));
}

#[on_both]
async fn a_lease_that_ended_late_stays_although_it_began_early(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(3)).await;
    let early = server.allocate("Ada").await;
    for _ in 0..4 {
        let token = server.allocate("Bea").await.token_id;
        server.wait(Duration::from_secs(1));
        server.release(token).await;
    }
    server.wait(Duration::from_secs(1));
    server.release(early.token_id).await;
    let ended_at = server.at;
    for user in ["Cleo", "Dora", "Emma"] {
        server.allocate(user).await;
    }
    assert_eq!(sweep(&mut server, ended_at).await, 4);
    assert!(server.reader.lease(early.id).await.unwrap().is_some());
    assert_eq!(sweep(&mut server, ended_at.after(INSTANT)).await, 1);
    assert_eq!(server.reader.lease(early.id).await.unwrap(), None);
    assert_eq!(fences(&server).await, BTreeSet::from([6, 7, 8]));
}

#[on_both]
async fn many_leases_are_deleted_in_steps(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(10)).await;
    for _ in 0..120 {
        let commands: Vec<_> = (0..10).map(|i| allocate(&format!("user {i}"))).collect();
        server.run(&commands).await;
    }
    let far = server.at.after(Duration::from_hours(1));
    db.catch_up();
    let first = server.housekeeper.forget_leases(far, Fence::NONE).await.unwrap();
    let spared = server.held_beside();
    let deleted: i64 = first.deleted.try_into().unwrap();
    assert_eq!(first.up_to, Some(Fence::new(spared + deleted)));
    // No lease below is examined again, and none above is skipped.
    let next = server.housekeeper.forget_leases(far, Fence::new(spared + 1_000)).await.unwrap();
    assert!((1..=190).contains(&next.deleted), "{next:?}");
    assert_eq!(sweep(&mut server, far).await, 1_190 - first.deleted - next.deleted);
    assert_eq!(fences(&server).await, (1_191..=1_200).collect());
    let server = server.restart(&db).await;
    assert_eq!(server.pool().active(server.at), 10);
    assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
}
