//! `doctor`

use std::path::Path;

use testbed::{Cluster, Stop, TestDb, on_both};

use crate::harness::{Ended, TestServer, command, run};

fn doctor(database: &str, arguments: &[&str]) -> Ended {
    let common = ["doctor", "--listen", "127.0.0.1:0", "--database", database];
    run(&mut command(Path::new("/"), &[&common, arguments].concat()))
}

fn assert_healthy(ended: &Ended) {
    ended.assert_no_problem();
    assert!(ended.out.contains("ok       schema version: "), "{}", ended.out);
    let policy = "policy of default: lease 2m, max-lease lease, when-full evict-oldest, min-hold 0s, max-per-user none";
    assert!(ended.out.contains(policy), "{}", ended.out);
    let pools = "ok       pools: 1 (limit 10000), with 100 tokens (limit 1000000)\n";
    assert!(ended.out.contains(pools), "{}", ended.out);
}

#[on_both]
async fn a_healthy_database_passes_with_and_without_a_server(db: TestDb) {
    let database = db.url();
    let server = TestServer::start(database, &[]);
    assert_eq!(server.allocate("Edivan").await.0, 200);
    assert_healthy(&doctor(database, &[]));
    assert_eq!(server.allocate("Edivan").await.0, 200);
    drop(server);
    assert_healthy(&doctor(database, &[]));
}

/// Line about the newest journal entry.
fn newest(ended: &Ended) -> &str {
    let line = ended.out.lines().find(|line| line.contains("newest journal entry: "));
    line.unwrap_or_else(|| panic!("{}", ended.text()))
}

#[on_both]
async fn after_a_restore_fences_and_versions_continue_far_above(db: TestDb) {
    let database = db.url();
    let mut server = TestServer::start(database, &[]);
    let fence = |lease: &serde_json::Value| lease["fence"].as_i64().unwrap();
    assert_eq!(fence(&server.allocate("Edivan").await.1), 1);
    let refused = doctor(database, &["--after-restore"]);
    assert_eq!(refused.code, Some(1), "{}", refused.text());
    assert!(refused.out.contains("no new epoch was begun: "), "{}", refused.out);
    assert!(refused.out.contains("in use by"), "{}", refused.out);
    assert_eq!(fence(&server.allocate("Edivan").await.1), 2);
    server.signal("TERM");
    assert!(server.wait().success());

    let [before, unchanged] = [(); 2].map(|()| doctor(database, &[]));
    assert_eq!(newest(&before), newest(&unchanged), "doctor alone changes nothing");
    assert!(newest(&before).contains("(epoch 1"), "{}", before.out);
    let restored = doctor(database, &["--after-restore"]);
    assert_healthy(&restored);
    assert!(restored.out.contains("done     after restore: epoch 2 "), "{}", restored.out);
    assert!(newest(&restored).contains("(epoch 2"), "{}", restored.out);
    let server = TestServer::start(database, &[]);
    assert!(fence(&server.allocate("Edivan").await.1) > 1_000_000);
}

#[test]
fn doctor_creates_no_file() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&[][..], &["--after-restore"]] {
        let ended = doctor(&crate::sqlite(folder.path()), arguments);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.out.contains("problem  database: "), "{}", ended.out);
    }
    let ended = run(&mut command(folder.path(), &["doctor", "--listen", "127.0.0.1:0"]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("warning  database: "), "{}", ended.out);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A killed server left its write-ahead log; a backup then replaces the database file.
#[tokio::test]
async fn a_log_of_another_database_is_not_replayed_over_a_restored_one() {
    let folder = tempfile::tempdir().unwrap();
    let [file, backup, log] =
        ["pool.db", "backup.db", "pool.db-wal"].map(|n| folder.path().join(n));
    let database = crate::sqlite(folder.path());
    let server = TestServer::start(&database, &[]);
    let made = ["backup", backup.to_str().unwrap(), "--database", &database];
    assert_eq!(run(&mut command(Path::new("/"), &made)).code, Some(0));
    assert_eq!(server.allocate("forgotten").await.0, 200);
    drop(server);
    assert!(std::fs::metadata(&log).unwrap().len() > 0);
    std::fs::copy(&backup, &file).unwrap();
    let refused = doctor(&database, &["--after-restore"]);
    assert_eq!(refused.code, Some(1), "{}", refused.text());
    assert!(refused.out.contains("pool.db-wal is not empty"), "{}", refused.out);
    assert!(!refused.out.contains("done "), "{}", refused.out);
    assert_eq!(std::fs::read(&backup).unwrap(), std::fs::read(&file).unwrap());
    std::fs::remove_file(&log).unwrap();
    assert_healthy(&doctor(&database, &["--after-restore"]));
}

#[tokio::test]
async fn a_fault_in_the_database_is_a_problem() {
    let cluster = Cluster::shared();
    let database = cluster.database().await.unwrap();
    let server = TestServer::start(&database, &[]);
    assert_eq!(server.allocate("Edivan").await.0, 200);
    drop(server);
    let seed = "update token_manager.leases set token_id = gen_random_uuid()";
    cluster.execute(&database, seed).await.unwrap();
    let ended = doctor(&database, &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("problem  audit: "), "{}", ended.out);
}

#[test]
fn a_file_of_another_format_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pool.db"), "garbage ".repeat(1000)).unwrap();
    let ended = doctor(&crate::sqlite(folder.path()), &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("problem  database: "), "{}", ended.out);
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_a_problem() {
    let cluster = Cluster::start().unwrap();
    let database = cluster.database().await.unwrap();
    cluster.stop(Stop::Fast).unwrap();
    let ended = doctor(&database, &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("problem  database: "), "{}", ended.out);
    assert!(ended.out.contains("1 problem, "), "{}", ended.out);
}

#[test]
fn invalid_settings_are_a_problem() {
    let ended = doctor("sqlite:x.db", &["--lease", "soon"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("problem  settings: invalid --lease"), "{}", ended.out);
}
