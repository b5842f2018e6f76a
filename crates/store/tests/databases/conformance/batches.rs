use std::time::Duration;

use pool::{Change, Command, EndReason, Fence, Lease, LeaseId, PoolId, Timestamp};
use store::{BatchId, EPOCH_GAP, Entry, News, Position};
use testbed::on_both;

use super::server::{
    ANY, BESIDE, Server, allocate, assert_data, facts, id, lease, release, tokens,
};
use super::{AnyDb as _, EmptyDb};

#[on_both]
async fn what_was_committed_is_there_after_a_restart(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(3)).await;
    for user in ["Ada", "Bea", "Cleo", "Dora"] {
        server.allocate(user).await;
    }
    let token = server.pool().tokens(1).next().unwrap().token.id;
    server.release(token).await;
    let before = server.facts();
    let server = server.restart(&db).await;
    assert_eq!(server.facts(), before);
    assert_eq!(server.pool().active(server.at), 2);
}

#[on_both]
async fn a_current_copy_has_no_news(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(1)).await;
    server.allocate("Ada").await;
    let (_, news) = server.reader.news(&server.position).await.unwrap();
    assert!(matches!(&news, News::Entries(entries) if entries.is_empty()), "{news:?}");
    server.allocate("Bea").await;
    let mut server = server.restart(&db).await;
    // Asserts that no findings are left.
    server.decide(&[]).await;
    server.store.abandon().await;
}

#[on_both]
async fn the_journal_returns_committed_entries(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    let first = server.position;
    let mut committed = Vec::new();
    committed.push(server.run(&[allocate("Ada"), allocate("Bea")]).await.0);
    committed.push(server.run(&[allocate("Cleo")]).await.0);
    server.wait(Duration::from_mins(2));
    committed.push(server.run(&[allocate("Dora")]).await.0);
    committed.push(server.run(&[Command::Clear { pool: PoolId::DEFAULT }]).await.0);
    let mut server = server.restart(&db).await;
    assert_eq!(news(&mut server, &first).await, committed);
    assert_eq!(news(&mut server, &committed[1].position).await, committed[2..]);
}

#[on_both]
async fn a_copy_of_another_history_is_replaced_whole(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    server.allocate("Ada").await;
    server.allocate("Bea").await;
    let mut server = server.restart(&db).await;
    let Position { version, .. } = server.position;
    let lost = [
        Position { batch: BatchId(id()), ..server.position },
        Position { batch: BatchId(id()), version: version - 1, ..server.position },
        Position { batch: BatchId(id()), version: version + 1, ..server.position },
        Position { epoch: 7, ..server.position },
    ];
    for known in lost {
        let begun = server.store.begin(&known).await.unwrap();
        server.store.abandon().await;
        let News::Whole(whole) = begun.news else { panic!("{:?} for {known:?}", begun.news) };
        assert_eq!(facts(&whole.ledger, whole.position, whole.at), server.facts());
    }
}

#[on_both]
async fn what_is_abandoned_is_not_there(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(1)).await;
    let before = server.facts();
    let (entry, _) = server.decide(&[allocate("Ada")]).await;
    server.store.abandon().await;
    assert_eq!(has(&mut server, entry.position).await, Some(false));
    let mut server = server.restart(&db).await;
    assert_eq!(server.facts(), before);
    // Also without a batch, and with one begun twice.
    server.store.abandon().await;
    server.allocate("Bea").await;
}

#[on_both]
async fn the_journal_knows_its_batches(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(1)).await;
    let (first, _) = server.run(&[allocate("Ada")]).await;
    let (second, _) = server.run(&[allocate("Bea")]).await;
    let mut server = server.restart(&db).await;
    assert_eq!(has(&mut server, first.position).await, Some(true));
    assert_eq!(has(&mut server, second.position).await, Some(true));
    let other = Position { batch: BatchId(id()), ..first.position };
    assert_eq!(has(&mut server, other).await, Some(false));
}

#[on_both]
async fn a_lease_may_start_and_end_in_one_batch(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(1)).await;
    let token_id = server.pool().tokens(0).next().unwrap().token.id;
    let release = || release(token_id);
    let before = server.allocate("Ada").await;
    let batch =
        [release(), allocate("Bea"), release(), allocate("Cleo"), release(), allocate("Dora")];
    let (entry, outcomes) = server.run(&batch).await;
    assert_eq!(entry.changes.len(), 6);
    let granted: Vec<Lease> = [1, 3, 5].iter().map(|&i| lease(&outcomes[i])).collect();
    let after = server.facts();
    let server = server.restart(&db).await;
    assert_eq!(server.facts(), after);
    let kept = server.history(token_id).await;
    let ids: Vec<LeaseId> = kept.iter().map(|lease| lease.id).collect();
    assert_eq!(ids, [granted[2].id, granted[1].id, granted[0].id, before.id]);
    assert_eq!(kept[0].end, None);
    assert!(kept[1..].iter().all(|l| l.end.unwrap().reason == EndReason::Released));
}

#[on_both]
async fn every_reason_of_an_end_comes_back(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(1)).await;
    let token_id = server.allocate("evicted").await.token_id;
    server.allocate("released").await;
    server.release(token_id).await;
    server.allocate("expired").await;
    server.wait(Duration::from_mins(5));
    server.allocate("cleared").await;
    server.run(&[Command::Clear { pool: PoolId::DEFAULT }]).await;
    let kept = server.history(token_id).await;
    assert_eq!(kept.len(), 4);
    for lease in &kept {
        let end = lease.end.unwrap();
        assert_eq!(end.reason.as_str(), &*lease.user.name);
        assert_eq!(end.reason == EndReason::Expired, end.at == lease.expires_at);
    }
    assert_eq!(Some(&kept[0]), server.pool().token(token_id).unwrap().latest);
}

#[on_both]
async fn a_second_successor_is_refused(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    let first = server.allocate("Ada").await;
    server.release(first.token_id).await;
    server.allocate("Bea").await;
    let second = server.allocate("Cleo").await;
    assert_eq!(second.previous_fence, first.fence);
    server.release(second.token_id).await;
    let before = server.facts();
    // One that fits, of the free token, and one that would follow `first` as `second` does.
    let (mut entry, _) = server.decide(&[allocate("Dora")]).await;
    let Change::LeaseStarted(fits) = &entry.changes[0] else { panic!("{entry:?}") };
    let (fence, latest) = (fits.fence.plus(1), id());
    entry.changes.push(Change::LeaseStarted(Lease { id: LeaseId(latest), fence, ..second }));
    entry.fence = fence;
    assert_data(server.store.commit(&entry).await);
    // No part of it is kept, and the next batch succeeds.
    assert_eq!(has(&mut server, entry.position).await, Some(false));
    let mut server = server.restart(&db).await;
    assert_eq!(server.facts(), before);
    assert_eq!(server.history(first.token_id).await.len(), 2);
    server.allocate("Dora").await;
}

#[on_both]
async fn a_lease_that_is_over_can_not_end_again(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(1)).await;
    let token = server.allocate("Ada").await.token_id;
    let ended = server.release(token).await;
    let (entry, _) = server.decide(&[allocate("Bea")]).await;
    let changes = [ended.changes, entry.changes].concat();
    assert_data(server.store.commit(&Entry { changes, ..entry }).await);
    assert_eq!(server.history(token).await.len(), 1);
    server.allocate("Bea").await;
}

#[on_both]
async fn a_lease_ends_only_by_its_own_fence(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(1)).await;
    let granted = server.allocate("Ada").await;
    let (mut entry, _) = server.decide(&[Command::Clear { pool: PoolId::DEFAULT }]).await;
    let Some(Change::LeaseEnded { fence, .. }) = entry.changes.last_mut() else {
        panic!("{entry:?}")
    };
    *fence = fence.plus(1);
    assert_data(server.store.commit(&entry).await);
    assert_eq!(server.history(granted.token_id).await, [granted]);
}

#[on_both]
async fn an_entry_is_not_committed_twice(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    let (entry, _) = server.run(&[allocate("Ada")]).await;
    let after = server.facts();
    server.decide(&[]).await;
    assert_data(server.store.commit(&entry).await);
    assert_eq!(server.restart(&db).await.facts(), after);
}

#[on_both]
async fn a_large_batch_is_committed(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(700)).await;
    let first = server.position;
    let commands: Vec<_> = (0..700).map(|i| allocate(&format!("user {i}"))).collect();
    let (granted, _) = server.run(&commands).await;
    let (cleared, _) = server.run(&[Command::Clear { pool: PoolId::DEFAULT }]).await;
    let (again, _) = server.run(&commands_of(&commands)).await;
    let after = server.facts();
    let mut server = server.restart(&db).await;
    assert_eq!(server.facts(), after);
    assert_eq!(server.pool().active(server.at), 700);
    assert_eq!(news(&mut server, &first).await, [granted, cleared, again]);
}

#[on_both]
async fn a_later_epoch_goes_on(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(1)).await;
    server.allocate("Ada").await;
    let before = server.position;
    server.ledger.skip_fences(EPOCH_GAP);
    let (mut entry, _) = server.decide(&[allocate("Bea")]).await;
    entry.position.epoch += 1;
    entry.position.version += EPOCH_GAP;
    server.commit(&entry).await.unwrap();
    assert!(server.ledger.fence() > Fence::new(EPOCH_GAP));
    let after = server.facts();
    let mut server = server.restart(&db).await;
    assert_eq!(server.facts(), after);
    assert_eq!(news(&mut server, &before).await, [entry]);
    server.allocate("Cleo").await;
    assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
}

#[on_both]
async fn old_entries_are_deleted_but_never_the_newest(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(1)).await;
    let mut entries = Vec::new();
    for user in ["Ada", "Bea", "Cleo", "Dora", "Emma"] {
        entries.push(server.run(&[allocate(user)]).await.0);
    }
    // The first entries and Ada's are more than three versions behind Emma's.
    assert_eq!(server.housekeeper.prune(Timestamp::MIN, 3).await.unwrap(), 2 + BESIDE);
    assert_eq!(server.housekeeper.prune(Timestamp::MIN, 3).await.unwrap(), 0);
    let mut server = server.restart(&db).await;
    assert_eq!(news(&mut server, &entries[1].position).await, entries[2..]);
    let begun = server.store.begin(&entries[0].position).await.unwrap();
    server.store.abandon().await;
    assert!(matches!(begun.news, News::Whole(_)), "what is gone can't be told one by one");
    let far = server.at.after(Duration::from_hours(1));
    assert_eq!(server.housekeeper.prune(far, 0).await.unwrap(), 3);
    assert_eq!(server.housekeeper.prune(far, 0).await.unwrap(), 0);
    let before = server.facts();
    let mut server = server.restart(&db).await;
    assert_eq!(server.facts(), before);
    assert_eq!(has(&mut server, entries[4].position).await, Some(true));
    assert_eq!(has(&mut server, entries[0].position).await, None, "unknown by then");
    assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
}

#[on_both]
async fn entries_are_deleted_by_age(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(1)).await;
    let mut entries = Vec::new();
    for user in ["Ada", "Bea", "Cleo", "Dora"] {
        server.wait(Duration::from_secs(1));
        entries.push(server.run(&[allocate(user)]).await.0);
    }
    assert_eq!(server.housekeeper.prune(entries[2].at, 1000).await.unwrap(), 3 + BESIDE);
    let mut server = server.restart(&db).await;
    assert_eq!(news(&mut server, &entries[2].position).await, entries[3..]);
}

/// The same commands with new ids.
fn commands_of(commands: &[Command]) -> Vec<Command> {
    commands.iter().map(|_| allocate("someone")).collect()
}

async fn news(server: &mut Server, known: &Position) -> Vec<Entry> {
    let begun = server.store.begin(known).await.unwrap();
    server.store.abandon().await;
    match begun.news {
        News::Entries(entries) => entries,
        News::Whole(_) => panic!("the journal still has all entries after {known:?}"),
    }
}

async fn has(server: &mut Server, entry: Position) -> Option<bool> {
    server.store.begin(&server.position).await.unwrap();
    let has = server.store.has(&entry).await.unwrap();
    server.store.abandon().await;
    has
}

#[on_both]
async fn an_audit_finds_nothing_wrong_after_all_this(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(3)).await;
    for round in 0..20 {
        let commands: Vec<_> = (0..=round % 3).map(|i| allocate(&format!("user {i}"))).collect();
        server.run(&commands).await;
        server.wait(Duration::from_secs(7));
        if round % 4 == 0 {
            let token = server.pool().tokens(1).next().unwrap().token.id;
            server.release(token).await;
        }
    }
    assert_eq!(db.database().audit().await.unwrap(), [""; 0], "while a server runs");
    drop(server);
    assert_eq!(db.database().audit().await.unwrap(), [""; 0], "while none runs");
    Server::start(&db, ANY).await;
}
