use std::time::Duration;

use pool::{EndReason, Fence, LeaseId, TokenId};
use store::LeaseRecord;
use testbed::on_both;

use super::EmptyDb;
use super::server::{Server, allocate, id, lease, tokens};

#[on_both]
async fn history_is_read_newest_first_a_page_at_a_time(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    let mut granted = Vec::new();
    for number in 0..14 {
        granted.push(server.allocate(&format!("user {number}")).await);
    }
    let token = granted[0].token_id;
    granted.retain(|lease| lease.token_id == token);
    granted.reverse();
    assert_eq!(granted.len(), 7);
    let all = server.records(token).await;
    let of = |records: &[LeaseRecord]| records.iter().map(|r| r.lease.id).collect::<Vec<_>>();
    assert_eq!(of(&all), granted.iter().map(|lease| lease.id).collect::<Vec<_>>());
    let mut before = None;
    for rest in [&all[..3], &all[3..6], &all[6..]] {
        let page = server.reader.history(token, before, 3).await.unwrap();
        assert_eq!(page, rest);
        before = page.last().map(|record| record.lease.fence);
    }
    assert_eq!(server.reader.history(token, before, 3).await.unwrap(), []);
    // A fence of another token, between two of this one.
    let between = Fence::new(all[1].lease.fence.get() + 1);
    assert_eq!(server.reader.history(token, Some(between), 2).await.unwrap(), all[1..3]);
    assert_eq!(server.history(TokenId(id())).await, []);
}

#[on_both]
async fn history_shows_leases_as_they_are_stored(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(1)).await;
    let granted = server.allocate("Ada").await;
    assert_eq!(server.history(granted.token_id).await, std::slice::from_ref(&granted));
    server.wait(Duration::from_hours(1));
    server.decide(&[]).await;
    server.store.abandon().await;
    assert_eq!(server.history(granted.token_id).await, [granted], "its end is not written yet");
}

#[on_both]
async fn names_come_back_as_they_were_sent(db: EmptyDb) {
    let longest = "\u{10348}".repeat(255);
    let names = [
        "O'Reilly \"the\" \\ `quoted`; drop table leases; --",
        "👩🏽‍🚀 \u{1F1E7}\u{1F1F7}",
        "\u{202E}مرحبا\u{202C} שלום",
        "e\u{301} and \u{e9} differ",
        "\t line\nbreak\r\n and \u{1} \u{7f} \u{feff} \u{ffff}",
        " spaces around ",
        "{a,NULL,\"b\"}",
        "NULL",
        "0198C1B2-7A43-7CC0-8F0E-0123456789AB",
        &longest,
    ];
    let mut server = Server::start(&db, tokens(names.len())).await;
    let commands: Vec<_> = names.iter().map(|name| allocate(name)).collect();
    server.run(&commands).await;
    let before = server.facts();
    let server = server.restart(&db).await;
    assert_eq!(server.facts(), before);
    for (view, name) in server.pool().tokens(0).zip(names) {
        assert_eq!(&*view.latest.unwrap().user.name, name);
    }
}

#[on_both]
async fn a_lease_is_found_by_its_id(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    let mut granted = Vec::new();
    for user in ["Ada", "Bea", "Cleo"] {
        granted.push(server.allocate(user).await);
    }
    server.release(granted[1].token_id).await;
    let server = server.restart(&db).await;
    for lease in &granted {
        let records = server.records(lease.token_id).await;
        let expected = records.iter().find(|record| record.lease.id == lease.id).unwrap();
        assert_eq!(server.reader.lease(lease.id).await.unwrap().as_ref(), Some(expected));
    }
    assert_eq!(server.reader.lease(LeaseId(id())).await.unwrap(), None);
    let running = server.reader.lease(granted[2].id).await.unwrap().unwrap();
    assert_eq!((running.lease, running.evicted_by), (granted[2].clone(), None));
}

#[on_both]
async fn leases_are_found_by_their_ids(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(20)).await;
    let commands: Vec<_> = (0..3_000).map(|i| allocate(&format!("user {i}"))).collect();
    let mut granted = Vec::new();
    for batch in commands.chunks(20) {
        let (_, outcomes) = server.run(batch).await;
        granted.extend(outcomes.iter().map(lease));
    }
    let unknown = [LeaseId(id()), LeaseId(id())];
    let asked: Vec<_> = granted.iter().map(|lease| lease.id).chain(unknown).collect();
    let mut found = server.reader.leases(&asked).await.unwrap();
    found.sort_by_key(|lease| lease.fence);
    assert_eq!(found.len(), granted.len());
    for (found, granted) in found.iter().zip(&granted) {
        assert_eq!(
            (found.id, found.fence, &found.user),
            (granted.id, granted.fence, &granted.user)
        );
    }
    assert!(found[..2_980].iter().all(|l| l.end.unwrap().reason == EndReason::Evicted));
    assert_eq!(found[2_980..], granted[2_980..]);
    assert_eq!(server.reader.leases(&unknown).await.unwrap(), []);
    assert_eq!(server.reader.leases(&[]).await.unwrap(), []);
}

#[on_both]
async fn who_was_evicted_learns_for_whom(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(1)).await;
    let ada = server.allocate("Ada").await;
    let bea = server.allocate("Bea").await;
    server.release(bea.token_id).await;
    let cleo = server.allocate("Cleo").await;
    server.wait(Duration::from_mins(5));
    let dora = server.allocate("Dora").await;
    let server = server.restart(&db).await;
    let records = server.records(ada.token_id).await;
    let evicted_by: Vec<_> = records.iter().map(|r| (r.lease.id, r.evicted_by)).collect();
    let expected = [(dora.id, None), (cleo.id, None), (bea.id, None), (ada.id, Some(bea.id))];
    assert_eq!(
        evicted_by, expected,
        "only who was evicted, though all but the last had a successor"
    );
    assert_eq!(server.reader.lease(ada.id).await.unwrap().unwrap().evicted_by, Some(bea.id));
}
