//! A full disk.

use std::io::Write as _;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use engine::{Error, Settings};
use pool::PoolId;
use testbed::eventually;

use crate::faults::check_acknowledged;
use crate::support::{TestDb, user_named};

const LONG: Duration = Duration::from_mins(2);

/// Runs the test of that name, which is ignored otherwise, with a small file system at `/mnt` that
/// no other process sees.
fn on_a_small_file_system(test: &str) {
    let script = "mount -t tmpfs -o size=1536k tmpfs /mnt && exec \"$0\" \"$@\"";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{errors}");
}

#[test]
fn a_full_disk() {
    on_a_small_file_system("full_disk::on_a_full_disk");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test a_full_disk, on a small file system"]
async fn on_a_full_disk() {
    let db = TestDb::from(testbed::TestDb::at("sqlite:/mnt/pool.db".to_owned()));
    // Much longer than a commit takes on a busy machine: only a full disk delays one as much.
    let settings = Settings { timeout: Duration::from_secs(5), ..Settings::default() };
    let engine = db.start_with(db.database(), 10, LONG, settings).await;
    let acknowledged = Mutex::new(vec![engine.allocate("u").await.lease.id]);
    std::fs::write("/mnt/ballast", vec![0; 512 * 1024]).unwrap();
    eventually("the disk is full", || async {
        match engine.handle.allocate(user_named(&"u".repeat(200))).await {
            Ok(granted) => acknowledged.lock().unwrap().push(granted.unwrap().grant.lease.id),
            Err(Error::NotDone { .. }) => return true,
            Err(other) => panic!("{other}"),
        }
        false
    })
    .await;
    assert_eq!(engine.running().await.len(), acknowledged.lock().unwrap().len().min(10));
    // Down to the last page. The engine may free some meanwhile, when a retry fails.
    let rest = std::fs::File::create("/mnt/rest").unwrap();
    eventually("not even a smaller batch fits", || async {
        while (&rest).write_all(&[0; 4096]).is_ok() {}
        matches!(engine.handle.clear(PoolId::DEFAULT).await, Err(Error::NotDone { .. }))
    })
    .await;
    std::fs::remove_file("/mnt/ballast").unwrap();
    std::fs::remove_file("/mnt/rest").unwrap();
    eventually("there is room, and service", || async {
        engine.handle.allocate(user_named("again")).await.is_ok()
    })
    .await;
    let acknowledged = [acknowledged.into_inner().unwrap()];
    check_acknowledged(&engine, &acknowledged).await;
    let history = engine.whole_history().await;
    let granted = history.values().map(Vec::len).sum::<usize>();
    assert_eq!(granted, acknowledged[0].len() + 1, "what was refused left nothing behind");
    engine.stop().await;
    db.audit().await;
}
