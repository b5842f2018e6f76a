use std::time::Duration;

use pool::{
    Allocation, Change, Command, IdempotencyKey, LeaseId, MAX_COUNTED_GAP, Observer, Outcome,
    Policy, Pool, PoolId, SERVER_TIMEOUT, ServerId, Ticket, Timestamp, User, WhenFull,
};
use store::{Entry, Wanted};
use testbed::on_both;

use super::server::{
    MINUTE, Server, allocate, allocation, assert_data, facts, id, lease, release, under,
};
use super::{AnyDb, EmptyDb};

fn waiting(size: usize) -> Wanted {
    under(Policy { when_full: WhenFull::Wait, ..MINUTE }, size)
}

fn wait(user: &str, seconds: u64) -> Allocation {
    Allocation { wait: Some(Duration::from_secs(seconds)), ..allocation(user) }
}

fn queue(allocations: &[Allocation]) -> Vec<Command> {
    allocations.iter().cloned().map(Command::Allocate).collect()
}

/// A server of a pool with one token, which Ada holds, and these in the queue.
async fn queued(db: &dyn AnyDb, allocations: &[Allocation]) -> Server {
    let mut server = Server::start(db, waiting(1)).await;
    server.allocate("Ada").await;
    let (_, outcomes) = server.run(&queue(allocations)).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Queued { .. })));
    server
}

/// Number of tickets that an unrelated server must consider live at that moment.
fn live(pool: &Pool, at: Timestamp) -> usize {
    pool.waiting(&Observer::new(at, ServerId(id()), Some(at)))
}

/// How many of this server's tickets are not over at that moment.
fn own(pool: &Pool, at: Timestamp, server: ServerId) -> usize {
    pool.waiting(&Observer::new(at, server, None))
}

#[on_both]
async fn the_queue_is_there_after_a_restart(db: EmptyDb) {
    let allocations = [wait("Bea", 20), wait("Cleo", 10), wait("Dora", 30)];
    let server = queued(&db, &allocations).await;
    let (id, at) = (server.id, server.at);
    let server = server.restart(&db).await;
    for (rank, allocation) in allocations.iter().enumerate() {
        assert_eq!(server.pool().rank(allocation.lease_id), Some(rank), "in their order");
    }
    for (seconds, left) in [(10, 2), (20, 1), (30, 0)] {
        let over = at.after(Duration::from_secs(seconds));
        assert_eq!(own(server.pool(), over, id), left, "each until its own moment");
        let just_before = Timestamp::from_micros(over.as_micros() - 1);
        assert_eq!(own(server.pool(), just_before, id), left + 1);
    }
    assert_eq!(own(server.pool(), at, server.id), 0, "that is another server");
    let silent = at.after(SERVER_TIMEOUT);
    assert_eq!(live(server.pool(), Timestamp::from_micros(silent.as_micros() - 1)), 3);
    assert_eq!(live(server.pool(), silent), 0);
}

#[on_both]
async fn a_place_in_the_queue_is_given_up(db: EmptyDb) {
    let allocations = [wait("Bea", 30), wait("Cleo", 30), wait("Dora", 30)];
    let mut server = queued(&db, &allocations).await;
    let [bea, cleo, dora] = allocations.map(|allocation| allocation.lease_id);
    server.run(&[Command::Withdraw { lease_id: cleo }]).await;
    // A ticket that is added and removed within a batch leaves no row.
    let emma = wait("Emma", 30);
    let lease_id = emma.lease_id;
    server.run(&[Command::Allocate(emma), Command::Withdraw { lease_id }]).await;
    let server = server.restart(&db).await;
    let ranks = [bea, cleo, dora, lease_id].map(|lease_id| server.pool().rank(lease_id));
    assert_eq!(ranks, [Some(0), None, Some(1), None]);
    assert_eq!(live(server.pool(), server.at), 2);
}

#[on_both]
async fn who_waited_is_served_and_leaves_the_queue(db: EmptyDb) {
    let allocations = [wait("Bea", 30), wait("Cleo", 30)];
    let mut server = queued(&db, &allocations).await;
    let token = server.pool().tokens(0).next().unwrap().token.id;
    let bea = Command::Allocate(allocations[0].clone());
    let (_, outcomes) = server.run(&[release(token), bea]).await;
    assert_eq!(&*lease(&outcomes[1]).user.name, "Bea");
    let (before, rank) = (server.facts(), server.pool().rank(allocations[1].lease_id));
    let server = server.restart(&db).await;
    assert_eq!((server.facts(), rank), (before, Some(0)));
    assert_eq!(server.pool().rank(allocations[0].lease_id), None);
    assert_eq!(server.pool().rank(allocations[1].lease_id), Some(0));
}

#[on_both]
async fn a_heartbeat_keeps_the_tickets_of_a_server(db: EmptyDb) {
    let mut server = queued(&db, &[wait("Bea", 30), wait("Cleo", 30)]).await;
    server.wait(Duration::from_secs(3));
    // The heartbeat also counts for the ticket in the same batch.
    let emma = Command::Allocate(wait("Emma", 30));
    let (entry, outcomes) = server.run(&[emma, Command::Heartbeat]).await;
    assert_eq!(outcomes[1], Outcome::Heard);
    let server = server.restart(&db).await;
    let silent = entry.at.after(SERVER_TIMEOUT);
    assert_eq!(live(server.pool(), Timestamp::from_micros(silent.as_micros() - 1)), 3);
    assert_eq!(live(server.pool(), silent), 0);
}

#[on_both]
async fn only_the_server_with_a_heartbeat_lives_longer(db: EmptyDb) {
    let mut server = queued(&db, &[wait("Bea", 30)]).await;
    let other = ServerId(id());
    let ticket = ticket(&server, other, 2);
    let at = server.at.after(SERVER_TIMEOUT);
    let heard = Change::ServerHeard { server: server.id, at };
    for change in [Change::WaitStarted(ticket.clone()), heard] {
        let (mut entry, _) = server.decide(&[]).await;
        entry.changes = vec![change];
        server.commit(&entry).await.unwrap();
    }
    let own_id = server.id;
    let server = server.restart(&db).await;
    assert_eq!(server.pool().rank(ticket.lease_id), Some(1));
    assert_eq!(live(server.pool(), ticket.heard_at), 2);
    assert_eq!(live(server.pool(), at), 1);
    assert_eq!((own(server.pool(), at, own_id), own(server.pool(), at, other)), (1, 1));
}

#[on_both]
async fn a_dead_servers_places_lapse(db: EmptyDb) {
    let allocations = [wait("Bea", 60), wait("Cleo", 60)];
    let server = queued(&db, &allocations).await;
    let mut server = server.restart(&db).await;
    // The observing server restarts before each check.
    for _ in 0..3 {
        server.wait(MAX_COUNTED_GAP);
        server.run(&[Command::Heartbeat]).await;
        server = server.restart(&db).await;
    }
    server.run(&[allocate("Dora")]).await;
    let server = server.restart(&db).await;
    assert!(allocations.iter().all(|gone| server.pool().rank(gone.lease_id).is_none()));
    assert_eq!(live(server.pool(), server.at), 1);
}

#[on_both]
async fn an_outage_is_no_silence(db: EmptyDb) {
    let server = queued(&db, &[wait("Bea", 60), wait("Cleo", 50)]).await;
    let mut server = server.restart(&db).await;
    server.wait(Duration::from_secs(30));
    server.run(&[Command::Heartbeat]).await;
    let tickets = |server: &Server| server.pool().tickets().cloned().collect::<Vec<_>>();
    let (before, at) = (tickets(&server), server.at);
    // If no other server can exist, those tickets are deleted at once.
    assert_eq!(before.len(), if server.reader.shared() { 2 } else { 0 });
    assert!(before.iter().all(|ticket| ticket.heard_at.after(MAX_COUNTED_GAP) == at), "{before:?}");
    let server = server.restart(&db).await;
    assert_eq!(tickets(&server), before, "as the journal has it");
}

#[on_both]
async fn a_ticket_that_contradicts_the_queue_is_refused(db: EmptyDb) {
    let bea = wait("Bea", 30);
    let mut server = queued(&db, std::slice::from_ref(&bea)).await;
    let before = server.facts();
    let here = ticket(&server, server.id, 2);
    let wrong = [
        Change::WaitEnded { lease_id: LeaseId(id()) },
        Change::WaitGivenUp { lease_id: LeaseId(id()) },
        Change::WaitMoved { lease_id: LeaseId(id()), server: server.id, at: server.at },
        Change::WaitStarted(Ticket { number: 1, ..here.clone() }),
        Change::WaitStarted(Ticket { lease_id: bea.lease_id, ..here.clone() }),
    ];
    for change in wrong {
        let (entry, _) = server.decide(&[]).await;
        let also = ticket(&server, server.id, 3);
        let changes = vec![Change::WaitStarted(also.clone()), change.clone()];
        assert_data(server.store.commit(&Entry { changes, ..entry }).await);
        let begun = server.store.begin(&store_elsewhere(&server)).await.unwrap();
        server.store.abandon().await;
        let store::News::Whole(whole) = begun.news else { panic!("{:?}", begun.news) };
        assert_eq!(facts(&whole.ledger, whole.position, whole.at), before, "{change:?}");
        let ranks = [bea.lease_id, also.lease_id]
            .map(|lease_id| whole.ledger.place_in_queue(lease_id).map(|waiting| waiting.position));
        assert_eq!(ranks, [Some(1), None], "{change:?}");
    }
}

#[on_both]
async fn a_ticket_with_a_key_is_kept_whole(db: EmptyDb) {
    let kept = Allocation {
        key: IdempotencyKey::new("~ 'k\"").ok(),
        lease: Some(Duration::from_micros(30_000_001)),
        ..wait("Bea \u{1f511}", 3_600)
    };
    let mut server = queued(&db, &[kept.clone(), wait("Cleo", 30)]).await;
    let tickets = |server: &Server| server.pool().tickets().cloned().collect::<Vec<_>>();
    let before = tickets(&server);
    // As another server does when the client repeats its request there.
    server.id = ServerId(id());
    let again = Allocation { lease_id: LeaseId(id()), ..kept.clone() };
    let (entry, outcomes) = server.run(&[Command::Allocate(again)]).await;
    assert!(matches!(outcomes[0], Outcome::Queued(told) if told.ticket == kept.lease_id));
    let moved = Ticket { server: server.id, heard_at: entry.at, ..before[0].clone() };
    let known = tickets(&server);
    assert_eq!(known[0], moved);
    let mut server = server.restart(&db).await;
    assert_eq!(tickets(&server), known);
    assert_eq!(server.ledger.ticket_of_key(&kept.user_key().unwrap()), Some(&moved));
    let lease_id = kept.lease_id;
    let (_, outcomes) = server.run(&[Command::GiveUp { lease_id }]).await;
    assert_eq!(outcomes[0], Outcome::GaveUp);
    let server = server.restart(&db).await;
    assert_eq!(server.pool().rank(lease_id), None);
}

#[on_both]
async fn many_wait(db: EmptyDb) {
    let allocations: Vec<_> = (0..1_500).map(|i| wait(&format!("user {i}"), 50)).collect();
    let mut server = queued(&db, &allocations).await;
    let leave = |allocation: &Allocation| Command::Withdraw { lease_id: allocation.lease_id };
    let leaving: Vec<_> = allocations.iter().step_by(2).map(leave).collect();
    server.run(&leaving).await;
    let server = server.restart(&db).await;
    assert_eq!(live(server.pool(), server.at), 750);
    assert_eq!(server.pool().rank(allocations[1_499].lease_id), Some(749));
}

fn ticket(at: &Server, server: ServerId, number: i64) -> Ticket {
    let until = at.at.after(Duration::from_secs(30));
    Ticket {
        lease_id: LeaseId(id()),
        number,
        server,
        heard_at: at.at,
        since: at.at,
        until,
        user: User::new("Zoe").unwrap(),
        key: None,
        asked_lease: None,
        asked_wait: None,
        pool: PoolId::DEFAULT,
        token: None,
        note: None,
    }
}

/// A position that is not in the journal, so that the whole pool is read.
fn store_elsewhere(server: &Server) -> store::Position {
    store::Position { batch: store::BatchId(id()), ..server.position }
}
