//! `import` of an original database: all or nothing.

use serde_json::Value;
use testbed::{Cluster, Options, TestDb, on_both};

use crate::harness::{Ended, TestServer, command, run};
use crate::sqlite;
use crate::tls::Authority;

/// Tables of the original, as its migrations create them.
const TABLES: &str = "
    create table tokens (
        id uuid primary key, token uuid not null, status varchar(255) not null,
        activated_at timestamp(0), user_id uuid,
        inserted_at timestamp(0) not null, updated_at timestamp(0) not null
    );
    create table token_usages (
        id uuid primary key, token_id uuid references tokens (id), user_id uuid,
        started_at TIMESTAMP not null, ended_at TIMESTAMP,
        inserted_at timestamp(0) not null, updated_at timestamp(0) not null
    );";

/// Ten tokens created one second apart, last id first. Ids end in the number of token, usage or user.
const TOKENS: &str = "
    insert into tokens
    select ('10000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid,
           ('20000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid,
           case when n = 1 then 'active' else 'available' end, null, null,
           '2024-01-01 00:00:00'::timestamp - make_interval(secs => n), '2024-01-01 00:00:00'
    from generate_series(1, 10) as n;";

fn uuid(kind: u8, number: u32) -> String {
    format!("{kind}0000000-0000-4000-8000-{number:012}")
}

/// A row of `token_usages`; the times are SQL.
fn usage(number: u32, token: u32, started_at: &str, ended_at: &str) -> String {
    format!(
        "insert into token_usages values ('{}', '{}', '{}', {started_at}, {ended_at}, now(), now());",
        uuid(3, number),
        uuid(1, token),
        uuid(4, number)
    )
}

/// An original database with this history; `precision` is that of the history's timestamps.
async fn original(precision: &str, history: &str) -> String {
    let cluster = Cluster::shared();
    let database = cluster.database().await.unwrap();
    let tables = TABLES.replace("TIMESTAMP", precision);
    cluster.execute(&database, &format!("{tables}{TOKENS}{history}")).await.unwrap();
    database
}

fn import(from: &str, into: &str, arguments: &[&str]) -> Ended {
    let folder = std::path::Path::new("/");
    run(&mut command(folder, &[&["import", from, "--database", into], arguments].concat()))
}

async fn history(server: &TestServer, token: u32) -> Vec<Value> {
    let (status, body) = server.get(&format!("/api/tokens/{}/history", uuid(1, token))).await;
    assert_eq!(status, 200, "{body}");
    body["history"].as_array().unwrap().clone()
}

fn times(row: &Value) -> (&str, &str) {
    (row["started_at"].as_str().unwrap(), row["ended_at"].as_str().unwrap_or("running"))
}

#[tokio::test]
async fn everything_is_imported_and_works() {
    for precision in ["timestamp(0)", "timestamp"] {
        let rows = [
            usage(1, 1, "'2024-01-02 10:00:00'", "'2024-01-02 10:01:00'"),
            usage(2, 1, "timezone('utc', now())", "null"),
            usage(3, 2, "'2024-01-02 10:00:30'", "'2024-01-02 10:00:20'"),
            usage(4, 2, "'2024-01-02 11:00:00'", "null"),
            usage(5, 2, "'2024-01-02 11:01:00'", "null"),
        ];
        let from = original(precision, &rows.concat()).await.replace("postgres://", "ecto://");
        for db in [TestDb::sqlite(), TestDb::postgres().await] {
            let into = db.url();
            let ended = import(&from, into, &["--lease", "1h"]);
            assert_eq!(ended.code, Some(0), "{ended:?}");
            for sentence in [
                "10 tokens and 5 usages (1 running)",
                "1 usage that ended before the start",
                "2 usages without an end",
            ] {
                assert!(ended.out.contains(sentence), "{}", ended.out);
            }
            let server = TestServer::start(into, &[]);
            check_taken_over(&server).await;
            drop(server);
            let audit = ["doctor", "--listen", "127.0.0.1:0", "--database", into];
            let doctor = run(&mut command(std::path::Path::new("/"), &audit));
            doctor.assert_no_problem();
        }
    }
}

async fn check_taken_over(server: &TestServer) {
    assert!(server.ready().contains("(10 tokens, leases of 1h, "), "{}", server.ready());
    let (_, tokens) = server.get("/api/tokens").await;
    let tokens = tokens.as_array().unwrap();
    // The oldest token comes first.
    let ids: Vec<_> = (1..=10).rev().map(|number| uuid(1, number)).collect();
    assert_eq!(
        tokens.iter().map(|token| &token["id"]).collect::<Vec<_>>(),
        ids.iter().collect::<Vec<_>>()
    );
    assert_eq!(tokens[9]["token"], uuid(2, 1));
    assert_eq!(tokens[9]["inserted_at"], "2023-12-31T23:59:59.000000Z");
    assert_eq!(tokens[9]["status"], "active");
    assert_eq!(tokens[9]["user_id"], uuid(4, 2));

    let first = history(server, 1).await;
    assert_eq!(first.len(), 2);
    assert_eq!((&first[0]["id"], &first[0]["ended_at"]), (&uuid(3, 2).into(), &Value::Null));
    assert_eq!(first[1]["user_id"], uuid(4, 1));
    assert_eq!(times(&first[1]), ("2024-01-02T10:00:00.000000Z", "2024-01-02T10:01:00.000000Z"));
    let second = history(server, 2).await;
    let ends: Vec<_> = second.iter().map(times).collect();
    assert_eq!(
        ends,
        [
            ("2024-01-02T11:01:00.000000Z", "2024-01-02T12:01:00.000000Z"),
            ("2024-01-02T11:00:00.000000Z", "2024-01-02T11:01:00.000000Z"),
            ("2024-01-02T10:00:30.000000Z", "2024-01-02T10:00:30.000000Z"),
        ]
    );
    // Nine tokens are free: unused ones come first, then the used one.
    for round in 0..9 {
        let (status, allocated) = server.allocate(&format!("user {round}")).await;
        assert_eq!(status, 200);
        assert_ne!(allocated["token_id"], uuid(1, 1), "the running lease is not evicted yet");
        assert_eq!(allocated["token_id"] == uuid(1, 2), round == 8);
    }
    let (_, evicting) = server.allocate("one more").await;
    assert_eq!(evicting["token_id"], uuid(1, 1), "the oldest is the imported one");
}

#[on_both]
async fn a_long_history_is_imported_in_parts(db: TestDb) {
    let into = db.url();
    // 25,000 usages of ten seconds in turn, so every part has all tokens.
    let history = "
        insert into token_usages
        select ('30000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid,
               ('10000000-0000-4000-8000-' || lpad((n % 10 + 1)::text, 12, '0'))::uuid,
               gen_random_uuid(), '2024-01-01'::timestamp + n * interval '1 second',
               '2024-01-01'::timestamp + (n + 10) * interval '1 second', now(), now()
        from generate_series(1, 25000) as n;";
    let from = original("timestamp", history).await;
    let ended = import(&from, into, &[]);
    assert!(ended.out.contains("10 tokens and 25000 usages (0 running)"), "{ended:?}");
    let server = TestServer::start(into, &[]);
    let (_, page) = server.get(&format!("/api/tokens/{}/history?limit=3", uuid(1, 1))).await;
    let ids: Vec<_> = page["history"].as_array().unwrap().iter().map(|row| &row["id"]).collect();
    assert_eq!(ids, [&uuid(3, 25_000), &uuid(3, 24_990), &uuid(3, 24_980)]);
}

#[tokio::test]
async fn a_failing_import_leaves_nothing() {
    let ids = "alter table tokens alter token type text;";
    let faults = [
        (format!("{ids} update tokens set token = 'x' where id = '{}';", uuid(1, 3)), "not a UUID"),
        (
            format!("update tokens set token = '{}' where id = '{}';", uuid(2, 4), uuid(1, 3)),
            "occurs twice",
        ),
        (
            // Detected only after the first part was written.
            "insert into token_usages
             select gen_random_uuid(), '10000000-0000-4000-8000-000000000001',
                    case when n < 5000 then gen_random_uuid() end,
                    '2024-01-01'::timestamp + n * interval '1 second', now(), now(), now()
             from generate_series(1, 5000) as n;"
                .to_owned(),
            "the user_id of the usage",
        ),
        ("drop table token_usages;".to_owned(), "not a database of an original"),
        ("delete from tokens;".to_owned(), "no tokens"),
    ];
    let good = original("timestamp(0)", "").await;
    for (history, sentence) in faults {
        let from = original("timestamp", &history).await;
        for db in [TestDb::sqlite(), TestDb::postgres().await] {
            let into = db.url();
            let ended = import(&from, into, &[]);
            assert_eq!(ended.code, Some(1), "{ended:?}");
            assert!(ended.err.contains(sentence), "{sentence}: {}", ended.err);
            assert!(!ended.err.contains(&uuid(2, 4)), "a value was shown: {}", ended.err);
            let after = import(&good, into, &[]);
            assert_eq!(after.code, Some(0), "something was left behind: {after:?}");
        }
    }
}

#[on_both]
async fn an_existing_pool_is_not_replaced(db: TestDb) {
    let into = db.url();
    let from = original("timestamp(0)", "").await;
    drop(TestServer::start(into, &["--pool-size", "3"]));
    let ended = import(&from, into, &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("pool"), "{}", ended.err);
    assert!(TestServer::start(into, &[]).ready().contains("(3 tokens"));
}

#[on_both]
async fn the_new_pool_gets_the_policy_of_the_settings(db: TestDb) {
    let into = db.url();
    let from = original("timestamp", "").await;
    let policy = ["--when-full", "wait", "--max-per-user", "3", "--max-lease", "1h"];
    let ended = import(&from, into, &["--min-hold", "3m"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("min-hold (3m) can't be longer than lease (2m)"));
    let ended = import(&from, into, &policy);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let server = TestServer::start(into, &policy);
    let ready = server.ready();
    assert!(ready.contains("(10 tokens, leases of 2m, waiting when full, "), "{ready}");
}

#[tokio::test]
async fn a_password_may_come_from_the_environment() {
    let cluster = Options::default().tcp().start().unwrap();
    let database = cluster.database().await.unwrap();
    let account = "create role me superuser login password 'sesame';";
    let tables = TABLES.replace("TIMESTAMP", "timestamp");
    cluster.execute(&database, &format!("{account}{tables}{TOKENS}")).await.unwrap();
    let (_, name) = database.split_once("@/").unwrap();
    let (name, _) = name.split_once('?').unwrap();
    let place = format!("127.0.0.1:{}/{name}", cluster.port());
    for (user, password, code) in
        [("me", "sesame", 0), ("me:sesame", "wrong", 0), ("me", "wrong", 1), ("me", "", 1)]
    {
        let folder = tempfile::tempdir().unwrap();
        let from = format!("ecto://{user}@{place}");
        let mut import = command(folder.path(), &["import", &from]);
        let ended = run(import.env("PGPASSWORD", password));
        assert_eq!(ended.code, Some(code), "{user}, {password}: {ended:?}");
        assert!(!ended.text().contains("sesame"), "{ended:?}");
    }
}

#[tokio::test]
async fn an_unreachable_original_is_reported_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let from = "ecto://me:sesame@127.0.0.1:1/tokens";
    let ended = import(from, &crate::sqlite(folder.path()), &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.err.contains("can't reach the original database ecto://me:***@127.0.0.1:1/tokens"),
        "{ended:?}"
    );
    assert!(!ended.text().contains("sesame"), "{ended:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn the_original_is_read_over_tls() {
    let authority = Authority::new();
    let pair = authority.issue(4000);
    let cluster = Options::default().tls(&pair.certificate, &pair.key).start().unwrap();
    let database = cluster.database().await.unwrap();
    let name = database.split(['/', '?']).nth(3).unwrap().to_owned();
    let tables = TABLES.replace("TIMESTAMP", "timestamp");
    let role = "create role ann login superuser password 's3cret';";
    cluster.execute(&database, &format!("{tables}{TOKENS}{role}")).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let into = sqlite(folder.path());
    let url = |authority: &Authority| {
        let roots = folder.path().join("roots.pem");
        std::fs::write(&roots, &authority.pem).unwrap();
        let (port, roots) = (cluster.port(), roots.display());
        format!("ecto://ann:s3cret@localhost:{port}/{name}?sslmode=verify-full&sslrootcert={roots}")
    };
    let other = import(&url(&Authority::new()), &into, &[]);
    assert_eq!(other.code, Some(1), "{other:?}");
    assert!(other.err.contains("certificate") && !other.err.contains("s3cret"), "{other:?}");
    let imported = import(&url(&authority), &into, &[]);
    assert_eq!(imported.code, Some(0), "{imported:?}");
    assert!(imported.out.contains("Imported 10 tokens"), "{imported:?}");
}
