//! Faults, and their end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::client::Clients;
use crate::scenario::FaultKind;
use crate::world::{CommitFault, lock};

/// Longest time that a server is down.
const LONGEST_DOWN: Duration = Duration::from_secs(25);

fn millis(millis: u32) -> Duration {
    Duration::from_millis(millis.into())
}

/// Causes the faults of the scenario, each at its time.
pub async fn run(clients: &Arc<Clients>) {
    for fault in &clients.scenario.faults {
        sleep_until(clients.begin + millis(fault.at)).await;
        cause(clients, &fault.kind);
    }
}

fn cause(clients: &Arc<Clients>, kind: &FaultKind) {
    let count = clients.scenario.servers;
    let mut world = lock(&clients.world);
    world.note(&format!("fault {kind:?}"));
    world.is_troubled = true;
    match *kind {
        FaultKind::Refuse { data } => {
            // A command is refused for good after its batch was refused alone, twice.
            let times = if data { 3 } else { 1 };
            world.commit_faults.extend([CommitFault::Refuse { data }].repeat(times));
        }
        FaultKind::LoseAnswer { done, late } => {
            world.commit_faults.push(CommitFault::LoseAnswer { done, late: millis(late) });
        }
        FaultKind::Cut { server, length } => {
            world.cut_until.insert(server % count, Instant::now() + millis(length));
        }
        FaultKind::Pause { server, length } => {
            world.paused_until.insert(server % count, Instant::now() + millis(length));
        }
        FaultKind::Kill { server, down } | FaultKind::Restart { server, down } => {
            let (clients, kill) = (Arc::clone(clients), matches!(kind, FaultKind::Kill { .. }));
            tokio::spawn(async move {
                clients.servers.restart(server % count, kill, millis(down)).await;
            });
        }
        FaultKind::Step { by } => {
            world.offset += i64::from(by) * 1_000;
            world.facts.stepped = true;
        }
        FaultKind::FullDisk { length } => world.full_until = Some(Instant::now() + millis(length)),
        FaultKind::Failover { lost, down } => {
            world.fail_over(lost.into());
            let until = Instant::now() + millis(down);
            world.cut_until.extend((0..count).map(|server| (server, until)));
        }
        FaultKind::Prune { keep } => world.prune(keep.into()),
    }
}

/// Ends all faults, and waits until all servers are up.
pub async fn heal(clients: &Arc<Clients>) {
    {
        let mut world = lock(&clients.world);
        world.note("faults end");
        world.commit_faults.clear();
        world.cut_until.clear();
        world.paused_until.clear();
        world.full_until = None;
    }
    sleep(LONGEST_DOWN).await;
}
