//! Detection of dead servers: servers share a pool while the database comes and goes, and judge each
//! other by the journal alone. Each server has a replica that follows the others' changes.

use std::time::Duration;

use pool::{
    Allocation, BatchContext, Change, Command, Counters, HEARTBEAT_INTERVAL, IdempotencyKey,
    IdempotencyKeys, Labels, LeaseId, Ledger, MAX_COUNTED_GAP, Observer, Policy, PoolId, PoolName,
    PoolRecord, Restoring, SERVER_TIMEOUT, ServerId, TICKET_GRACE, Taints, Timestamp, Token,
    TokenId, TokenName, TokenValue, User, WhenFull,
};
use proptest::prelude::*;
use uuid::Uuid;

const MILLI: i64 = 1_000;
/// Maximum time between two turns of a server, with a little jitter and latency.
const TURN: i64 = 1_050 * MILLI;

/// A time in which the database is available, and then an outage.
#[derive(Clone, Debug)]
struct Period {
    up: i64,
    down: i64,
}

struct Server {
    id: ServerId,
    /// Time of the server's next turn.
    next: i64,
    alive: bool,
}

struct World {
    now: i64,
    journal_at: Timestamp,
    ledger: Ledger,
    ids: u128,
}

impl World {
    fn new() -> Self {
        let policy =
            Policy { when_full: WhenFull::Wait, ..Policy::of_lease(Duration::from_hours(9)) };
        let inserted_at = Timestamp::from_micros(0);
        let record = |(pool, name)| {
            PoolRecord::new(PoolId(pool), PoolName::new(name).unwrap(), policy, inserted_at)
        };
        let token = |pool: i32| Token {
            id: TokenId(Uuid::from_u128(u128::from(pool.unsigned_abs()))),
            pool: PoolId(pool),
            position: 0,
            name: TokenName::of_position(0),
            value: TokenValue::of_uuid(Uuid::nil()),
            labels: Labels::default(),
            taints: Taints::default(),
            inserted_at,
            retired_at: None,
        };
        let records = [(1, "default"), (2, "beside")].map(record);
        let mut ledger = Restoring::new(Counters::default(), records).unwrap();
        for number in [1, 2] {
            ledger.add(token(number), None).unwrap();
        }
        let ledger = ledger.finish().unwrap();
        World { now: 0, journal_at: inserted_at, ledger, ids: 1 }
    }

    fn id(&mut self) -> Uuid {
        self.ids += 1;
        Uuid::from_u128(self.ids)
    }

    /// One turn of a server, as the engine does it.
    fn turn(&mut self, server: ServerId, commands: &[Command]) {
        let now = Timestamp::from_micros(self.now);
        let journal_at = Some(self.journal_at);
        let context = BatchContext {
            observer: Observer { now, server, journal_at },
            keys: IdempotencyKeys::default(),
        };
        // Every replica is the same: a snapshot equals the sum of the journal.
        let tickets: Vec<_> = self.ledger.tickets().cloned().collect();
        let mut batch = self.ledger.batch(context);
        for command in commands {
            batch.decide(command).unwrap();
        }
        let changes = batch.finish().changes;
        if !changes.is_empty() {
            self.journal_at = now;
        }
        let heard = |change: &Change| match change {
            Change::ServerHeard { server, at } => Some((*server, *at)),
            _ => None,
        };
        for ticket in self.ledger.tickets() {
            let before = tickets.iter().find(|before| before.lease_id == ticket.lease_id);
            let heard =
                changes.iter().filter_map(heard).filter(|(server, _)| *server == ticket.server);
            let at = heard.map(|(_, at)| at).chain(before.map(|before| before.heard_at)).max();
            assert!(at.is_none_or(|at| at == ticket.heard_at), "it is what was written down");
        }
    }

    fn hold(&mut self, server: ServerId) {
        let user = User::new("holder").unwrap();
        for pool in [1, 2].map(PoolId) {
            let allocation = Allocation::new(LeaseId(self.id()), user.clone());
            self.turn(server, &[Command::Allocate(Allocation { pool, ..allocation })]);
        }
    }

    fn wait(&mut self, server: ServerId, pool: i32, kept: bool) -> LeaseId {
        let lease_id = LeaseId(self.id());
        let wait = Some(Allocation::MAX_WAIT);
        let user = User::new("waiting").unwrap();
        let key = IdempotencyKey::new("key").ok().filter(|_| kept);
        let allocation = Allocation::new(lease_id, user);
        let allocation = Allocation { pool: PoolId(pool), wait, key, ..allocation };
        self.turn(server, &[Command::Allocate(allocation)]);
        lease_id
    }

    fn waits(&self, lease_id: LeaseId) -> bool {
        self.ledger.ticket(lease_id).is_some()
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap()
}

fn period() -> impl Strategy<Value = Period> {
    // Long enough for every server that keeps retrying.
    let (up, down) = (1_500..12_000i64, prop_oneof![Just(0), 100..30_000i64]);
    (up, down).prop_map(|(up, down)| Period { up: up * MILLI, down: down * MILLI })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn dead_servers_are_treated_as_dead_and_live_ones_are_not(
        periods in prop::collection::vec(period(), 1..8),
        dies_at in 0..40_000i64,
        // Time after which each server is back after an outage, and length of each life of the judge.
        delays in prop::collection::vec(0..1_000i64, 16),
        lives in prop::collection::vec(1_000..9_000i64, 8),
        kept: bool,
        pool in 1..=2,
    ) {
        let mut world = World::new();
        let judge_id = ServerId(world.id());
        let waiting_id = ServerId(world.id());
        world.hold(judge_id);
        let lease_id = world.wait(waiting_id, pool, kept);
        let mut judge = Server { id: judge_id, next: TURN, alive: true };
        let mut waiter = Server { id: waiting_id, next: TURN, alive: true };
        let (mut delays, mut lives) = (delays.iter().cycle(), lives.iter().cycle());
        let mut restart = lives.next().unwrap() * MILLI;
        let end = micros(Allocation::MAX_WAIT);
        // Time since the death in which the judge wrote, turn after turn.
        let (mut in_touch, mut last_turn): (i64, Option<i64>) = (0, None);
        let mut last_life = 0;
        'all: for Period { up, down } in periods.iter().cycle() {
            let until = world.now + up;
            for server in [&mut judge, &mut waiter] {
                server.next = server.next.max(world.now + delays.next().unwrap() * MILLI);
            }
            loop {
                let next = if waiter.alive { judge.next.min(waiter.next) } else { judge.next };
                if next >= until {
                    break;
                }
                world.now = next;
                if world.now >= end {
                    break 'all;
                }
                waiter.alive = waiter.alive && world.now < dies_at * MILLI;
                if waiter.alive {
                    last_life = world.now;
                }
                if waiter.alive && waiter.next == world.now {
                    world.turn(waiter.id, &[Command::Heartbeat]);
                    waiter.next = world.now + TURN;
                }
                if judge.next == world.now {
                    if world.now >= restart {
                        judge.id = ServerId(world.id());
                        restart = world.now + lives.next().unwrap() * MILLI;
                    }
                    let journal_at = Some(world.journal_at);
                    let now = Timestamp::from_micros(world.now);
                    let witness = world.ledger.needs_witness(&Observer::new(now, judge.id, journal_at));
                    let beat = witness.then_some(Command::Heartbeat);
                    world.turn(judge.id, beat.as_slice());
                    if let Some(last) = last_turn.filter(|_| !waiter.alive) {
                        in_touch += world.now - last;
                    }
                    last_turn = (!waiter.alive).then_some(world.now);
                    judge.next = world.now + TURN;
                }
                if waiter.alive {
                    prop_assert!(world.waits(lease_id), "a live server's ticket is kept");
                } else {
                    // The client may have sent requests until then.
                    let least = if kept { TICKET_GRACE } else { Duration::ZERO };
                    let kept_on = last_life + micros(least) > world.now;
                    prop_assert!(!kept_on || world.waits(lease_id), "a silent ticket is kept");
                    let most = if kept { TICKET_GRACE + HEARTBEAT_INTERVAL + MAX_COUNTED_GAP } else { SERVER_TIMEOUT } + HEARTBEAT_INTERVAL * 2;
                    let gone = in_touch > micros(most);
                    prop_assert!(!gone || !world.waits(lease_id), "in touch for {in_touch} us");
                }
            }
            world.now = until + down;
            if *down > 0 {
                // No server was in touch meanwhile.
                last_turn = None;
            }
        }
        prop_assert!(MAX_COUNTED_GAP < SERVER_TIMEOUT, "an outage never looks like a dead server");
    }
}
