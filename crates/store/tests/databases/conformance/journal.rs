use std::time::Duration;

use pool::{Allocation, Command, HolderCondition, Policy, PoolId, Timestamp, WhenFull};
use store::{EPOCH_GAP, Entry, Position};
use testbed::on_both;

use super::EmptyDb;
use super::server::{BESIDE, MINUTE, Server, allocate, allocation, lease, release, tokens, under};

async fn journal(server: &Server, from: &Position, limit: usize) -> Option<Vec<Entry>> {
    server.reader.journal(from.epoch, from.version, limit).await.unwrap()
}

#[on_both]
async fn the_journal_is_read_from_any_entry_on(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    let first = server.position;
    let mut entries = Vec::new();
    for user in ["Ada", "Bea", "Cleo", "Dora"] {
        entries.push(server.run(&[allocate(user)]).await.0);
    }
    let server = server.restart(&db).await;
    for (i, entry) in entries.iter().enumerate() {
        let read = journal(&server, &entry.position, 9).await.unwrap();
        assert_eq!(read, entries[i..]);
        assert_eq!(journal(&server, &entry.position, 1).await.unwrap(), entries[i..=i]);
    }
    assert_eq!(journal(&server, &entries[0].position, 3).await.unwrap(), entries[..3]);
    let all = journal(&server, &first, 9).await.unwrap();
    assert_eq!((all[0].position, &all[1..]), (first, &entries[..]));
}

#[on_both]
async fn an_entry_that_is_not_there_begins_nothing(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    server.allocate("Ada").await;
    let newest = server.position;
    for (epoch, version) in [
        (newest.epoch, newest.version + 1),
        (newest.epoch, 0),
        (newest.epoch + 1, newest.version),
        (newest.epoch - 1, newest.version),
        (i64::MAX, i64::MAX),
        (i64::MIN, i64::MIN),
    ] {
        let read = server.reader.journal(epoch, version, 9).await.unwrap();
        assert_eq!(read, None, "{epoch}-{version}");
    }
    // Older than the journal's oldest entry.
    server.allocate("Bea").await;
    assert_eq!(server.housekeeper.prune(Timestamp::MIN, 0).await.unwrap(), 2 + BESIDE);
    assert_eq!(journal(&server, &newest, 9).await, None);
    assert_eq!(journal(&server, &server.position, 9).await.unwrap().len(), 1);
}

#[on_both]
async fn the_journal_goes_on_in_the_next_epoch(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(1)).await;
    let (before, _) = server.run(&[allocate("Ada")]).await;
    server.ledger.skip_fences(EPOCH_GAP);
    let (mut entry, _) = server.decide(&[allocate("Bea")]).await;
    entry.position.epoch += 1;
    entry.position.version += EPOCH_GAP;
    server.commit(&entry).await.unwrap();
    let server = server.restart(&db).await;
    assert_eq!(
        journal(&server, &before.position, 9).await.unwrap(),
        [before.clone(), entry.clone()]
    );
    let old_epoch = Position { epoch: before.position.epoch, ..entry.position };
    assert_eq!(journal(&server, &old_epoch, 9).await, None);
}

#[on_both]
async fn every_kind_of_change_comes_back_from_the_journal(db: EmptyDb) {
    let policy =
        Policy { max_lease: Some(Duration::from_mins(3)), when_full: WhenFull::Wait, ..MINUTE };
    let mut server = Server::start(&db, under(policy, 1)).await;
    let (entry, outcomes) = server.run(&[allocate("Ada")]).await;
    let (mut entries, lease) = (vec![entry], lease(&outcomes[0]));
    server.wait(Duration::from_secs(3));
    let ticket = allocation("Bea");
    let wait =
        Command::Allocate(Allocation { wait: Some(Duration::from_secs(9)), ..ticket.clone() });
    let batches = [
        vec![Command::Renew { lease_id: lease.id }, wait, Command::Heartbeat],
        vec![Command::Withdraw { lease_id: ticket.lease_id }],
        vec![Command::Release {
            pool: PoolId::DEFAULT,
            token_id: lease.token_id,
            if_held: HolderCondition { lease_id: Some(lease.id), user: None },
        }],
        vec![allocate("Cleo"), release(lease.token_id)],
        vec![allocate("Dora")],
        vec![Command::Clear { pool: PoolId::DEFAULT }],
    ];
    for commands in batches {
        entries.push(server.run(&commands).await.0);
    }
    assert_eq!(entries[1].changes.len(), 3);
    let server = server.restart(&db).await;
    assert_eq!(journal(&server, &entries[0].position, 99).await.unwrap(), entries);
}
