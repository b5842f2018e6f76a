//! PostgreSQL's plans of the statements, on empty tables and on large ones.

use std::collections::HashSet;
use std::time::Duration;

use pool::{EndReason, Fence, IdempotencyKey, PoolId, Timestamp, User};
use store::{LeasePage, LeaseQuery, Swept};
use tokio_postgres::Client;

use super::fresh;
use super::statements::statement;
use crate::conformance::AnyDb;
use crate::conformance::search::EVERYTHING;
use crate::conformance::server::{Server, tokens};

/// Applies the planner settings of the writing and reading sessions.
fn settings() -> String {
    let source = include_str!("../../../src/postgres/connect/session.rs");
    let always = source.split("impl Purpose").next().unwrap().lines();
    let pairs = always.filter_map(|line| line.trim().strip_prefix("(\"")?.strip_suffix("\"),"));
    let pairs = pairs.filter_map(|pair| pair.split_once("\", \""));
    let planner =
        pairs.filter(|(name, _)| name.starts_with("enable_") || *name == "plan_cache_mode");
    planner.map(|(name, value)| format!("set {name} = {value};")).collect::<Vec<_>>().concat()
}

const NO_ID: &str = "'00000000-0000-0000-0000-000000000000'";

/// Explains the prepared statement `name`, executed with parameters. Prepared statements keep their
/// plan.
async fn explain(prompt: &Client, how: &str, name: &str, parameters: &str) -> String {
    let parameters = if parameters.is_empty() { "" } else { &format!("({parameters})") };
    let explain = format!("explain (costs off{how}) execute {name}{parameters}");
    let rows = prompt.query(&explain, &[]).await.unwrap();
    rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n")
}

/// The statements of the functions that change leases, with numbered parameters.
async fn function(prompt: &Client, name: &str, array: &str, numbered: &str) -> String {
    let source = "select prosrc from pg_proc where proname = $1";
    let source: String = prompt.query_one(source, &[&name]).await.unwrap().get(0);
    let update = &source[source.find("update").unwrap()..];
    let update = &update[..update.find(';').unwrap()];
    assert!(update.contains(array));
    update.replace(array, numbered)
}

/// Statements by name, with parameters, and the index lines that their plans must have.
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn statements(prompt: &Client) -> Vec<(&'static str, String, String, Vec<&'static str>)> {
    let by_chain = "Index Scan Backward using leases_token_id_previous_fence_key";
    let by_time = "Index Scan Backward using leases_started_at_fence_idx";
    let by_user = "Index Scan Backward using leases_user_id_idx";
    let by_block = "Index Scan using pool_leases_pkey";
    let conditions = "now(), false, null, null, null, null";
    let mut all: Vec<_> = [
        ("news", "1, 10", vec!["batches_pkey"]),
        ("newest", "", vec!["batches_pkey"]),
        ("journal", "1, 1, 10", vec!["batches_pkey"]),
        ("has", &format!("{NO_ID}, 1"), vec!["batches_pkey"]),
        ("prune", "1, now(), 1, 1", vec!["batches_pkey"]),
        ("history", &format!("{NO_ID}, 9, 9"), vec![by_chain]),
        (
            "latest_leases",
            "",
            vec![by_chain, "Index Scan using tokens_name", "Index Scan using tokens_pkey"],
        ),
        ("note_retiring", "'{}'", vec![by_chain]),
        ("lease", NO_ID, vec!["leases_pkey", "pools_pkey", "tokens_pkey"]),
        ("pools", "", vec!["pools_pkey", "tokens_pool_position_key"]),
        ("pool_named", "'a'", vec!["pools_by_name"]),
        ("token_named", "1, 'a'", vec!["using tokens_name on", "using tokens_retired on"]),
        ("leases", "'{}'", vec!["Index Scan using leases_pkey"]),
        ("search_all", &format!("9, now(), 9, '-infinity', {conditions}"), vec![by_time]),
        ("search_user", &format!("9, {NO_ID}, 9, 1, {conditions}"), vec![by_user]),
        ("search_token", &format!("9, {NO_ID}, 9, 1, {conditions}"), vec![by_chain]),
        (
            "search_pool",
            &format!("9, 1, 9, 1, {conditions}"),
            vec![by_block, "Index Scan using leases_pkey", by_time],
        ),
        (
            "index_pools",
            "",
            vec![
                "Index Only Scan using leases_user_id_idx on leases later",
                "Index Scan using leases_user_id_idx on leases one",
            ],
        ),
        ("tidy_pools", "1, 2", vec![by_block, "leases_user_id_idx"]),
        (
            "search_bounds",
            "now(), 9, '-infinity'",
            vec![
                "Index Only Scan using leases_started_at_fence_idx",
                "Index Only Scan Backward using leases_started_at_fence_idx",
            ],
        ),
        ("search_group", "9", vec!["Index Only Scan Backward using leases_user_id_idx"]),
        ("search_place", "9", vec!["Index Scan using leases_user_id_idx"]),
        (
            "keys",
            "0, '{}', '{}'",
            vec![
                "Index Only Scan using idempotency_keys_pkey",
                "Index Only Scan Backward using idempotency_keys_pkey",
                "Index Scan using idempotency_keys_key_user_id_key",
                "Index Scan using leases_pkey",
                by_chain,
            ],
        ),
        ("use_keys", "9, now(), '{}', '{}', '{}', '{}', '{}', '{}'", vec!["idempotency_keys_pkey"]),
        ("forget_keys", "0, now()", vec!["Index Scan using idempotency_keys_pkey"]),
        (
            "forget_keys_early",
            "0, now()",
            vec!["Index Scan using idempotency_keys_pkey", "Index Scan using leases_pkey"],
        ),
        (
            "key_ends",
            "0",
            vec!["Index Scan using idempotency_keys_pkey", "Index Scan using leases_pkey"],
        ),
        ("key_users", "'{}'", vec!["Index Scan using idempotency_keys_pkey"]),
        (
            "forget_leases",
            "'-infinity', 0, now()",
            vec![
                "Index Scan using leases_started_at_fence_idx",
                "leases_token_id_previous_fence_key on leases later",
                "idempotency_keys_lease_id_idx on idempotency_keys used",
                "Index Scan using leases_pkey",
            ],
        ),
        (
            "audit_newest",
            "9, null, null, null, null, null, 9",
            vec!["Index Scan Backward using audit_pkey"],
        ),
        ("audit_oldest", "9, null, null, null, null, null, 9", vec!["Index Scan using audit_pkey"]),
        ("forget_acts", "9", vec!["audit_pkey"]),
        ("forget_sessions", "now()", vec!["sessions_expires_at"]),
        ("key_uses", "'{}'", vec!["api_keys_pkey"]),
        ("note_key_uses", "'{}', '{}'", vec!["api_keys_pkey"]),
    ]
    .into_iter()
    .map(|(name, parameters, ways)| (name, statement(name), parameters.to_owned(), ways))
    .collect();
    let end = function(
        prompt,
        "end_leases",
        "unnest(ids, fences, ends, reasons, keys)",
        "unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::text[], $5::text[])",
    );
    let renew = function(
        prompt,
        "renew_leases",
        "unnest(ids, fences, deadlines)",
        "unnest($1::uuid[], $2::bigint[], $3::timestamptz[])",
    );
    let by_id = || vec!["Index Scan using leases_pkey", "Index Cond: (id = e.id)"];
    all.push(("end_leases", end.await, "'{}', '{}', '{}', '{}', '{}'".to_owned(), by_id()));
    let by_id = vec!["Index Scan using leases_pkey", "Index Cond: (id = r.id)"];
    all.push(("renew_leases", renew.await, "'{}', '{}', '{}'".to_owned(), by_id));
    all
}

/// Checks the plans made at this point; sessions may keep them for long.
async fn assert_plans(prompt: &Client) {
    for (name, sql, parameters, ways) in statements(prompt).await {
        prompt.batch_execute(&format!("prepare {name} as {sql}")).await.unwrap();
        let plan = explain(prompt, "", name, &parameters).await;
        prompt.batch_execute(&format!("deallocate {name}")).await.unwrap();
        // Retired tokens with a running lease are few, and all are read.
        let others = plan.replace("Seq Scan on retiring_tokens", "");
        assert!(!others.contains("Seq Scan") && !plan.contains("Bitmap"), "{name}\n{plan}");
        // The news are few by their limit, and so are pools and tokens with the same name, leases of a
        // pool in a block, and pools of a block.
        let few = ["news", "pool_named", "token_named", "search_pool", "index_pools", "tidy_pools"];
        assert!(!plan.contains("Sort") || few.contains(&name), "{name}\n{plan}");
        for way in ways {
            assert!(plan.contains(way), "{name} does not have {way}:\n{plan}");
        }
        let by_key = plan.contains("idempotency_keys_key_user_id_key");
        assert!(!by_key || name == "keys", "{name} looks through all keys:\n{plan}");
    }
}

/// Leases with these fences up to a million, one each 10 ms, which take turns at 100 tokens and belong
/// to 1,000 users. All were evicted, but each 100,000th was released, and the last hundred run. Those
/// after 999,000 have keys. Some are of other pools, a few of a quiet one.
fn fill(first: u32, last: u32) -> String {
    format!(
        "insert into leases (
            id, pool, token_id, user_id, user_name, fence, previous_fence, started_at, expires_at,
            ended_at, end_reason
        )
        select lpad(to_hex(n), 32, '0')::uuid,
            case
                when n > 990000 then 1
                when n % 50000 = 20011 then {QUIET}
                when n > 500000 and n % 100 = 9 then {BUSY}
                else 1
            end,
            t.id, md5('user ' || n % 1000)::uuid,
            'user ' || n % 1000, n, greatest(n - 100, 0), s, s + interval '1 minute',
            case when n <= 999900 then s + interval '1 s' end,
            case when n <= 999900 then
                case n % 100000 when 0 then 'released' else 'evicted' end
            end
        from (
            select n, now() - (1000000 - n) * interval '10 ms' as s
            from generate_series({first}, {last}) as n
        ) as numbered
        join tokens as t on t.position = n % 100;
        insert into batches
        select version + n, gen_random_uuid(), server, at, epoch, {last}, timeline, '\\x00'
        from batches, generate_series(1, ({last} - {first}) / 100) as n where version = 1;
        insert into idempotency_keys
        select fence, user_id, 'key ' || fence, id, null, null, false, started_at from leases
        where fence > 999000 and fence between {first} and {last};
        analyze"
    )
}

/// A pool with 20 leases.
const QUIET: i32 = 2;

/// A pool with 163 leases in each block of the index.
const BUSY: i32 = 3;

const POOLS: &str = "
    insert into pools (id, name, description, policy, created_at)
    select n, 'pool-' || n, '', policy, created_at from pools, generate_series(2, 3) as n where id = 1";

#[tokio::test]
async fn every_statement_goes_by_index_on_empty_small_and_large_tables() {
    let db = fresh().await;
    db.database().open(tokens(100)).await.unwrap();
    let (prompt, filler) = (db.prompt().await, db.prompt().await);
    filler.batch_execute(POOLS).await.unwrap();
    prompt.batch_execute(&settings()).await.unwrap();
    assert_plans(&prompt).await;
    // As after a quiet first day.
    filler.batch_execute(&fill(1, 20)).await.unwrap();
    assert_plans(&prompt).await;
    filler.batch_execute(&fill(21, 1_000_000)).await.unwrap();
    assert_plans(&prompt).await;
    each_combination_of_filters_is_little_work(&prompt).await;

    let mut server = Server::alone(&db, tokens(100)).await;
    rare_leases_are_found_in_bounded_steps(&server).await;
    the_leases_of_a_moment_are_found_at_once(&server).await;
    a_users_leases_are_found_across_gaps(&server, &filler).await;
    leases_of_a_quiet_pool_are_found_by_its_index(&mut server, &prompt).await;
    let key = IdempotencyKey::new("key 999999").unwrap();
    let user = pool::User::new("user 999").unwrap().id;
    let keys = server.keys(&[key.of(user)]).await;
    assert_eq!((keys.count, keys.remembered.len()), (1_000, 1));
    let swept = server.housekeeper.forget_leases(server.at, Fence::NONE).await.unwrap();
    let first = 80 * 500;
    assert_eq!(swept, Swept { deleted: 500, up_to: Some(Fence::new(first + 500)) });
}

/// The parameters that bound a search, from its moments.
type Bounds<'a> = &'a dyn Fn(&str, &str) -> String;

/// Executes the searches with every combination of conditions, and counts the rows that they touch.
async fn each_combination_of_filters_is_little_work(prompt: &Client) {
    let row = "select token_id::text, user_id::text from leases where fence = 500000";
    let row = prompt.query_one(row, &[]).await.unwrap();
    let (token, user): (String, String) = (row.get(0), row.get(1));
    for name in ["search_all", "search_user", "search_token"] {
        let prepare = format!("prepare {name} as {}", statement(name));
        prompt.batch_execute(&prepare).await.unwrap();
    }
    let (mut explained, middle) = (0, "now() - interval '1 hour'");
    let by_time = |before: &str, from: &str| format!("{before}, 0, {from}");
    // An hour is 360,000 leases.
    let by_fence = |before: &str, from: &str| {
        let before = if before == middle { 640_000 } else { i64::MAX };
        format!("{}, {}", before.min(1_000_001), if from == "'-infinity'" { 1 } else { 634_000 })
    };
    let (user, token) = (format!("'{user}', "), format!("'{token}'"));
    let ways: [(&str, &str, &str, Bounds<'_>); 4] = [
        ("search_all", "", "null", &by_time),
        ("search_user", &user, "null", &by_fence),
        ("search_user", &user, &token, &by_fence),
        ("search_token", &format!("{token}, "), &token, &by_fence),
    ];
    for (name, way, token, bounds) in ways {
        for before in ["'infinity'", middle] {
            for from in ["'-infinity'", "now() - interval '61 minutes'"] {
                for (ended, reason) in [("null", "null"), ("true", "null"), ("true", "'released'")]
                {
                    for (at, pool) in [("null", "1"), (middle, "null")] {
                        let bounds = bounds(before, from);
                        let parameters = format!(
                            "101, {way}{bounds}, now(), {ended}, {reason}, {at}, {token}, {pool}"
                        );
                        let how = ", analyze, timing off, summary off";
                        let plan = explain(prompt, how, name, &parameters).await;
                        assert!(!plan.contains("Sort") && !plan.contains("Seq Scan"), "{plan}");
                        let most = touched(&plan);
                        assert!(most <= 5_002, "{most} leases for {parameters}\n{plan}");
                        explained += 1;
                    }
                }
            }
        }
    }
    assert_eq!(explained, 4 * 2 * 2 * 3 * 2);
}

/// The largest number of rows that any step of the plan went through.
fn touched(plan: &str) -> u64 {
    // All numbers in a plan are row counts, since parameters are shown by name.
    let words = plan.split(|c: char| !(c.is_ascii_alphanumeric() || "$_.".contains(c)));
    words.filter_map(|word| word.parse::<u64>().ok()).max().unwrap()
}

/// Reads all pages. Returns the leases found, and the number of pages.
async fn pages(server: &Server, mut query: LeaseQuery) -> (Vec<i64>, usize) {
    let (mut fences, mut count) = (Vec::new(), 0);
    loop {
        let LeasePage { leases, next } =
            server.reader.search(&query, server.at, 1_000).await.unwrap();
        fences.extend(leases.iter().map(|record| record.lease.fence.get()));
        (query.after, count) = (next, count + 1);
        if next.is_none() {
            return (fences, count);
        }
    }
}

async fn rare_leases_are_found_in_bounded_steps(server: &Server) {
    let released = LeaseQuery { reason: Some(EndReason::Released), ..EVERYTHING };
    let (fences, count) = pages(server, released).await;
    assert_eq!(fences, (1..=9).rev().map(|n| n * 100_000).collect::<Vec<_>>());
    assert!((10..60).contains(&count), "{count} pages");
    let cleared = LeaseQuery { reason: Some(EndReason::Cleared), ..released };
    let (fences, count) = pages(server, cleared).await;
    assert_eq!((fences.len(), (10..=11).contains(&count)), (0, true), "{count} pages");
    // All releases were of the first token and the first user, which have few leases.
    let token = server.pool().tokens(0).next().unwrap().token.id;
    let user = User::new("user 0").unwrap().id;
    for (token, user) in [(Some(token), None), (None, Some(user)), (Some(token), Some(user))] {
        let released = LeaseQuery { reason: Some(EndReason::Released), token, user, ..cleared };
        assert_eq!(
            pages(server, released).await,
            ((1..=9).rev().map(|n| n * 100_000).collect(), 1)
        );
    }
}

async fn the_leases_of_a_moment_are_found_at_once(server: &Server) {
    // Each lease ran for a second, 100 at a time.
    let record = async |fence: i64| {
        let position = u32::try_from(fence % 100).unwrap();
        let token = server.pool().tokens(position).next().unwrap().token.id;
        let before = Some(Fence::new(fence + 1));
        server.reader.history(token, before, 1).await.unwrap().remove(0).lease
    };
    let at = record(250_050).await.started_at;
    let question = LeaseQuery { at: Some(at), ..EVERYTHING };
    let (fences, count) = pages(server, question).await;
    assert_eq!((fences, count), ((249_951..=250_050).rev().collect(), 1));
    let one = record(250_001).await;
    for (token, user) in [(Some(one.token_id), None), (None, Some(one.user.id))] {
        let question = LeaseQuery { token, user, ..question };
        assert_eq!(pages(server, question).await, (vec![250_001], 1));
    }
}

async fn leases_of_a_quiet_pool_are_found_by_its_index(server: &mut Server, prompt: &Client) {
    let of = |pool| LeaseQuery { pool: Some(PoolId(pool)), ..EVERYTHING };
    let quiet: Vec<i64> = (0..20).rev().map(|n| n * 50_000 + 20_011).collect();
    let busy: Vec<i64> = (500_001..=990_000).rev().filter(|n| n % 100 == 9).collect();
    let (fences, count) = pages(server, of(QUIET)).await;
    assert!(fences == quiet && count > 10, "{count} pages of {fences:?}");
    while server.housekeeper.index_leases().await.unwrap() {}
    // The last block is complete, since there is a lease far behind it.
    let indexed = "select indexed_block, (select count(*) from pool_leases) from ledger";
    let row = prompt.query_one(indexed, &[]).await.unwrap();
    let (indexed, rows): (i64, i64) = (row.get(0), row.get(1));
    assert_eq!(indexed, 1_000_100 >> 14);
    assert!(rows < 2 * 62 + 20, "{rows} rows");
    assert_eq!(pages(server, of(QUIET)).await, (quiet.clone(), 1));
    let (fences, count) = pages(server, of(BUSY)).await;
    assert!(fences == busy && count <= 7, "{count} pages of {} leases", fences.len());
    for (from, to) in [(470_000, 500_100), (660_000, 680_000), (670_011, 670_012)] {
        let at = |fence: i64| {
            let offset = Duration::from_millis(10) * u32::try_from(1_000_000 - fence).unwrap();
            Timestamp::from_micros(
                server.at.as_micros() - i64::try_from(offset.as_micros()).unwrap(),
            )
        };
        let query = |pool| LeaseQuery { from: Some(at(from)), to: Some(at(to)), ..of(pool) };
        for pool in [QUIET, BUSY] {
            let everything = pages(server, LeaseQuery { pool: None, ..query(pool) }).await.0;
            let everything: HashSet<_> = everything.into_iter().collect();
            let expected = if pool == QUIET { &quiet } else { &busy };
            let expected: Vec<_> =
                expected.iter().filter(|n| everything.contains(n)).copied().collect();
            assert_eq!(pages(server, query(pool)).await.0, expected, "{from} to {to}");
        }
    }
    let prepare = format!("prepare search_pool as {}", statement("search_pool"));
    prompt.batch_execute(&prepare).await.unwrap();
    let parameters = format!("101, {QUIET}, 1000000, 1, now(), null, null, null, null, {QUIET}");
    let plan = explain(prompt, ", analyze, timing off, summary off", "search_pool", &parameters);
    let plan = plan.await;
    let most = touched(&plan);
    assert!(most <= 101, "{most} rows\n{plan}");
    // Deletion of the oldest block takes it out.
    let before = server.at;
    let mut after = Fence::NONE;
    for _ in 0..80 {
        after = server.housekeeper.forget_leases(before, after).await.unwrap().up_to.unwrap();
    }
    assert!(after > Fence::new(2 << 14), "{after:?}");
    let old = "select count(*) from pool_leases where block < 2";
    assert_eq!(prompt.query_one(old, &[]).await.unwrap().get::<_, i64>(0), 0);
    assert_eq!(pages(server, of(QUIET)).await.0, quiet[..19]);
}

/// Failovers and restores may leave billions of fences without a lease.
async fn a_users_leases_are_found_across_gaps(server: &Server, filler: &Client) {
    const FAR: i64 = 2_000_000_000;
    for (fence, previous, seconds) in [(1_000_100, 1_000_000, 1), (FAR, 1_000_100, 2)] {
        let lease = format!(
            "insert into leases (
                id, pool, token_id, user_id, user_name, fence, previous_fence, started_at, expires_at
            )
            select gen_random_uuid(), pool, id, md5('user f')::uuid, 'user f', {fence}, {previous},
                now() + interval '{seconds} seconds', now() + interval '1 minute'
            from tokens where position = 0"
        );
        assert_eq!(filler.execute(&lease, &[]).await.unwrap(), 1);
    }
    let user = |name| LeaseQuery { user: Some(User::new(name).unwrap().id), ..EVERYTHING };
    assert_eq!(pages(server, user("user f")).await, (vec![FAR, 1_000_100], 1));
    let (fences, count) = pages(server, user("user 7")).await;
    assert_eq!((fences.len(), fences[0], count), (1_000, 999_007, 1));
}
