use std::collections::HashSet;
use std::time::Duration;

use pool::{Change, Fence, Policy, PoolRecord};
use store::{News, Wanted};
use testbed::on_both;

use super::server::{ANY, MINUTE, Server, refusal, tokens};
use super::{AnyDb as _, EmptyDb};

const HOUR: Policy = Policy::of_lease(Duration::from_hours(1));

#[on_both]
async fn a_new_pool_is_as_wanted(db: EmptyDb) {
    let opened = db.database().open(tokens(5)).await.unwrap();
    assert!(opened.snapshot.at <= opened.now);
    let server = Server::of(opened);
    let (pool, position, at) = (server.pool(), server.position, server.at);
    assert_eq!((pool.size(), pool.policy(), server.ledger.fence()), (5, MINUTE, Fence::NONE));
    assert_eq!((position.epoch, position.version), (1, 1));
    assert_eq!(pool.active(at), 0);
    let ids: HashSet<_> = pool.tokens(0).map(|view| view.token.id).collect();
    let values: HashSet<_> = pool.tokens(0).map(|view| view.token.value.as_str()).collect();
    assert_eq!((ids.len(), values.len()), (5, 5));
    assert!(pool.tokens(0).all(|view| view.token.inserted_at == at));
}

#[on_both]
async fn a_new_pool_has_100_tokens_and_2_minutes_unless_told_otherwise(db: EmptyDb) {
    let server = Server::start(&db, ANY).await;
    let pool = server.pool();
    assert_eq!((pool.size(), pool.policy().lease), (100, Duration::from_mins(2)));
}

#[on_both]
async fn a_pool_is_taken_as_it_is_when_nothing_is_wanted(db: EmptyDb) {
    let server = Server::start(&db, tokens(3)).await;
    let before = server.facts();
    let server = server.restart(&db).await;
    assert_eq!(server.facts(), before);
    drop(server);
    assert_eq!(Server::start(&db, tokens(3)).await.facts(), before);
}

#[on_both]
async fn another_size_is_refused(db: EmptyDb) {
    let before = Server::start(&db, tokens(3)).await.facts();
    let sentence = refusal(db.database().open(tokens(4)).await);
    assert!(sentence.contains("never created or discarded"), "{sentence}");
    assert_eq!(Server::start(&db, ANY).await.facts(), before);
}

#[on_both]
async fn another_policy_is_refused_unless_it_is_an_update(db: EmptyDb) {
    let before = Server::start(&db, tokens(3)).await.facts();
    let wanted = Wanted { size: None, policy: HOUR.into(), update_policy: false };
    let sentence = refusal(db.database().open(wanted).await);
    assert!(sentence.contains("--update-policy"), "{sentence}");
    assert_eq!(Server::start(&db, ANY).await.facts(), before);
    let server = Server::start(&db, Wanted { update_policy: true, ..wanted }).await;
    assert_eq!(server.pool().policy(), HOUR);
    let updated = server.facts();
    drop(server);
    assert_eq!(Server::start(&db, wanted).await.facts(), updated, "and it stays");
}

#[on_both]
async fn an_update_of_the_policy_is_in_the_journal(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(3)).await;
    server.allocate("Ada").await;
    let (before, pool) = (server.position, server.ledger.clone());
    drop(server);
    let wanted = Wanted { size: None, policy: HOUR.into(), update_policy: true };
    let mut server = Server::start(&db, wanted).await;
    let begun = server.store.begin(&before).await.unwrap();
    server.store.abandon().await;
    let News::Entries(entries) = begun.news else { panic!("{:?}", begun.news) };
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].position, server.position);
    assert_eq!(server.position.version, before.version + 1);
    let record = server.pool().record().clone();
    assert_eq!(
        record,
        PoolRecord { policy: HOUR, ..pool.pool(record.id).unwrap().record().clone() }
    );
    assert_eq!(entries[0].changes, [Change::PoolChanged(record)]);
    assert_eq!(entries[0].fence, pool.fence());
}

#[on_both]
async fn two_migrations_at_once_are_one(db: EmptyDb) {
    let (one, other) = (db.database(), db.database());
    let (one, other) = tokio::join!(one.migrate(), other.migrate());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert!(one.is_empty() != other.is_empty(), "{one:?} and {other:?}");
    assert_eq!(db.database().migrate().await.unwrap(), [""; 0]);
}

#[on_both]
async fn a_description_shows_no_secret(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    server.allocate("Ada").await;
    let facts = db.database().describe().await.unwrap();
    assert!(facts.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()), "{facts:?}");
    for view in server.pool().tokens(0) {
        let value = view.token.value.as_str();
        assert!(facts.iter().all(|(_, said)| !said.contains(value)));
    }
}
