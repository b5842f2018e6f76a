use pool::{Change, Policy, PolicyPatch, PoolRecord, WhenFull};
use store::Wanted;
use testbed::on_both;

use super::server::{ANY, MINUTE, Server, refusal, tokens, under};
use super::{AnyDb as _, EmptyDb};

const STRICT: Policy = Policy::EXAMPLE;

#[on_both]
async fn a_new_pool_keeps_the_whole_policy(db: EmptyDb) {
    let server = Server::start(&db, under(STRICT, 2)).await;
    assert_eq!(server.pool().policy(), STRICT);
    assert_eq!(server.restart(&db).await.pool().policy(), STRICT);
}

#[on_both]
async fn each_rule_is_updated_alone(db: EmptyDb) {
    let mut policy = Policy::DEFAULT;
    assert_eq!(Server::start(&db, under(policy, 2)).await.pool().policy(), policy);
    // Each field alone, and then those that can be unset again.
    let fields = Policy::FIELDS.iter();
    let unset =
        fields.clone().filter(|field| field.unset.is_some()).map(|field| (field, Policy::DEFAULT));
    for (field, values) in fields.map(|field| (field, STRICT)).chain(unset) {
        let mut change = PolicyPatch::NONE;
        field.read(&field.show(&values), &mut change).unwrap();
        let wanted = Wanted { policy: change, ..ANY };
        let sentence = refusal(db.database().open(wanted).await);
        assert!(sentence.contains("--update-policy"), "{sentence}");
        let updated = Wanted { update_policy: true, ..wanted };
        let updated = Server::start(&db, updated).await.pool().policy();
        assert_ne!(updated, policy, "{change:?}");
        policy = change.apply(policy);
        assert_eq!(updated, policy);
        assert_eq!(Server::start(&db, wanted).await.pool().policy(), policy);
    }
}

#[on_both]
async fn an_update_of_every_rule_is_in_the_journal(db: EmptyDb) {
    let before = Server::start(&db, tokens(2)).await.position;
    let wanted = Wanted { update_policy: true, ..under(STRICT, 2) };
    let server = Server::start(&db, wanted).await;
    let (epoch, version) = (before.epoch, before.version + 1);
    let entries = server.reader.journal(epoch, version, 9).await.unwrap().unwrap();
    assert_eq!(entries.len(), 1);
    let record = server.pool().record().clone();
    assert_eq!(record.policy, STRICT);
    assert_eq!(entries[0].changes, [Change::PoolChanged(record)]);
    assert_eq!(entries[0].position, server.position);
}

#[on_both]
async fn a_batch_may_change_the_policy(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    let (mut entry, _) = server.decide(&[]).await;
    let wait = Policy { when_full: WhenFull::Wait, ..MINUTE };
    let record = |policy| PoolRecord { policy, ..server.pool().record().clone() };
    entry.changes = [wait, STRICT].map(|policy| Change::PoolChanged(record(policy))).into();
    server.commit(&entry).await.unwrap();
    assert_eq!(server.restart(&db).await.pool().policy(), STRICT);
}
