//! Checks some time after the last fault.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use engine::Health;
use pool::{LeaseId, Ticket};
use tokio::time::sleep;

use crate::client::Clients;
use crate::facts::{Ask, State};
use crate::model::{Check, can_get, ensure};
use crate::world::{World, lock};

/// Time between two looks. Anything that is late in two of them is a fault.
const PAUSE: Duration = Duration::from_secs(3);

/// Looks at the ledger several times while clients go on.
pub async fn watch(clients: &Arc<Clients>) {
    let mut late = BTreeSet::new();
    for _ in 0..8 {
        sleep(PAUSE).await;
        for server in 0..clients.scenario.servers {
            let health = clients.servers.handle(server).map(|(handle, ..)| handle.health());
            if health != Some(Health::Ready) {
                lock(&clients.world).fail(format!("rest: server {server} is {health:?}"));
            }
        }
        let mut world = lock(&clients.world);
        if let Err(broken) = look(&mut world, &mut late) {
            world.fail(broken);
        }
    }
}

fn look(world: &mut World, late: &mut BTreeSet<LeaseId>) -> Check {
    let clock = world.clock();
    let newest = world.newest();
    let (tables, now) = (&newest.after, clock.max(newest.entry.at));
    if let Some(lease) =
        tables.running(newest.entry.at).find(|lease| lease.expires_at.after(PAUSE) <= now)
    {
        return Err(format!("rest: the end of {lease:?} is not written"));
    }
    let dead = |ticket: &&Ticket| !ticket.is_kept() && world.facts.dead.contains(&ticket.server.0);
    if let Some(ticket) = tables.tickets.values().find(dead) {
        return Err(format!("rest: {ticket:?} of a dead server is in the queue"));
    }
    let mut waiting = BTreeSet::new();
    for ticket in tables.tickets.values() {
        let ahead: Vec<&Ticket> =
            tables.queue(ticket.pool).filter(|other| other.number < ticket.number).collect();
        let is_open =
            world.facts.of_note(ticket.note.as_ref()).any(|request| request.state == State::Open);
        if is_open && can_get(tables, ticket.pool, ticket.token, &ahead, now) {
            ensure!(
                !late.contains(&ticket.lease_id),
                "rest: {ticket:?} waits although a token is available"
            );
            waiting.insert(ticket.lease_id);
        }
    }
    for request in &world.facts.requests {
        let State::Gone(left) = request.state else { continue };
        let Ask::Allocate(asked) = &request.ask else { continue };
        let is_alive = !world.facts.dead.contains(&request.server.0);
        if !world.facts.stepped
            && asked.key.is_none()
            && is_alive
            && left.after(PAUSE) < now
            && request.timeline == world.timeline
        {
            let lease = tables.running(now).find(|lease| lease.note == asked.note);
            ensure!(lease.is_none(), "rest: {lease:?} of a client that left goes on");
            let ticket = tables.tickets.values().find(|ticket| ticket.note == asked.note);
            ensure!(ticket.is_none(), "rest: {ticket:?} of a client that left goes on");
        }
    }
    *late = waiting;
    Ok(())
}

/// Compares the views of all servers, after the last request.
pub async fn compare(clients: &Arc<Clients>) {
    // Tickets with a key lapse.
    sleep(Duration::from_secs(25)).await;
    for server in 0..clients.scenario.servers {
        clients.send(server, None, Ask::Read, None).await;
    }
    let mut world = lock(&clients.world);
    let left: Vec<Ticket> = world.newest().after.tickets.values().cloned().collect();
    if !left.is_empty() {
        let broken = format!("rest: {left:?} have no clients");
        world.fail(broken);
    }
}
