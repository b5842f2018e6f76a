//! Scenarios: the requests of clients and the faults of one run, made from a seed or read from a file.

use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// Number of clients, each of which sends one request after the other.
pub const CLIENTS: u8 = 10;

/// Number of users for whom clients allocate.
pub const USERS: u8 = 4;

/// One run. Equal scenarios have equal runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scenario {
    /// Seed of the latencies, the order of wake-ups and the ids.
    pub seed: u64,
    /// Number of servers. One means a database that is not shared, such as SQLite.
    pub servers: u8,
    /// The pools at the start, from `default`.
    pub pools: Vec<PoolSpec>,
    /// The requests.
    pub steps: Vec<Step>,
    /// The faults.
    pub faults: Vec<Fault>,
}

/// A pool at the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSpec {
    /// Number of tokens.
    pub tokens: u8,
    /// `wait`, `reject` or `evict-oldest`.
    pub when_full: String,
    /// Length of leases, in milliseconds.
    pub lease: u32,
    /// Longest time of a lease with its renewals, in milliseconds.
    pub max_lease: u32,
    /// Age from which a lease may be evicted, in milliseconds.
    pub min_hold: u32,
    /// Maximum number of leases of a user.
    pub max_per_user: Option<u32>,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Earliest moment, in milliseconds. A client waits for the answer of its last request first.
    pub at: u32,
    /// The client.
    pub client: u8,
    /// The server.
    pub server: u8,
    /// Time after which the client disconnects, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u32>,
    /// The API key with which the client acts, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<u8>,
    /// The request.
    pub action: Action,
}

/// Action of a client. `pick` chooses among the leases and tickets that clients know, counted from the newest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Allocates a token.
    Allocate {
        /// The pool, by its place in the scenario.
        pool: u8,
        /// The user.
        user: u8,
        /// Place of the requested token.
        token: Option<u8>,
        /// Length of the lease, in milliseconds.
        lease: Option<u32>,
        /// The wait, in milliseconds.
        wait: Option<u32>,
        /// The idempotency key. The client repeats the request until it is decided.
        key: Option<u8>,
        /// How long the server holds a request with a key, in milliseconds.
        hold: u32,
    },
    /// Ends the lease of a token.
    Release { pool: u8, token: u8, of_user: Option<u8> },
    /// Ends a lease.
    ReleaseLease { pick: u8 },
    /// Renews a lease.
    Renew { pick: u8 },
    /// Gives up a ticket.
    GiveUp { pick: u8 },
    /// Ends all leases of a pool.
    Clear { pool: u8 },
    /// Taints a token, for `until` milliseconds. `drain` ends its lease.
    Taint { pool: u8, token: u8, drain: bool, until: Option<u32> },
    /// Removes the taint.
    Untaint { pool: u8, token: u8 },
    /// Adds a token.
    AddToken { pool: u8 },
    /// Retires a token.
    Retire { pool: u8, token: u8 },
    /// Changes the policy, to that of another pool of the scenario.
    Policy { pool: u8, like: u8 },
    /// Deletes a pool and creates it again.
    Recreate { pool: u8 },
    /// Creates an API key for all pools or one, and for all users or one.
    CreateKey {
        key: u8,
        rights: u8,
        pool: Option<u8>,
        user: Option<u8>,
        expires: Option<u32>,
        max_leases: Option<u32>,
    },
    /// Revokes an API key.
    Revoke { key: u8 },
    /// Reads the ledger.
    Read,
    /// Reads a lease.
    Look { pick: u8 },
}

/// A fault, from a moment in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// When it happens.
    pub at: u32,
    /// The kind.
    pub kind: FaultKind,
}

/// Kind of a [`Fault`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultKind {
    /// The next commit is refused for now, or, after `times`, its data is refused for good.
    Refuse { data: bool },
    /// The answer to the next commit is lost. The commit happens, or not, and possibly later.
    LoseAnswer { done: bool, late: u32 },
    /// A server has no connection to the database.
    Cut { server: u8, length: u32 },
    /// A server stands still.
    Pause { server: u8, length: u32 },
    /// A server is killed, and starts again.
    Kill { server: u8, down: u32 },
    /// A server is stopped, and starts again.
    Restart { server: u8, down: u32 },
    /// The clock of the database is set, by this number of milliseconds.
    Step { by: i32 },
    /// No commit succeeds.
    FullDisk { length: u32 },
    /// Another database takes over, which may lack the newest entries.
    Failover { lost: u8, down: u32 },
    /// The database deletes old entries of the journal.
    Prune { keep: u8 },
}

impl Scenario {
    /// The scenario of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let servers = rng.choice([1, 1, 2, 2, 3]).unwrap_or(1);
        let pools: Vec<_> = (0..rng.u8(1..=3)).map(|_| PoolSpec::random(&mut rng)).collect();
        let length = rng.u32(5_000..60_000);
        let count = rng.usize(20..200);
        let with_keys = rng.u8(0..3) == 0;
        let mut steps: Vec<Step> = (0..count)
            .map(|_| Step::random(&mut rng, &pools, length, servers, with_keys))
            .collect();
        if with_keys {
            // The first key has to be able to do everything.
            let action = Action::CreateKey {
                key: 0,
                rights: 3,
                pool: None,
                user: None,
                expires: None,
                max_leases: None,
            };
            steps.push(Step { at: 0, client: 0, server: 0, patience: None, actor: None, action });
        }
        steps.sort_by_key(|step| step.at);
        let faults = rng.choice([0, 0, 1, 3, 8]).unwrap_or(0);
        let mut faults: Vec<Fault> = (0..faults)
            .map(|_| Fault { at: rng.u32(200..length), kind: FaultKind::random(&mut rng, servers) })
            .collect();
        faults.sort_by_key(|fault| fault.at);
        Scenario { seed, servers, pools, steps, faults }
    }
}

fn maybe<T>(rng: &mut Rng, one_in: u8, value: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    (rng.u8(0..one_in) == 0).then(|| value(rng))
}

impl PoolSpec {
    fn random(rng: &mut Rng) -> Self {
        let when_full = rng
            .choice(["wait", "wait", "evict-oldest", "evict-oldest", "reject"])
            .unwrap_or("wait");
        let lease = rng.choice([500, 3_000, 10_000, 40_000]).unwrap_or(500);
        PoolSpec {
            tokens: rng.u8(1..=5),
            when_full: when_full.to_owned(),
            lease,
            max_lease: lease * rng.u32(1..=4),
            min_hold: maybe(rng, 2, |rng| rng.u32(0..=lease.min(4_000))).unwrap_or(0),
            max_per_user: maybe(rng, 3, |rng| rng.u32(1..=2)),
        }
    }
}

impl Step {
    fn random(
        rng: &mut Rng,
        pools: &[PoolSpec],
        length: u32,
        servers: u8,
        with_keys: bool,
    ) -> Self {
        let place = rng.usize(0..pools.len());
        let (pool, spec) = (u8::try_from(place).unwrap_or(0), &pools[place]);
        let token = rng.u8(0..=spec.tokens);
        let pick = rng.u8(0..8);
        let user = rng.u8(0..USERS);
        let waits = spec.when_full != "reject" || rng.u8(0..8) == 0;
        let action = match rng.u8(0..100) {
            0..48 => {
                let key = maybe(rng, 3, |rng| rng.u8(0..12));
                let short = [0, 50, 1_000, 4_000, 15_000];
                Action::Allocate {
                    pool,
                    user,
                    token: maybe(rng, 6, |_| token),
                    lease: maybe(rng, 4, |rng| rng.u32(50..=spec.lease + spec.lease / 20)),
                    wait: maybe(rng, 2, |rng| rng.choice(short).unwrap_or(0)).filter(|_| waits),
                    key,
                    hold: rng.choice([0, 300, 5_000, 60_000]).unwrap_or(0),
                }
            }
            48..53 => Action::Release { pool, token, of_user: maybe(rng, 2, |_| user) },
            53..63 => Action::ReleaseLease { pick },
            63..71 => Action::Renew { pick },
            71..73 => Action::GiveUp { pick },
            73 => Action::Clear { pool },
            74..77 => Action::Taint {
                pool,
                token,
                drain: rng.bool(),
                until: maybe(rng, 2, |rng| rng.u32(20..9_000)),
            },
            77..79 => Action::Untaint { pool, token },
            79 => Action::AddToken { pool },
            80 => Action::Retire { pool, token },
            81 => Action::Policy { pool, like: rng.u8(0..3) },
            82 => Action::Recreate { pool },
            83..86 if with_keys => Action::CreateKey {
                key: rng.u8(1..4),
                rights: rng.u8(0..4),
                pool: maybe(rng, 3, |_| pool),
                user: maybe(rng, 3, |_| user),
                expires: maybe(rng, 3, |rng| rng.u32(20..9_000)),
                max_leases: maybe(rng, 2, |rng| rng.u32(1..=2)),
            },
            86..89 if with_keys => Action::Revoke { key: rng.u8(1..4) },
            89..94 => Action::Look { pick },
            _ => Action::Read,
        };
        Step {
            at: rng.u32(0..length),
            client: rng.u8(0..CLIENTS),
            server: rng.u8(0..servers),
            patience: maybe(rng, 7, |rng| rng.u32(0..40) * rng.u32(0..40)),
            actor: maybe(rng, 2, |rng| rng.u8(0..4)).filter(|_| with_keys),
            action,
        }
    }
}

impl FaultKind {
    fn random(rng: &mut Rng, servers: u8) -> Self {
        let server = rng.u8(0..servers);
        let length = rng.choice([100, 900, 3_000, 7_000, 20_000]).unwrap_or(100);
        match rng.u8(0..24) {
            0..3 => FaultKind::Refuse { data: rng.u8(0..4) == 0 },
            3..8 => FaultKind::LoseAnswer {
                done: rng.bool(),
                late: rng.choice([0, 200, 1_500]).unwrap_or(0),
            },
            8..10 => FaultKind::Cut { server, length },
            10..13 => FaultKind::Pause { server, length },
            13..17 => FaultKind::Kill { server, down: rng.choice([1, 1_000, 8_000]).unwrap_or(1) },
            17 => FaultKind::Restart { server, down: rng.choice([1, 1_000, 8_000]).unwrap_or(1) },
            18 => FaultKind::Step { by: rng.i32(-20_000..20_000) },
            19 => FaultKind::FullDisk { length: length.min(7_000) },
            20..23 if servers > 1 => {
                FaultKind::Failover { lost: rng.u8(0..4), down: length.min(3_000) }
            }
            _ => FaultKind::Prune { keep: rng.u8(1..20) },
        }
    }
}
