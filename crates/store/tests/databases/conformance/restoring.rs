use std::time::Duration;

use pool::Timestamp;
use store::{EPOCH_GAP, LeaseQuery, News};
use testbed::on_both;

use super::search::EVERYTHING;
use super::server::{BESIDE, Server, allocate, allocation, lease, refusal, tokens};
use super::{AnyDb as _, EmptyDb};

#[on_both]
async fn after_a_restore_a_new_epoch_begins(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    let running = server.allocate("Ada").await;
    let (before, at) = (server.position, server.at);
    drop(server);
    let begun = db.database().begin_epoch(false).await.unwrap();
    assert_eq!((begun.epoch, begun.restored), (before.epoch + 1, at));
    assert!(begun.gap >= EPOCH_GAP);
    assert_eq!(begun.version, before.version + 1 + begun.gap);
    assert_eq!(begun.fence, running.fence.plus(begun.gap));
    let again = db.database().begin_epoch(false).await.unwrap();
    assert_eq!(again.epoch, begun.epoch + 1);
    assert!(again.fence >= begun.fence.plus(EPOCH_GAP));

    let mut server = Server::start(&db, tokens(2)).await;
    assert_eq!((server.position.epoch, server.position.version), (again.epoch, again.version));
    assert!(server.at >= at);
    assert_eq!(server.ledger.lease(running.id), Some(&running));
    assert_eq!(server.allocate("Bea").await.fence, again.fence.plus(1));
    let begun = server.store.begin(&before).await.unwrap();
    server.store.abandon().await;
    // If the news are single entries, they lead to the same position.
    if let News::Whole(whole) = begun.news {
        assert_eq!(whole.position, server.position);
    }
    drop(server);
    assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
}

/// Searches must not walk through skipped fences.
#[on_both]
async fn leases_are_found_beyond_the_fences_that_were_left_out(db: EmptyDb) {
    const GAP: i64 = 5_000_000_000_000;
    let mut server = Server::start(&db, tokens(2)).await;
    let before = server.allocate("Ada").await;
    server.ledger.skip_fences(GAP);
    let (mut entry, outcomes) = server.decide(&[allocate("Bea")]).await;
    entry.position.epoch += 1;
    entry.position.version += GAP;
    server.commit(&entry).await.unwrap();
    let after = lease(&outcomes[0]);
    assert!(after.fence.get() > GAP);
    for (user, token, found) in [
        (Some(before.user.id), None, &before),
        (Some(before.user.id), Some(before.token_id), &before),
        (None, Some(before.token_id), &before),
        (Some(after.user.id), None, &after),
    ] {
        let query = LeaseQuery { user, token, ..EVERYTHING };
        let page = server.reader.search(&query, server.at, 9).await.unwrap();
        let ids: Vec<_> = page.leases.iter().map(|record| record.lease.id).collect();
        assert_eq!((ids, page.next), (vec![found.id], None), "{query:?}");
    }
    let unknown = LeaseQuery { user: Some(allocation("Cleo").user.id), ..EVERYTHING };
    let page = server.reader.search(&unknown, server.at, 9).await.unwrap();
    assert_eq!((page.leases.len(), page.next), (0, None));
    drop(server);
    assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
}

/// The assumed elapsed time may be too long, but never too short.
#[on_both]
async fn a_clock_that_is_behind_leads_no_less_far(db: EmptyDb) {
    const AHEAD: Duration = Duration::from_hours(24);
    let mut server = Server::start(&db, tokens(1)).await;
    server.wait(AHEAD);
    let at = server.run(&[allocate("Ada")]).await.0.at;
    drop(server);
    let sentence = refusal(db.database().begin_epoch(false).await);
    assert!(sentence.contains("minutes behind the newest restored change"), "{sentence}");
    let begun = db.database().begin_epoch(true).await.unwrap();
    assert_eq!(begun.restored, at);
    assert!(begun.clock_behind > Duration::from_hours(23) && begun.clock_behind <= AHEAD);
    assert!(begun.used >= AHEAD);
    let most = i64::try_from(begun.used.as_secs()).unwrap() * 100_000;
    assert!(begun.gap >= EPOCH_GAP && begun.fence.get() >= most, "{begun:?}");
    let again = db.database().begin_epoch(true).await.unwrap();
    assert!(again.fence >= begun.fence.plus(EPOCH_GAP));
}

/// A gap in the versions has no entries.
#[on_both]
async fn the_journal_outlives_new_epochs(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(1)).await;
    let mut old = Vec::new();
    for user in ["Ada", "Bea", "Cleo", "Dora"] {
        old.push(server.run(&[allocate(user)]).await.0.position);
    }
    drop(server);
    for _ in 0..2 {
        db.database().begin_epoch(false).await.unwrap();
    }
    let mut server = Server::start(&db, tokens(1)).await;
    server.run(&[allocate("Emma")]).await;
    // Emma's and the two epochs', Dora's, Cleo's, Bea's.
    assert_eq!(server.housekeeper.prune(Timestamp::MIN, 5).await.unwrap(), 2 + BESIDE);
    assert_eq!(server.housekeeper.prune(Timestamp::MIN, 5).await.unwrap(), 0);
    server.store.begin(&server.position).await.unwrap();
    assert_eq!(server.store.has(&old[1]).await.unwrap(), Some(true));
    assert_eq!(server.store.has(&old[0]).await.unwrap(), None);
    server.store.abandon().await;
    assert_eq!(server.housekeeper.prune(Timestamp::MIN, 1).await.unwrap(), 4);
}

#[on_both]
async fn no_epoch_begins_where_there_is_no_pool(db: EmptyDb) {
    db.database().migrate().await.unwrap();
    let sentence = refusal(db.database().begin_epoch(false).await);
    assert!(sentence.contains("holds no ledger"), "{sentence}");
}
