//! The SQL itself.

use std::fs;
use std::path::Path;

use tokio_postgres::Client;

use crate::conformance::Place;
use crate::conformance::server::tokens;
use crate::fresh;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/postgres/sql"))
}

fn statement(name: &str) -> String {
    fs::read_to_string(folder().join(name).with_extension("sql")).unwrap()
}

#[tokio::test]
async fn every_statement_can_be_prepared() {
    let place = fresh().await;
    place.database().migrate().await.unwrap();
    let prompt = place.prompt().await;
    prompt.batch_execute("set search_path = pg_temp").await.unwrap();
    let mut count = 0;
    for file in fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        let sql = fs::read_to_string(&path).unwrap();
        let prepared = prompt.prepare(&sql).await;
        assert!(prepared.is_ok(), "{}: {:?}", path.display(), prepared.err());
        let code = sql.lines().filter(|line| !line.starts_with("--")).collect::<String>();
        assert!(!code.contains(';'), "{} is one statement", path.display());
        count += 1;
    }
    assert!(count > 30, "{count}");
}

/// The plan of a statement as the writing connection would make it once and keep.
async fn plan(prompt: &Client, sql: &str, parameters: &str) -> String {
    prompt.batch_execute(&format!("prepare statement as {sql}")).await.unwrap();
    let explain = format!("explain (costs off) execute statement({parameters})");
    let rows = prompt.query(&explain, &[]).await.unwrap();
    prompt.batch_execute("deallocate statement").await.unwrap();
    rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n")
}

/// The update in the function `end_leases`, with numbered parameters.
async fn end_leases(prompt: &Client) -> String {
    let source = "select prosrc from pg_proc where proname = 'end_leases'";
    let source: String = prompt.query_one(source, &[]).await.unwrap().get(0);
    let update = &source[source.find("update").unwrap()..];
    let update = &update[..update.find(';').unwrap()];
    let numbered = update.replace(
        "unnest(ids, fences, ends, reasons)",
        "unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::text[])",
    );
    assert_ne!(numbered, update);
    numbered
}

async fn assert_plans(prompt: &Client) {
    let uuid = "'00000000-0000-0000-0000-000000000000'";
    let update = end_leases(prompt).await;
    let history = plan(prompt, &statement("history"), &format!("{uuid}, 9, 9")).await;
    // Reading newest first must not mean reading all and sorting it.
    assert!(!history.contains("Sort"), "{history}");
    for (sql, parameters, index) in [
        (statement("news"), "1, 1, 10".to_owned(), "batches_pkey"),
        (statement("newest"), "1".to_owned(), "batches_pkey"),
        (statement("has"), format!("1, {uuid}, 1"), "batches_pkey"),
        (statement("prune"), "1, 1, now(), 1, 1".to_owned(), "batches_pkey"),
        (update, "'{}', '{}', '{}', '{}'".to_owned(), "leases_pkey"),
        (
            statement("history"),
            format!("{uuid}, 9, 9"),
            "Index Scan Backward using leases_token_id_previous_fence_key",
        ),
        (
            statement("latest_leases"),
            "1".to_owned(),
            "Index Scan Backward using leases_token_id_previous_fence_key",
        ),
    ] {
        let plan = plan(prompt, &sql, &parameters).await;
        assert!(!plan.contains("Seq Scan") && plan.contains(index), "{sql}\n{plan}");
    }
}

#[tokio::test]
async fn hot_statements_go_by_index_on_empty_and_on_large_tables() {
    let place = fresh().await;
    place.database().open(tokens(100)).await.unwrap();
    let prompt = place.prompt().await;
    let settings = "set enable_seqscan = off; set plan_cache_mode = force_generic_plan;";
    prompt.batch_execute(settings).await.unwrap();
    assert_plans(&prompt).await;
    let fill = "insert into leases
        select gen_random_uuid(), t.pool, t.id, t.id, 'Ada', n, greatest(n - 100, 0),
            now(), now() + '1m', now() + '1s', 'evicted'
        from generate_series(1, 200000) as n join tokens as t on t.position = n % 100;
        insert into batches
        select pool, version + n, gen_random_uuid(), server, at, epoch, fence, timeline, '\\x00'
        from batches, generate_series(1, 10000) as n;
        analyze;";
    prompt.batch_execute(fill).await.unwrap();
    prompt.batch_execute("discard plans").await.unwrap();
    assert_plans(&prompt).await;
}
