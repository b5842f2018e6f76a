//! Simulator: runs whole engines with the real rules on a simulated database, on one thread, with clock, ids and
//! faults from a seed, and checks every journal entry and every answer against a model.
//!
//! - **Real parts.** `engine::start_on`, thus the loop, the writer, the queue, the readers' replica and the
//!   handle that the HTTP server uses; all of `pool`. Not part of a run: HTTP, SQL and the disk.
//! - **Time** is that of a paused tokio runtime: it advances only when every task waits, so a minute takes
//!   milliseconds. The database's clock and the uptime of the machines follow it; a fault sets the clock.
//! - **Order.** The runtime has one thread and no random choices. Latencies, lost wake-ups and tasks that are
//!   polled late (`server::Task`) come from the seed. Ids of leases and batches are those of the engine;
//!   nothing depends on their values, and the trace has numbers for them. So a scenario has one trace.
//! - **The database** (`database`) has the journal and rows that follow from its changes (`tables`). Its side
//!   of a commit goes on when the server is paused or killed. One server uses it as it would use SQLite,
//!   several as PostgreSQL.
//! - **The model** has two parts, written from the documents. `model` checks each entry when it is committed:
//!   exclusive leases, new fences, deadlines, eviction, the order of the queue, and a request for each change.
//!   `answers` checks each answer when it arrives: its content is in the journal, and one state between
//!   request and answer explains it. The order is given by versions and fences, so nothing is searched.
//! - **The end** (`rest`): faults stop; then servers are ready, no available token is withheld from a
//!   ticket, nothing is left of clients that disconnected, and all servers show the same.
//! - **Scenarios** (`scenario`) are plain data. A failing one is shrunk (`shrink()`) and printed as a file for
//!   `seeds/`, which a test replays.

mod answers;
mod client;
mod database;
mod facts;
mod model;
mod nemesis;
mod rest;
mod scenario;
mod server;
mod shrinking;
mod tables;
mod world;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pool::{Change, Labels, PoolId, PoolRecord, Taints, Token, TokenName, TokenWanted};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{Clients, policy, pool_name, within};
pub use crate::scenario::Scenario;
use crate::server::Servers;
pub use crate::shrinking::shrink;
use crate::world::{Shared, World, lock};

/// Longest time for which clients wait after the last step and fault.
const LONGEST_WAIT: Duration = Duration::from_secs(400);

/// The result of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The broken promise, if any.
    pub failure: Option<String>,
    /// Events, one line each.
    pub trace: Vec<String>,
    /// Number of requests.
    pub requests: usize,
    /// Number of journal entries.
    pub entries: usize,
}

/// Runs a scenario.
///
/// # Panics
///
/// If the system has no memory or threads for a runtime.
#[must_use]
pub fn run(scenario: &Scenario) -> Outcome {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime of one thread starts");
    let world = runtime.block_on(async {
        let world: Shared = Arc::new(Mutex::new(World::new(scenario.seed, scenario.servers)));
        let failed = Arc::clone(&lock(&world).failed);
        tokio::select! {
            biased;
            () = failed.notified() => {}
            () = simulate(&world, scenario) => {}
        }
        world
    });
    drop(runtime);
    let mut world = lock(&world);
    Outcome {
        failure: world.failure.take(),
        trace: std::mem::take(&mut world.trace),
        requests: world.facts.requests.len(),
        entries: world.journal.len(),
    }
}

async fn simulate(world: &Shared, scenario: &Scenario) {
    create(&mut lock(world), scenario);
    let servers = Servers::start(world, scenario.servers);
    let begin = Instant::now();
    let (world_of, servers_of, scenario_of) = (world.clone(), servers.clone(), scenario.clone());
    let clients =
        Arc::new(Clients { world: world_of, servers: servers_of, scenario: scenario_of, begin });
    let mut running = JoinSet::new();
    for client in 0..scenario::CLIENTS {
        running.spawn(Arc::clone(&clients).run(client));
    }
    nemesis::run(&clients).await;
    let ends = scenario.steps.iter().map(|step| step.at).max().unwrap_or(0);
    tokio::time::sleep_until(begin + Duration::from_millis(ends.into())).await;
    nemesis::heal(&clients).await;
    rest::watch(&clients).await;
    if within(LONGEST_WAIT, running.join_all()).await.is_none() {
        lock(world).fail("stuck: a request has no answer".to_owned());
    }
    rest::compare(&clients).await;
}

/// Writes the first entry: the pools.
fn create(world: &mut World, scenario: &Scenario) {
    let at = world.clock();
    let mut changes = Vec::new();
    for (place, spec) in (0_u8..).zip(&scenario.pools) {
        let pool = PoolId(i32::from(place) + 1);
        changes.push(Change::PoolCreated(PoolRecord::new(
            pool,
            pool_name(place),
            policy(spec),
            at,
        )));
        for position in 0..spec.tokens.into() {
            let TokenWanted { fresh_id: id, fresh_value: value, .. } =
                client::new_token(world, None);
            let name = TokenName::of_position(position);
            let (labels, taints) = (Labels::default(), Taints::default());
            let (inserted_at, retired_at) = (at, None);
            changes.push(Change::TokenAdded(Token {
                id,
                pool,
                position,
                name,
                value,
                labels,
                taints,
                inserted_at,
                retired_at,
            }));
        }
    }
    world.create(changes);
}
