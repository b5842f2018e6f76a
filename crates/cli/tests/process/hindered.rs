//! Unusable PostgreSQL databases: log and `doctor` report why.

use std::path::Path;

use testbed::{Cluster, Options, Stop, TestDb, on_both, poll};
use tokio_postgres::{Client, NoTls};

use crate::harness::{Ended, TestServer, command, run};

const POOL_LOCKS: i32 = 0x746f_6b65;
const SCHEMA_LOCK: i32 = 0x746f_6b6d;
const LISTENER_LOCKS: i32 = 0x746f_6b68;

fn doctor(database: &str, arguments: &[&str]) -> Ended {
    let common = ["doctor", "--listen", "127.0.0.1:0", "--database", database];
    run(&mut command(Path::new("/"), &[&common, arguments].concat()))
}

/// Log of a `serve` that fails to start.
fn refused(database: &str) -> String {
    let ended = run(&mut command(
        Path::new("/"),
        &["serve", "--listen", "127.0.0.1:0", "--database", database],
    ));
    assert_eq!(ended.code, Some(1), "{}", ended.text());
    ended.err
}

/// The URL for another role.
fn of(database: &str, role: &str) -> String {
    database.replace("postgres@", &format!("{role}@"))
}

async fn connect(database: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(database, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A cluster with a role that may only connect.
async fn with_role(role: &str) -> (Cluster, String) {
    let cluster = Cluster::start().unwrap();
    let database = cluster.database().await.unwrap();
    cluster.execute(&database, &format!("create role {role} login")).await.unwrap();
    (cluster, database)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_that_holds_a_lock_is_named() {
    let (_cluster, database) = with_role("mallory").await;
    let server = TestServer::start(&database, &[]);
    let outsider = format!("{}&application_name=outsider", of(&database, "mallory"));
    let outsider = connect(&outsider).await;
    let lock = async |sql: &str, group: i32, key: i32| {
        outsider.execute(sql, &[&group, &key]).await.unwrap();
    };
    let (take, give) = ("select pg_advisory_lock($1, $2)", "select pg_advisory_unlock($1, $2)");
    let named = |text: &str, what: &str| {
        let line = text.lines().find(|line| line.contains(what));
        line.is_some_and(|line| line.contains("role mallory, application outsider"))
    };

    lock(take, POOL_LOCKS, 1).await;
    let said = doctor(&database, &[]);
    assert!(named(&said.out, "problem  ledger lock: "), "{}", said.text());
    assert_eq!(server.allocate("Edivan").await.0, 503);
    poll("the log to name the session", || {
        named(&server.log(), "the ledger's advisory lock is not free").then_some(())
    });
    lock(give, POOL_LOCKS, 1).await;

    lock(take, SCHEMA_LOCK, 0).await;
    let said = doctor(&database, &[]);
    assert!(named(&said.out, "problem  schema lock: "), "{}", said.text());
    let other = TestServer::spawn(&database, &[]);
    poll("the log to name the session", || {
        named(&other.log(), "waiting for the lock on the schema").then_some(())
    });
    lock(give, SCHEMA_LOCK, 0).await;
    other.url();
    drop((server, other));

    lock("select pg_advisory_lock_shared($1, $2)", LISTENER_LOCKS, 1).await;
    let said = doctor(&database, &[]);
    assert!(named(&said.out, "warning  presence lock: "), "{}", said.text());
    let said = doctor(&database, &["--after-restore"]);
    assert_eq!(said.code, Some(1));
    assert!(named(&said.out, "problem  after restore: "), "{}", said.text());
}

#[tokio::test]
async fn missing_rights_are_listed_with_the_grants() {
    let (cluster, database) = with_role("ann").await;
    let ann = of(&database, "ann");
    let grants = |ended: &Ended| {
        let line = ended.out.lines().find(|line| line.starts_with("problem  rights: "));
        let line = line.unwrap_or_else(|| panic!("{}", ended.text())).to_owned();
        line.split_once("has to say: ").unwrap().1.to_owned()
    };
    let said = doctor(&ann, &[]);
    assert!(grants(&said).starts_with("grant create on database"), "{}", said.out);
    assert!(refused(&ann).contains("`token-manager doctor`"));

    drop(TestServer::start(&database, &[]));
    let said = doctor(&ann, &[]);
    assert_eq!(said.code, Some(1));
    let all = grants(&said);
    assert!(refused(&ann).contains(&all), "a server says the same");
    cluster.execute(&database, &all).await.unwrap();
    doctor(&ann, &[]).assert_no_problem();
    let server = TestServer::start(&ann, &["--retention", "90days"]);
    assert_eq!(server.allocate("Edivan").await.0, 200);
    drop(server);

    cluster.execute(&database, "revoke delete on token_manager.batches from ann").await.unwrap();
    let said = doctor(&ann, &[]);
    assert_eq!(grants(&said), "grant delete on token_manager.batches to ann;");
}

#[tokio::test]
async fn a_damaged_journal_and_a_wrong_clock_are_reported() {
    let cluster = Cluster::shared();
    let database = cluster.database().await.unwrap();
    drop(TestServer::start(&database, &[]));
    let ahead = "update token_manager.batches set at = now() + interval '3 hours'";
    cluster.execute(&database, ahead).await.unwrap();
    let said = doctor(&database, &[]);
    let sentence = "minutes behind the ledger's last change";
    assert!(said.problems().iter().any(|line| line.contains(sentence)), "{}", said.text());
    assert!(said.out.contains("warning  clock behind newest entry by: "), "{}", said.out);
    assert!(refused(&database).contains(sentence));
    doctor(&database, &["--allow-clock-behind"]).assert_no_problem();

    cluster.execute(&database, "delete from token_manager.batches").await.unwrap();
    let said = doctor(&database, &[]);
    let sentence = "the ledger is damaged: its journal is empty";
    assert!(said.problems().iter().any(|line| line.contains(sentence)), "{}", said.text());
    assert!(refused(&database).contains(sentence));
}

#[on_both]
fn a_pool_of_another_size_is_reported(db: &TestDb) {
    let database = db.url();
    drop(TestServer::start(database, &["--pool-size", "3"]));
    let said = doctor(database, &["--pool-size", "4"]);
    let found = said.problems().iter().any(|line| line.starts_with("problem  pool default: "));
    assert!(found, "{}", said.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_and_a_lack_of_connections_are_reported() {
    let cluster = Options::default()
        .setting("max_connections = 20")
        .setting("superuser_reserved_connections = 3")
        .start()
        .unwrap();
    let database = cluster.database().await.unwrap();
    cluster.execute(&database, "create role ann login").await.unwrap();
    let ann = of(&database, "ann");
    let mut sessions = Vec::new();
    for _ in 0..17 {
        sessions.push(connect(&ann).await);
    }
    let said = doctor(&ann, &[]);
    assert!(said.out.contains("PostgreSQL takes no more connections"), "{}", said.text());
    drop(sessions);

    let standby = "copy (select 1) to program 'cat > standby.signal'";
    cluster.execute(&database, standby).await.unwrap();
    tokio::task::block_in_place(|| {
        cluster.stop(Stop::Fast).unwrap();
        cluster.start_again().unwrap();
    });
    let said = doctor(&database, &[]);
    assert!(said.out.contains("this PostgreSQL is a standby"), "{}", said.text());
}
