//! The programs in `examples/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{TestServer, run};
use testbed::{TestDb, on_both};

/// Path of a program in `examples/`.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

/// Output of a program in `examples/` for a server.
fn example(name: &str, server: &TestServer) -> String {
    let ended = run(Command::new("python3").arg(path(name)).arg(server.url()));
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    ended.out
}

#[on_both]
async fn a_client_that_loses_its_lease_finds_out(db: TestDb) {
    let database = db.url();
    let policy = ["--pool-size", "1", "--lease", "3s", "--max-lease", "10s"];
    let server = TestServer::start(database, &policy);
    let said = example("lost_lease.py", &server);
    let expected = [
        "ann has the token, with fence 1, for 3 s",
        "ann renewed her lease",
        "ann sleeps through her deadline",
        "bob has the token, with fence 2",
        "ann's own clock says: 0 s left",
        "the resource says: fence 1 is older than 2",
        "the server says: ended (expired), bob has it now",
        "ann can't renew: lease-over (expired)",
        "ann can't release: lease-over (expired)",
        "bob's lease is active",
        "bob's release: released",
        "written: ann's first line, ann's second line, bob's first line",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected, "on {database}");
    let (status, leases) = server.get("/api/leases").await;
    let leases = leases["leases"].as_array().unwrap();
    let ends: Vec<_> = leases.iter().map(|lease| &lease["end_reason"]).collect();
    assert_eq!((status, ends.as_slice()), (200, &[&"released".into(), &"expired".into()][..]));
}

/// Takes a lease by the example's classes, then simulates two minutes of sleep: only `CLOCK_BOOTTIME` moves.
#[cfg(target_os = "linux")]
const SLEEPER: &str = r#"
import importlib.util, sys, time
spec = importlib.util.spec_from_file_location("example", sys.argv[1])
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)
read, slept = time.clock_gettime, 0
time.clock_gettime = lambda clock: read(clock) + (slept if clock == time.CLOCK_BOOTTIME else 0)
lease = example.Pool(sys.argv[2]).allocate("ann")
before = lease.left()
slept = 120
print(50 < before <= 60, lease.left())
lease.renew()
print(50 < lease.left() <= 60)
"#;

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_lease_runs_while_the_machine_sleeps() {
    let db = TestDb::sqlite();
    let policy = ["--lease", "60s", "--max-lease", "10m"];
    let server = TestServer::start(db.url(), &policy);
    let script = path("lost_lease.py");
    let mut python = Command::new("python3");
    let ended = run(python.args(["-c", SLEEPER]).arg(script).arg(server.url()));
    assert_eq!((ended.out.as_str(), ended.code), ("True 0.0\nTrue\n", Some(0)), "{}", ended.text());
}
