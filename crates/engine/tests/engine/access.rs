//! Commands of API keys, on both databases.

use std::sync::Arc;
use std::time::Duration;

use engine::{
    AllocateRequest, AuditQuery, BatchEvents, Error, EventKind, Handle, LeaseOutcome, plain_key,
};
use pool::{
    AccessCommand, AccessDone, AccessRefusal, Action, ApiKey, ApiKeyId, EndReason, Forbidden,
    IdempotencyKey, KeyName, Patterns, PlainKey, Plan, Policy, PoolId, PoolName, PoolWanted,
    Refusal, Rights, SecretHash, Secrets, Sender, Timestamp, WhenFull,
};
use testbed::{eventually, on_both};
use tokio::time::{Instant, timeout};

use crate::support::{TestDb, TestEngine, user_named};

const LONG: Duration = Duration::from_mins(2);

fn unwritten(plain: &PlainKey, name: &str, rights: Rights) -> ApiKey {
    ApiKey {
        id: plain.id(),
        name: KeyName::new(name).unwrap(),
        rights,
        pools: Patterns::everything(),
        users: Patterns::everything(),
        secrets: Secrets::new(plain.hash()),
        created_at: Timestamp::MIN,
        created_by: None,
        expires_at: None,
        revoked_at: None,
        max_requests_per_second: None,
        max_leases: None,
    }
}

/// Creates a key with these rights, and returns it with its secret.
async fn key(handle: &Handle, name: &str, rights: Rights) -> PlainKey {
    let plain = plain_key();
    let create = AccessCommand::Create(unwritten(&plain, name, rights));
    let done = handle.change_access(create).await.unwrap();
    assert!(matches!(done, Ok(AccessDone::Key(_))), "{done:?}");
    plain
}

async fn revoke(handle: &Handle, id: ApiKeyId) {
    let done = handle.change_access(AccessCommand::Revoke { id }).await.unwrap();
    assert!(matches!(done, Ok(AccessDone::Key(_))), "{done:?}");
}

/// An allocation that waits.
fn patient(seconds: u64) -> AllocateRequest {
    let wait = Some(Duration::from_secs(seconds));
    AllocateRequest { wait, ..user_named("Ada").into() }
}

fn wait_policy() -> Policy {
    Policy { when_full: WhenFull::Wait, ..Policy::of_lease(LONG) }
}

#[on_both]
async fn a_key_acts_within_its_rights(db: TestDb) {
    let engine = db.start(2, LONG).await;
    let root = key(&engine.handle, "root", Rights::Admin).await;
    let reader = key(&engine.handle, "reader", Rights::Read).await;
    let acting = engine.handle.acting(Some(root.id()));
    let lease = acting.allocate(user_named("Ada")).await.unwrap().unwrap().grant.lease;
    assert_eq!(lease.by, Some(root.id()));
    let weak = engine.handle.acting(Some(reader.id()));
    let refused = weak.allocate(user_named("Ada")).await;
    assert_eq!(refused, Err(Error::Forbidden(Forbidden::Right(Rights::Use))));
    let refused = weak.renew(lease.id).await;
    assert_eq!(refused, Err(Error::Forbidden(Forbidden::Right(Rights::Use))));
    let refused = weak.clear(PoolId::DEFAULT).await;
    assert_eq!(refused, Err(Error::Forbidden(Forbidden::Right(Rights::Operate))));
    let create = AccessCommand::Create(unwritten(&plain_key(), "new", Rights::Read));
    let refused = weak.change_access(create.clone()).await;
    assert_eq!(refused, Err(Error::Forbidden(Forbidden::Right(Rights::Admin))));
    assert!(matches!(acting.change_access(create.clone()).await, Ok(Ok(AccessDone::Key(_)))));
    let again = acting.change_access(create).await.unwrap();
    assert_eq!(again, Err(AccessRefusal::NameTaken));
    let ended = acting.release_lease(lease.id).await.unwrap();
    let LeaseOutcome::Done { lease: ended, .. } = ended else { panic!("{ended:?}") };
    assert_eq!(ended.end.map(|end| (end.reason, end.by)), Some((EndReason::Released, lease.by)));
    // After a restart, too.
    engine.stop().await;
    let engine = db.start(2, LONG).await;
    let stored = engine.handle.lease(lease.id).await.unwrap().unwrap().lease;
    assert_eq!(stored, ended);
    let found = engine.handle.key_of(&root).await.unwrap().unwrap();
    assert_eq!((found.id, &*found.name), (root.id(), "root"));
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn only_the_whole_secret_is_the_key(db: TestDb) {
    let engine = db.start(1, LONG).await;
    let root = key(&engine.handle, "root", Rights::Admin).await;
    let wrong = plain_key().with_id(root.id());
    assert!(engine.handle.key_of(&root).await.unwrap().is_some());
    assert!(engine.handle.key_of(&wrong).await.unwrap().is_none());
    assert!(engine.handle.key_of(&plain_key()).await.unwrap().is_none());
    let rotated = plain_key().with_id(root.id());
    let (id, hash) = (root.id(), rotated.hash());
    let rotate = AccessCommand::Rotate { id, hash, keep_old: Duration::ZERO };
    assert!(engine.handle.change_access(rotate).await.unwrap().is_ok());
    assert!(engine.handle.key_of(&root).await.unwrap().is_none());
    assert!(engine.handle.key_of(&rotated).await.unwrap().is_some());
    engine.stop().await;
}

#[on_both]
async fn a_key_that_is_revoked_while_it_waits_gets_no_token(db: TestDb) {
    let engine = db.start_policy(1, wait_policy()).await;
    key(&engine.handle, "root", Rights::Admin).await;
    let [ci, other] =
        [key(&engine.handle, "ci", Rights::Use).await, key(&engine.handle, "b", Rights::Use).await];
    let holder = engine.allocate("holder").await.lease;
    let waits = |of: &PlainKey| {
        let handle = engine.handle.acting(Some(of.id()));
        tokio::spawn(async move { handle.allocate(patient(30)).await })
    };
    let first = waits(&ci);
    eventually("the first waits", || async { engine.waiting().await == 1 }).await;
    let second = waits(&other);
    eventually("both wait", || async { engine.waiting().await == 2 }).await;
    let mut changes = engine.handle.access_changes();
    changes.mark_unchanged();
    revoke(&engine.handle, ci.id()).await;
    timeout(Duration::from_secs(1), changes.changed()).await.unwrap().unwrap();
    engine.release(holder.token_id).await;
    let refused = first.await.unwrap();
    assert_eq!(refused, Err(Error::Forbidden(Forbidden::Key)));
    let granted = second.await.unwrap().unwrap().unwrap().grant.lease;
    assert_eq!((granted.by, granted.token_id), (Some(other.id()), holder.token_id));
    eventually("the queue is empty", || async { engine.waiting().await == 0 }).await;
    engine.stop().await;
    db.audit().await;
}

/// The revocation, the end of the lease and the allocations are in one batch or in several.
#[on_both]
async fn no_ticket_of_a_revoked_key_holds_up_the_others(db: TestDb) {
    let engine = db.start_policy(1, wait_policy()).await;
    key(&engine.handle, "root", Rights::Admin).await;
    let other = key(&engine.handle, "other", Rights::Use).await;
    for round in 0..10 {
        let ci = key(&engine.handle, &format!("ci-{round}"), Rights::Use).await;
        let holder = engine.allocate("holder").await.lease;
        let mut tasks = Vec::new();
        for number in 0..6 {
            let acting = if number % 2 == 0 { &ci } else { &other };
            let handle = engine.handle.acting(Some(acting.id()));
            // Some tickets are kept.
            let name = format!("key {round} {number}");
            let key = (number > 3).then(|| IdempotencyKey::new(&name).unwrap());
            let asked = AllocateRequest { key, ..patient(30) };
            let all = engine.handle.clone();
            let task = tokio::spawn(async move {
                let lease = handle.allocate(asked).await?.unwrap().grant.lease;
                all.release_lease(lease.id).await.map(drop)
            });
            tasks.push((acting.id(), task));
        }
        let release = engine.handle.release_lease(holder.id);
        let ((), released) = tokio::join!(revoke(&engine.handle, ci.id()), release);
        released.unwrap();
        for (acting, task) in tasks {
            if let Err(error) = task.await.unwrap() {
                assert_eq!((error, acting), (Error::Forbidden(Forbidden::Key), ci.id()));
            }
        }
        eventually("nothing waits", || async { engine.waiting().await == 0 }).await;
    }
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn a_key_has_a_limit_of_leases(db: TestDb) {
    let engine = db.start(3, LONG).await;
    let root = key(&engine.handle, "root", Rights::Admin).await;
    let plain = plain_key();
    let limited = ApiKey { max_leases: Some(1), ..unwritten(&plain, "ci", Rights::Use) };
    let acting = engine.handle.acting(Some(root.id()));
    assert!(acting.change_access(AccessCommand::Create(limited)).await.unwrap().is_ok());
    let acting = engine.handle.acting(Some(plain.id()));
    let lease = acting.allocate(user_named("Ada")).await.unwrap().unwrap().grant.lease;
    let refused = acting.allocate(user_named("Bea")).await.unwrap();
    assert_eq!(refused, Err(Refusal::ApiKeyLimit { limit: 1 }));
    engine.stop().await;
    let engine = db.start(3, LONG).await;
    let acting = engine.handle.acting(Some(plain.id()));
    let refused = acting.allocate(user_named("Bea")).await.unwrap();
    assert_eq!(refused, Err(Refusal::ApiKeyLimit { limit: 1 }), "after a restart, too");
    acting.release_lease(lease.id).await.unwrap();
    acting.allocate(user_named("Bea")).await.unwrap().unwrap();
    engine.stop().await;
}

#[on_both]
async fn leases_of_other_pools_do_not_exist_for_a_key(db: TestDb) {
    let engine = db.start(1, LONG).await;
    key(&engine.handle, "root", Rights::Admin).await;
    let plain = plain_key();
    let pools = Patterns::new(["other"]).unwrap();
    let elsewhere = ApiKey { pools, ..unwritten(&plain, "elsewhere", Rights::Admin) };
    let create = AccessCommand::Create(elsewhere);
    assert!(engine.handle.change_access(create).await.unwrap().is_ok());
    let [old, new] = [engine.allocate("Ada").await.lease, engine.allocate("Bea").await.lease];
    let acting = engine.handle.acting(Some(plain.id()));
    let refused = acting.release_lease(new.id).await;
    assert_eq!(refused, Err(Error::Forbidden(Forbidden::Pool)));
    for outcome in [acting.release_lease(old.id).await, acting.renew(old.id).await] {
        assert_eq!(outcome, Ok(LeaseOutcome::Unknown));
    }
    let over = engine.handle.renew(old.id).await.unwrap();
    assert!(matches!(over, LeaseOutcome::Over { .. }), "{over:?}");
    engine.stop().await;
}

#[on_both]
async fn sessions_and_codes_outlive_a_restart(db: TestDb) {
    let engine = db.start(1, LONG).await;
    let root = key(&engine.handle, "root", Rights::Admin).await;
    let acting = engine.handle.acting(Some(root.id()));
    let [cookie, code] = ["cookie", "code"].map(SecretHash::of);
    for (hash, is_code) in [(cookie, false), (code, true)] {
        let start = AccessCommand::StartSession { hash, length: LONG, is_code };
        assert!(acting.change_access(start).await.unwrap().is_ok());
    }
    engine.stop().await;
    let engine = db.start(1, LONG).await;
    let (session, owner) = engine.handle.session_of(&cookie).await.unwrap().unwrap();
    assert_eq!((session.key, owner.id), (root.id(), root.id()));
    assert!(engine.handle.session_of(&SecretHash::of("other")).await.unwrap().is_none());
    let redeem = AccessCommand::Redeem { code, hash: SecretHash::of("new"), length: LONG };
    assert!(engine.handle.change_access(redeem.clone()).await.unwrap().is_ok());
    let again = engine.handle.change_access(redeem).await.unwrap();
    assert_eq!(again, Err(AccessRefusal::UnknownCode));
    engine.handle.change_access(AccessCommand::EndSession { hash: cookie }).await.unwrap().unwrap();
    assert!(engine.handle.session_of(&cookie).await.unwrap().is_none());
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn events_and_the_audit_log_name_the_key(db: TestDb) {
    let engine = db.start(1, LONG).await;
    let root = key(&engine.handle, "root", Rights::Admin).await;
    let [acting, plain] = [Some(root.id()), None].map(|key| engine.handle.acting(key));
    let mut events = engine.handle.events();
    let after = engine.handle.read(|view| view.stamp).await.unwrap();
    let pool = |name| {
        let pools = vec![PoolWanted::new(PoolName::new(name).unwrap())];
        Plan { pools, ..Plan::default() }
    };
    acting.apply(pool("by-key")).await.unwrap().unwrap();
    plain.apply(pool("without")).await.unwrap().unwrap();
    let lease = acting.allocate(user_named("Ada")).await.unwrap().unwrap().grant.lease;
    plain.release_lease(lease.id).await.unwrap();
    let by = |events: &BatchEvents| -> Vec<(&'static str, Option<ApiKeyId>)> {
        let BatchEvents::Events(events) = events else { panic!("{events:?}") };
        let kind = |kind: &EventKind| match kind {
            EventKind::Lease(_) => "lease",
            EventKind::Pool(_) => "pool",
            EventKind::Token(_) => "token",
        };
        events.iter().map(|event| (kind(&event.what), event.by)).collect()
    };
    let key = Some(root.id());
    let expected = [("pool", key), ("pool", None), ("lease", key), ("lease", None)];
    let mut live = Vec::new();
    while live.len() < expected.len() {
        let batch = timeout(Duration::from_secs(9), events.recv()).await.unwrap().unwrap();
        live.extend(by(&batch.happened));
    }
    assert_eq!(live, expected);
    let recorded =
        engine.handle.journal(after.epoch, after.version + 1, 99).await.unwrap().unwrap();
    let recorded: Vec<_> = recorded.iter().flat_map(|batch| by(&batch.happened)).collect();
    assert_eq!(recorded, expected);
    let query = AuditQuery { action: Some(Action::PoolsChanged), ..AuditQuery::default() };
    let entries = engine.handle.audit(&query, 2).await.unwrap();
    let named = |entry: &engine::AuditEntry| {
        let actor = entry.act.actor.as_ref().map(|actor| (actor.id, actor.name.to_string()));
        (actor, entry.act.pool.as_ref().map(ToString::to_string))
    };
    let root = (root.id(), "root".to_owned());
    let expected = [(None, Some("without".to_owned())), (Some(root), Some("by-key".to_owned()))];
    assert_eq!(entries.iter().map(named).collect::<Vec<_>>(), expected);
    engine.stop().await;
}

#[on_both]
async fn the_last_use_of_a_key_outlives_a_restart(db: TestDb) {
    let engine = db.start(1, LONG).await;
    let root = key(&engine.handle, "root", Rights::Admin).await;
    let idle = key(&engine.handle, "idle", Rights::Read).await;
    let ids = [root.id(), idle.id()];
    assert!(engine.handle.last_used(&ids).await.unwrap().is_empty());
    let before = engine.handle.read(|view| view.now).await.unwrap();
    engine.handle.key_used(root.id());
    let used = engine.handle.last_used(&ids).await.unwrap();
    assert_eq!(used.len(), 1);
    assert!(used[&root.id()] >= before, "at once");
    engine.stop().await;
    let engine = db.start(1, LONG).await;
    assert_eq!(engine.handle.last_used(&ids).await.unwrap(), used);
    engine.stop().await;
}

async fn two_on_postgres() -> (TestDb, TestEngine, TestEngine) {
    let db: TestDb = testbed::TestDb::postgres().await.into();
    let engines = (db.start(2, LONG).await, db.start(2, LONG).await);
    (db, engines.0, engines.1)
}

#[tokio::test]
async fn another_server_knows_a_new_key_at_once() {
    let (_db, one, two) = two_on_postgres().await;
    for number in 0..20 {
        let name = format!("key-{number}");
        let plain = key(&one.handle, &name, Rights::Admin).await;
        let found = two.handle.key_of(&plain).await.unwrap();
        assert_eq!(found.map(|key| key.name.to_string()), Some(name));
        let acting = one.handle.acting(Some(plain.id()));
        let hash = SecretHash::of(&format!("cookie {number}"));
        let start = AccessCommand::StartSession { hash, length: LONG, is_code: false };
        acting.change_access(start).await.unwrap().unwrap();
        assert!(two.handle.session_of(&hash).await.unwrap().is_some());
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn an_idle_server_learns_of_a_revocation_within_a_second() {
    let (_db, one, two) = two_on_postgres().await;
    key(&one.handle, "root", Rights::Admin).await;
    for number in 0..5 {
        let plain = key(&one.handle, &format!("ci-{number}"), Rights::Use).await;
        assert!(two.handle.key_of(&plain).await.unwrap().is_some());
        let mut changes = two.handle.access_changes();
        changes.mark_unchanged();
        let asked = Instant::now();
        revoke(&one.handle, plain.id()).await;
        timeout(Duration::from_secs(5), changes.changed()).await.unwrap().unwrap();
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        let found = two.handle.access(|access, _| access.key(plain.id()).map(Arc::clone));
        assert_eq!(found, Some(None), "without a query");
        assert!(two.handle.key_of(&plain).await.unwrap().is_none());
        let refused = two.handle.acting(Some(plain.id())).allocate(user_named("Ada")).await;
        assert_eq!(refused, Err(Error::Forbidden(Forbidden::Key)));
    }
    one.stop().await;
    two.stop().await;
}

/// The other server decides on the newest state, even if it has not received it yet.
#[tokio::test]
async fn a_command_after_a_revocation_is_refused_by_every_server() {
    let (db, one, two) = two_on_postgres().await;
    key(&one.handle, "root", Rights::Admin).await;
    for number in 0..20 {
        let plain = key(&one.handle, &format!("ci-{number}"), Rights::Use).await;
        assert!(two.handle.key_of(&plain).await.unwrap().is_some());
        revoke(&one.handle, plain.id()).await;
        let refused = two.handle.acting(Some(plain.id())).allocate(user_named("Ada")).await;
        assert_eq!(refused, Err(Error::Forbidden(Forbidden::Key)));
    }
    one.stop().await;
    two.stop().await;
    db.audit().await;
}

/// The other server lets callers in as long as it does not know of the key; its commands are decided later.
#[tokio::test]
async fn a_caller_without_a_key_does_nothing_more_at_any_server_once_there_is_one() {
    let (db, one, two) = two_on_postgres().await;
    let without = two.handle.acting(Sender::WithoutKeys);
    let granted = without.allocate(user_named("Ada")).await.unwrap().unwrap();
    key(&one.handle, "root", Rights::Admin).await;
    // At once, so that the second server may not have received the key yet.
    let refused = Err(Error::Forbidden(Forbidden::KeyNeeded));
    assert_eq!(without.allocate(user_named("Ada")).await.map(drop), refused.clone());
    assert_eq!(without.release_lease(granted.grant.lease.id).await.map(drop), refused.clone());
    assert_eq!(without.clear(PoolId::DEFAULT).await.map(drop), refused);
    one.stop().await;
    two.stop().await;
    db.audit().await;
}
