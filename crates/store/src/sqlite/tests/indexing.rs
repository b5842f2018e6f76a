//! The index of users catches up by itself.

use std::time::Duration;

use pool::{Fence, Timestamp};
use rusqlite::Connection;

use super::{Fixture, fixture};
use crate::sqlite::indexing::Indexing;
use crate::sqlite::{create, schema};
use crate::{Store, Wanted};

const INDEXED: &str = "select indexed_fence from pools";

/// So many leases of the one token, by 100 users, that all lasted for a microsecond.
fn leases(count: i64) -> String {
    format!(
        "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < {count})
         insert into leases
         select
             unhex(printf('%032x', n)), 'default', (select id from tokens),
             unhex(printf('%032x', n % 100)), 'user', n, n - 1, n, n + 1, n + 1, 'released', null
         from numbers"
    )
}

impl Fixture {
    /// Asks on a connection of its own, which is no job for the thread that writes.
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
    }

    /// Up to which lease all are indexed, and nothing that is none.
    fn indexed(&self) -> i64 {
        assert_eq!(self.ask(include_str!("../sql/audit_users.sql")), 0);
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
    let mut fixture = fixture().await;
    fixture.fill(40_000).await;
    // Gathered and added, each a thousand leases at a time.
    for _ in 0..45 {
        fixture.run("select 1").await;
    }
    // What is deleted in between is taken out in the end.
    let far = Timestamp::from_micros(1_000_000);
    let mut after = Fence::NONE;
    while let Some(up_to) = fixture.store.forget_leases(far, after).await.unwrap().up_to {
        after = up_to;
    }
    assert_eq!(fixture.ask("select count(*) from leases"), 1);
    for _ in 0..140 {
        fixture.run("select 1").await;
    }
    assert!(fixture.indexed() >= 33_000);
    assert!(fixture.ask("select count(*) from user_leases") <= 7_000);
    assert!(fixture.ask("select count(*) from forgotten_leases") <= 7_000);
}

#[test]
fn what_is_deleted_meanwhile_is_taken_out_again() {
    let mut connection = Connection::open_in_memory().unwrap();
    schema::migrate(&mut connection).unwrap();
    let wanted = Wanted { size: Some(1), ..Wanted::default() };
    create::open(&mut connection, &wanted, Timestamp::from_micros(0)).unwrap();
    connection.execute_batch(&leases(40_000)).unwrap();
    let ask = |connection: &Connection, sql| {
        connection.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap()
    };
    let mut indexing = Indexing::default();
    // All are gathered by now, and some are added.
    (0..45).for_each(|_| indexing.step(&mut connection));
    let added = ask(&connection, "select count(*) from user_leases");
    assert!((1_000..33_000).contains(&added), "{added}");
    let deleted = "delete from leases where fence > 20000 and fence <= 20500";
    assert_eq!(connection.execute(deleted, ()).unwrap(), 500);
    assert_eq!(
        ask(&connection, include_str!("../sql/audit_users.sql")),
        0,
        "it is known to be behind"
    );
    // What was begun, then the other leases, then the deletions.
    (0..60).for_each(|_| indexing.step(&mut connection));
    assert_eq!(ask(&connection, INDEXED), 40_000);
    assert_eq!(ask(&connection, "select count(*) from user_leases"), 39_500);
    assert_eq!(ask(&connection, "select count(*) from forgotten_leases"), 0);
    assert_eq!(ask(&connection, include_str!("../sql/audit_users.sql")), 0);
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
