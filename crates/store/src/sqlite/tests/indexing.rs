//! The indexes of users and pools catch up by themselves.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use pool::{Fence, PoolId, Timestamp};
use rusqlite::Connection;

use super::{Fixture, fixture};
use crate::sqlite::admin::{create, schema};
use crate::sqlite::read::search;
use crate::sqlite::write::housekeeper::SqliteHousekeeper;
use crate::sqlite::write::user_index::Indexing;
use crate::{Cursor, Housekeeper, LeaseQuery, Wanted};

const INDEXED: &str = "select indexed_fence from ledger";

/// Inserts `count` leases of the one token, by 100 users, each a microsecond long.
fn leases(count: i64) -> String {
    format!(
        "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < {count})
         insert into leases (
             id, pool, token_id, user_id, user_name, fence, previous_fence, started_at, expires_at,
             ended_at, end_reason
         )
         select
             unhex(printf('%032x', n)), 1, (select id from tokens),
             unhex(printf('%032x', n % 100)), 'user', n, n - 1, n, n + 1, n + 1, 'released'
         from numbers"
    )
}

impl Fixture {
    /// Queries on a separate connection, without a job for the writing thread.
    fn ask(&self, sql: &str) -> i64 {
        let prompt = Connection::open(self.directory.path().join("pool.db")).unwrap();
        prompt.query_row(sql, (), |row| row.get(0)).unwrap()
    }

    async fn fill(&self, count: i64) {
        let filled = self.store.writer.run(move |writing| {
            writing.connection()?.execute_batch(&leases(count)).unwrap();
            Ok(())
        });
        filled.await.unwrap();
        self.lead_to_latest().await;
    }

    /// The lease up to which all are indexed; asserts that the index of users has no other rows.
    fn indexed(&self) -> i64 {
        assert_eq!(self.ask(sql!("audit/audit_users")), 0);
        assert_eq!(self.ask(sql!("audit/audit_pools")), 0);
        self.ask(INDEXED)
    }
}

#[tokio::test]
async fn a_thousand_leases_are_indexed_in_quiet_times() {
    let fixture = fixture().await;
    fixture.fill(3_500).await;
    for _ in 0..500 {
        if fixture.indexed() == 3_500 {
            assert_eq!(fixture.ask("select count(*) from user_leases"), 3_500);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("only up to {}", fixture.indexed());
}

#[tokio::test]
async fn many_leases_are_indexed_although_it_is_never_quiet() {
    let fixture = fixture().await;
    fixture.fill(40_000).await;
    // Until all are collected, and some added: on a slow machine a step does little.
    for _ in 0..50_000 {
        if fixture.run("select count(*) from user_leases").await > 0 {
            break;
        }
    }
    // Leases deleted meanwhile are removed in the end.
    let far = Timestamp::from_micros(1_000_000);
    let mut after = Fence::NONE;
    let mut housekeeper = SqliteHousekeeper(Arc::clone(&fixture.store.writer));
    while let Some(up_to) = housekeeper.forget_leases(far, after).await.unwrap().up_to {
        after = up_to;
    }
    assert_eq!(fixture.ask("select count(*) from leases"), 1);
    let mut left = [0; 3];
    for _ in 0..50_000 {
        left[0] = fixture.run("select 40000 - indexed_fence from ledger").await;
        left[1] = fixture.run("select count(*) from user_leases").await;
        left[2] = fixture.run("select count(*) from forgotten_leases").await;
        if left.iter().all(|left| *left < 40_000 - 32_000) {
            fixture.indexed();
            return;
        }
    }
    panic!("not indexed, to be taken out, deleted: {left:?}");
}

fn filled(count: i64) -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    schema::migrate(&mut connection).unwrap();
    let wanted = Wanted { size: Some(1), ..Wanted::default() };
    create::open(&mut connection, &wanted, Timestamp::from_micros(0)).unwrap();
    connection.execute_batch(&leases(count)).unwrap();
    connection
}

fn ask(connection: &Connection, sql: &str) -> i64 {
    connection.query_row(sql, (), |row| row.get(0)).unwrap()
}

#[test]
fn a_step_ends_when_its_time_is_up() {
    let connection = &mut filled(20);
    let mut indexing = Indexing::in_steps_of(Duration::ZERO);
    // Each step collects one, the last finds no more.
    (0..=20).for_each(|_| indexing.step(connection));
    for written in 1..=20 {
        indexing.step(connection);
        assert_eq!(ask(connection, "select count(*) from user_leases"), written);
        assert_eq!(ask(connection, INDEXED), 0);
        assert_eq!(ask(connection, sql!("audit/audit_users")), 0);
    }
    for written in 1..=20 {
        indexing.step(connection);
        assert_eq!(ask(connection, "select count(*) from pool_leases"), written);
        assert_eq!(ask(connection, INDEXED), if written < 20 { 0 } else { 20 });
        assert_eq!(ask(connection, sql!("audit/audit_pools")), 0);
    }
}

#[test]
fn what_is_deleted_meanwhile_is_taken_out_again() {
    let mut connection = filled(40_000);
    let mut indexing = Indexing::default();
    let mut added = 0;
    while added == 0 {
        indexing.step(&mut connection);
        added = ask(&connection, "select count(*) from user_leases");
    }
    assert!(added < 20_000, "{added}");
    let deleted = "delete from leases where fence > 20000 and fence <= 20500";
    assert_eq!(connection.execute(deleted, ()).unwrap(), 500);
    assert_eq!(ask(&connection, sql!("audit/audit_users")), 0, "it is known to be behind");
    // The work in progress, then the other leases, then the deletions.
    for _ in 0..50_000 {
        if ask(&connection, "select count(*) from forgotten_leases") == 0 {
            break;
        }
        indexing.step(&mut connection);
    }
    assert_eq!(ask(&connection, INDEXED), 40_000);
    assert_eq!(ask(&connection, "select count(*) from user_leases"), 39_500);
    assert_eq!(ask(&connection, "select count(*) from forgotten_leases"), 0);
    assert_eq!(ask(&connection, sql!("audit/audit_users")), 0);
}

/// Number of fences in a block of the index of pools.
const BLOCK: i64 = 16_384;

/// The pool of a lease: two quiet ones, one with 163 leases in each block, and one with the others.
const POOL: &str = "iif(fence % 5000 = 0, 2, iif(fence = 70001, 9, iif(fence % 100 = 1, 3, 1)))";

fn pool_of(fence: i64) -> i32 {
    match fence {
        _ if fence % 5_000 == 0 => 2,
        70_001 => 9,
        _ if fence % 100 == 1 => 3,
        _ => 1,
    }
}

/// All leases of a pool below that fence, and the number of pages.
fn found(connection: &Connection, pool: i32, below: i64) -> (Vec<i64>, usize) {
    let after = Cursor { started_at: Timestamp::from_micros(below), fence: Fence::new(below) };
    let mut query =
        LeaseQuery { pool: Some(PoolId(pool)), after: Some(after), ..LeaseQuery::default() };
    let (mut fences, mut pages) = (Vec::new(), 0);
    while query.after.is_some() {
        let now = Timestamp::from_micros(1_000_000);
        let page = search::search(connection, &query, now, 1_000).unwrap();
        fences.extend(page.leases.iter().map(|record| record.lease.fence.get()));
        (query.after, pages) = (page.next, pages + 1);
    }
    (fences, pages)
}

#[test]
fn leases_of_quiet_and_busy_pools_are_found() {
    const COUNT: i64 = 120_000;
    let mut connection = filled(COUNT);
    connection.execute_batch(&format!("update leases set pool = {POOL}")).unwrap();
    let expected = |pool, fences: Range<i64>| -> Vec<i64> {
        fences.rev().filter(|fence| pool_of(*fence) == pool).collect()
    };
    let check = |connection: &Connection, from| {
        for below in [COUNT + 1, 98_304, 70_002, 70_001, 16_384, 1] {
            // The pool of most leases has too many for a test.
            for pool in [1, 2, 3, 9, 4].into_iter().filter(|pool| *pool > 1 || below < 20_000) {
                let (fences, _) = found(connection, pool, below);
                let fences: Vec<_> = fences.into_iter().filter(|fence| *fence >= from).collect();
                assert_eq!(fences, expected(pool, from..below), "pool {pool} below {below}");
            }
        }
    };
    check(&connection, 1);
    let mut indexing = Indexing::default();
    for indexed in [1, COUNT] {
        while ask(&connection, INDEXED) < indexed {
            indexing.step(&mut connection);
        }
        assert_eq!(ask(&connection, sql!("audit/audit_pools")), 0);
        check(&connection, 1);
    }
    // A search that looks at each lease takes ten pages.
    assert_eq!(found(&connection, 2, COUNT).1, 1);
    assert_eq!(found(&connection, 9, COUNT).1, 1);
    let rows = |pool| format!("select count(*) from pool_leases where pool = {pool}");
    assert_eq!(ask(&connection, &rows(2)), 24);
    // Not a row for each lease, except of a part of a block with few of them.
    for pool in [1, 3] {
        let count = ask(&connection, &rows(pool));
        assert!((COUNT / BLOCK..600).contains(&count), "{count} rows of the pool {pool}");
    }

    // Retention deletes from the oldest on; one lease of the first block stays.
    let deleted = "delete from leases where fence <= 70001 and fence <> 501";
    connection.execute(deleted, ()).unwrap();
    assert_eq!(ask(&connection, sql!("audit/audit_pools")), 0);
    check(&connection, 70_002);
    assert_eq!(found(&connection, 3, 70_002).0, [501]);
    assert_eq!(found(&connection, 9, COUNT).0, [0_i64; 0]);
    let old = "select count(*) from pool_leases where block < 4 and pool in (1, 2, 3)";
    assert_eq!(ask(&connection, old), 1, "the row of the lease that stays");
    assert_eq!(ask(&connection, &rows(9)), 0);
}

#[tokio::test]
async fn without_an_index_the_rest_goes_on() {
    let fixture = fixture().await;
    fixture.fill(40_000).await;
    fixture.run("select 1").await;
    let prompt = Connection::open(fixture.directory.path().join("pool.db")).unwrap();
    prompt.execute_batch("drop table user_leases").unwrap();
    for _ in 0..80 {
        fixture.run("select 1").await;
    }
    assert_eq!(fixture.ask(INDEXED), 0);
    assert_eq!(fixture.run("select count(*) from leases").await, 40_000);
}
