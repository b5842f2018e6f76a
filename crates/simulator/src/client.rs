//! Clients: each sends its requests one after the other, and checks the answers.

use std::sync::Arc;
use std::time::Duration;

use engine::{AllocateOutcome, AllocateRequest, Error, Handle, View};
use pool::{
    AccessCommand, ApiKey, ApiKeyId, Effect, HolderCondition, IdempotencyKey, Intent, KeyName,
    LeaseId, Membership, Note, Patterns, Plan, Policy, PolicyPatch, PoolId, PoolName, PoolWanted,
    Rights, SecretHash, Secrets, Taint, TaintName, Timestamp, TokenId, TokenName, TokenValue,
    TokenWanted, User, WhenFull,
};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::answers::{self, Answer, Shown};
use crate::facts::{Ask, Request, State};
use crate::scenario::{Action, PoolSpec, Scenario, Step};
use crate::server::{Servers, Task};
use crate::world::{Shared, World, lock};

/// How often a client repeats a request with a key.
const MOST_TRIES: usize = 12;

/// State that all clients share.
pub struct Clients {
    pub world: Shared,
    pub servers: Arc<Servers>,
    pub scenario: Scenario,
    pub begin: Instant,
}

/// Makes a name that is known to be valid.
macro_rules! named {
    ($type:ident, $($text:tt)+) => {
        $type::new(&format!($($text)+)).expect("the name is valid")
    };
}

/// The name of a pool, by its place in the scenario.
pub fn pool_name(place: u8) -> PoolName {
    if place == 0 { PoolName::default_pool() } else { named!(PoolName, "pool-{place}") }
}

/// The policy of a pool.
pub fn policy(spec: &PoolSpec) -> Policy {
    let millis = |millis: u32| Duration::from_millis(millis.into());
    Policy {
        lease: millis(spec.lease),
        max_lease: Some(millis(spec.max_lease)),
        when_full: WhenFull::from_word(&spec.when_full).unwrap_or_default(),
        min_hold: millis(spec.min_hold),
        max_per_user: spec.max_per_user,
        membership: Membership::Open,
        ..Policy::DEFAULT
    }
}

/// A new token of a plan.
pub fn new_token(world: &mut World, name: Option<TokenName>) -> TokenWanted {
    let (id, value) = (world.rng.u128(..), world.rng.u64(..));
    let value = TokenValue::of_uuid(Uuid::from_u128(value.into()));
    TokenWanted::new(name, TokenId(Uuid::from_u128(id)), value)
}

impl Clients {
    /// Sends the requests of a client.
    pub async fn run(self: Arc<Self>, client: u8) {
        let steps = self.scenario.steps.iter().enumerate();
        for (number, step) in steps.filter(|(_, step)| step.client == client) {
            tokio::time::sleep_until(self.begin + Duration::from_millis(step.at.into())).await;
            self.step(number, step).await;
        }
    }

    async fn step(&self, number: usize, step: &Step) {
        let patience = step.patience.map(|millis| Duration::from_millis(millis.into()));
        let server = step.server % self.scenario.servers;
        let actor = step.actor.and_then(|key| key_id(&lock(&self.world), key));
        let asks = self.asks(number, &step.action);
        for ask in asks {
            let has_key = matches!(&ask, Ask::Allocate(asked) if asked.key.is_some());
            if has_key {
                self.until_decided(server, actor, ask, patience).await;
            } else {
                self.send(server, actor, ask, patience).await;
            }
        }
    }

    /// Repeats an allocation with a key until it is decided, or the client loses interest.
    async fn until_decided(
        &self,
        mut server: u8,
        actor: Option<ApiKeyId>,
        ask: Ask,
        patience: Option<Duration>,
    ) {
        for _ in 0..MOST_TRIES {
            let pause = match self.send(server, actor, ask.clone(), patience).await {
                Answer::Waiting(_) => 3_000,
                Answer::Failed(
                    Error::NotDone { .. }
                    | Error::Busy { .. }
                    | Error::Stopping
                    | Error::OutcomeUnknown,
                ) => 2_000,
                Answer::Nothing if patience.is_none() => 2_000,
                _ => return,
            };
            let pause = {
                let mut world = lock(&self.world);
                server = world.rng.u8(0..self.scenario.servers);
                world.rng.u64(1..pause)
            };
            sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Sends a request, and checks its answer.
    pub async fn send(
        &self,
        server: u8,
        actor: Option<ApiKeyId>,
        ask: Ask,
        patience: Option<Duration>,
    ) -> Answer {
        let Some((handle, id, mut ended)) = self.servers.handle(server) else {
            sleep(Duration::from_millis(20)).await;
            return Answer::Failed(Error::Stopping);
        };
        let place = {
            let mut world = lock(&self.world);
            let sent = world.clock();
            let (known, timeline) = (world.journal.len(), world.timeline);
            let (shown, shown_at) = (world.facts.shown, world.facts.shown_at);
            let state = State::Open;
            let request = Request {
                ask: ask.clone(),
                actor,
                server: id,
                sent,
                known,
                timeline,
                shown,
                shown_at,
                state,
            };
            world.facts.requests.push(request);
            world.facts.requests.len() - 1
        };
        let act = Task::new(&self.world, server, act(handle.acting(actor), ask));
        let answer = tokio::select! {
            biased;
            _ = ended.wait_for(|ended| *ended) => Answer::Nothing,
            answer = act => answer,
            () = sleep(patience.unwrap_or(Duration::MAX)) => Answer::Nothing,
        };
        let mut world = lock(&self.world);
        let now = world.clock();
        let unknown = matches!(answer, Answer::Nothing | Answer::Failed(Error::OutcomeUnknown));
        world.facts.requests[place].state =
            if unknown { State::Gone(now) } else { State::Answered };
        world.note(&format!("answer {place} {answer:?}"));
        let request = world.facts.requests[place].clone();
        if let Err(broken) = answers::check(&mut world, &request, &answer) {
            world.fail(broken);
        }
        answer
    }

    fn asks(&self, number: usize, action: &Action) -> Vec<Ask> {
        let mut world = lock(&self.world);
        let pool = |world: &World, place: u8| pool_id(world, place % self.count());
        let plan = |wanted: PoolWanted| {
            Ask::Apply(Box::new(Plan { pools: vec![wanted], ..Plan::default() }))
        };
        let one = match action {
            Action::Allocate { .. } => self.allocation(&world, number, action),
            Action::Release { pool: place, token, of_user } => {
                let (pool, user) = (pool(&world, *place), of_user.map(|user| user_named(user).id));
                Ask::Release(
                    pool,
                    token_id(&world, pool, *token),
                    HolderCondition { lease_id: None, user },
                )
            }
            Action::ReleaseLease { pick } => Ask::ReleaseLease(chosen(&world.facts.leases, *pick)),
            Action::Renew { pick } => Ask::Renew(chosen(&world.facts.leases, *pick)),
            Action::GiveUp { pick } => Ask::GiveUp(chosen(&world.facts.tickets, *pick)),
            Action::Look { pick } => Ask::Look(chosen(&world.facts.leases, *pick)),
            Action::Read => Ask::Read,
            Action::Clear { pool: place } => Ask::Clear(pool(&world, *place)),
            Action::Taint { pool: place, token, drain, until } => {
                let pool = pool(&world, *place);
                let until =
                    until.map(|millis| world.clock().after(Duration::from_millis(millis.into())));
                let effect = if *drain { Effect::EndLease } else { Effect::NoNewLeases };
                let (name, reason) = (named!(TaintName, "taint"), Note::default());
                let taint = Taint { name, effect, reason, by: None, since: Timestamp::MIN, until };
                Ask::Taint(pool, token_id(&world, pool, *token), taint)
            }
            Action::Untaint { pool: place, token } => {
                let pool = pool(&world, *place);
                Ask::Untaint(pool, token_id(&world, pool, *token), named!(TaintName, "taint"))
            }
            Action::AddToken { pool } => {
                let token = new_token(&mut world, Some(named!(TokenName, "added-{number}")));
                plan(PoolWanted {
                    tokens: Some(vec![token]),
                    ..PoolWanted::new(pool_name(pool % self.count()))
                })
            }
            Action::Retire { pool: place, token } => {
                let id = token_id(&world, pool(&world, *place), *token);
                let retire =
                    TokenWanted { intent: Intent::Retire(id), ..new_token(&mut world, None) };
                plan(PoolWanted {
                    tokens: Some(vec![retire]),
                    ..PoolWanted::new(pool_name(place % self.count()))
                })
            }
            Action::Policy { pool, like } => {
                let like = &self.scenario.pools[usize::from(like % self.count())];
                let policy = PolicyPatch::from(policy(like));
                plan(PoolWanted { policy, ..PoolWanted::new(pool_name(pool % self.count())) })
            }
            Action::Recreate { pool } => {
                let name = pool_name(pool % self.count());
                let delete = PoolWanted { delete: true, ..PoolWanted::new(name.clone()) };
                let delete = Plan { pools: vec![delete], prune: false, end_leases: true };
                let spec = &self.scenario.pools[usize::from(pool % self.count())];
                let tokens = (0..spec.tokens).map(|_| new_token(&mut world, None)).collect();
                let create = PoolWanted {
                    policy: policy(spec).into(),
                    tokens: Some(tokens),
                    ..PoolWanted::new(name)
                };
                return vec![Ask::Apply(Box::new(delete)), plan(create)];
            }
            Action::CreateKey { .. } => self.new_key(&mut world, action),
            Action::Revoke { key } => {
                let id = key_id(&world, *key).unwrap_or_else(|| named!(ApiKeyId, "none00000000"));
                Ask::Access(Box::new(AccessCommand::Revoke { id }))
            }
        };
        vec![one]
    }

    fn count(&self) -> u8 {
        u8::try_from(self.scenario.pools.len()).unwrap_or(1)
    }

    fn allocation(&self, world: &World, number: usize, action: &Action) -> Ask {
        let &Action::Allocate { pool, user, token, lease, wait, key, hold } = action else {
            return Ask::Read;
        };
        // Requests with the same low key are the same request.
        let same = key.filter(|key| *key < 6);
        let place = same.unwrap_or(pool) % self.count();
        let pool = pool_id(world, place);
        let waits = self.scenario.pools[usize::from(place)].when_full != "reject";
        let millis = |millis: u32| Duration::from_millis(millis.into());
        let note = same.map_or_else(
            || named!(Note, "step {number}"),
            |key| named!(Note, "key {key} of {user}"),
        );
        let request = AllocateRequest {
            pool,
            token: token.filter(|_| same.is_none()).map(|token| token_id(world, pool, token)),
            user: user_named(user),
            lease: lease.filter(|_| same.is_none()).map(millis),
            wait: same
                .map_or(wait, |key| Some(u32::from(key) * 4_000).filter(|_| waits))
                .map(millis),
            key: key.map(|key| named!(IdempotencyKey, "key-{key}")),
            hold: Some(millis(hold)),
            note: Some(note),
        };
        Ask::Allocate(Box::new(request))
    }

    fn new_key(&self, world: &mut World, action: &Action) -> Ask {
        let &Action::CreateKey { key, rights, pool, user, expires, max_leases } = action else {
            return Ask::Read;
        };
        let id = named!(ApiKeyId, "{:012}", world.facts.requests.len());
        let patterns = |text: Option<String>| {
            Patterns::new([text.unwrap_or_else(|| "*".to_owned())]).expect("the pattern is valid")
        };
        let pool = pool.map(|place| pool_name(place % self.count()).as_str().to_owned());
        let hash = SecretHash::of(id.as_str());
        let key = ApiKey {
            id,
            name: named!(KeyName, "key-{key}"),
            rights: Rights::ALL[usize::from(rights)],
            pools: patterns(pool),
            users: patterns(user.map(|user| user_named(user).name.to_string())),
            secrets: Secrets::new(hash),
            created_at: Timestamp::MIN,
            created_by: None,
            expires_at: expires
                .map(|millis| world.clock().after(Duration::from_millis(millis.into()))),
            revoked_at: None,
            max_requests_per_second: None,
            max_leases,
        };
        Ask::Access(Box::new(AccessCommand::Create(key)))
    }
}

fn user_named(user: u8) -> User {
    named!(User, "user-{user}")
}

fn pool_id(world: &World, place: u8) -> PoolId {
    let name = pool_name(place);
    let pools = &world.newest().after.pools;
    pools.values().find(|record| record.name == name).map_or(PoolId(999), |record| record.id)
}

fn token_id(world: &World, pool: PoolId, place: u8) -> TokenId {
    let mut tokens: Vec<_> = world.newest().after.tokens_of(pool).collect();
    tokens.sort_by_key(|token| token.position);
    tokens.get(usize::from(place)).map_or(TokenId(Uuid::from_u128(7)), |token| token.id)
}

fn key_id(world: &World, key: u8) -> Option<ApiKeyId> {
    let name = named!(KeyName, "key-{key}");
    let keys = world.newest().after.api_keys.values();
    keys.filter(|key| key.name == name).max_by_key(|key| key.created_at).map(|key| key.id)
}

fn chosen(ids: &[LeaseId], pick: u8) -> LeaseId {
    let newest_first = ids.iter().rev().nth(usize::from(pick));
    newest_first.or(ids.first()).copied().unwrap_or(LeaseId(Uuid::from_u128(9)))
}

/// Sends a request to an engine.
async fn act(handle: Handle, ask: Ask) -> Answer {
    let answered = match ask {
        Ask::Allocate(asked) => handle.ask(*asked).await.map(|outcome| match outcome {
            AllocateOutcome::Granted(granted) => Answer::Granted(granted),
            AllocateOutcome::Waiting(waiting) => Answer::Waiting(waiting),
            AllocateOutcome::Refused(refusal) => Answer::Refused(refusal),
        }),
        Ask::Release(pool, token, held) => {
            handle.release(pool, token, held).await.map(Answer::Released)
        }
        Ask::ReleaseLease(id) => handle.release_lease(id).await.map(Answer::Lease),
        Ask::Renew(id) => handle.renew(id).await.map(Answer::Lease),
        Ask::GiveUp(id) => handle.give_up(id).await.map(Answer::GaveUp),
        Ask::Clear(pool) => handle.clear(pool).await.map(Answer::Cleared),
        Ask::Taint(pool, token, taint) => {
            handle.taint(pool, token, taint).await.map(Answer::Tainted)
        }
        Ask::Untaint(pool, token, name) => {
            handle.untaint(pool, token, name).await.map(Answer::Untainted)
        }
        Ask::Apply(plan) => handle.apply(*plan).await.map(Answer::Applied),
        Ask::Access(command) => handle.change_access(*command).await.map(Answer::Access),
        Ask::Read => handle.read(shown).await.map(|shown| Answer::Read(Box::new(shown))),
        Ask::Look(id) => {
            handle.lease(id).await.map(|found| Answer::Looked(found.map(|view| view.lease)))
        }
    };
    answered.unwrap_or_else(Answer::Failed)
}

fn shown(view: View<'_>) -> Shown {
    let mut keys: Vec<ApiKeyId> = view.ledger.access().keys_after("").map(|key| key.id).collect();
    keys.sort();
    let pools = || view.ledger.pools();
    let tokens = pools().flat_map(|pool| pool.tokens(0));
    Shown {
        epoch: view.stamp.epoch,
        version: view.stamp.version,
        now: view.now,
        pools: pools().map(pool::Pool::id).collect(),
        tokens: tokens.map(|view| (view.token.clone(), view.latest.cloned())).collect(),
        queue: pools().flat_map(pool::Pool::tickets).map(|ticket| ticket.lease_id).collect(),
        keys,
    }
}

/// Waits for a future of the run for at most this time.
pub async fn within<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    timeout(time, future).await.ok()
}
