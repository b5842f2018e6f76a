//! Pools and their tokens.

use std::time::Duration;

use pool::{
    Allocation, Change, Command, Effect, EndReason, IdempotencyKey, Intent, Labels, Lease, LeaseId,
    Note, Outcome, Plan, PlanRefused, Policy, PolicyPatch, PoolId, PoolName, PoolWanted, Refusal,
    Taint, TaintName, Timestamp, Token, TokenId, TokenName, TokenValue, TokenWanted, User,
    WhenFull,
};
use store::LeaseQuery;
use testbed::on_both;

use super::search::{ALL, search_all};
use super::server::{Server, allocate, allocation, assert_data, id, lease, tokens};
use super::{AnyDb as _, EmptyDb};

pub fn name(text: &str) -> TokenName {
    TokenName::new(text).unwrap()
}

/// A token of a plan, with a value that it shares with every other one.
pub fn token(text: &str) -> TokenWanted {
    let value = TokenValue::new("https://é.example\n'shared'").unwrap();
    TokenWanted {
        value: Some(value.clone()),
        ..TokenWanted::new(Some(name(text)), TokenId(id()), value)
    }
}

pub fn pool(text: &str, tokens: &[TokenWanted]) -> PoolWanted {
    PoolWanted { tokens: Some(tokens.to_vec()), ..PoolWanted::new(PoolName::new(text).unwrap()) }
}

pub fn apply(pools: &[PoolWanted]) -> Command {
    Command::Apply(Plan { pools: pools.to_vec(), prune: true, end_leases: true })
}

pub fn delete(text: &str) -> Command {
    apply(&[PoolWanted { delete: true, ..pool(text, &[]) }])
}

pub fn allocate_from(server: &Server, pool: &str, user: &str) -> Allocation {
    Allocation { pool: server.ledger.pool_named(pool).unwrap().id(), ..allocation(user) }
}

/// Allocates from a pool, in a batch of its own.
async fn grant(server: &mut Server, pool: &str, user: &str) -> Lease {
    let allocation = Command::Allocate(allocate_from(server, pool, user));
    let (_, outcomes) = server.run(&[allocation]).await;
    lease(&outcomes[0])
}

pub fn token_named(server: &Server, pool: &str, text: &str) -> Token {
    let pool = server.ledger.pool_named(pool).unwrap();
    pool.token_named(text).unwrap().token.clone()
}

/// Names of a pool's tokens.
fn names(server: &Server, pool: &str) -> Vec<String> {
    let pool = server.ledger.pool_named(pool).unwrap();
    pool.tokens(0).map(|view| view.token.name.to_string()).collect()
}

/// Restarts the server, and compares what it reads with what the former one knew.
async fn restart(server: Server, db: &EmptyDb) -> Server {
    let facts = server.facts();
    drop(server);
    let server = Server::start(db, super::server::ANY).await;
    assert_eq!(server.facts(), facts);
    assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
    server
}

pub fn taint(text: &str, effect: Effect, until: Option<Timestamp>) -> Taint {
    Taint {
        name: TaintName::new(text).unwrap(),
        effect,
        reason: Note::new("screen is \"cracked\" 👾").unwrap(),
        by: User::new("Zoë").ok(),
        since: Timestamp::MIN,
        until,
    }
}

#[on_both]
async fn everything_about_a_pool_comes_back(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    let first = server.position;
    let labels = Labels::new([("example.com/region", "eu"), ("empty", "")]).unwrap();
    let phones = PoolWanted {
        description: Note::new("Phones: {\"a\"} 'b' 📱").ok(),
        policy: PolicyPatch {
            when_full: Some(WhenFull::Wait),
            max_lease: Some(Some(Duration::from_hours(9))),
            ..PolicyPatch::default()
        },
        ..pool("phones", &[token("a"), TokenWanted { labels: Some(labels), ..token("B_2.x-") }])
    };
    let mut entries = Vec::new();
    entries.push(server.run(&[apply(&[phones, pool("empty", &[])])]).await.0);
    let [a, b] = ["a", "B_2.x-"].map(|text| token_named(&server, "phones", text));
    let until = Some(server.at.after(Duration::from_hours(2)));
    let taints = [taint("shown", Effect::Note, None), taint("t", Effect::NoNewLeases, until)];
    let taints = taints.map(|taint| Command::Taint { pool: a.pool, token: b.id, taint });
    entries.push(server.run(&taints).await.0);
    let note = Note::new("PR 1234 {,\"NULL").ok();
    let noted = Allocation { note, token: Some(a.id), ..allocate_from(&server, "phones", "Ada") };
    entries.push(server.run(&[Command::Allocate(noted.clone())]).await.0);
    let waits = Allocation { lease_id: LeaseId(id()), wait: Some(Duration::from_mins(1)), ..noted };
    let (entry, outcomes) = server.run(&[Command::Allocate(waits.clone())]).await;
    assert!(matches!(outcomes[0], Outcome::Queued(_)), "{outcomes:?}");
    entries.push(entry);
    let server = restart(server, &db).await;
    let (_, ticket) = (server.pool(), server.ledger.ticket(waits.lease_id).unwrap());
    assert_eq!((ticket.pool, ticket.token, &ticket.note), (a.pool, Some(a.id), &waits.note));
    let view = server.ledger.token(a.id).unwrap();
    assert_eq!((view.token, &view.latest.unwrap().note), (&a, &waits.note));
    assert_eq!(server.ledger.token(b.id).unwrap().token.taints.len(), 2);
    let stored = server.reader.lease(view.latest.unwrap().id).await.unwrap().unwrap();
    assert_eq!((&*stored.pool_name, &*stored.token_name), ("phones", "a"));
    assert_eq!(Some(&stored.lease), view.latest);
    let (epoch, version) = (first.epoch, entries[0].position.version);
    assert_eq!(server.reader.journal(epoch, version, 9).await.unwrap(), Some(entries));
}

#[on_both]
async fn a_batch_creates_pools_and_uses_them(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(1)).await;
    let id = PoolId(server.ledger.last_pool().unwrap().0 + 1);
    let held = Command::Allocate(Allocation { pool: id, ..allocation("Ada") });
    let taints = |token| {
        let taint = taint("t", Effect::EndLease, None);
        Command::Taint { pool: id, token, taint }
    };
    let wanted = token("a");
    let more = [wanted.clone(), token("b")];
    let (_, outcomes) = server
        .run(&[
            apply(&[pool("new", std::slice::from_ref(&wanted))]),
            held,
            taints(wanted.fresh_id),
            apply(&[pool("new", &more)]),
        ])
        .await;
    assert!(matches!(outcomes[3], Outcome::Applied(..)), "{outcomes:?}");
    let server = restart(server, &db).await;
    let history = server.history(wanted.fresh_id).await;
    assert_eq!(history[0].end.map(|end| end.reason), Some(EndReason::Drained));
    assert_eq!(names(&server, "new"), ["a", "b"]);
}

#[on_both]
async fn names_pass_from_one_to_another_within_a_batch(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(1)).await;
    server.run(&[apply(&[pool("p", &[token("a"), token("b"), token("c")]), pool("q", &[])])]).await;
    let [a, b, c] = ["a", "b", "c"].map(|text| token_named(&server, "p", text));
    let rename = |token: &Token, text| {
        let intent = Intent::Change(token.id);
        let change = TokenWanted {
            intent,
            ..TokenWanted::new(Some(name(text)), TokenId(id()), token.value.clone())
        };
        let keep = PoolWanted { keep_other_tokens: true, ..pool("p", &[change]) };
        apply(&[keep])
    };
    // `a` and `b` swap names, and a new token gets that of `c`.
    let fresh = token("c");
    let swap = [
        rename(&a, "x"),
        rename(&b, "a"),
        rename(&a, "b"),
        apply(&[pool("p", &[token("a"), token("b")])]),
        apply(&[pool("p", &[token("a"), token("b"), fresh.clone()])]),
        delete("q"),
        apply(&[pool("q", &[token("a")])]),
        delete("q"),
        apply(&[pool("q", &[token("b")])]),
    ];
    let before = server.ledger.last_pool().unwrap();
    let (_, outcomes) = server.run(&swap).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Applied(..))), "{outcomes:?}");
    let mut server = restart(server, &db).await;
    assert_eq!(token_named(&server, "p", "b").id, a.id);
    assert_eq!(token_named(&server, "p", "a").id, b.id);
    assert_eq!(token_named(&server, "p", "c").id, fresh.fresh_id);
    assert!(server.ledger.token(c.id).is_none());
    assert_eq!(names(&server, "q"), ["b"]);
    assert_eq!(server.ledger.last_pool(), Some(PoolId(before.0 + 2)));
    // The numbers of pools and tokens are not used again, though nothing else is left of them.
    server.run(&[delete("q"), apply(&[pool("p", &[])])]).await;
    let mut server = restart(server, &db).await;
    server.run(&[apply(&[pool("q", &[]), pool("p", &[token("d")])])]).await;
    assert_eq!(server.ledger.last_pool(), Some(PoolId(before.0 + 3)));
    assert_eq!(token_named(&server, "p", "d").position, 4);
    restart(server, &db).await;
}

#[on_both]
async fn a_name_is_that_of_one_pool_or_token(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    let facts = server.facts();
    let (taken, record) =
        (server.pool().tokens(1).next().unwrap().token.clone(), server.pool().record().clone());
    let other = Token { id: TokenId(id()), position: 9, ..taken.clone() };
    let id = PoolId(90);
    for change in [
        Change::TokenAdded(other.clone()),
        Change::TokenAdded(Token { name: name("other"), position: 1, ..other }),
        Change::PoolCreated(pool::PoolRecord { id, ..record }),
    ] {
        let (mut entry, _) = server.decide(&[allocate("Ada")]).await;
        entry.changes.push(change);
        assert_data(server.store.commit(&entry).await);
        server = Server::restart(server, &db).await;
        assert_eq!(server.facts(), facts);
    }
    server.allocate("Ada").await;
}

#[on_both]
async fn a_retired_token_stays_until_its_lease_ends(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    server.run(&[apply(&[pool("p", &[token("a"), token("b")])])]).await;
    let before = grant(&mut server, "p", "Ada").await;
    server.run(&[Command::ReleaseLease { lease_id: before.id }]).await;
    let held = Allocation { token: Some(before.token_id), ..allocate_from(&server, "p", "Bea") };
    let (_, outcomes) = server.run(&[Command::Allocate(held)]).await;
    let held = lease(&outcomes[0]);
    server.run(&[apply(&[pool("p", &[])])]).await;
    let mut server = restart(server, &db).await;
    let p = server.ledger.pool_named("p").unwrap();
    assert_eq!((p.size(), p.retiring(), p.free()), (1, 1, 0));
    let p = p.id();
    let refused = Command::Allocate(allocate_from(&server, "p", "Cleo"));
    let (entry, outcomes) = server.run(&[refused, apply(&[pool("p", &[token("a")])])]).await;
    assert!(matches!(outcomes[0], Outcome::NotAllocated(_)), "{outcomes:?}");
    assert_eq!(entry.changes.len(), 2, "with an entry of the audit log");
    // Two tokens have the name now, and one of them is being retired.
    let fresh = token_named(&server, "p", "a");
    assert_eq!(fresh.position, 2);
    let mut server = restart(server, &db).await;
    assert_eq!(server.reader.token_named(p, "a").await.unwrap(), Some(fresh.id));
    assert!(server.reader.token_named(p, "b").await.unwrap().is_some());
    assert_eq!(server.reader.token_named(p, "A").await.unwrap(), None);
    assert_eq!(server.reader.token_named(PoolId::DEFAULT, "a").await.unwrap(), None);
    server.run(&[Command::ReleaseLease { lease_id: held.id }]).await;
    let mut server = restart(server, &db).await;
    assert_eq!(server.ledger.pool(p).unwrap().retiring(), 0);
    assert!(server.ledger.token(held.token_id).is_none());
    server.run(&[apply(&[pool("p", &[])])]).await;
    let mut server = restart(server, &db).await;
    assert_eq!(server.reader.token_named(p, "a").await.unwrap(), Some(fresh.id), "the last one");
    // Its history remains, and retention spares the latest lease.
    let history =
        |records: &[store::LeaseRecord]| records.iter().map(|r| r.lease.id).collect::<Vec<_>>();
    let records = server.records(held.token_id).await;
    assert_eq!(history(&records), [held.id, before.id]);
    assert!(records.iter().all(|record| &*record.token_name == "a" && &*record.pool_name == "p"));
    let far = server.at.after(Duration::from_secs(1));
    let swept = server.housekeeper.forget_leases(far, pool::Fence::NONE).await.unwrap();
    assert_eq!(swept.deleted, 1);
    assert_eq!(history(&server.records(held.token_id).await), [held.id]);
    restart(server, &db).await;
}

#[on_both]
async fn a_deleted_pool_leaves_its_history(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    server.run(&[apply(&[pool("p", &[token("a"), token("b")])])]).await;
    let (old, token_a) =
        (server.ledger.pool_named("p").unwrap().id(), token_named(&server, "p", "a"));
    let [one, two] = [grant(&mut server, "p", "Ada").await, grant(&mut server, "p", "Ada").await];
    let mine = server.allocate("Ada").await;
    let refused =
        Plan { pools: vec![PoolWanted { delete: true, ..pool("p", &[]) }], ..Plan::default() };
    let (_, outcomes) = server.run(&[Command::Apply(refused)]).await;
    assert!(matches!(outcomes[0], Outcome::NotApplied(PlanRefused { .. })), "{outcomes:?}");
    server.run(&[delete("p")]).await;
    assert!(server.ledger.pool_named("p").is_none());
    let server = restart(server, &db).await;
    assert_eq!(server.ledger.lease(mine.id).map(|lease| lease.end), Some(None));
    assert_eq!(server.reader.pool_named("p").await.unwrap(), Some(old));
    assert_eq!(server.reader.pool_named("q").await.unwrap(), None);
    assert_eq!(server.reader.token_named(old, "a").await.unwrap(), Some(token_a.id));
    let of_pool = LeaseQuery { pool: Some(old), ..ALL };
    let ada = LeaseQuery { user: Some(one.user.id), ..of_pool };
    for query in [of_pool, ada, LeaseQuery { reason: Some(EndReason::Cleared), ..ada }] {
        let found = search_all(&server, &query, server.at, 1).await;
        let ids: Vec<_> = found.iter().map(|record| record.lease.id).collect();
        assert_eq!(ids, [two.id, one.id]);
        assert!(found.iter().all(|record| &*record.pool_name == "p"));
    }
    let of_token = LeaseQuery { token: Some(one.token_id), ..of_pool };
    assert_eq!(search_all(&server, &of_token, server.at, 5).await.len(), 1);
    let elsewhere = LeaseQuery { pool: Some(PoolId::DEFAULT), ..of_token };
    assert_eq!(search_all(&server, &elsewhere, server.at, 5).await, []);
    // Another pool of that name is another pool.
    let mut server = restart(server, &db).await;
    server.run(&[apply(&[pool("p", &[token("a")])])]).await;
    let new = server.ledger.pool_named("p").unwrap().id();
    assert!(new > old);
    let mut server = restart(server, &db).await;
    assert_eq!(server.reader.pool_named("p").await.unwrap(), Some(new));
    let granted = grant(&mut server, "p", "Ada").await;
    let found = search_all(&server, &LeaseQuery { pool: Some(new), ..ALL }, server.at, 5).await;
    assert_eq!(found.iter().map(|record| record.lease.id).collect::<Vec<_>>(), [granted.id]);
}

#[on_both]
async fn a_key_is_unique_in_the_ledger(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    server.run(&[apply(&[pool("p", &[token("a"), token("b")])])]).await;
    let key = IdempotencyKey::new("k").ok();
    let with_key = Allocation { key, ..allocate_from(&server, "p", "Ada") };
    let by_token = Allocation {
        lease_id: LeaseId(id()),
        token: Some(token_named(&server, "p", "b").id),
        key: IdempotencyKey::new("t").ok(),
        ..with_key.clone()
    };
    let used = [with_key.clone(), by_token.clone()].map(Command::Allocate);
    let (_, outcomes) = server.run(&used).await;
    let granted = [lease(&outcomes[0]), lease(&outcomes[1])];
    server.run(&[apply(&[pool("p", &[])])]).await;
    server.run(&granted.each_ref().map(|lease| Command::ReleaseLease { lease_id: lease.id })).await;
    let mut server = restart(server, &db).await;
    let again =
        |allocation: &Allocation| Allocation { lease_id: LeaseId(id()), ..allocation.clone() };
    let elsewhere = Allocation { pool: PoolId::DEFAULT, ..again(&with_key) };
    let any = Allocation { token: None, ..again(&by_token) };
    let repeated = [again(&with_key), again(&by_token), elsewhere, any].map(Command::Allocate);
    let (entry, outcomes) = server.decide(&repeated).await;
    server.store.abandon().await;
    assert_eq!(entry.changes, []);
    for (outcome, granted) in outcomes.iter().zip(&granted) {
        let Outcome::Allocated(grant) = outcome else { panic!("{outcome:?}") };
        assert_eq!(grant.lease.id, granted.id);
        assert_eq!(grant.value.as_str(), "https://é.example\n'shared'", "of a token that is gone");
    }
    for outcome in &outcomes[2..] {
        assert_eq!(*outcome, Outcome::NotAllocated(Refusal::KeyReused));
    }
}

#[on_both]
async fn many_tokens_are_added_changed_and_retired_in_one_batch(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(1)).await;
    let many: Vec<_> = (0..2_500).map(|number| token(&format!("t{number}"))).collect();
    server.run(&[apply(&[pool("p", &many)])]).await;
    let mut server = restart(server, &db).await;
    let labels = Labels::new([("round", "2")]).unwrap();
    let changed = many
        .iter()
        .step_by(2)
        .map(|token| TokenWanted { labels: Some(labels.clone()), ..token.clone() });
    let changed: Vec<_> = changed.collect();
    let (entry, _) = server.run(&[apply(&[pool("p", &changed)])]).await;
    assert_eq!(entry.changes.len(), 2_501, "with an entry of the audit log");
    let policy = Policy { max_lease: Some(Duration::from_hours(24 * 30)), ..Policy::OTHER };
    let longer = PoolWanted { policy: policy.into(), tokens: None, ..pool("p", &[]) };
    server.run(&[apply(&[longer])]).await;
    let server = restart(server, &db).await;
    assert_eq!(names(&server, "p").len(), 1_250);
    assert_eq!(server.ledger.pool_named("p").unwrap().policy(), policy);
}
