//! Searches in a history of a million leases, and how many leases they examine.

use std::collections::BTreeSet;
use std::time::Duration;

use pool::{EndReason, Fence, Policy, Timestamp, TokenId, UserId};
use rusqlite::Connection;
use uuid::Uuid;

use crate::sqlite::admin::{create, schema};
use crate::sqlite::read::search;
use crate::{Cursor, LeasePage, LeaseQuery, Wanted};

const COUNT: i64 = 1_000_000;

/// When the first lease starts. Then one starts in each millisecond, three at a time.
const START: i64 = 1_600_000_000_000_000;

/// The lease of the token that has only this one.
const LONE: i64 = 500_000;

/// 100 tokens that take turns, and one that had its turn once; 1,009 users in no order. A lease ends
/// after a tenth of a second and could have lasted a minute. One was cleared, the others were released.
const FILL: &str = "
    with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 1000000)
    insert into leases (
        id, pool, token_id, user_id, user_name, fence, previous_fence, started_at, expires_at, ended_at,
        end_reason
    )
    select
        unhex(printf('%032x', n)), 1, t.id, unhex(printf('%032x', n * 7919 % 1009)), 'user', n,
        iif(n = 500000, 0, max(0, n - iif(n = 500100, 200, 100))),
        1600000000000000 + n / 3 * 3000, 1600000000000000 + n / 3 * 3000 + 60000000,
        1600000000000000 + n / 3 * 3000 + 100000, iif(n = 77, 'cleared', 'released')
    from numbers
    join tokens as t on t.position = iif(n = 500000, 100, n % 100)";

/// The index as the writing thread leaves it.
const INDEX: &str = "
    insert into user_leases select user_id, fence from leases order by user_id, fence;
    insert into pool_leases select distinct fence >> 14, pool, 0 from leases where fence <= 990000;
    update ledger set indexed_fence = 990000, longest_lease_micros = 60000000;
    delete from user_leases where fence > 990000";

fn started_at(fence: i64) -> Timestamp {
    Timestamp::from_micros(START + fence / 3 * 3_000)
}

fn user(number: u128) -> UserId {
    UserId(Uuid::from_u128(number))
}

fn filled() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    schema::migrate(&mut connection).unwrap();
    let policy = Policy::of_lease(Duration::from_secs(1)).into();
    let wanted = Wanted { size: Some(101), policy, update_policy: false };
    create::open(&mut connection, &wanted, Timestamp::from_micros(START)).unwrap();
    let unchecked = "pragma ignore_check_constraints = on; pragma foreign_keys = off";
    connection.execute_batch(&format!("{unchecked}; {FILL}; {INDEX}")).unwrap();
    connection.execute(sql!("leases/update_latest"), (0,)).unwrap();
    connection
}

fn token(connection: &Connection, position: i64) -> TokenId {
    let id = "select id from tokens where position = ?1";
    TokenId(Uuid::from_bytes(connection.query_row(id, (position,), |row| row.get(0)).unwrap()))
}

/// A page of the leases that match after all of them have ended.
fn search(connection: &Connection, query: &LeaseQuery, limit: usize) -> LeasePage {
    search::search(connection, query, started_at(2 * COUNT), limit).unwrap()
}

fn fences(found: &LeasePage) -> Vec<i64> {
    found.leases.iter().map(|record| record.lease.fence.get()).collect()
}

/// All matching leases, and the number of pages.
fn all(connection: &Connection, query: &LeaseQuery) -> (Vec<i64>, usize) {
    let (mut found, mut query) = (Vec::new(), *query);
    for pages in 1.. {
        let page = search(connection, &query, 1_000);
        found.extend(fences(&page));
        query.after = page.next;
        if query.after.is_none() {
            return (found, pages);
        }
    }
    unreachable!("the pages never end")
}

/// The matching fences, newest first.
fn fences_where(fits: impl Fn(i64) -> bool) -> Vec<i64> {
    (1..=COUNT).rev().filter(|fence| fits(*fence)).collect()
}

#[test]
fn a_million_leases_are_searched_by_index_and_a_part_at_a_time() {
    let connection = filled();
    assert_plans(&connection);
    first_pages(&connection);
    ways_of_users(&connection);
    ways_of_tokens(&connection);
    moments(&connection);
    rare_ones(&connection);
}

fn first_pages(connection: &Connection) {
    let newest = search(connection, &LeaseQuery::default(), 1_000);
    assert_eq!(fences(&newest), fences_where(|fence| fence > COUNT - 1_000));
    let place = newest.leases.last().map(|record| Cursor::of(&record.lease));
    assert_eq!(newest.next, place);
    let history = |before: Option<i64>| {
        let question = search::of_token(token(connection, 7), before.map(Fence::new));
        fences(&search(connection, &question, 2))
    };
    assert_eq!(history(None), [COUNT - 93, COUNT - 193]);
    assert_eq!(history(Some(207)), [107, 7]);
    assert_eq!(history(Some(COUNT / 2)), [COUNT / 2 - 93, COUNT / 2 - 193]);
}

fn ways_of_users(connection: &Connection) {
    let of_user = LeaseQuery { user: Some(user(5)), ..LeaseQuery::default() };
    let expected = fences_where(|fence| fence * 7_919 % 1_009 == 5);
    // The search examines ten thousand leases to find the newest of them, and then no other user's.
    assert_eq!(all(connection, &of_user), (expected.clone(), 2));
    let (from, to) = (Some(started_at(300_000)), Some(started_at(600_000)));
    let within = |fence: &&i64| (299_998..600_000).contains(*fence);
    let expected: Vec<_> = expected.iter().filter(within).copied().collect();
    assert_eq!(all(connection, &LeaseQuery { from, to, ..of_user }), (expected.clone(), 1));
    let token = token(connection, expected[0] % 100);
    let both = LeaseQuery { from, to, token: Some(token), ..of_user };
    let turn = |fence: &&i64| **fence % 100 == expected[0] % 100;
    let expected: Vec<_> = expected.iter().filter(turn).copied().collect();
    assert!(expected.len() > 1);
    assert_eq!(all(connection, &both), (expected, 1));
}

fn ways_of_tokens(connection: &Connection) {
    let of_token =
        |place| LeaseQuery { token: Some(token(connection, place)), ..LeaseQuery::default() };
    let expected = fences_where(|fence| fence % 100 == 0 && fence != LONE);
    assert_eq!(all(connection, &of_token(0)), (expected.clone(), 10));
    // From the middle of its chain on, without walking there.
    let to = Some(started_at(3_000));
    let (found, pages) = all(connection, &LeaseQuery { to, ..of_token(0) });
    assert_eq!((found, pages), (expected[expected.len() - 29..].to_vec(), 1));
    // Only one, which is far from either end.
    for to in [None, Some(started_at(COUNT - 9)), Some(started_at(LONE + 9))] {
        assert_eq!(all(connection, &LeaseQuery { to, ..of_token(100) }), (vec![LONE], 1));
    }
    for to in [Some(started_at(LONE)), Some(started_at(9))] {
        assert_eq!(all(connection, &LeaseQuery { to, ..of_token(100) }), (vec![], 1));
    }
}

fn moments(connection: &Connection) {
    // Leases that had started, and were not over yet.
    let at = started_at(700_000);
    let holding = fences_where(|fence| started_at(fence) <= at && fence / 3 * 3 + 100 > 699_999);
    let (found, _) = all(connection, &LeaseQuery { at: Some(at), ..LeaseQuery::default() });
    assert_eq!(found, holding);
    for (from, to) in [(5, 6), (6, 9), (COUNT - 7, COUNT + 100), (-9, 4), (-9, -6)] {
        let question = LeaseQuery {
            from: Some(started_at(from)),
            to: Some(started_at(to)),
            ..LeaseQuery::default()
        };
        let expected =
            fences_where(|fence| (started_at(from)..started_at(to)).contains(&started_at(fence)));
        assert_eq!(all(connection, &question), (expected, 1), "from {from} to {to}");
    }
}

fn rare_ones(connection: &Connection) {
    let cleared = LeaseQuery { reason: Some(EndReason::Cleared), ..LeaseQuery::default() };
    let first = search(connection, &cleared, 1_000);
    let reached = Cursor { started_at: started_at(900_001), fence: Fence::new(900_001) };
    assert_eq!(
        (first.leases, first.next),
        (Vec::new(), Some(reached)),
        "a hundred thousand a page"
    );
    let expired = LeaseQuery {
        reason: Some(EndReason::Expired),
        user: Some(user(5)),
        ..LeaseQuery::default()
    };
    assert_eq!(all(connection, &expired), (vec![], 1));
    // The second page ends at the lease found, since the work limit is reached by then.
    let beginning = LeaseQuery { to: Some(started_at(150_000)), ..cleared };
    assert_eq!(all(connection, &beginning), (vec![77], 3));
}

#[expect(clippy::too_many_lines, reason = "it is a table")]
fn assert_plans(connection: &Connection) {
    let by_fence = "USING INTEGER PRIMARY KEY (rowid";
    let by_id = "USING INDEX sqlite_autoindex_leases_1 (id=?)";
    let one_lease = "SEARCH leases USING INTEGER PRIMARY KEY (rowid=?)";
    for (sql, plan) in [
        (sql!("leases/leases_down"), vec![by_fence]),
        (
            sql!("leases/users_leases_down"),
            vec!["SEARCH u USING PRIMARY KEY (user_id=? AND fence", by_fence],
        ),
        (sql!("leases/pools_leases_down"), vec![by_fence]),
        (sql!("leases/pools_block_down"), vec!["SEARCH pool_leases USING PRIMARY KEY ("]),
        (
            sql!("leases/pools_fences"),
            vec!["SEARCH pool_leases USING PRIMARY KEY (block=? AND pool=?)"],
        ),
        (sql!("leases/newest_below"), vec![by_fence]),
        (sql!("leases/lease_from"), vec![by_fence]),
        (sql!("leases/lease_of_fence"), vec![by_fence]),
        (
            sql!("leases/latest_fence"),
            vec!["SEARCH latest USING PRIMARY KEY (pool=? AND position=?)"],
        ),
        (
            sql!("leases/kept_before"),
            vec!["SEARCH kept USING PRIMARY KEY (pool=? AND position=? AND fence<?)"],
        ),
        (
            sql!("leases/newest_of_token"),
            vec!["SEARCH leases USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"],
        ),
        (
            sql!("leases/successor"),
            vec!["SEARCH leases USING INDEX leases_previous_fence (previous_fence=?)"],
        ),
        (sql!("leases/lease"), vec![by_id]),
        (sql!("leases/end_lease"), vec![one_lease]),
        (sql!("leases/renew_lease"), vec![one_lease]),
        (
            sql!("leases/update_latest"),
            vec![
                "SEARCH l USING INTEGER PRIMARY KEY (rowid>?)",
                "SEARCH t USING COVERING INDEX tokens_id (id=?)",
            ],
        ),
        (sql!("journal/newest_entry"), vec!["SEARCH batches USING INTEGER PRIMARY KEY (rowid=?)"]),
        (sql!("journal/entries_from"), vec!["SEARCH batches USING INTEGER PRIMARY KEY (rowid>?)"]),
        (sql!("keys/key"), vec!["(key=? AND user_id=?)", by_id]),
        (sql!("tickets/delete_ticket"), vec!["(lease_id=?)"]),
        (sql!("leases/forgettable"), vec![by_fence]),
        (sql!("leases/forget_leases"), vec![by_fence, one_lease, "SEARCH k USING", "(lease_id=?)"]),
        (
            sql!("keys/forget_keys"),
            vec!["SEARCH idempotency_keys USING INTEGER PRIMARY KEY (rowid=?)"],
        ),
        (sql!("leases/users_from"), vec![by_fence]),
        (
            sql!("leases/forgotten_from"),
            vec!["SEARCH forgotten_leases USING INTEGER PRIMARY KEY (rowid>?)"],
        ),
        (
            sql!("leases/delete_forgotten"),
            vec!["SEARCH forgotten_leases USING INTEGER PRIMARY KEY (rowid<?)"],
        ),
        (sql!("leases/unindexed"), vec!["SEARCH leases"]),
        (sql!("pools/pools"), vec!["SEARCH tokens", "(pool=?)"]),
        (sql!("pools/pool_named"), vec!["INDEX pools_by_name (name=?)"]),
        (
            sql!("tokens/token_named"),
            vec![
                "INDEX tokens_name (pool=? AND name=?)",
                "INDEX tokens_retired (pool=? AND name=?)",
            ],
        ),
        (
            sql!("tokens/names"),
            vec!["SEARCH t USING INDEX tokens_id (id=?)", "SEARCH p USING INTEGER PRIMARY KEY"],
        ),
        (
            sql!("tokens/tokens"),
            vec![
                "SCAN p USING INDEX pools_name",
                "SEARCH t USING INDEX tokens_name (pool=?)",
                "SEARCH latest USING PRIMARY KEY (pool=? AND position=?)",
                by_fence,
                "SCAN r",
                "SEARCH t USING INDEX tokens_id (id=?)",
            ],
        ),
    ] {
        let steps = plan_of(connection, sql);
        for step in plan {
            assert!(steps.iter().any(|said| said.contains(step)), "{step} in {sql}{steps:#?}");
        }
        let tables = [
            "leases",
            "l",
            "user_leases",
            "u",
            "pool_leases",
            "t",
            "tokens",
            "batches",
            "idempotency_keys",
        ];
        let scanned: BTreeSet<_> =
            steps.iter().filter_map(|step| step.strip_prefix("SCAN ")).collect();
        let scanned = tables
            .iter()
            .find(|table| scanned.iter().any(|s| s.split(' ').next() == Some(**table)));
        // forget_leases.sql calls the few leases that it has selected `l`, and the oldest keys come first.
        assert!(
            scanned.is_none_or(|table| match *table {
                "l" => sql.contains("limit ?3"),
                "idempotency_keys" => sql.contains("order by number\n        limit 100"),
                _ => false,
            }),
            "{sql}{steps:#?}"
        );
        assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "{sql}{steps:#?}");
    }
}

fn plan_of(connection: &Connection, sql: &str) -> Vec<String> {
    let mut explain = connection.prepare(&format!("explain query plan {sql}")).unwrap();
    let count = explain.parameter_count();
    let steps = explain.query_map(rusqlite::params_from_iter(vec![1; count]), |row| row.get(3));
    steps.unwrap().map(Result::unwrap).collect()
}
