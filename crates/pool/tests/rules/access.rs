//! API keys: what each may do, sessions, and the audit log.

use pool::{
    Access, AccessCommand, AccessDone, AccessRefusal, Act, Action, Actor, Allocation, ApiKey,
    ApiKeyId, Change, Command, Counters, Effect, End, EndReason, Fence, Forbidden, HolderCondition,
    KeyName, Lease, LeaseId, Ledger, Membership, Note, Outcome, Patterns, Plan, Policy, PoolId,
    PoolName, PoolWanted, Refusal, Rights, SecretHash, Secrets, Sender, Session, SessionKind,
    Taint, TaintName, Timestamp, User, WhenFull,
};

use super::{
    CLEAR, LEASE, POLICY, asked, default, default_record, granted, id, lease, ledger, next,
    patient, queued, refused, second, seconds, token, tokens,
};

fn key_id(name: &str) -> ApiKeyId {
    ApiKeyId::new(&format!("{name:0<12}")).unwrap()
}

fn hash(secret: &str) -> SecretHash {
    SecretHash::of(secret)
}

fn key_of(name: &str, rights: Rights, pools: &[&str], users: &[&str]) -> ApiKey {
    ApiKey {
        id: key_id(name),
        name: KeyName::new(name).unwrap(),
        rights,
        pools: Patterns::new(pools).unwrap(),
        users: Patterns::new(users).unwrap(),
        secrets: Secrets::new(hash(name)),
        created_at: second(0),
        created_by: None,
        expires_at: None,
        revoked_at: None,
        max_requests_per_second: None,
        max_leases: None,
    }
}

fn key(name: &str, rights: Rights) -> ApiKey {
    key_of(name, rights, &["*"], &["*"])
}

/// A ledger with an administrator `root`, and these keys.
fn with_keys(size: usize, policy: Policy, keys: impl IntoIterator<Item = ApiKey>) -> Ledger {
    let keys = [key("root", Rights::Admin)].into_iter().chain(keys);
    ledger(size, policy).with_access(keys, []).unwrap()
}

/// Decides the command of this key in a batch of its own, and returns the changes, too.
fn batch(
    ledger: &mut Ledger,
    at: i64,
    key: Option<&str>,
    command: &Command,
) -> (Outcome, Vec<Change>) {
    let mut batch = ledger.batch(second(at));
    let outcome = batch.decide_for(key.map(key_id), command).unwrap();
    (outcome, batch.finish().changes)
}

fn by(ledger: &mut Ledger, at: i64, key: &str, command: &Command) -> Outcome {
    batch(ledger, at, Some(key), command).0
}

fn access(
    ledger: &mut Ledger,
    at: i64,
    key: Option<&str>,
    command: AccessCommand,
) -> Result<AccessDone, AccessRefusal> {
    match batch(ledger, at, key, &Command::Access(command)).0 {
        Outcome::Access(done) => Ok(done),
        Outcome::NoAccess(refusal) => Err(refusal),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn written(done: Result<AccessDone, AccessRefusal>) -> ApiKey {
    match done {
        Ok(AccessDone::Key(key)) => key,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn session_of(done: Result<AccessDone, AccessRefusal>) -> Session {
    match done {
        Ok(AccessDone::Session(session)) => session,
        other => panic!("{other:?}"),
    }
}

fn sign_in(secret: &str, length: u64) -> AccessCommand {
    AccessCommand::StartSession { hash: hash(secret), length: seconds(length), is_code: false }
}

fn code(secret: &str, length: u64) -> AccessCommand {
    AccessCommand::StartSession { hash: hash(secret), length: seconds(length), is_code: true }
}

fn redeem(secret: &str, cookie: &str) -> AccessCommand {
    let length = seconds(100);
    AccessCommand::Redeem { code: hash(secret), hash: hash(cookie), length }
}

fn asked_for(number: u128, user: &str) -> Command {
    Command::Allocate(Allocation::new(id(number), User::new(user).unwrap()))
}

fn cordon(pool: PoolId, number: u128) -> Command {
    let taint = Taint {
        name: TaintName::new("cordon").unwrap(),
        effect: Effect::NoNewLeases,
        reason: Note::default(),
        by: None,
        since: second(0),
        until: None,
    };
    Command::Taint { pool, token: token(number).id, taint }
}

fn uncordon(pool: PoolId, number: u128) -> Command {
    Command::Untaint { pool, token: token(number).id, name: TaintName::new("cordon").unwrap() }
}

fn plan_of(name: &str) -> Plan {
    let pools = vec![PoolWanted::new(PoolName::new(name).unwrap())];
    Plan { pools, ..Plan::default() }
}

fn release_token(number: u128) -> Command {
    let if_held = HolderCondition::default();
    Command::Release { pool: PoolId::DEFAULT, token_id: token(number).id, if_held }
}

fn acts(changes: &[Change]) -> Vec<(Option<&str>, Action, Option<&str>, &str)> {
    let acts = changes.iter().filter_map(|change| match change {
        Change::Acted(Act { actor, action, pool, subject }) => {
            let actor = actor.as_ref().map(|actor| actor.name.as_str());
            Some((actor, *action, pool.as_ref().map(PoolName::as_str), &**subject))
        }
        _ => None,
    });
    acts.collect()
}

#[track_caller]
fn assert_forbidden(ledger: &mut Ledger, key: &str, command: &Command, why: Forbidden) {
    let (outcome, changes) = batch(ledger, 1, Some(key), command);
    assert_eq!(outcome, Outcome::Forbidden(why), "{key} {command:?}");
    assert_eq!(changes, [], "{key} {command:?}");
}

#[test]
fn the_first_key_can_do_everything() {
    let mut ledger = ledger(1, POLICY);
    let root = key("root", Rights::Admin);
    for narrow in [
        key("root", Rights::Operate),
        key_of("root", Rights::Admin, &["default"], &["*"]),
        key_of("root", Rights::Admin, &["*"], &[]),
        ApiKey { expires_at: Some(second(9)), ..root.clone() },
    ] {
        let done = access(&mut ledger, 1, None, AccessCommand::Create(narrow));
        assert_eq!(done, Err(AccessRefusal::FirstKey));
    }
    let made = written(access(&mut ledger, 2, None, AccessCommand::Create(root.clone())));
    assert_eq!(made, ApiKey { created_at: second(2), ..root });
    // A caller without a key that the server allows to act may create further keys.
    let narrow = key_of("ci", Rights::Use, &["default"], &["ci-*"]);
    let made = written(access(&mut ledger, 3, None, AccessCommand::Create(narrow)));
    assert_eq!((made.created_at, made.created_by), (second(3), None));
}

#[test]
fn no_key_administers_a_wider_one() {
    let limited = ApiKey {
        expires_at: Some(second(99)),
        ..key_of("staging", Rights::Admin, &["staging*"], &["ci-*"])
    };
    let other = key_of("other", Rights::Read, &["production"], &[]);
    let mut ledger = with_keys(1, POLICY, [limited.clone(), other]);
    let narrow = ApiKey { expires_at: Some(second(50)), ..limited.clone() };
    for (wide, why) in [
        (ApiKey { pools: Patterns::everything(), ..narrow.clone() }, "pools"),
        (ApiKey { users: Patterns::everything(), ..narrow.clone() }, "users"),
        (ApiKey { expires_at: Some(second(100)), ..narrow.clone() }, "life"),
        (ApiKey { expires_at: None, ..narrow.clone() }, "life"),
    ] {
        let wide = ApiKey { id: key_id("new"), name: KeyName::new("new").unwrap(), ..wide };
        let done = access(&mut ledger, 1, Some("staging"), AccessCommand::Create(wide));
        assert_eq!(done, Err(AccessRefusal::TooWide), "{why}");
    }
    let narrow = ApiKey { id: key_id("new"), name: KeyName::new("new").unwrap(), ..narrow };
    let made = written(access(&mut ledger, 1, Some("staging"), AccessCommand::Create(narrow)));
    assert_eq!(made.created_by, Some(key_id("staging")));
    let rotate =
        |name| AccessCommand::Rotate { id: key_id(name), hash: hash("x"), keep_old: LEASE };
    for wider in ["root", "other", "missing"] {
        for command in [
            rotate(wider),
            AccessCommand::Revoke { id: key_id(wider) },
            AccessCommand::EndSessions { key: key_id(wider) },
        ] {
            let done = access(&mut ledger, 2, Some("staging"), command);
            assert_eq!(done, Err(AccessRefusal::UnknownKey), "{wider}");
        }
    }
    written(access(&mut ledger, 2, Some("staging"), rotate("new")));
    written(access(&mut ledger, 2, Some("staging"), rotate("staging")));
    written(access(&mut ledger, 2, Some("root"), AccessCommand::Revoke { id: key_id("staging") }));
    assert_forbidden(&mut ledger, "staging", &CLEAR, Forbidden::Key);
}

#[test]
fn a_key_that_can_not_be_is_refused() {
    let mut ledger = with_keys(1, POLICY, []);
    let mut create =
        |key: ApiKey| access(&mut ledger, 5, Some("root"), AccessCommand::Create(key)).unwrap_err();
    let new = key("new", Rights::Read);
    let root = || KeyName::new("root").unwrap();
    assert_eq!(create(ApiKey { name: root(), ..new.clone() }), AccessRefusal::NameTaken);
    assert_eq!(create(ApiKey { id: key_id("root"), ..new.clone() }), AccessRefusal::IdTaken);
    for over in [second(5), second(1)] {
        assert_eq!(create(ApiKey { expires_at: Some(over), ..new.clone() }), AccessRefusal::Over);
    }
    // A revoked key's name is free again.
    let revoke = AccessCommand::Revoke { id: key_id("new") };
    written(access(&mut ledger, 5, Some("root"), AccessCommand::Create(new.clone())));
    let revoked = written(access(&mut ledger, 6, Some("root"), revoke.clone()));
    assert_eq!(revoked.revoked_at, Some(second(6)));
    assert_eq!(access(&mut ledger, 7, Some("root"), revoke), Err(AccessRefusal::UnknownKey));
    let again = ApiKey { id: key_id("again"), ..new };
    written(access(&mut ledger, 8, Some("root"), AccessCommand::Create(again)));
}

#[test]
fn the_last_key_that_can_do_everything_is_not_revoked() {
    let narrow = [key("all", Rights::Operate), key("short", Rights::Admin)];
    let [operator, short] = narrow;
    let short = ApiKey { expires_at: Some(second(100)), ..short };
    let mut ledger = with_keys(1, POLICY, [operator, short]);
    let revoke = |name| AccessCommand::Revoke { id: key_id(name) };
    for actor in [Some("root"), None] {
        let done = access(&mut ledger, 2, actor, revoke("root"));
        assert_eq!(done, Err(AccessRefusal::LastKey));
    }
    let other = AccessCommand::Create(ApiKey { expires_at: None, ..key("other", Rights::Admin) });
    written(access(&mut ledger, 3, Some("root"), other));
    written(access(&mut ledger, 4, Some("root"), revoke("root")));
    assert_eq!(access(&mut ledger, 5, Some("other"), revoke("other")), Err(AccessRefusal::LastKey));
}

#[test]
fn the_number_of_keys_is_limited() {
    let all = (1..Access::MAX_KEYS).map(|number| key(&format!("k{number:05}"), Rights::Read));
    let mut ledger = with_keys(1, POLICY, all);
    let one_more = AccessCommand::Create(key("new", Rights::Read));
    let done = access(&mut ledger, 1, Some("root"), one_more.clone());
    assert_eq!(done, Err(AccessRefusal::TooManyKeys));
    written(access(&mut ledger, 2, Some("root"), AccessCommand::Revoke { id: key_id("k00007") }));
    written(access(&mut ledger, 3, Some("root"), one_more));
}

#[test]
fn an_old_secret_is_valid_for_a_while_after_a_rotation() {
    let mut ledger = with_keys(1, POLICY, [key("ci", Rights::Use)]);
    let rotate = |secret: &str, keep: u64| AccessCommand::Rotate {
        id: key_id("ci"),
        hash: hash(secret),
        keep_old: seconds(keep),
    };
    let valid = |ledger: &Ledger, at| {
        let found = |secret: &&str| {
            ledger.access().authenticate(key_id("ci"), &hash(secret), second(at)).is_some()
        };
        ["ci", "second", "third", "fourth"].into_iter().filter(found).collect::<Vec<_>>()
    };
    written(access(&mut ledger, 10, Some("root"), rotate("second", 5)));
    assert_eq!(valid(&ledger, 10), ["ci", "second"]);
    assert_eq!(valid(&ledger, 15), ["second"]);
    // Only the last one before the rotation is kept.
    written(access(&mut ledger, 11, Some("root"), rotate("third", 100)));
    assert_eq!(valid(&ledger, 11), ["second", "third"]);
    written(access(&mut ledger, 12, Some("root"), rotate("fourth", 0)));
    assert_eq!(valid(&ledger, 12), ["fourth"]);
}

#[test]
fn a_revoked_or_expired_key_does_nothing_more() {
    let policy = Policy { when_full: WhenFull::Wait, ..POLICY };
    let expiring = ApiKey { expires_at: Some(second(20)), ..key("brief", Rights::Admin) };
    let mut ledger = with_keys(1, policy, [key("ci", Rights::Admin), expiring]);
    granted(by(&mut ledger, 0, "ci", &Command::Allocate(asked(1))));
    assert_eq!(queued(&by(&mut ledger, 1, "ci", &Command::Allocate(patient(2, 60)))), 1);
    written(access(&mut ledger, 2, Some("root"), AccessCommand::Revoke { id: key_id("ci") }));
    // The token of the queue's first ticket becomes available; but its key is gone.
    by(&mut ledger, 3, "root", &Command::ReleaseLease { lease_id: id(1) });
    let mut serving = ledger.batch(second(4));
    assert_eq!(next(&mut serving), Some(id(2)));
    let served = serving.decide_for(Some(key_id("ci")), &Command::Allocate(patient(2, 60)));
    assert_eq!(served, Some(Outcome::Forbidden(Forbidden::Key)));
    assert_eq!(serving.finish().changes, []);
    let commands = [
        Command::Allocate(asked(3)),
        Command::ReleaseLease { lease_id: id(1) },
        Command::Renew { lease_id: id(1) },
        Command::GiveUp { lease_id: id(2) },
        CLEAR,
        release_token(1),
        cordon(PoolId::DEFAULT, 1),
        uncordon(PoolId::DEFAULT, 1),
        Command::Apply(plan_of("new")),
        Command::Access(AccessCommand::Create(key("new", Rights::Read))),
        Command::Access(sign_in("cookie", 9)),
        Command::Access(AccessCommand::EndSessions { key: key_id("ci") }),
    ];
    for command in &commands {
        assert_forbidden(&mut ledger, "ci", command, Forbidden::Key);
        assert_forbidden(&mut ledger, "missing", command, Forbidden::Key);
        let late = batch(&mut ledger, 20, Some("brief"), command).0;
        assert_eq!(late, Outcome::Forbidden(Forbidden::Key), "{command:?}");
    }
    let beside = Allocation { pool: PoolId(7), ..asked(4) };
    granted(by(&mut ledger, 19, "brief", &Command::Allocate(beside)));
}

#[test]
fn each_command_needs_a_right() {
    let keys = Rights::ALL.map(|rights| key(rights.as_str(), rights));
    let mut ledger = with_keys(2, POLICY, keys);
    granted(by(&mut ledger, 0, "root", &Command::Allocate(asked(1))));
    let create = AccessCommand::Create(key("new", Rights::Read));
    let rotate = AccessCommand::Rotate { id: key_id("read"), hash: hash("x"), keep_old: LEASE };
    let needs = [
        (Command::Allocate(asked(2)), Rights::Use),
        (Command::Renew { lease_id: id(1) }, Rights::Use),
        (release_token(1), Rights::Use),
        (Command::ReleaseLease { lease_id: id(1) }, Rights::Use),
        (Command::GiveUp { lease_id: id(7) }, Rights::Use),
        (cordon(PoolId::DEFAULT, 1), Rights::Operate),
        (uncordon(PoolId::DEFAULT, 1), Rights::Operate),
        (CLEAR, Rights::Operate),
        (Command::Apply(plan_of("new")), Rights::Admin),
        (Command::Access(create), Rights::Admin),
        (Command::Access(rotate), Rights::Admin),
        (Command::Access(AccessCommand::Revoke { id: key_id("use") }), Rights::Admin),
        (Command::Access(AccessCommand::EndSessions { key: key_id("root") }), Rights::Admin),
        (Command::Access(AccessCommand::EndSession { hash: hash("cookie") }), Rights::Read),
        (Command::Access(sign_in("cookie", 9)), Rights::Read),
        // The engine's own commands have no key, but would need none.
        (Command::Heartbeat, Rights::Read),
    ];
    for (command, needed) in needs {
        for rights in Rights::ALL.into_iter().filter(|rights| !rights.include(needed)) {
            assert_forbidden(&mut ledger, rights.as_str(), &command, Forbidden::Right(needed));
        }
        let mut copy = ledger.clone();
        let outcome = by(&mut copy, 1, needed.as_str(), &command);
        assert!(!matches!(outcome, Outcome::Forbidden(_)), "{command:?} {outcome:?}");
    }
}

#[test]
fn a_key_applies_to_its_pools_only() {
    let keys = [key_of("beside", Rights::Admin, &["bes*"], &["*"])];
    let mut ledger = with_keys(2, POLICY, keys);
    granted(by(&mut ledger, 0, "root", &Command::Allocate(asked(1))));
    let both = Plan {
        pools: ["beside", "far"].map(|name| plan_of(name).pools.remove(0)).into(),
        ..Plan::default()
    };
    for command in [
        Command::Allocate(asked(2)),
        Command::Renew { lease_id: id(1) },
        Command::ReleaseLease { lease_id: id(1) },
        release_token(1),
        cordon(PoolId::DEFAULT, 1),
        uncordon(PoolId::DEFAULT, 1),
        CLEAR,
        Command::Apply(plan_of("default")),
        Command::Apply(both),
    ] {
        assert_forbidden(&mut ledger, "beside", &command, Forbidden::Pool);
    }
    let beside = Allocation { pool: PoolId(2), ..asked(3) };
    granted(by(&mut ledger, 1, "beside", &Command::Allocate(beside)));
    let outcome = by(&mut ledger, 1, "beside", &Command::Apply(plan_of("beside-2")));
    assert!(matches!(outcome, Outcome::Applied(..)), "{outcome:?}");
    // A pool that does not exist is no secret.
    let missing = Allocation { pool: PoolId(99), ..asked(4) };
    assert_eq!(by(&mut ledger, 1, "beside", &Command::Allocate(missing)), Outcome::UnknownPool);
}

#[test]
fn a_key_acts_for_its_users_unless_it_may_operate() {
    let policy = Policy { when_full: WhenFull::Wait, max_lease: Some(3 * LEASE), ..POLICY };
    let keys =
        [key_of("ci", Rights::Use, &["*"], &["ci-*"]), key_of("ops", Rights::Operate, &["*"], &[])];
    let mut ledger = with_keys(1, policy, keys);
    for other in ["ci", "ops"] {
        assert_forbidden(&mut ledger, other, &asked_for(1, "ann"), Forbidden::User);
    }
    granted(by(&mut ledger, 1, "root", &asked_for(1, "ann")));
    queued(&by(&mut ledger, 1, "root", &Command::Allocate(patient(2, 60))));
    let (renew, end) =
        (Command::Renew { lease_id: id(1) }, Command::ReleaseLease { lease_id: id(1) });
    let give_up = Command::GiveUp { lease_id: id(2) };
    for command in [&renew, &end, &give_up, &release_token(1)] {
        assert_forbidden(&mut ledger, "ci", command, Forbidden::User);
    }
    assert!(matches!(by(&mut ledger, 2, "ops", &renew), Outcome::Renewed(_)));
    let (outcome, changes) = batch(&mut ledger, 3, Some("ops"), &give_up);
    assert_eq!(outcome, Outcome::GaveUp);
    let number = id(2).0.to_string();
    assert_eq!(
        acts(&changes),
        [(Some("ops"), Action::TicketRemoved, Some("default"), number.as_str())]
    );
    let (outcome, changes) = batch(&mut ledger, 4, Some("ops"), &release_token(1));
    let Outcome::Released { ended: Some(ended) } = outcome else { panic!("{outcome:?}") };
    assert_eq!((ended.by, ended.end.unwrap().by), (Some(key_id("root")), Some(key_id("ops"))));
    let number = id(1).0.to_string();
    assert_eq!(
        acts(&changes),
        [(Some("ops"), Action::LeaseReleased, Some("default"), number.as_str())]
    );
    // What a key could have allocated itself is in the history only.
    granted(by(&mut ledger, 5, "root", &asked_for(3, "ci-3")));
    let end = Command::ReleaseLease { lease_id: id(3) };
    let (outcome, changes) = batch(&mut ledger, 6, Some("ci"), &end);
    assert!(matches!(outcome, Outcome::LeaseReleased(_)));
    assert_eq!(acts(&changes), []);
}

#[test]
fn a_key_has_a_limit_of_running_leases() {
    let policy = Policy { when_full: WhenFull::Wait, ..POLICY };
    let limited = ApiKey { max_leases: Some(2), ..key("ci", Rights::Use) };
    let mut ledger = with_keys(3, policy, [limited]);
    for number in [1, 2] {
        granted(by(&mut ledger, 0, "ci", &Command::Allocate(asked(number))));
    }
    let refusal = refused(by(&mut ledger, 1, "ci", &Command::Allocate(patient(3, 60))));
    assert_eq!(refusal, Refusal::ApiKeyLimit { limit: 2 });
    // Others are not affected, and leases of others don't count.
    granted(by(&mut ledger, 2, "root", &Command::Allocate(asked(4))));
    assert_eq!(ledger.access().leases(key_id("ci")), 2);
    by(&mut ledger, 3, "root", &Command::ReleaseLease { lease_id: id(1) });
    assert_eq!(ledger.access().leases(key_id("ci")), 1);
    granted(by(&mut ledger, 4, "ci", &Command::Allocate(asked(5))));
    // A lease that ends by itself counts no longer, from the first batch after it on.
    ledger.batch(lease(&ledger, 2).expires_at);
    assert_eq!(ledger.access().leases(key_id("ci")), 1);
    // So does a stored one.
    let running = ["ci", "ci", "root"].into_iter().zip(1..).map(|(name, number)| Lease {
        by: Some(key_id(name)),
        ..Lease::granted(
            id(number),
            token(number).id,
            User::new("Ada").unwrap(),
            Fence::new(i64::try_from(number).unwrap()),
            second(0),
            second(60),
        )
    });
    let over = Lease {
        end: Some(End::new(second(1), EndReason::Released)),
        by: Some(key_id("ci")),
        ..Lease::granted(
            id(4),
            token(4).id,
            User::new("Ada").unwrap(),
            Fence::new(4),
            second(0),
            second(60),
        )
    };
    let counters = Counters { fence: Fence::new(4), ..Counters::default() };
    let latest = running.chain([over]);
    let restored = super::restore(counters, [default_record(policy)], tokens(4), latest).unwrap();
    assert_eq!(restored.access().leases(key_id("ci")), 2);
}

#[test]
fn a_limit_applies_when_a_ticket_is_served() {
    let policy = Policy { when_full: WhenFull::Wait, ..POLICY };
    let limited = ApiKey { max_leases: Some(1), ..key("ci", Rights::Use) };
    let mut ledger = with_keys(1, policy, [limited]);
    granted(by(&mut ledger, 0, "root", &Command::Allocate(asked(1))));
    for number in [2, 3] {
        queued(&by(&mut ledger, 1, "ci", &Command::Allocate(patient(number, 60))));
    }
    by(&mut ledger, 2, "root", &Command::ReleaseLease { lease_id: id(1) });
    granted(by(&mut ledger, 2, "ci", &Command::Allocate(patient(2, 60))));
    // Another pool has a free token; but the key has its lease.
    let beside = Allocation { pool: PoolId(2), ..asked(4) };
    let refusal = refused(by(&mut ledger, 3, "ci", &Command::Allocate(beside)));
    assert_eq!(refusal, Refusal::ApiKeyLimit { limit: 1 });
}

#[test]
fn a_session_ends_with_its_key_at_the_latest() {
    let brief = ApiKey { expires_at: Some(second(50)), ..key("brief", Rights::Read) };
    let mut ledger = with_keys(1, POLICY, [brief, key("ci", Rights::Read)]);
    let session = session_of(access(&mut ledger, 1, Some("brief"), sign_in("cookie", 100)));
    assert_eq!((session.started_at, session.expires_at), (second(1), second(50)));
    assert_eq!((session.key, session.kind), (key_id("brief"), SessionKind::Browser));
    let other = session_of(access(&mut ledger, 2, Some("ci"), sign_in("other", 100)));
    assert_eq!(other.expires_at, second(102));
    let key_at = |ledger: &Ledger, secret: &str, at| {
        let found = ledger.access().session(&hash(secret), second(at));
        found.map(|(_, key)| key.name.to_string())
    };
    assert_eq!(key_at(&ledger, "cookie", 49).as_deref(), Some("brief"));
    assert_eq!(key_at(&ledger, "cookie", 50), None);
    assert_eq!(key_at(&ledger, "other", 101).as_deref(), Some("ci"));
    assert_eq!(key_at(&ledger, "unknown", 3), None);
    let again = access(&mut ledger, 3, Some("ci"), sign_in("cookie", 9));
    assert_eq!(again, Err(AccessRefusal::IdTaken));
    // Without a key, nothing has a session.
    let without = access(&mut ledger, 3, None, sign_in("new", 9));
    assert_eq!(without, Err(AccessRefusal::UnknownKey));
    // Rotation ends no session; revocation ends all.
    let rotate = AccessCommand::Rotate { id: key_id("ci"), hash: hash("x"), keep_old: seconds(0) };
    written(access(&mut ledger, 4, Some("root"), rotate));
    assert_eq!(key_at(&ledger, "other", 4).as_deref(), Some("ci"));
    written(access(&mut ledger, 5, Some("root"), AccessCommand::Revoke { id: key_id("ci") }));
    assert_eq!(key_at(&ledger, "other", 5), None);
}

#[test]
fn sessions_are_ended_one_by_one_or_all_of_a_key() {
    let mut ledger = with_keys(1, POLICY, [key("ci", Rights::Read), key("ops", Rights::Read)]);
    for (secret, owner) in [("a", "ci"), ("b", "ci"), ("c", "ci"), ("d", "ops")] {
        session_of(access(&mut ledger, 0, Some(owner), sign_in(secret, 100)));
    }
    session_of(access(&mut ledger, 0, Some("ci"), code("code", 60)));
    let running = |ledger: &Ledger| {
        ["ci", "ops"].map(|name| ledger.access().sessions(key_id(name), second(1)))
    };
    assert_eq!((running(&ledger), ledger.access().running_sessions(second(1))), ([3, 1], 4));
    let end = |secret| AccessCommand::EndSession { hash: hash(secret) };
    for (secret, ended) in [("a", 1), ("a", 0), ("unknown", 0)] {
        let done = access(&mut ledger, 1, Some("ci"), end(secret));
        assert_eq!(done, Ok(AccessDone::SessionsEnded(ended)));
    }
    assert_eq!(running(&ledger), [2, 1]);
    let all = Command::Access(AccessCommand::EndSessions { key: key_id("ci") });
    assert_forbidden(&mut ledger, "ops", &all, Forbidden::Right(Rights::Admin));
    let (outcome, changes) = batch(&mut ledger, 1, Some("ci"), &all);
    assert_eq!(outcome, Outcome::Access(AccessDone::SessionsEnded(2)));
    let entry = (Some("ci"), Action::SessionEnded, None, "ci (ci0000000000)");
    assert_eq!(acts(&changes), [entry; 2]);
    assert_eq!(running(&ledger), [0, 1]);
    let used = access(&mut ledger, 1, None, redeem("code", "e"));
    assert_eq!(used, Err(AccessRefusal::UnknownCode), "a code ends with the sessions");
}

#[test]
fn a_code_starts_a_session_once() {
    let mut ledger = with_keys(1, POLICY, [key("ci", Rights::Read)]);
    session_of(access(&mut ledger, 0, Some("ci"), code("code", 60)));
    session_of(access(&mut ledger, 0, Some("ci"), code("late", 60)));
    assert_eq!(ledger.access().sessions(key_id("ci"), second(0)), 0, "a code is no session");
    let session = session_of(access(&mut ledger, 1, None, redeem("code", "cookie")));
    assert_eq!((session.key, session.kind), (key_id("ci"), SessionKind::Browser));
    assert_eq!(session.expires_at, second(101));
    for (at, secret) in [(2, "code"), (60, "late"), (2, "cookie"), (2, "unknown")] {
        let refused = access(&mut ledger, at, None, redeem(secret, "another"));
        assert_eq!(refused, Err(AccessRefusal::UnknownCode), "{secret}");
    }
}

#[test]
fn the_number_of_sessions_is_limited() {
    let mut ledger = with_keys(1, POLICY, [key("ci", Rights::Read)]);
    for number in 0..Access::MAX_SESSIONS {
        let length = if number < 20 { 10 } else { 1_000 };
        session_of(access(&mut ledger, 0, Some("ci"), sign_in(&number.to_string(), length)));
    }
    let refused = access(&mut ledger, 9, Some("ci"), sign_in("new", 100));
    assert_eq!(refused, Err(AccessRefusal::TooManySessions));
    // Those that are over make room, some with each new one.
    let (outcome, changes) = batch(&mut ledger, 10, Some("ci"), &Command::Access(sign_in("a", 9)));
    assert!(matches!(outcome, Outcome::Access(_)));
    let ended = |change: &&Change| matches!(change, Change::SessionEnded(_));
    assert_eq!(changes.iter().filter(ended).count(), 16);
    let (_, changes) = batch(&mut ledger, 10, Some("ci"), &Command::Access(sign_in("b", 9)));
    assert_eq!(changes.iter().filter(ended).count(), 4);
}

#[test]
fn the_audit_log_has_what_keys_changed() {
    let mut ledger = with_keys(2, POLICY, [key("ci", Rights::Use)]);
    let mut done = |key: Option<&str>, command: &Command| {
        let (outcome, changes) = batch(&mut ledger, 1, key, command);
        assert!(!matches!(outcome, Outcome::Forbidden(_)), "{command:?}");
        changes
    };
    let pool = PoolId::DEFAULT;
    let root = Some("root");
    let default = Some("default");
    assert_eq!(
        acts(&done(root, &cordon(pool, 1))),
        [(root, Action::TokenTainted, default, "1: cordon")]
    );
    assert_eq!(acts(&done(root, &cordon(pool, 1))), [], "nothing changed");
    assert_eq!(
        acts(&done(root, &uncordon(pool, 1))),
        [(root, Action::TokenUntainted, default, "1: cordon")]
    );
    assert_eq!(acts(&done(root, &uncordon(pool, 1))), []);
    // Without a key, too.
    assert_eq!(
        acts(&done(None, &cordon(pool, 2))),
        [(None, Action::TokenTainted, default, "2: cordon")]
    );
    assert_eq!(acts(&done(Some("ci"), &Command::Allocate(asked(1)))), []);
    assert_eq!(acts(&done(Some("ci"), &Command::Renew { lease_id: id(1) })), []);
    assert_eq!(acts(&done(root, &CLEAR)), [(root, Action::PoolCleared, default, "1 leases")]);
    assert_eq!(acts(&done(root, &CLEAR)), []);
    assert_eq!(
        acts(&done(root, &Command::Apply(plan_of("new")))),
        [(root, Action::PoolsChanged, Some("new"), "1 changes")]
    );
    assert_eq!(acts(&done(root, &Command::Apply(plan_of("new")))), []);
    let create = Command::Access(AccessCommand::Create(key("new", Rights::Read)));
    assert_eq!(
        acts(&done(root, &create)),
        [(root, Action::KeyCreated, None, "new (new000000000)")]
    );
    assert_eq!(
        acts(&done(Some("new"), &Command::Access(sign_in("cookie", 9)))),
        [(Some("new"), Action::SessionStarted, None, "new (new000000000)")]
    );
    assert_eq!(acts(&done(Some("new"), &Command::Access(code("code", 9)))), []);
    assert_eq!(
        acts(&done(None, &Command::Access(redeem("code", "cookie 2")))),
        [(Some("new"), Action::SessionStarted, None, "new (new000000000)")]
    );
    let rotate = AccessCommand::Rotate { id: key_id("new"), hash: hash("x"), keep_old: LEASE };
    let rotated = done(root, &Command::Access(rotate));
    assert_eq!(acts(&rotated), [(root, Action::KeyRotated, None, "new (new000000000)")]);
    let revoke = Command::Access(AccessCommand::Revoke { id: key_id("new") });
    let revoked = done(root, &revoke);
    assert_eq!(acts(&revoked), [(root, Action::KeyRevoked, None, "new (new000000000)")]);
    // The entry comes before the change that it is about.
    let actor = Some(Actor { id: key_id("root"), name: KeyName::new("root").unwrap() });
    assert!(
        matches!(&revoked[..], [Change::Acted(act), Change::KeyChanged(_)] if act.actor == actor)
    );
}

#[test]
fn an_end_has_the_key_of_its_command() {
    let mut ledger = with_keys(1, POLICY, [key("ci", Rights::Use)]);
    let ended_by = |changes: &[Change]| -> Vec<(LeaseId, EndReason, Option<ApiKeyId>)> {
        let ends = changes.iter().filter_map(|change| match change {
            Change::LeaseEnded { lease_id, end, .. } => Some((*lease_id, end.reason, end.by)),
            _ => None,
        });
        ends.collect()
    };
    let [root, ci] = ["root", "ci"].map(|name| Some(key_id(name)));
    granted(by(&mut ledger, 0, "root", &Command::Allocate(asked(1))));
    assert_eq!(lease(&ledger, 1).by, root);
    let (_, changes) = batch(&mut ledger, 1, Some("ci"), &Command::Allocate(asked(2)));
    assert_eq!(ended_by(&changes), [(id(1), EndReason::Evicted, ci)]);
    let (_, changes) = batch(&mut ledger, 2, Some("root"), &CLEAR);
    assert_eq!(ended_by(&changes), [(id(2), EndReason::Cleared, root)]);
    granted(by(&mut ledger, 3, "ci", &Command::Allocate(asked(3))));
    let expired = lease(&ledger, 3).expires_at;
    let mut after = ledger.batch(expired);
    // The batch of a key records an end that nothing caused.
    granted(after.decide_for(ci, &Command::Allocate(asked(4))).unwrap());
    assert_eq!(ended_by(&after.finish().changes), [(id(3), EndReason::Expired, None)]);
    let in_beside = Allocation { pool: PoolId(2), ..asked(5) };
    let at = expired.as_micros() / 1_000_000 + 1;
    granted(by(&mut ledger, at, "ci", &Command::Allocate(in_beside)));
    let mut opened = plan_of("beside");
    opened.pools[0].policy.membership = Some(Membership::Open);
    by(&mut ledger, at, "root", &Command::Apply(opened));
    let mut plan = Plan { end_leases: true, ..plan_of("beside") };
    plan.pools[0].delete = true;
    let (outcome, changes) = batch(&mut ledger, at, Some("root"), &Command::Apply(plan));
    assert!(matches!(outcome, Outcome::Applied(..)), "{outcome:?}");
    let ends = ended_by(&changes);
    assert_eq!(ends.iter().map(|(id, _, by)| (*id, *by)).collect::<Vec<_>>(), [(id(5), root)]);
    assert_eq!(ledger.access().leases(key_id("ci")), 1);
    assert!(default(&ledger).active(Timestamp::from_micros(at * 1_000_000)) <= 1);
}

#[test]
fn copies_agree_on_keys_and_sessions() {
    let mut ledger = with_keys(2, POLICY, []);
    let mut copy = ledger.clone();
    let commands = [
        Command::Access(AccessCommand::Create(key("ci", Rights::Admin))),
        Command::Access(sign_in("cookie", 9)),
        Command::Access(sign_in("cookie 2", 9)),
        Command::Allocate(asked(1)),
        Command::Access(AccessCommand::EndSession { hash: hash("cookie") }),
        Command::Access(AccessCommand::Revoke { id: key_id("ci") }),
    ];
    for command in &commands {
        let before = copy.access().generation();
        let (_, changes) = batch(&mut ledger, 1, Some("root"), command);
        for change in &changes {
            copy.apply(change).unwrap();
        }
        let is_access = matches!(command, Command::Access(_));
        assert_eq!(copy.access().generation() != before, is_access, "{command:?}");
    }
    for name in ["root", "ci"] {
        let [one, other] = [&ledger, &copy].map(|ledger| {
            let access = ledger.access();
            let key = access.key(key_id(name)).cloned();
            (key, access.leases(key_id(name)), access.sessions(key_id(name), second(2)))
        });
        assert_eq!(one, other);
    }
    let names: Vec<_> = copy.access().keys_after("").map(|key| key.name.to_string()).collect();
    assert_eq!((names, copy.access().len()), (vec!["root".to_owned()], 1));
    assert!(copy.access().key_named("root").is_some() && copy.access().key_named("ci").is_none());
}

#[test]
fn a_caller_without_a_key_does_nothing_more_once_there_is_one() {
    let policy = Policy { when_full: WhenFull::Wait, ..POLICY };
    let mut ledger = ledger(1, policy);
    let without = |ledger: &mut Ledger, command: &Command| {
        ledger.batch(second(1)).decide_for(Sender::WithoutKeys, command).unwrap()
    };
    granted(without(&mut ledger, &Command::Allocate(asked(1))));
    let create = |name: &str| Command::Access(AccessCommand::Create(key(name, Rights::Admin)));
    let created = without(&mut ledger, &create("root"));
    assert!(matches!(created, Outcome::Access(AccessDone::Key(_))), "{created:?}");
    for command in
        [Command::Allocate(asked(2)), Command::ReleaseLease { lease_id: id(1) }, CLEAR, create("b")]
    {
        let refused = without(&mut ledger, &command);
        assert_eq!(refused, Outcome::Forbidden(Forbidden::KeyNeeded), "{command:?}");
    }
    // A caller whose rights are a setting's has them with keys, too.
    assert_eq!(batch(&mut ledger, 2, None, &CLEAR).0, Outcome::Cleared { ended: 1 });
}

#[test]
fn a_user_of_a_proxy_acts_for_itself_only() {
    let keys = [
        key_of("proxy", Rights::Use, &["*"], &["*"]),
        key_of("ops", Rights::Admin, &["*"], &["*"]),
        key_of("narrow", Rights::Use, &["*"], &["ci-*"]),
    ];
    let mut ledger = with_keys(2, POLICY, keys);
    let user = |name: &str| User::new(name).unwrap();
    let decide = |ledger: &mut Ledger, key: &str, name: &str, command: &Command| {
        let mut batch = ledger.batch(second(1));
        let outcome = batch.decide_for(Sender::UserOf(key_id(key), user(name)), command).unwrap();
        (outcome, batch.finish().changes)
    };
    let forbidden = Outcome::Forbidden(Forbidden::User);
    granted(decide(&mut ledger, "proxy", "ann", &asked_for(1, "ann")).0);
    // A user named like a pattern is not one.
    for name in ["bob", "*", "a*"] {
        for command in [
            asked_for(2, "ann"),
            Command::Renew { lease_id: id(1) },
            Command::ReleaseLease { lease_id: id(1) },
            release_token(1),
        ] {
            let outcome = decide(&mut ledger, "proxy", name, &command).0;
            assert_eq!(outcome, forbidden, "{name} {command:?}");
        }
    }
    let beyond = decide(&mut ledger, "narrow", "ann", &asked_for(3, "ann")).0;
    assert_eq!(beyond, forbidden, "not more than the key");
    // The audit log says who it was, also for what the key could have allocated itself.
    let (ended, changes) =
        decide(&mut ledger, "ops", "bob", &Command::ReleaseLease { lease_id: id(1) });
    assert!(matches!(ended, Outcome::LeaseReleased(_)), "{ended:?}");
    let subject = format!("{}, by user bob", id(1).0);
    let expected = [(Some("ops"), Action::LeaseReleased, Some("default"), &*subject)];
    assert_eq!(acts(&changes), expected);
    // The key is the proxy's.
    let rotate = AccessCommand::Rotate { id: key_id("ops"), hash: hash("x"), keep_old: LEASE };
    for command in [
        AccessCommand::Create(key("new", Rights::Read)),
        rotate,
        AccessCommand::Revoke { id: key_id("proxy") },
        sign_in("cookie", 9),
        AccessCommand::EndSessions { key: key_id("ops") },
    ] {
        let outcome = decide(&mut ledger, "ops", "bob", &Command::Access(command)).0;
        assert_eq!(outcome, Outcome::Forbidden(Forbidden::Proxied));
    }
    written(access(&mut ledger, 2, Some("root"), AccessCommand::Revoke { id: key_id("ops") }));
    assert_eq!(decide(&mut ledger, "ops", "bob", &CLEAR).0, Outcome::Forbidden(Forbidden::Key));
}
