//! API keys, sessions and the audit log.

use std::time::Duration;

use pool::{
    Access, AccessCommand, AccessDone, Act, Action, Actor, ApiKey, ApiKeyId, Command, End,
    EndReason, KeyName, Lease, Outcome, Patterns, PoolName, Rights, SecretHash, Secrets, Session,
    SessionKind, Timestamp,
};
use store::{AuditEntry, AuditQuery, Entry};
use testbed::on_both;

use super::pools::{apply, pool};
use super::server::{Server, allocate, lease, release, tokens};
use super::{AnyDb as _, EmptyDb};

fn id_of(name: &str) -> ApiKeyId {
    ApiKeyId::new(&format!("{name:0<12}")).unwrap()
}

fn key(name: &str) -> ApiKey {
    ApiKey {
        id: id_of(name),
        name: KeyName::new(name).unwrap(),
        rights: Rights::Admin,
        pools: Patterns::everything(),
        users: Patterns::everything(),
        secrets: Secrets::new(SecretHash::of(name)),
        created_at: Timestamp::MIN,
        created_by: None,
        expires_at: None,
        revoked_at: None,
        max_requests_per_second: None,
        max_leases: None,
    }
}

fn create(key: ApiKey) -> Command {
    Command::Access(AccessCommand::Create(key))
}

fn revoke(name: &str) -> Command {
    Command::Access(AccessCommand::Revoke { id: id_of(name) })
}

fn rotate(name: &str, keep: u64) -> Command {
    let (id, hash) = (id_of(name), SecretHash::of("new"));
    Command::Access(AccessCommand::Rotate { id, hash, keep_old: Duration::from_secs(keep) })
}

fn sign_in(secret: &str, length: u64, is_code: bool) -> Command {
    let (hash, length) = (SecretHash::of(secret), Duration::from_secs(length));
    Command::Access(AccessCommand::StartSession { hash, length, is_code })
}

fn sign_out(secret: &str) -> Command {
    Command::Access(AccessCommand::EndSession { hash: SecretHash::of(secret) })
}

#[track_caller]
fn written(outcome: &Outcome) -> ApiKey {
    match outcome {
        Outcome::Access(AccessDone::Key(key)) => key.clone(),
        other => panic!("{other:?}"),
    }
}

fn keys(access: &Access) -> Vec<ApiKey> {
    access.keys_after("").map(|key| ApiKey::clone(key)).collect()
}

/// The session with this secret.
fn session(server: &Server, secret: &str) -> Option<Session> {
    let found = server.ledger.access().session(&SecretHash::of(secret), server.at);
    found.map(|(session, _)| session.clone())
}

async fn audit(server: &Server, query: &AuditQuery, limit: usize) -> Vec<AuditEntry> {
    server.reader.audit(query, limit).await.unwrap()
}

#[on_both]
async fn keys_are_found_again(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    let strange = ApiKey {
        rights: Rights::Use,
        pools: Patterns::new(["a", "staging*", "'\"\\{}"]).unwrap(),
        users: Patterns::new(["Ada 👩🏽‍🚀", "ci-*"]).unwrap(),
        expires_at: Some(server.at.after(Duration::from_hours(1))),
        max_requests_per_second: Some(u32::MAX),
        max_leases: Some(0),
        ..key("strange")
    };
    let nothing = ApiKey { pools: Patterns::default(), users: Patterns::default(), ..key("none") };
    let all = [key("root"), strange, nothing];
    let (_, outcomes) = server.run(&all.map(create)).await;
    let made: Vec<_> = outcomes.iter().map(written).collect();
    let (_, outcomes) = server.run_for(Some(id_of("root")), &[create(key("child"))]).await;
    let child = written(&outcomes[0]);
    assert_eq!(child.created_by, Some(id_of("root")));
    let before = keys(server.ledger.access());
    assert_eq!(before.len(), 4);
    assert!(made.iter().chain([&child]).all(|key| before.contains(key)));
    let mut server = server.restart(&db).await;
    assert_eq!(keys(server.ledger.access()), before);
    // A rotated key has two secrets for a while.
    server.run(&[rotate("root", 60), rotate("strange", 0)]).await;
    let after = keys(server.ledger.access());
    assert_ne!(after, before);
    let counts = ["root", "strange"]
        .map(|name| server.ledger.access().key(id_of(name)).unwrap().secrets.iter().count());
    assert_eq!(counts, [2, 1]);
    let server = server.restart(&db).await;
    assert_eq!(keys(server.ledger.access()), after);
    drop(server);
    assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
}

#[on_both]
async fn a_revoked_key_is_kept_for_the_audit_log(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    server.run(&[create(key("root")), create(key("ci"))]).await;
    server.run_for(Some(id_of("ci")), &[sign_in("cookie", 60, false)]).await;
    // Its name is free again at once, in the same batch.
    let again = ApiKey { id: id_of("again"), name: KeyName::new("ci").unwrap(), ..key("again") };
    server.run(&[revoke("ci"), create(again)]).await;
    assert_eq!(session(&server, "cookie"), None);
    // As is one that was created and revoked in one batch.
    server.run(&[create(key("brief")), revoke("brief")]).await;
    let server = server.restart(&db).await;
    let found: Vec<_> = server.ledger.access().keys_after("").map(|key| key.id).collect();
    assert_eq!(found, [id_of("again"), id_of("root")]);
    assert_eq!(session(&server, "cookie"), None);
    let all = "select id from api_keys where revoked_at is not null order by id";
    assert_eq!(db.read(all).await, ["brief0000000", "ci0000000000"]);
    assert_eq!(db.read("select key from sessions").await, [""; 0]);
    drop(server);
    assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
}

#[on_both]
async fn two_keys_never_have_one_name(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(1)).await;
    server.run(&[create(key("root"))]).await;
    let (mut entry, _) = server.decide(&[create(key("other"))]).await;
    for change in &mut entry.changes {
        if let pool::Change::KeyChanged(key) = change {
            key.name = KeyName::new("root").unwrap();
        }
    }
    super::server::assert_data(server.store.commit(&entry).await);
    assert_eq!(server.restart(&db).await.ledger.access().len(), 1);
}

#[on_both]
async fn sessions_are_found_again(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    let (root, ci) = (Some(id_of("root")), Some(id_of("ci")));
    server.run(&[create(key("root")), create(key("ci"))]).await;
    server.run_for(root, &[sign_in("a", 60, false), sign_in("b", 60, false)]).await;
    server.run_for(ci, &[sign_in("c", 10, false), sign_in("code", 60, true)]).await;
    // Within a batch, nothing is left of a session.
    server.run_for(ci, &[sign_in("d", 60, false), sign_out("d"), sign_out("a")]).await;
    let before = ["a", "b", "c", "d", "code"].map(|secret| session(&server, secret));
    let kinds = before.clone().map(|session| session.map(|session| (session.key, session.kind)));
    let browser = |name| Some((id_of(name), SessionKind::Browser));
    let code = Some((id_of("ci"), SessionKind::Code));
    assert_eq!(kinds, [None, browser("root"), browser("ci"), None, code]);
    let mut server = server.restart(&db).await;
    let found = ["a", "b", "c", "d", "code"].map(|secret| session(&server, secret));
    assert_eq!(found, before);
    // Those that are over are not read again, and deleted at some time.
    server.wait(Duration::from_secs(10));
    server.run(&[allocate("Ada")]).await;
    let (mut server, at) = (server.restart(&db).await, "select count(*) || '' from sessions");
    assert_eq!((session(&server, "c"), db.read(at).await), (None, vec!["3".to_owned()]));
    assert_eq!(server.housekeeper.forget_sessions(Timestamp::MIN).await.unwrap(), 0);
    assert_eq!(server.housekeeper.forget_sessions(server.at).await.unwrap(), 1);
    assert_eq!(server.housekeeper.forget_sessions(server.at).await.unwrap(), 0);
    assert_eq!(db.read(at).await, ["2"]);
    // A server that still knows one may end it.
    let (mut entry, _) = server.decide(&[]).await;
    entry.changes.push(pool::Change::SessionEnded(SecretHash::of("c")));
    server.commit(&entry).await.unwrap();
    let exchange = AccessCommand::Redeem {
        code: SecretHash::of("code"),
        hash: SecretHash::of("new"),
        length: Duration::from_mins(1),
    };
    server.run(&[Command::Access(exchange)]).await;
    server.run(&[Command::Access(AccessCommand::EndSessions { key: id_of("root") })]).await;
    let server = server.restart(&db).await;
    let found = ["b", "code", "new"].map(|secret| session(&server, secret).is_some());
    assert_eq!(found, [false, false, true]);
    drop(server);
    assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
}

#[on_both]
async fn the_audit_log_is_read_by_each_condition(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    let root = Some(id_of("root"));
    let everything = AuditQuery::default();
    // Those of the pools beside.
    let first = audit(&server, &everything, 9).await;
    assert!(first.iter().all(|entry| entry.act.actor.is_none()), "{first:?}");
    server.run(&[create(key("root"))]).await;
    server.wait(Duration::from_secs(1));
    let (entry, _) = server.run_for(root, &[create(key("ci")), apply(&[pool("new", &[])])]).await;
    server.wait(Duration::from_secs(1));
    let (last, _) = server.run_for(root, &[revoke("ci")]).await;
    let mut server = server.restart(&db).await;
    let found = audit(&server, &everything, 99).await;
    assert!(found.is_sorted_by(|a, b| a.number > b.number), "newest first: {found:?}");
    let actor = Some(Actor { id: id_of("root"), name: KeyName::new("root").unwrap() });
    let act = |action, pool: Option<&str>, subject: &str| Act {
        actor: actor.clone(),
        action,
        pool: pool.map(|pool| PoolName::new(pool).unwrap()),
        subject: subject.into(),
    };
    let of = |entry: &Entry| (entry.at, entry.position.version);
    let expected = [
        (of(&last), act(Action::KeyRevoked, None, "ci (ci0000000000)")),
        (of(&entry), act(Action::PoolsChanged, Some("new"), "1 changes")),
        (of(&entry), act(Action::KeyCreated, None, "ci (ci0000000000)")),
    ];
    let newest: Vec<_> =
        found[..3].iter().map(|one| ((one.at, one.version), one.act.clone())).collect();
    assert_eq!(newest, expected);
    assert_eq!(found.len(), 4 + first.len());
    let mut oldest_first = found.clone();
    oldest_first.reverse();
    let export = AuditQuery { oldest_first: true, ..AuditQuery::default() };
    assert_eq!(audit(&server, &export, 99).await, oldest_first);
    // Each condition alone, and pages of one.
    let by_root = |entry: &AuditEntry| entry.act.actor == actor;
    let to_new = PoolName::new("new").ok();
    let conditions: [(AuditQuery, Fits<'_>); 7] = [
        (AuditQuery { key: Some(id_of("root").as_str().into()), ..everything.clone() }, &by_root),
        (AuditQuery { key: Some("root".into()), ..everything.clone() }, &by_root),
        (AuditQuery { key: Some("ci".into()), ..everything.clone() }, &|_| false),
        (AuditQuery { action: Some(Action::KeyCreated), ..everything.clone() }, &|entry| {
            entry.act.action == Action::KeyCreated
        }),
        (AuditQuery { pool: to_new.clone(), ..everything.clone() }, &|one| one.act.pool == to_new),
        (AuditQuery { from: Some(entry.at), ..everything.clone() }, &|one| one.at >= entry.at),
        (AuditQuery { to: Some(entry.at), ..everything.clone() }, &|one| one.at < entry.at),
    ];
    for (query, fits) in conditions {
        for oldest_first in [false, true] {
            let all = if oldest_first { &oldest_first_of(&found) } else { &found };
            let expected: Vec<_> = all.iter().filter(|entry| fits(entry)).cloned().collect();
            let mut query = AuditQuery { oldest_first, ..query.clone() };
            assert_eq!(audit(&server, &query, 99).await, expected, "{query:?}");
            let mut paged = Vec::new();
            loop {
                let page = audit(&server, &query, 1).await;
                let Some(last) = page.last() else { break };
                query.after = Some(last.number);
                paged.extend(page);
            }
            assert_eq!(paged, expected, "{query:?}");
        }
    }
    // The oldest are deleted.
    let count = i64::try_from(found.len()).unwrap();
    assert_eq!(server.housekeeper.forget_acts(count).await.unwrap(), 0);
    let deleted = server.housekeeper.forget_acts(2).await.unwrap();
    assert!(deleted >= u64::try_from(count - 2).unwrap(), "{deleted}");
    assert_eq!(audit(&server, &everything, 99).await, found[..2]);
    assert_eq!(server.housekeeper.forget_acts(2).await.unwrap(), 0);
}

type Fits<'a> = &'a dyn Fn(&AuditEntry) -> bool;

fn oldest_first_of(entries: &[AuditEntry]) -> Vec<AuditEntry> {
    entries.iter().rev().cloned().collect()
}

#[on_both]
async fn leases_know_who_allocated_and_ended_them(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(2)).await;
    let (root, ci) = (Some(id_of("root")), Some(id_of("ci")));
    server.run(&[create(key("root")), create(key("ci"))]).await;
    let (_, outcomes) = server.run_for(ci, &[allocate("Ada"), allocate("Bea")]).await;
    let [ada, bea] = [lease(&outcomes[0]), lease(&outcomes[1])];
    assert_eq!((ada.by, bea.by), (ci, ci));
    server = server.restart(&db).await;
    assert_eq!(server.ledger.lease(ada.id), Some(&ada));
    assert_eq!(server.ledger.access().leases(id_of("ci")), 2);
    let (entry, _) = server.run_for(root, &[release(bea.token_id)]).await;
    server.wait(Duration::from_secs(1));
    // Without a key; and one that ends in the batch in which it began.
    let (_, outcomes) = server.run(&[release(ada.token_id), allocate("Cleo")]).await;
    let cleo = lease(&outcomes[1]);
    let (_, outcomes) = server.run_for(ci, &[allocate("Dora"), release(ada.token_id)]).await;
    let dora = lease(&outcomes[0]);
    let server = server.restart(&db).await;
    assert_eq!(server.ledger.access().leases(id_of("ci")), 0);
    let ended = async |lease: &Lease| {
        let found = server.reader.lease(lease.id).await.unwrap().unwrap().lease;
        assert_eq!(server.reader.leases(&[lease.id]).await.unwrap(), std::slice::from_ref(&found));
        (found.by, found.end.map(|end| end.by))
    };
    assert_eq!(ended(&bea).await, (ci, Some(root)));
    let found = server.reader.lease(bea.id).await.unwrap().unwrap().lease;
    assert_eq!(found.end, Some(End { at: entry.at, reason: EndReason::Released, by: root }));
    assert_eq!(ended(&ada).await, (ci, Some(None)));
    assert_eq!((dora.token_id, ended(&dora).await), (ada.token_id, (ci, Some(ci))));
    assert_eq!(ended(&cleo).await.0, None);
    let view = "select coalesce(granted_by, '-') || ' ' || coalesce(ended_by, '-')
        from token_history where pool = 'default' order by fence";
    assert_eq!(db.read(view).await[..2], ["ci0000000000 -", "ci0000000000 root00000000"]);
    drop(server);
    assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
}

#[on_both]
async fn the_last_use_of_a_key_is_kept(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(1)).await;
    server.run(&["root", "ci", "idle"].map(|name| create(key(name)))).await;
    let [early, late] = [1, 2].map(|seconds| Timestamp::from_micros(seconds * 1_000_000));
    let [root, ci, idle] = ["root", "ci", "idle"].map(id_of);
    server.housekeeper.note_key_uses(&[(root, late), (ci, early)]).await.unwrap();
    // An unknown key is none.
    server.housekeeper.note_key_uses(&[(root, early), (id_of("gone"), late)]).await.unwrap();
    server.housekeeper.note_key_uses(&[(ci, late)]).await.unwrap();
    server.housekeeper.note_key_uses(&[]).await.unwrap();
    // Nor does a change of the key forget it.
    server.run(&[rotate("ci", 0)]).await;
    let server = server.restart(&db).await;
    let mut found = server.reader.key_uses(&[root, ci, idle, id_of("gone")]).await.unwrap();
    found.sort();
    assert_eq!(found, [(ci, late), (root, late)]);
    assert_eq!(server.reader.key_uses(&[]).await.unwrap(), []);
}
