//! Random command lists against a model that is too slow to use and too simple to be wrong.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::time::Duration;

use pool::{
    Change, Command, EndReason, Fence, Lease, LeaseId, Outcome, Policy, Pool, Timestamp, Token,
    TokenId, TokenValue, User,
};
use proptest::prelude::*;
use uuid::Uuid;

const LEASE: Duration = Duration::from_mins(2);

fn token(number: u128) -> Token {
    Token {
        id: TokenId(Uuid::from_u128(number)),
        value: TokenValue(Uuid::from_u128(number + 1_000)),
        inserted_at: Timestamp::from_micros(0),
    }
}

fn tokens(size: usize) -> Vec<Token> {
    (1..=size as u128).map(token).collect()
}

fn pool(size: usize) -> Pool {
    Pool::restore(Policy { lease: LEASE }, tokens(size), [], Fence::NONE).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Allocate(u8),
    /// The token at this place; one past the pool's size is unknown to it.
    Release(usize),
    /// The lease granted that many grants ago.
    Withdraw(usize),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..3u64).prop_map(|tens| Step::Wait(tens * 10_000_000)),
        1 => (0..200_000_000u64).prop_map(Step::Wait),
        6 => any::<u8>().prop_map(Step::Allocate),
        3 => (0..8usize).prop_map(Step::Release),
        1 => (0..5usize).prop_map(Step::Withdraw),
        1 => Just(Step::Clear),
    ]
}

/// Every lease ever granted, in the order of granting.
#[derive(Default)]
struct Model {
    now: i64,
    leases: Vec<Lease>,
}

impl Model {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now)
    }

    fn running(&self) -> Vec<&Lease> {
        self.leases.iter().filter(|lease| lease.is_running(self.now())).collect()
    }

    fn latest(&self, id: TokenId) -> Option<&Lease> {
        self.leases.iter().rev().find(|lease| lease.token_id == id)
    }

    /// The tokens without a running lease, longest-free first.
    fn free(&self, size: usize) -> Vec<TokenId> {
        let mut free: Vec<_> = tokens(size)
            .into_iter()
            .enumerate()
            .filter_map(|(place, token)| match self.latest(token.id) {
                None => Some((Timestamp::MIN, Fence::NONE, place, token.id)),
                Some(lease) => {
                    lease.end_at(self.now()).map(|end| (end.at, lease.fence, place, token.id))
                }
            })
            .collect();
        free.sort();
        free.into_iter().map(|(.., id)| id).collect()
    }

    fn record(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::LeaseStarted(lease) => self.leases.push(lease.clone()),
                Change::LeaseEnded { lease_id, fence, end } => {
                    let lease = self.leases.iter_mut().find(|lease| lease.id == *lease_id);
                    let lease = lease.expect("only a granted lease ends");
                    assert_eq!(lease.fence, *fence);
                    assert_eq!(lease.end, None, "a lease ends once");
                    lease.end = Some(*end);
                }
                Change::PolicyChanged(_) => unreachable!("no command changes the policy"),
            }
        }
    }

    fn check_history(&self) {
        let mut by_token: HashMap<TokenId, Vec<&Lease>> = HashMap::new();
        let mut fence = Fence::NONE;
        for lease in &self.leases {
            assert!(lease.fence > fence, "fences only grow");
            fence = lease.fence;
            by_token.entry(lease.token_id).or_default().push(lease);
            if let Some(end) = lease.end {
                assert!(lease.started_at <= end.at && end.at <= lease.expires_at);
            }
        }
        for chain in by_token.values() {
            let mut before = Fence::NONE;
            for lease in chain {
                assert_eq!(lease.previous_fence, before, "a token's leases are one chain");
                before = lease.fence;
            }
            for pair in chain.windows(2) {
                let end = pair[0].end.expect("only the latest lease of a token may be running");
                assert!(end.at <= pair[1].started_at, "leases of a token never overlap");
            }
        }
    }
}

/// Carries out one step, alone in its batch, on the pool and checks what it did by the model.
fn carry_out(step: &Step, number: u128, size: usize, pool: &mut Pool, model: &mut Model) {
    if let Step::Wait(micros) = step {
        model.now += i64::try_from(*micros).unwrap();
    }
    let command = match step {
        Step::Wait(_) => None,
        Step::Allocate(user) => Some(Command::Allocate {
            lease_id: LeaseId(Uuid::from_u128(1_000_000 + number)),
            user: User::new(&format!("user {user}")).unwrap(),
        }),
        Step::Release(place) => Some(Command::Release { token_id: token(*place as u128 + 1).id }),
        Step::Withdraw(ago) => {
            let lease = model.leases.iter().rev().nth(*ago);
            lease.map(|l| Command::Withdraw { lease_id: l.id, token_id: l.token_id })
        }
        Step::Clear => Some(Command::Clear),
    };
    let mut batch = pool.batch(model.now());
    let outcome = command.as_ref().map(|c| batch.decide(c).expect("alone in its batch"));
    let changes = batch.finish();
    let before = model.running().into_iter().cloned().collect::<Vec<_>>();
    let free = model.free(size);
    model.record(&changes);
    check_outcome(command.as_ref(), outcome.as_ref(), &before, &free, model);
    check_pool(pool, size, model);
}

fn check_outcome(
    command: Option<&Command>,
    outcome: Option<&Outcome>,
    before: &[Lease],
    free: &[TokenId],
    model: &Model,
) {
    match (command, outcome) {
        (Some(Command::Allocate { .. }), Some(Outcome::Allocated { lease, evicted, .. })) => {
            if let Some(first) = free.first() {
                assert_eq!(lease.token_id, *first, "the token free longest is handed out");
                assert_eq!(*evicted, None, "nobody is evicted while a token is free");
            } else {
                let oldest = before.first().expect("a pool without a free token is full");
                let evicted = evicted.as_ref().expect("a full pool evicts");
                assert_eq!(evicted.id, oldest.id, "the lease running longest is evicted");
                assert_eq!(evicted.end.map(|end| end.reason), Some(EndReason::Evicted));
                assert_eq!(lease.token_id, oldest.token_id);
            }
            assert_eq!(lease.expires_at, model.now().after(LEASE));
        }
        (Some(Command::Allocate { .. }), Some(Outcome::NoTokens)) => {
            assert!(before.is_empty() && free.is_empty(), "only an empty pool has no tokens");
        }
        (Some(Command::Release { token_id }), Some(Outcome::Released { ended })) => {
            let held = before.iter().find(|lease| lease.token_id == *token_id);
            assert_eq!(ended.as_ref().map(|l| l.id), held.map(|l| l.id));
        }
        (Some(Command::Release { token_id }), Some(Outcome::UnknownToken)) => {
            assert!(!free.contains(token_id) && before.iter().all(|l| l.token_id != *token_id));
        }
        (Some(Command::Withdraw { lease_id, .. }), Some(Outcome::Withdrawn { ended })) => {
            assert_eq!(*ended, before.iter().any(|lease| lease.id == *lease_id));
        }
        (Some(Command::Clear), Some(Outcome::Cleared { ended })) => {
            assert_eq!(*ended, before.len());
            assert!(model.running().is_empty());
        }
        (None, None) => {}
        other => panic!("{other:?}"),
    }
}

fn check_pool(pool: &Pool, size: usize, model: &Model) {
    let now = model.now();
    assert_eq!(pool.size(), size, "tokens neither appear nor vanish");
    assert_eq!(pool.tokens(0).map(|t| t.token.clone()).collect::<Vec<_>>(), tokens(size));
    assert_eq!(pool.active(now), model.running().len());
    assert!(pool.active(now) <= size);
    for token in pool.tokens(0) {
        assert_eq!(token.latest, model.latest(token.token.id));
    }
    assert_eq!(
        pool.next_deadline(),
        model.running().iter().map(|lease| lease.expires_at).min(),
        "what is past its deadline has been ended"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_step_does_what_the_model_says(
        size in 0..6usize,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let (mut pool, mut model) = (pool(size), Model::default());
        for (number, step) in steps.iter().enumerate() {
            carry_out(step, number as u128, size, &mut pool, &mut model);
        }
        model.check_history();
    }

    /// Steps that share a batch come to the same as a copy that is brought forward by its changes,
    /// and as the pool restored from what a store keeps.
    #[test]
    fn batches_replay_and_restore_to_the_same_pool(
        size in 1..6usize,
        batches in prop::collection::vec(prop::collection::vec(step(), 1..12), 1..30),
    ) {
        let (mut leader, mut follower, mut model) = (pool(size), pool(size), Model::default());
        let mut number = 0;
        for steps in &batches {
            model.now += 17_000_000;
            let mut batch = leader.batch(model.now());
            for step in steps {
                let Step::Allocate(user) = step else { continue };
                number += 1;
                let lease_id = LeaseId(Uuid::from_u128(number));
                let user = User::new(&user.to_string()).unwrap();
                if batch.decide(&Command::Allocate { lease_id, user }).is_none() {
                    break;
                }
            }
            if steps.iter().any(|step| matches!(step, Step::Clear)) {
                prop_assert!(batch.decide(&Command::Clear).is_some());
            }
            let changes = batch.finish();
            for change in &changes {
                follower.apply(change).unwrap();
            }
            model.record(&changes);
        }
        model.check_history();
        let latest = leader.tokens(0).filter_map(|t| t.latest.cloned());
        let restored =
            Pool::restore(leader.policy(), tokens(size), latest, leader.fence()).unwrap();
        prop_assert_eq!(format!("{leader:?}").len(), format!("{follower:?}").len());
        for other in [&follower, &restored] {
            prop_assert_eq!(leader.fence(), other.fence());
            prop_assert_eq!(leader.next_deadline(), other.next_deadline());
            for (one, two) in leader.tokens(0).zip(other.tokens(0)) {
                prop_assert_eq!(one.latest, two.latest);
            }
        }
        // And they go on alike: the same command has the same outcome on each.
        let command = Command::Allocate {
            lease_id: LeaseId(Uuid::from_u128(9_999_999)),
            user: User::new("next").unwrap(),
        };
        let later = Timestamp::from_micros(model.now + 1);
        let outcomes = [leader, follower, restored].map(|mut p| p.batch(later).decide(&command));
        prop_assert_eq!(&outcomes[0], &outcomes[1]);
        prop_assert_eq!(&outcomes[0], &outcomes[2]);
    }
}

#[test]
fn a_batch_ends_before_it_would_evict_its_own_lease() {
    let mut pool = pool(2);
    let mut batch = pool.batch(Timestamp::from_micros(1));
    let allocate = |number| Command::Allocate {
        lease_id: LeaseId(Uuid::from_u128(number)),
        user: User::new("u").unwrap(),
    };
    assert!(batch.decide(&allocate(1)).is_some());
    assert!(batch.decide(&allocate(2)).is_some());
    assert_eq!(batch.decide(&allocate(3)), None);
    assert_eq!(batch.finish().len(), 2);
    let mut next = pool.batch(Timestamp::from_micros(1));
    let outcome = next.decide(&allocate(3));
    let Some(Outcome::Allocated { evicted: Some(evicted), .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(evicted.id, LeaseId(Uuid::from_u128(1)));
}

#[test]
fn an_expiry_of_an_old_lease_leaves_the_new_one_alone() {
    let mut pool = pool(1);
    let second = |s: i64| Timestamp::from_micros(s * 1_000_000);
    let allocate = |number| Command::Allocate {
        lease_id: LeaseId(Uuid::from_u128(number)),
        user: User::new("u").unwrap(),
    };
    let id = pool.tokens(0).next().unwrap().token.id;
    assert!(pool.batch(second(0)).decide(&allocate(1)).is_some());
    assert!(pool.batch(second(60)).decide(&Command::Release { token_id: id }).is_some());
    assert!(pool.batch(second(61)).decide(&allocate(2)).is_some());
    assert_eq!(pool.batch(second(120)).finish(), [], "the first deadline ends nothing");
    assert!(pool.token(id).unwrap().running(second(180)).is_some());
    assert!(pool.token(id).unwrap().running(second(181)).is_none(), "over at its own deadline");
    let ended = pool.batch(second(500)).finish();
    let [Change::LeaseEnded { lease_id, end, .. }] = ended.as_slice() else { panic!("{ended:?}") };
    assert_eq!(*lease_id, LeaseId(Uuid::from_u128(2)));
    assert_eq!((end.at, end.reason), (second(181), EndReason::Expired));
}

#[test]
fn contradicting_facts_are_refused() {
    let mut pool = pool(1);
    let id = pool.tokens(0).next().unwrap().token.id;
    let lease = |fence, previous| Lease {
        id: LeaseId(Uuid::from_u128(7)),
        token_id: id,
        user: User::new("u").unwrap(),
        fence: Fence::new(fence),
        previous_fence: Fence::new(previous),
        started_at: Timestamp::from_micros(0),
        expires_at: Timestamp::from_micros(9),
        end: None,
    };
    assert!(pool.apply(&Change::LeaseStarted(lease(1, 3))).is_err(), "follows nothing known");
    assert!(pool.apply(&Change::LeaseStarted(lease(1, 0))).is_ok());
    assert!(pool.apply(&Change::LeaseStarted(lease(2, 1))).is_err(), "overlaps");
    assert!(pool.apply(&Change::LeaseStarted(lease(1, 0))).is_err(), "fence given before");
    let policy = pool.policy();
    let newer = Pool::restore(policy, tokens(1), [lease(5, 0)], Fence::new(4));
    assert!(newer.is_err(), "newer than the newest fence");
    let twice = Pool::restore(policy, [token(1), token(1)], [], Fence::NONE);
    assert!(twice.is_err(), "two tokens of one id");
}
