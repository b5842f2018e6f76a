use std::collections::HashSet;
use std::time::Duration;

use pool::{
    Allocation, Command, EndReason, IdempotencyKey, KeyUse, Lease, Outcome, Refusal, Remembered,
    Timestamp, User, UserKey,
};
use store::Entry;
use testbed::on_both;

use super::EmptyDb;
use super::server::{Server, allocate, allocation, assert_data, lease, tokens};

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text).unwrap()
}

/// The key of a user.
fn of(user: &str, text: &str) -> UserKey {
    key(text).of(User::new(user).unwrap().id)
}

fn with_key(user: &str, text: &str) -> Allocation {
    Allocation { key: Some(key(text)), ..allocation(user) }
}

/// Allocates with that key, in a batch of its own.
async fn use_key(server: &mut Server, user: &str, text: &str) -> Lease {
    let (_, outcomes) = server.run(&[Command::Allocate(with_key(user, text))]).await;
    lease(&outcomes[0])
}

#[on_both]
async fn a_key_leads_to_its_lease(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    let strange = "~ 'a\"b\\c;--{}, %_ ";
    let longest = "k".repeat(IdempotencyKey::MAX_CHARS);
    let asked_lease = Some(Duration::from_micros(30_000_001));
    let (first, second) = (with_key("Ada", strange), with_key("Bea", &longest));
    let first = Allocation { lease: asked_lease, ..first };
    let second = Allocation { wait: Some(Duration::ZERO), ..second };
    let (_, outcomes) = server.run(&[Command::Allocate(first), Command::Allocate(second)]).await;
    let mut server = server.restart(&db).await;
    let values = [0, 1].map(|i: usize| {
        let token = server.ledger.token(lease(&outcomes[i]).token_id).unwrap().token;
        token.value.clone()
    });
    let other = of("Ada", "K");
    let [first, second] = [of("Ada", strange), of("Bea", &longest)];
    let found = server.keys(&[other.clone(), second.clone(), first.clone(), first.clone()]).await;
    assert_eq!((found.count, found.remembered.len()), (2, 2));
    let remembered = |i: usize, asked_lease, asked_wait| Remembered {
        lease: lease(&outcomes[i]),
        value: values[i].clone(),
        asked_token: false,
        evicted: None,
        asked_lease,
        asked_wait,
    };
    assert_eq!(found.remembered[&first], remembered(0, asked_lease, None));
    assert_eq!(found.remembered[&second], remembered(1, None, Some(Duration::ZERO)));
    let found = server.keys(&[other]).await;
    assert_eq!((found.count, found.remembered.len()), (2, 0));
    assert_eq!(server.keys(&[]).await.count, 2);
}

#[on_both]
async fn no_key_is_remembered_at_first(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    server.allocate("Ada").await;
    let found = server.keys(&[of("Ada", "a")]).await;
    assert_eq!((found.count, found.remembered.len()), (0, 0));
    assert_eq!(
        server.housekeeper.forget_keys(server.at.after(Duration::from_hours(1))).await.unwrap(),
        0
    );
}

#[on_both]
async fn a_key_tells_how_its_lease_stands(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    let [ada, bea] =
        [use_key(&mut server, "Ada", "a").await, use_key(&mut server, "Bea", "b").await];
    // Cleo's comes after Ada's, which was released; Dora's evicts Bea's.
    server.release(ada.token_id).await;
    let cleo = use_key(&mut server, "Cleo", "c").await;
    assert_eq!(cleo.previous_fence, ada.fence);
    let dora = use_key(&mut server, "Dora", "d").await;
    let mut server = server.restart(&db).await;
    let all = [of("Ada", "a"), of("Bea", "b"), of("Cleo", "c"), of("Dora", "d")];
    let found = server.keys(&all).await.remembered;
    let [a, b, c, d] = all.map(|key| found[&key].clone());
    let end = |used: &Remembered| used.lease.end.map(|end| end.reason);
    assert_eq!(end(&a), Some(EndReason::Released));
    assert_eq!(end(&b), Some(EndReason::Evicted));
    assert_eq!((end(&c), end(&d)), (None, None));
    assert_eq!(c.evicted, None);
    assert_eq!(d.lease, dora);
    assert_eq!(d.evicted.as_ref(), Some(&b.lease));
    assert_eq!(b.lease.id, bea.id);
}

#[on_both]
async fn a_repetition_is_answered_by_what_is_remembered(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    let granted = use_key(&mut server, "Ada", "a").await;
    let mut server = server.restart(&db).await;
    let other = Allocation { wait: Some(Duration::ZERO), ..with_key("Ada", "a") };
    let repeated = [with_key("Ada", "a"), other].map(Command::Allocate);
    let (entry, outcomes) = server.decide(&repeated).await;
    server.store.abandon().await;
    assert_eq!(lease(&outcomes[0]), granted);
    assert_eq!(outcomes[1], Outcome::NotAllocated(Refusal::KeyReused));
    assert!(entry.changes.is_empty() && entry.keys.is_empty());
}

#[on_both]
async fn keys_of_different_users_are_apart(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(3)).await;
    let ada = use_key(&mut server, "Ada", "a").await;
    let mut server = server.restart(&db).await;
    let bea = use_key(&mut server, "Bea", "a").await;
    assert_ne!(ada.id, bea.id);
    let keys = ["Ada", "Bea", "Cleo"].map(|user| of(user, "a"));
    let found = server.keys(&keys).await;
    assert_eq!((found.count, found.remembered.len()), (2, 2));
    assert_eq!(found.remembered[&keys[0]].lease, ada);
    assert_eq!(found.remembered[&keys[1]].lease, bea);
}

#[on_both]
async fn a_key_is_used_once(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(3)).await;
    use_key(&mut server, "Ada", "a").await;
    let before = server.facts();
    // As by a server that had not looked up the key.
    let (entry, outcomes) = server.decide(&[allocate("Bea"), allocate("Cleo")]).await;
    let used = |text: &str, i: usize| {
        let lease_id = lease(&outcomes[i]).id;
        KeyUse {
            key: of("Ada", text),
            lease_id,
            asked_lease: None,
            asked_wait: None,
            asked_token: false,
        }
    };
    let keys = vec![used("b", 0), used("a", 1)];
    assert_data(server.store.commit(&Entry { keys, ..entry.clone() }).await);
    server.store.begin(&server.position).await.unwrap();
    let keys = vec![used("b", 0), used("b", 1)];
    assert_data(server.store.commit(&Entry { keys, ..entry }).await);
    let mut server = server.restart(&db).await;
    assert_eq!(server.facts(), before, "neither the leases are kept");
    let found = server.keys(&["a", "b"].map(|text| of("Ada", text))).await;
    assert_eq!((found.count, found.remembered.len()), (1, 1), "nor the key that was new");
}

#[on_both]
async fn keys_are_forgotten_by_age(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    let mut used_at = Vec::new();
    for text in ["a", "b", "c", "d"] {
        server.wait(Duration::from_secs(1));
        use_key(&mut server, "Ada", text).await;
        used_at.push(server.at);
    }
    assert_eq!(
        server.housekeeper.forget_keys(used_at[0]).await.unwrap(),
        0,
        "used at that very moment"
    );
    assert_eq!(server.housekeeper.forget_keys(used_at[2]).await.unwrap(), 2);
    assert_eq!(server.housekeeper.forget_keys(used_at[2]).await.unwrap(), 0);
    let mut server = server.restart(&db).await;
    let all = ["a", "b", "c", "d"].map(|text| of("Ada", text));
    let found = server.keys(&all).await;
    assert_eq!(found.count, 2);
    let left: HashSet<_> = found.remembered.keys().cloned().collect();
    assert_eq!(left, HashSet::from(["c", "d"].map(|text| of("Ada", text))));
    // A forgotten key may be used again, and counts again.
    use_key(&mut server, "Ada", "a").await;
    assert_eq!(server.keys(&all).await.count, 3);
    let far = server.at.after(Duration::from_secs(1));
    assert_eq!(server.housekeeper.forget_keys(far).await.unwrap(), 3);
    assert_eq!(server.keys(&all).await.count, 0);
    use_key(&mut server, "Bea", "b").await;
    assert_eq!(server.keys(&all).await.count, 1);
    assert_eq!(server.housekeeper.forget_keys(Timestamp::MIN).await.unwrap(), 0);
}

#[on_both]
async fn many_keys_are_used_and_forgotten_in_steps(db: EmptyDb) {
    const COUNT: u64 = 1_100;
    let mut server = Server::start(&db, tokens(usize::try_from(COUNT).unwrap())).await;
    let texts: Vec<_> = (0..COUNT).map(|i| format!("key {i}")).collect();
    let commands: Vec<_> = texts.iter().map(|t| Command::Allocate(with_key("Ada", t))).collect();
    let (entry, outcomes) = server.run(&commands).await;
    let keys: Vec<_> = texts.iter().map(|text| of("Ada", text)).collect();
    let found = server.keys(&keys).await;
    assert_eq!((found.count, found.remembered.len()), (COUNT, keys.len()));
    for (key, outcome) in keys.iter().zip(&outcomes) {
        assert_eq!(found.remembered[key].lease, lease(outcome));
    }
    let before = entry.at.after(Duration::from_micros(1));
    let mut forgotten = 0;
    loop {
        let step = server.housekeeper.forget_keys(before).await.unwrap();
        assert!(step <= 999, "a few hundred at a time");
        if step == 0 {
            break;
        }
        forgotten += step;
        let found = server.keys(&keys).await;
        assert_eq!(found.count, COUNT - forgotten);
        // The oldest first: within a batch, those of the first commands.
        let gone = usize::try_from(forgotten).unwrap();
        assert!(keys[..gone].iter().all(|key| !found.remembered.contains_key(key)));
        assert_eq!(found.remembered.len(), keys.len() - gone);
    }
    assert_eq!(forgotten, COUNT);
}

#[on_both]
async fn keys_whose_leases_are_over_are_forgotten_early(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(4)).await;
    let mut leases = Vec::new();
    for (user, text) in [("Ada", "runs"), ("Bea", "a"), ("Ada", "b"), ("Ada", "young")] {
        server.wait(Duration::from_secs(1));
        leases.push(use_key(&mut server, user, text).await);
    }
    let used_at: Vec<_> = leases.iter().map(|lease| lease.started_at).collect();
    for lease in &leases[1..] {
        server.release(lease.token_id).await;
    }
    let usage = server.store.key_usage(2).await.unwrap();
    assert_eq!((usage.count, usage.sample.len()), (4, 2));
    assert_eq!((usage.oldest.len(), usage.oldest[0]), (4, (used_at[0], leases[0].expires_at)));
    let users: Vec<_> = [0, 1, 2, 3].map(|i: usize| leases[i].user.id).into();
    assert_eq!(server.store.key_usage(100).await.unwrap().sample, users);
    // They ended after that moment.
    assert_eq!(server.housekeeper.forget_keys_early(used_at[3]).await.unwrap(), 0);
    let before = server.at.after(Duration::from_micros(1));
    assert_eq!(server.housekeeper.forget_keys_early(used_at[0]).await.unwrap(), 0);
    server.wait(Duration::from_secs(1));
    let young = use_key(&mut server, "Ada", "younger").await;
    assert_eq!(server.housekeeper.forget_keys_early(before).await.unwrap(), 3);
    let mut server = server.restart(&db).await;
    let all = ["runs", "a", "b", "young", "younger"].map(|text| of("Ada", text));
    let found = server.keys(&all).await;
    assert_eq!(found.count, 2, "none is counted that is gone");
    let left: HashSet<_> = found.remembered.keys().cloned().collect();
    assert_eq!(left, HashSet::from(["runs", "younger"].map(|text| of("Ada", text))));
    assert_eq!(found.remembered[&of("Ada", "runs")].lease.id, leases[0].id);
    let usage = server.store.key_usage(1).await.unwrap();
    assert_eq!(usage.oldest[0], (young.started_at, young.expires_at), "the other was moved");
    // The count continues from there, and ages are unchanged.
    use_key(&mut server, "Ada", "a").await;
    assert_eq!(server.keys(&all).await.count, 3);
    let far = server.at.after(Duration::from_mins(2));
    assert_eq!(server.housekeeper.forget_keys_early(far).await.unwrap(), 3, "past their deadline");
    assert_eq!(server.store.key_usage(9).await.unwrap(), store::KeyUsage::default());
    assert_eq!(server.housekeeper.forget_keys_early(far).await.unwrap(), 0);
}
