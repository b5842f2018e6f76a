//! A database that the release before made, and goes on using while this one replaces it.

use std::time::{Duration, Instant};

use pool::{Command, EndReason, Policy};
use refinery::Target;
use tokio_postgres::Client;

use super::{Fresh, fresh};
use crate::conformance::AnyDb;
use crate::conformance::server::{ANY, MINUTE, Server, refusal, under};

mod embedded {
    refinery::embed_migrations!("migrations/postgres");
}

/// The statements of the release before that write or depend on columns, as it prepares them.
const BEFORE: &str = "
    prepare insert_pool as
    insert into token_manager.pools (name, size, lease, epoch)
    values ('default', $1::integer, $2::bigint, 1)
    returning id;

    prepare update_pool as
    update token_manager.pools set epoch = $2::bigint, lease = coalesce($3::bigint, lease)
    where id = $1::integer;

    prepare pool as
    select id, lease from token_manager.pools where name = 'default';

    prepare insert_leases as
    insert into token_manager.leases (
        pool, id, token_id, user_id, user_name, fence, previous_fence, started_at, expires_at,
        ended_at, end_reason
    )
    select $1::integer, lease.*
    from unnest(
        $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::bigint[], $7::bigint[],
        $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::text[]
    ) as lease;

    prepare write_batch as
    with ended as materialized (
        select token_manager.end_leases($12::uuid[], $13::bigint[], $14::timestamptz[], $15::text[])
    ),
    started as (
        insert into token_manager.leases (
            pool, id, token_id, user_id, user_name, fence, previous_fence, started_at, expires_at,
            ended_at, end_reason
        )
        select $1::integer, lease.*
        from unnest(
            $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::bigint[], $7::bigint[],
            $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::text[]
        ) as lease
    )
    insert into token_manager.batches (
        pool, version, batch_id, server, at, epoch, fence, timeline, changes
    )
    select
        $1::integer, $16::bigint, $17::uuid, $18::uuid, $19::timestamptz, $20::bigint, $21::bigint,
        $22::text, $23::bytea
    from ended;

    prepare latest_leases as
    select
        token.id, token.value, token.inserted_at,
        lease.id, lease.user_id, lease.user_name, lease.fence, lease.previous_fence,
        lease.started_at, lease.expires_at, lease.ended_at, lease.end_reason
    from token_manager.tokens as token
    left join lateral (
        select * from token_manager.leases as latest
        where latest.token_id = token.id
        order by latest.previous_fence desc
        limit 1
    ) as lease on true
    where token.pool = $1::integer
    order by token.position;

    prepare history as
    select
        id, user_id, user_name, fence, previous_fence, started_at, expires_at, ended_at,
        end_reason
    from token_manager.leases
    where token_id = $1::uuid and previous_fence < $2::bigint and fence < $2::bigint
    order by previous_fence desc
    limit $3::bigint";

const TOKEN: &str = "00000000-0000-0000-0000-000000000001";

/// The id of the lease with that fence.
fn lease(fence: i64) -> String {
    format!("00000000-0000-0000-0000-{:012}", 100 + fence)
}

/// A session of the release before, with a pool of one token that it made. Its prepared statements
/// outlive the migration, as they do in a server that runs.
async fn release_before(db: &Fresh) -> Client {
    let mut client = db.prompt().await;
    client.batch_execute("create schema token_manager").await.unwrap();
    let runner = embedded::migrations::runner().set_target(Target::Version(1));
    runner.run_async(&mut client).await.unwrap();
    client.batch_execute(BEFORE).await.unwrap();
    let make = format!(
        "execute insert_pool(1, 60000000);
        insert into tokens values ('{TOKEN}', 1, gen_random_uuid(), 0, now());
        insert into batches values (
            1, 1, gen_random_uuid(), gen_random_uuid(), now(), 1, 0, '00000001', '\\x00'
        )"
    );
    client.batch_execute(&make).await.unwrap();
    client
}

/// Evicts the lease before, if any, for one of a minute.
async fn allocate_before(client: &Client, fence: i64) {
    let (id, previous) = (lease(fence), fence - 1);
    let evicted = match previous {
        0 => "'{}', '{}', '{}', '{}'".to_owned(),
        _ => format!("'{{{}}}', '{{{previous}}}', array[now()], '{{evicted}}'", lease(previous)),
    };
    let version = "select max(version) + 1 from batches";
    let version: i64 = client.query_one(version, &[]).await.unwrap().get(0);
    let batch = format!(
        "execute write_batch(
            1, '{{{id}}}', '{{{TOKEN}}}', '{{{TOKEN}}}', '{{Ada}}', '{{{fence}}}', '{{{previous}}}',
            array[now()], array[now() + interval '1 minute'], '{{null}}', '{{null}}', {evicted},
            {version}, gen_random_uuid(), gen_random_uuid(), now(), 1, {fence}, '00000001', '\\x00'
        )"
    );
    client.batch_execute(&batch).await.unwrap();
}

#[tokio::test]
async fn the_release_before_goes_on_working() {
    let db = fresh().await;
    let before = release_before(&db).await;
    allocate_before(&before, 1).await;
    let longer = "update leases set expires_at = started_at + interval '1 hour'";
    before.batch_execute(longer).await.unwrap();
    assert_eq!(db.database().migrate().await.unwrap().len(), 2);
    let longest = "select longest_lease, max_lease, when_full, min_hold, max_per_user from pools";
    let row = before.query_one(longest, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 3_600_000_000);
    let server = Server::start(&db, ANY).await;
    assert_eq!(server.pool.policy(), MINUTE);
    let kept = server.pool.tokens(0).next().unwrap().latest.unwrap().clone();
    assert_eq!((kept.id.0.to_string(), kept.granted_until), (lease(1), kept.expires_at));
    drop(server);

    allocate_before(&before, 2).await;
    before.batch_execute("execute update_pool(1, 1, 90000000)").await.unwrap();
    before.batch_execute("begin; update pools set name = 'other'").await.unwrap();
    before.batch_execute("execute insert_pool(1, 60000000); rollback").await.unwrap();
    let mut server = Server::start(&db, ANY).await;
    assert_eq!(server.pool.policy(), Policy { lease: Duration::from_secs(90), ..MINUTE });
    let granted = server.pool.tokens(0).next().unwrap().latest.unwrap().clone();
    assert_eq!(granted.length(), Duration::from_mins(1));
    server.wait(Duration::from_secs(40));
    server.run(&[Command::Renew { lease_id: granted.id }]).await;
    drop(server);

    // What it does not know does not hinder it.
    let seen = "execute latest_leases(1)";
    assert_eq!(before.query(seen, &[]).await.unwrap().len(), 1);
    allocate_before(&before, 3).await;
    let over = format!(
        "execute insert_leases(
            1, '{{{}}}', '{{{TOKEN}}}', '{{{TOKEN}}}', '{{Bea}}', '{{5}}', '{{4}}', array[now()],
            array[now() + interval '1 minute'], array[now()], '{{released}}'
        )",
        lease(5)
    );
    before.batch_execute(&over).await.unwrap();
    before.batch_execute("delete from leases where fence = 5").await.unwrap();
    let history = format!("execute history('{TOKEN}', 9, 9)");
    assert_eq!(before.query(&history, &[]).await.unwrap().len(), 3);
    assert_eq!(before.query("execute pool", &[]).await.unwrap().len(), 1);

    let server = Server::start(&db, ANY).await;
    let history = server.records(granted.token_id).await;
    assert_eq!(history.len(), 3);
    let renewed = &history[1].lease;
    assert_eq!((renewed.id, renewed.granted_until), (granted.id, granted.expires_at));
    assert_eq!(renewed.expires_at, granted.started_at.after(Duration::from_secs(90)));
    assert_eq!(renewed.end.unwrap().reason, EndReason::Evicted);
    assert_eq!(history[1].evicted_by, Some(history[0].lease.id));
    assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
}

/// With many leases an operator does this first, because the migration would keep writers out for long.
#[tokio::test]
async fn indexes_may_be_built_beforehand() {
    let db = fresh().await;
    let before = release_before(&db).await;
    allocate_before(&before, 1).await;
    for index in [
        "leases_started_at_fence_idx on leases (started_at, fence)",
        "leases_user_id_idx on leases ((fence >> 14), user_id, fence)",
    ] {
        before.batch_execute(&format!("create index concurrently {index}")).await.unwrap();
    }
    let valid = "update pg_index set indisvalid = $1
        where indexrelid = 'leases_user_id_idx'::regclass";
    // As after a failure.
    before.execute(valid, &[&false]).await.unwrap();
    let sentence = refusal(db.database().migrate().await);
    assert!(sentence.contains("not valid: drop it first"), "{sentence}");
    before.execute(valid, &[&true]).await.unwrap();
    assert_eq!(db.database().migrate().await.unwrap().len(), 1);
    let indexes = "select count(*) from pg_indexes where tablename = 'leases'";
    assert_eq!(before.query_one(indexes, &[]).await.unwrap().get::<_, i64>(0), 4);
}

/// Writing an end, or another deadline, must touch no index.
#[tokio::test]
async fn leases_end_and_are_renewed_within_their_page() {
    const LEASES: i64 = 200;
    let db = fresh().await;
    let policy = Policy { max_lease: Some(Duration::from_mins(2)), ..MINUTE };
    let mut server = Server::start(&db, under(policy, 1)).await;
    for _ in 0..LEASES / 2 {
        server.allocate("Ada").await;
        let renewed = server.allocate("Bea").await;
        server.wait(Duration::from_millis(1));
        server.run(&[Command::Renew { lease_id: renewed.id }]).await;
    }
    // Statistics of a session are told when it ends.
    drop(server);
    let prompt = db.prompt().await;
    let counted = "select n_tup_upd, n_tup_hot_upd, n_tup_ins from pg_stat_user_tables
        where schemaname = 'token_manager' and relname = 'leases'";
    let start = Instant::now();
    loop {
        let row = prompt.query_one(counted, &[]).await.unwrap();
        let (updates, hot, inserts): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        if inserts == LEASES {
            assert_eq!((updates, hot), (LEASES - 1 + LEASES / 2, updates));
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{inserts} leases are counted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let indexes = "select count(*) from pg_indexes where tablename = 'leases'
        and indexdef ~ '(ended_at|end_reason|expires_at|granted_until)'";
    assert_eq!(prompt.query_one(indexes, &[]).await.unwrap().get::<_, i64>(0), 0);
}
