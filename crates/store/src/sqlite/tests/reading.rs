//! Readers and the writing thread don't wait long for one another.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pool::{Fence, Timestamp, TokenId};
use tokio::time::timeout;

use super::{Fixture, fixture, fixture_of};
use crate::sqlite::read::reader::{SEARCHING, SqliteReader};
use crate::sqlite::read::search::{self, of_token};
use crate::{Error, Reader};

/// Ten leases of one token, very many of another, two thousand of the first again.
const FILL: &str = "
    with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 252000)
    insert into leases (
        id, pool, token_id, user_id, user_name, fence, previous_fence, started_at, expires_at, ended_at,
        end_reason
    )
    select
        unhex(printf('%032x', n)), 1, t.id, zeroblob(16), 'user', n,
        case n when 11 then 0 when 250001 then 10 else n - 1 end, n, n + 1, n + 1, 'released'
    from numbers
    join tokens as t on t.position = (n between 11 and 250000)";

impl Fixture {
    fn reader(&self) -> SqliteReader {
        self.store.writer.reader(Arc::clone(&self.store.clock)).unwrap()
    }

    async fn execute(&self, sql: &'static str) {
        let done = self.store.writer.run(move |writing| {
            writing.connection()?.execute_batch(sql).unwrap();
            Ok(())
        });
        done.await.unwrap();
    }
}

fn first_token(fixture: &Fixture) -> TokenId {
    fixture.ledger.pools().next().unwrap().tokens(0).next().unwrap().token.id
}

async fn history(reader: &SqliteReader, token: TokenId, before: i64, limit: usize) -> Vec<i64> {
    let records = reader.history(token, Some(Fence::new(before)), limit).await.unwrap();
    records.iter().map(|record| record.lease.fence.get()).collect()
}

#[tokio::test]
async fn a_history_is_found_from_anywhere_in_it_a_part_at_a_time() {
    let fixture = fixture_of(2).await;
    fixture.execute(FILL).await;
    fixture.lead_to_latest().await;
    let (reader, token) = (fixture.reader(), first_token(&fixture));
    let part = reader.read(move |connection| {
        let query = of_token(token, Some(Fence::new(240_000)));
        search::search(connection, &query, Timestamp::MIN, 5)
    });
    let part = part.await.unwrap();
    assert_eq!(part.leases, []);
    assert_eq!(part.next.unwrap().fence, Fence::new(140_000), "so far for now");
    let mut left: BTreeSet<i64> = (1..=10).chain(250_001..=252_000).collect();
    for (deleted, delete) in [
        (1..1, ""),
        (250_500..250_501, "delete from leases where fence = 250500"),
        (250_400..250_411, "delete from leases where fence between 250400 and 250410"),
        // The predecessor of the first lease after the other token's; then that lease itself.
        (10..11, "delete from leases where fence = 10"),
        (250_001..250_002, "delete from leases where fence = 250001"),
        (1..10, "delete from leases where fence < 10"),
    ] {
        fixture.execute(delete).await;
        left.retain(|fence| !deleted.contains(fence));
        let places = [1, 7, 10, 11, 99_999, 240_000, 250_001, 250_002, 250_400, 250_405, 250_411];
        for before in places.into_iter().chain([250_412, 250_500, 250_501, 252_000, i64::MAX]) {
            for limit in [1, 5, 3_000] {
                let expected: Vec<_> = left.range(..before).rev().take(limit).copied().collect();
                assert_eq!(history(&reader, token, before, limit).await, expected, "{before}");
            }
        }
    }
}

#[tokio::test]
async fn who_searches_leaves_room_for_others() {
    let mut fixture = fixture().await;
    let entry = fixture.entry("Ada").await;
    fixture.commit(&entry).await;
    let (reader, token) = (fixture.reader(), first_token(&fixture));
    let held = reader.searching.acquire_many(SEARCHING).await.unwrap();
    let query = of_token(token, None);
    let search = reader.search(&query, Timestamp::MIN, 9);
    tokio::pin!(search);
    let soon = Duration::from_millis(20);
    assert!(timeout(soon, &mut search).await.is_err(), "as many search as may");
    assert_eq!(history(&reader, token, i64::MAX, 9).await, [1]);
    assert_eq!(reader.journal(1, 2, 9).await.unwrap(), Some(vec![entry]));
    drop(held);
    assert_eq!(search.await.unwrap().leases.len(), 1);
}

#[tokio::test]
async fn a_panic_fails_one_read_and_no_other() {
    let fixture = fixture().await;
    let reader = fixture.reader();
    for _ in 0..10 {
        let panics = reader.read::<()>(|_| panic!("expected by this test")).await;
        assert!(matches!(panics, Err(Error::TryAgain { .. })), "{panics:?}");
    }
    assert_eq!(history(&reader, first_token(&fixture), i64::MAX, 9).await, [0; 0]);
}
