//! Servers and commands that run out of disk space, file descriptors or threads.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::files::url;
use crate::harness::{Ended, TestServer, run};

/// Runs `token-manager` on a separate file system, after shell commands. None if the user may not mount.
fn in_small_folder(folder: &Path, first: &str, arguments: &[&str]) -> Option<Ended> {
    let script = format!(
        "mount -t tmpfs -o size=1536k tmpfs \"$1\" || exit 77; cd \"$1\"; shift; {first}; \"$@\""
    );
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"]).arg(folder);
    let ended = run(command.arg(env!("CARGO_BIN_EXE_token-manager")).args(arguments));
    if ended.code == Some(77) || ended.err.contains("unshare: ") {
        eprintln!("skipped: this user may not mount: {}", ended.err);
        return None;
    }
    Some(ended)
}

#[test]
fn a_full_disk_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let database = url(&folder.path().join("pool.db"));
    let migrate = ["migrate", "--database", &database];
    let doctor = ["doctor", "--listen", "127.0.0.1:0", "--database", &database];
    let filling = "cat /dev/zero >rest 2>/dev/null";
    let Some(ended) = in_small_folder(folder.path(), filling, &migrate) else { return };
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("the disk is full"), "{ended:?}");
    let first = format!("\"$1\" {}", migrate.join(" "));
    let small = in_small_folder(folder.path(), &first, &doctor).unwrap();
    assert!(small.out.contains("warning  disk nearly full: "), "{small:?}");

    let backup = ["backup", "copy.db", "--database", &database];
    let full = in_small_folder(folder.path(), &format!("{first}; {filling}"), &backup).unwrap();
    assert_eq!(full.code, Some(1), "{full:?}");
    assert!(full.err.contains("there is no room for it") || full.err.contains("the disk is full"));

    let read_only = "mount -o remount,ro tmpfs .";
    let ended = in_small_folder(folder.path(), read_only, &migrate).unwrap();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("mounted read-only"), "{ended:?}");
}

#[test]
fn too_few_descriptors_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for most in 10..24 {
        let mut limited = Command::new("prlimit");
        limited.arg(format!("--nofile={most}:{most}")).arg(env!("CARGO_BIN_EXE_token-manager"));
        limited.args(["migrate", "--database", &url(&folder.path().join("pool.db"))]);
        let ended = run(&mut limited);
        if ended.code == Some(0) {
            break;
        }
        // The runtime opens some before the database.
        if ended.err.contains("pool.db") {
            assert!(ended.err.contains("too many open files; raise LimitNOFILE"), "{ended:?}");
            seen.push(most);
        }
    }
    assert!(!seen.is_empty(), "the database was never the first to need one");
}

/// `RLIMIT_NPROC` counts the processes of a user, and does not limit root.
#[tokio::test]
async fn a_lack_of_threads_is_temporary() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let mut program = PathBuf::from(env!("CARGO_BIN_EXE_token-manager"));
    let user = rustix::process::geteuid();
    // The user id is derived from the process id, so no other test runs as this user.
    let id = 100_000 + std::process::id();
    if user.is_root() {
        // This user may have no access to the folder.
        let copy = outer.path().join("token-manager");
        fs::copy(&program, &copy).unwrap();
        program = copy;
        chown(outer.path(), Some(id), Some(id)).unwrap();
        chown(&folder, Some(id), Some(id)).unwrap();
    }
    let mut start = Command::new(program);
    start.args(["serve", "--listen", "127.0.0.1:0", "--request-timeout", "1s", "--database"]);
    start.arg(url(&folder.join("pool.db"))).current_dir("/").env_clear();
    start.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if user.is_root() {
        start.uid(id).gid(id);
    }
    let server = TestServer::of(&mut start);
    let (_, lease) = server.allocate("before").await;
    {
        let mut limited = Command::new("prlimit");
        limited.args(["--pid", &server.pid().to_string(), "--nproc=1:"]);
        if user.is_root() {
            limited.uid(id).gid(id);
        }
        assert!(limited.status().unwrap().success());
    }
    let paths = [
        "/api/leases",
        "/metrics",
        &format!("/api/tokens/{}/history", lease["token_id"].as_str().unwrap()),
    ];
    let get = async |path: &str| {
        let url = format!("{}{path}", server.url());
        crate::harness::client().get(url).send().await.unwrap().status().as_u16()
    };
    for _ in 0..8 {
        for path in paths {
            assert_eq!(get(path).await, 200, "{path} without another thread");
        }
        assert_eq!(get("/health/ready").await, 200);
    }
}
