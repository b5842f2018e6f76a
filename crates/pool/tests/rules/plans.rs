//! Plans: pools and tokens are created, changed and deleted while leases run.

use pool::{
    Allocation, Change, Command, EndReason, Expected, Intent, Labels, Ledger, Membership, Note,
    Outcome, Plan, PlanRefused, PlanRule, Policy, PolicyPatch, Pool, PoolId, PoolName, PoolWanted,
    Refusal, ShowValues, Timestamp, TokenId, TokenName, TokenValue, TokenWanted, WhenFull,
};
use uuid::Uuid;

use super::{allocate, asked, decide, granted, id, patient, queued, refused, second, seconds};

fn wanted(name: &str, tokens: impl IntoIterator<Item = TokenWanted>) -> PoolWanted {
    let pool = PoolWanted::new(PoolName::new(name).unwrap());
    PoolWanted { tokens: Some(tokens.into_iter().collect()), ..pool }
}

/// A new token's number becomes its id and value; without a name.
fn unnamed(number: u128) -> TokenWanted {
    let uuid = Uuid::from_u128(number);
    TokenWanted::new(None, TokenId(uuid), TokenValue::of_uuid(uuid))
}

fn named(number: u128, name: &str) -> TokenWanted {
    TokenWanted { name: TokenName::new(name).ok(), ..unnamed(number) }
}

fn valued(number: u128, value: &str) -> TokenWanted {
    TokenWanted { value: TokenValue::new(value).ok(), ..unnamed(number) }
}

fn of(pools: impl IntoIterator<Item = PoolWanted>) -> Plan {
    Plan { pools: pools.into_iter().collect(), ..Plan::default() }
}

#[track_caller]
fn applied(ledger: &mut Ledger, at: Timestamp, plan: Plan) -> Vec<Change> {
    let dry_run = ledger.plan(&plan, at);
    match decide(ledger, at, &Command::Apply(plan)) {
        Outcome::Applied(changes, _) => {
            assert_eq!(dry_run.as_ref(), Ok(&changes));
            changes
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refusal(ledger: &mut Ledger, plan: Plan) -> PlanRefused {
    let mut batch = ledger.batch(second(1));
    let Some(Outcome::NotApplied(refused)) = batch.decide(&Command::Apply(plan)) else { panic!() };
    assert_eq!(batch.finish().changes, [], "all of a plan or nothing");
    refused
}

/// A ledger with the pools `default` and `phones`, with these tokens in `phones`.
fn phones(tokens: impl IntoIterator<Item = TokenWanted>) -> Ledger {
    let mut ledger = Ledger::default();
    applied(&mut ledger, second(0), of([wanted("default", []), wanted("phones", tokens)]));
    ledger
}

fn pool(ledger: &Ledger) -> &Pool {
    ledger.pool_named("phones").unwrap()
}

fn names(ledger: &Ledger) -> Vec<String> {
    pool(ledger).tokens(0).map(|view| view.token.name.to_string()).collect()
}

/// An allocation from `phones`.
fn phone(number: u128) -> Allocation {
    Allocation { pool: PoolId(2), ..asked(number) }
}

#[test]
fn a_pool_has_the_defaults_of_its_kind() {
    let ledger = phones([]);
    let [default, phones] = [PoolId::DEFAULT, PoolId(2)].map(|id| ledger.pool(id).unwrap());
    assert_eq!((default.name().as_str(), phones.name().as_str()), ("default", "phones"));
    assert_eq!((default.policy(), phones.policy()), (Policy::DEFAULT, Policy::OTHER));
    assert_eq!(Policy::DEFAULT.membership, Membership::Fixed);
    assert_eq!(Policy::OTHER.show_values, ShowValues::Holder);
    assert_eq!(
        Policy { membership: Membership::Open, show_values: ShowValues::Holder, ..Policy::DEFAULT },
        Policy::OTHER
    );
}

#[test]
fn the_pool_default_has_its_number_whenever_it_is_created() {
    let mut ledger = Ledger::default();
    applied(&mut ledger, second(0), of([wanted("phones", []), wanted("default", [])]));
    assert_eq!(ledger.pool_named("default").map(Pool::id), Some(PoolId::DEFAULT));
    assert_eq!(ledger.pool_named("phones").map(Pool::id), Some(PoolId(2)));
}

#[test]
fn a_number_of_a_pool_is_never_used_again() {
    let mut ledger = phones([]);
    let delete = PoolWanted { delete: true, ..wanted("phones", []) };
    let changes = applied(&mut ledger, second(1), of([delete]));
    assert_eq!(changes, [Change::PoolDeleted { pool: PoolId(2), at: second(1) }]);
    applied(&mut ledger, second(2), of([wanted("phones", [])]));
    assert_eq!(pool(&ledger).id(), PoolId(3));
    let late = decide(&mut ledger, second(2), &Command::Allocate(phone(1)));
    assert_eq!(late, Outcome::UnknownPool);
    assert_eq!(decide(&mut ledger, second(2), &Command::Clear { pool: PoolId(2) }), late);
}

#[test]
fn applying_a_plan_again_changes_nothing() {
    let labels = Labels::new([("os", "android")]).ok();
    let tokens = [
        TokenWanted { labels, ..named(10, "a") },
        valued(11, "x"),
        unnamed(12),
        valued(13, "x"),
        unnamed(14),
    ];
    let mut pool = wanted("phones", tokens);
    pool.description = Note::new("Phones in the lab").ok();
    pool.policy = PolicyPatch { when_full: Some(WhenFull::Wait), ..PolicyPatch::NONE };
    let plan = of([wanted("default", []), pool]);
    let mut ledger = Ledger::default();
    assert_eq!(applied(&mut ledger, second(0), plan.clone()).len(), 7);
    assert_eq!(names(&ledger), ["a", "2", "3", "4", "5"], "named after their positions");
    for prune in [false, true] {
        let again = Plan { prune, ..plan.clone() };
        assert_eq!(applied(&mut ledger, second(1), again), []);
    }
}

#[test]
fn a_name_that_another_token_has_is_not_made_from_a_position() {
    let ledger = phones([unnamed(10), named(11, "3"), named(12, "2"), unnamed(13)]);
    let positions: Vec<_> = pool(&ledger).tokens(0).map(|view| view.token.position).collect();
    // Tokens with a name come first.
    assert_eq!(names(&ledger), ["3", "2", "4", "5"]);
    assert_eq!(positions, [0, 1, 3, 4], "a position is skipped rather");
}

#[test]
fn a_changed_token_goes_on_for_its_holder() {
    let mut ledger = phones([named(10, "a")]);
    let lease = granted(allocate(&mut ledger, second(0), phone(1))).lease;
    let change = TokenWanted { value: TokenValue::new("new").ok(), ..named(99, "a") };
    let changes = applied(&mut ledger, second(1), of([wanted("phones", [change])]));
    assert!(matches!(&changes[..], [Change::TokenChanged(token)] if token.value.as_str() == "new"));
    assert_eq!(ledger.lease(id(1)), Some(&lease));
    let next = granted(allocate(&mut ledger, second(120), phone(2)));
    assert_eq!((next.value.as_str(), next.lease.token_id), ("new", lease.token_id));
}

#[test]
fn a_retired_token_leaves_with_its_last_lease() {
    let mut ledger = phones([named(10, "a"), named(11, "b")]);
    let lease = granted(allocate(&mut ledger, second(0), phone(1))).lease;
    let prune = Plan { prune: true, ..of([wanted("phones", [named(99, "c")])]) };
    let changes = applied(&mut ledger, second(1), prune.clone());
    assert_eq!((changes.len(), names(&ledger)), (3, vec!["a".to_owned(), "c".to_owned()]));
    assert_eq!((pool(&ledger).size(), pool(&ledger).retiring(), ledger.size()), (2, 1, 2));
    assert_eq!(pool(&ledger).token(lease.token_id).unwrap().token.retired_at, Some(second(1)));
    assert_eq!(applied(&mut ledger, second(2), prune), [], "once");
    // It gets no new lease, not even by eviction, and its name is free.
    granted(allocate(&mut ledger, second(3), phone(2)));
    let evicted = granted(allocate(&mut ledger, second(3), phone(3))).evicted;
    assert_eq!(evicted.map(|lease| lease.id), Some(id(2)));
    applied(&mut ledger, second(4), of([wanted("phones", [named(98, "a")])]));
    assert_eq!(names(&ledger), ["a", "c", "a"]);
    let named = pool(&ledger).token_named("a").unwrap().token.id;
    assert_ne!(named, lease.token_id);
    decide(&mut ledger, second(5), &Command::ReleaseLease { lease_id: id(1) });
    assert_eq!((names(&ledger), ledger.lease(id(1))), (vec!["c".to_owned(), "a".to_owned()], None));
    assert!(ledger.token(lease.token_id).is_none());
}

#[test]
fn positions_are_not_used_again() {
    let mut ledger = phones([unnamed(10), unnamed(11)]);
    let plan = Plan { prune: true, ..of([wanted("phones", [])]) };
    applied(&mut ledger, second(1), plan);
    applied(&mut ledger, second(2), of([wanted("phones", [unnamed(12)])]));
    assert_eq!(names(&ledger), ["3"]);
}

#[test]
fn other_tokens_stay_unless_the_plan_prunes() {
    let mut ledger = phones([named(10, "a")]);
    let keep = PoolWanted { keep_other_tokens: true, ..wanted("phones", [named(11, "b")]) };
    applied(&mut ledger, second(1), Plan { prune: true, ..of([keep]) });
    applied(&mut ledger, second(1), of([wanted("phones", [named(12, "c")])]));
    let untouched = PoolWanted { tokens: None, ..wanted("phones", []) };
    assert_eq!(applied(&mut ledger, second(1), Plan { prune: true, ..of([untouched]) }), []);
    assert_eq!(names(&ledger), ["a", "b", "c"]);
}

#[test]
fn single_tokens_are_created_changed_and_retired() {
    let mut ledger = phones([named(10, "a")]);
    let token = TokenId(Uuid::from_u128(10));
    let with = |intent, token| TokenWanted { intent, ..token };
    let rule = |ledger: &mut Ledger, token| {
        let refused = refusal(ledger, of([wanted("phones", [token])]));
        (refused.token, refused.rule)
    };
    let create = with(Intent::Create, named(11, "a"));
    assert_eq!(rule(&mut ledger, create), (Some("a".to_owned()), PlanRule::NameTaken));
    let plan = of([wanted("phones", [with(Intent::Create, unnamed(11))])]);
    applied(&mut ledger, second(1), plan);
    let rename = with(Intent::Change(token), named(99, "2"));
    assert_eq!(rule(&mut ledger, rename), (Some("2".to_owned()), PlanRule::NameTaken));
    let rename = with(Intent::Change(token), named(99, "b"));
    applied(&mut ledger, second(1), of([wanted("phones", [rename.clone()])]));
    assert_eq!(names(&ledger), ["b", "2"]);
    applied(
        &mut ledger,
        second(1),
        of([wanted("phones", [with(Intent::Retire(token), unnamed(99))])]),
    );
    assert_eq!(names(&ledger), ["2"]);
    let gone = Some(token.0.to_string());
    assert_eq!(rule(&mut ledger, rename), (gone, PlanRule::UnknownToken));
}

#[test]
fn a_plan_is_refused_whole_and_the_refusal_names_the_place() {
    let mut ledger = phones([named(10, "a")]);
    let good = || wanted("fine", [unnamed(20)]);
    let bad = |pool: PoolWanted| of([good(), pool]);
    let rule = |ledger: &mut Ledger, pool| refusal(ledger, bad(pool)).rule;
    assert_eq!(rule(&mut ledger, good()), PlanRule::PoolTwice);
    let delete = |name| PoolWanted { delete: true, ..wanted(name, []) };
    assert_eq!(rule(&mut ledger, delete("unknown")), PlanRule::UnknownPool);
    assert_eq!(rule(&mut ledger, delete("default")), PlanRule::DefaultPool);
    let twice = wanted("phones", [named(30, "b"), named(31, "b")]);
    assert_eq!(rule(&mut ledger, twice), PlanRule::TokenTwice);
    let known = wanted("phones", [named(10, "b")]);
    assert_eq!(rule(&mut ledger, known), PlanRule::IdTaken);
    let fixed = refusal(&mut ledger, bad(wanted("default", [named(30, "b")])));
    assert_eq!((fixed.token.as_deref(), fixed.rule), (Some("b"), PlanRule::Fixed));
    let policy = PolicyPatch { lease: Some(seconds(0)), ..PolicyPatch::NONE };
    let refused = refusal(&mut ledger, bad(PoolWanted { policy, ..wanted("phones", []) }));
    assert_eq!((refused.pool.as_str(), refused.field), ("phones", Some("lease")));
    assert!(refused.to_string().starts_with("pool phones: lease (0s) must be"), "{refused}");
    assert!(ledger.pool_named("fine").is_none());
}

#[test]
fn fixed_tokens_change_after_the_policy_or_with_it() {
    let mut ledger = phones([]);
    let open = PolicyPatch { membership: Some(Membership::Open), ..PolicyPatch::NONE };
    let fixed = PolicyPatch { membership: Some(Membership::Fixed), ..PolicyPatch::NONE };
    let opened = PoolWanted { policy: open, ..wanted("default", [unnamed(20)]) };
    applied(&mut ledger, second(1), of([opened]));
    let closed = PoolWanted { policy: fixed, ..wanted("default", [unnamed(20), unnamed(21)]) };
    applied(&mut ledger, second(1), of([closed]));
    assert_eq!(ledger.pool(PoolId::DEFAULT).unwrap().size(), 2);
    let more = wanted("default", [unnamed(22), unnamed(23), unnamed(24)]);
    assert_eq!(refusal(&mut ledger, of([more])).rule, PlanRule::Fixed);
    let closed = PoolWanted { policy: fixed, ..wanted("phones", []) };
    applied(&mut ledger, second(1), of([closed]));
    let delete = PoolWanted { delete: true, ..wanted("phones", []) };
    assert_eq!(refusal(&mut ledger, of([delete])).rule, PlanRule::Fixed);
}

#[test]
fn a_pool_in_use_is_deleted_only_with_its_leases() {
    let mut ledger = phones([named(10, "a")]);
    let wait = PolicyPatch { when_full: Some(WhenFull::Wait), ..PolicyPatch::NONE };
    applied(&mut ledger, second(0), of([PoolWanted { policy: wait, ..wanted("phones", []) }]));
    granted(allocate(&mut ledger, second(0), phone(1)));
    let waits = Allocation { pool: PoolId(2), ..patient(2, 60) };
    queued(&allocate(&mut ledger, second(0), waits.clone()));
    let delete = of([PoolWanted { delete: true, ..wanted("phones", []) }]);
    assert_eq!(refusal(&mut ledger, delete.clone()).rule, PlanRule::InUse { running: 1 });
    let mut batch = ledger.batch(second(2));
    let with_leases = Plan { end_leases: true, ..delete };
    let Some(Outcome::Applied(changes, _)) = batch.decide(&Command::Apply(with_leases)) else {
        panic!()
    };
    let ended = |change: &Change| matches!(change, Change::LeaseEnded { end, .. } if end.reason == EndReason::Cleared);
    assert!(ended(&changes[0]));
    let given_up = Change::WaitGivenUp { lease_id: id(2) };
    assert_eq!(changes[1..], [given_up, Change::PoolDeleted { pool: PoolId(2), at: second(2) }]);
    let until = Some(second(60));
    let outcome = batch.decide(&Command::Allocate(Allocation { until, ..waits }));
    assert_eq!(refused(outcome.unwrap()), Refusal::GivenUp);
    assert_eq!(batch.finish().ended, [(PoolId(2), second(0))]);
    assert_eq!((ledger.size(), ledger.tickets().count(), ledger.next_deadline()), (0, 0, None));
}

#[test]
fn the_limit_of_pools_counts_those_that_stay() {
    let mut ledger = phones([]);
    let names = (2..Ledger::MAX_POOLS).map(|number| format!("pool-{number}"));
    applied(&mut ledger, second(0), of(names.map(|name| wanted(&name, []))));
    let more = wanted("one-more", []);
    assert_eq!(refusal(&mut ledger, of([more.clone()])).rule, PlanRule::TooManyPools);
    let delete = PoolWanted { delete: true, ..wanted("phones", []) };
    applied(&mut ledger, second(1), of([more, delete]));
    assert_eq!(ledger.pools().len(), Ledger::MAX_POOLS);
}

#[test]
fn a_plan_may_expect_a_pool() {
    let mut ledger = phones([]);
    let expecting = |name, expected: &Expected| {
        let expected = expected.clone();
        of([PoolWanted { expected, ..wanted(name, []) }])
    };
    let before = Expected::Same(Box::new(pool(&ledger).record().clone()));
    for (name, expected) in
        [("phones", Expected::Present), ("tablets", Expected::Absent), ("phones", before.clone())]
    {
        assert!(ledger.plan(&expecting(name, &expected), second(1)).is_ok(), "{expected:?}");
    }
    let policy = PolicyPatch { when_full: Some(WhenFull::Wait), ..PolicyPatch::NONE };
    applied(&mut ledger, second(1), of([PoolWanted { policy, ..wanted("phones", []) }]));
    for (name, expected) in [
        ("phones", Expected::Absent),
        ("tablets", Expected::Present),
        ("phones", before.clone()),
        ("tablets", before),
    ] {
        let refused = refusal(&mut ledger, expecting(name, &expected));
        assert_eq!(refused.rule, PlanRule::Unexpected, "{expected:?}");
    }
}

#[test]
fn changes_come_with_what_was_before() {
    let mut ledger = phones([named(1, "a"), named(2, "b")]);
    let lease = granted(allocate(&mut ledger, second(0), phone(1))).lease;
    assert_eq!(lease.token_id, TokenId(Uuid::from_u128(1)));
    let mut plan =
        of([wanted("phones", [TokenWanted { value: TokenValue::new("v").ok(), ..named(9, "b") }])]);
    plan.prune = true;
    let outcome = decide(&mut ledger, second(1), &Command::Apply(plan));
    let Outcome::Applied(changes, before) = outcome else { panic!("{outcome:?}") };
    assert_eq!(changes.len(), 2);
    let token = |number| TokenId(Uuid::from_u128(number));
    assert_eq!(before.pool(PoolId(2)).unwrap().name.as_str(), "phones");
    assert_eq!(before.deadline(token(1)), Some(lease.expires_at));
    assert_eq!(before.deadline(token(2)), None);
    let value = &before.token(token(2)).unwrap().value;
    assert_eq!(*value, TokenValue::of_uuid(Uuid::from_u128(2)));
    assert!(before.pool(PoolId::DEFAULT).is_none() && before.token(token(3)).is_none());
}
