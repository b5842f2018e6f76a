use std::time::Duration;

use pool::{Change, Command, End, EndReason, Lease, LeaseId, Outcome, Policy};
use store::{Entry, Wanted};
use testbed::on_both;

use super::server::{MINUTE, Server, allocate, assert_data, id, lease, under};
use super::{AnyDb as _, EmptyDb};

const MINUTE_OF_TIME: Duration = Duration::from_mins(1);

/// Leases of one minute, renewable up to three.
fn renewable(size: usize) -> Wanted {
    under(Policy { max_lease: Some(3 * MINUTE_OF_TIME), ..MINUTE }, size)
}

fn renew(lease: &Lease) -> Command {
    Command::Renew { lease_id: lease.id }
}

fn renewed(lease: &Lease, by: Duration) -> Change {
    let Lease { id: lease_id, fence, expires_at, .. } = *lease;
    Change::LeaseRenewed { lease_id, fence, expires_at: expires_at.after(by) }
}

/// The lease in the database, by every query that returns it.
async fn stored(server: &Server, lease: &Lease) -> Lease {
    let records = server.records(lease.token_id).await;
    let record = records.into_iter().find(|record| record.lease.id == lease.id).unwrap();
    assert_eq!(server.reader.lease(lease.id).await.unwrap(), Some(record.clone()));
    let leases = server.reader.leases(&[lease.id]).await.unwrap();
    assert_eq!(leases, std::slice::from_ref(&record.lease));
    record.lease
}

#[on_both]
async fn a_renewed_lease_keeps_its_deadlines(db: EmptyDb) {
    let mut server = Server::start(&db, renewable(2)).await;
    let granted = server.allocate("Ada").await;
    let other = server.allocate("Bea").await;
    let mut expected = granted.clone();
    for seconds in [30, 40] {
        server.wait(Duration::from_secs(seconds));
        let (entry, outcomes) = server.run(&[renew(&granted)]).await;
        expected.expires_at = entry.at.after(MINUTE_OF_TIME);
        assert!(matches!(&outcomes[0], Outcome::Renewed(lease) if *lease == expected));
        let before = server.facts();
        server = server.restart(&db).await;
        // Both the deadline and the length that it was granted for.
        assert_eq!(server.facts(), before);
        assert_eq!(server.ledger.lease(granted.id), Some(&expected));
        assert_eq!(stored(&server, &granted).await, expected);
    }
    assert_eq!(expected.length(), MINUTE_OF_TIME);
    assert_eq!(stored(&server, &other).await.expires_at, other.granted_until);
    assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
}

#[on_both]
async fn a_renewed_lease_may_end_after_its_first_deadline(db: EmptyDb) {
    let mut server = Server::start(&db, renewable(2)).await;
    let [ada, bea] = [server.allocate("Ada").await, server.allocate("Bea").await];
    server.wait(Duration::from_secs(50));
    server.run(&[renew(&ada), renew(&bea)]).await;
    server.wait(Duration::from_secs(50));
    let (entry, _) = server.run(&[Command::ReleaseLease { lease_id: ada.id }]).await;
    server.wait(Duration::from_secs(50));
    server.run(&[allocate("Cleo")]).await;
    let server = server.restart(&db).await;
    let end = stored(&server, &ada).await.end.unwrap();
    assert_eq!(end, End::new(entry.at, EndReason::Released));
    let bea = stored(&server, &bea).await;
    assert_eq!(bea.end, Some(End::new(bea.expires_at, EndReason::Expired)));
    assert!(bea.expires_at > bea.granted_until);
    assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
}

#[on_both]
async fn a_lease_may_be_renewed_and_end_in_one_batch(db: EmptyDb) {
    let mut server = Server::start(&db, renewable(1)).await;
    let granted = server.allocate("Ada").await;
    let (mut entry, _) = server.decide(&[]).await;
    // Two renewals, then an end that is after both earlier deadlines.
    let at = granted.expires_at.after(MINUTE_OF_TIME);
    let end = End::new(at, EndReason::Expired);
    let Lease { id: lease_id, fence, .. } = granted;
    entry.changes = vec![
        renewed(&granted, Duration::from_micros(1)),
        renewed(&granted, MINUTE_OF_TIME),
        Change::LeaseEnded { lease_id, fence, end },
    ];
    entry.at = at;
    server.commit(&entry).await.unwrap();
    let expected = Lease { expires_at: at, end: Some(end), ..granted.clone() };
    assert_eq!(stored(&server, &granted).await, expected);
    let before = server.facts();
    assert_eq!(server.restart(&db).await.facts(), before);
}

#[on_both]
async fn a_lease_may_start_and_be_renewed_in_one_batch(db: EmptyDb) {
    let mut server = Server::start(&db, renewable(2)).await;
    let (mut entry, outcomes) = server.decide(&[allocate("Ada"), allocate("Bea")]).await;
    let [ada, bea] = [lease(&outcomes[0]), lease(&outcomes[1])];
    entry.changes.push(renewed(&ada, MINUTE_OF_TIME));
    entry.changes.push(renewed(&bea, MINUTE_OF_TIME));
    let at = bea.expires_at.after(MINUTE_OF_TIME);
    let end = End::new(at, EndReason::Released);
    entry.changes.push(Change::LeaseEnded { lease_id: bea.id, fence: bea.fence, end });
    server.commit(&entry).await.unwrap();
    let ada = Lease { expires_at: ada.granted_until.after(MINUTE_OF_TIME), ..ada };
    let bea = Lease { expires_at: at, end: Some(end), ..bea };
    assert_eq!(stored(&server, &ada).await, ada);
    assert_eq!(stored(&server, &bea).await, bea);
    let before = server.facts();
    assert_eq!(server.restart(&db).await.facts(), before);
}

#[on_both]
async fn only_a_lease_that_runs_can_be_renewed(db: EmptyDb) {
    let mut server = Server::start(&db, renewable(2)).await;
    let ada = server.allocate("Ada").await;
    let over = server.allocate("Bea").await;
    server.release(over.token_id).await;
    let wrong = [
        renewed(&over, MINUTE_OF_TIME),
        renewed(&Lease { id: LeaseId(id()), ..ada.clone() }, MINUTE_OF_TIME),
        renewed(&Lease { fence: ada.fence.plus(7), ..ada.clone() }, MINUTE_OF_TIME),
    ];
    let before = server.facts();
    for change in wrong {
        // Together with a valid one, no part of which must be kept.
        let (entry, _) = server.decide(&[]).await;
        let changes = vec![renewed(&ada, MINUTE_OF_TIME), change];
        assert_data(server.store.commit(&Entry { changes, ..entry }).await);
        assert_eq!(stored(&server, &ada).await, ada);
    }
    assert_eq!(server.restart(&db).await.facts(), before);
}
