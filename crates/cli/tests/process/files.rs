//! The files of an SQLite database: deleted, moved, replaced or truncated under a running server,
//! reached by a second name, and files that are no database.

use std::fs::{self, File};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Ended, TestServer, command, run};
use testbed::{eventually, poll};

/// A running server whose folder lies in another temporary folder.
struct FileServer {
    outer: TempDir,
    server: TestServer,
    /// An acknowledged lease.
    lease: Value,
}

impl FileServer {
    async fn start() -> Self {
        let outer = tempfile::tempdir().unwrap();
        fs::create_dir(outer.path().join("folder")).unwrap();
        let server = serve(&outer.path().join("folder/pool.db"));
        let (status, lease) = server.allocate("before").await;
        assert_eq!(status, 200, "{lease}");
        FileServer { outer, server, lease }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.outer.path().join("folder").join(name)
    }

    fn history(&self) -> String {
        format!("/api/tokens/{}/history", self.lease["token_id"].as_str().unwrap())
    }

    /// Asserts that allocations and histories fail, and that the log has this reason.
    async fn assert_stopped(&self, why: &str) {
        let (status, body) = self.server.allocate("after").await;
        assert_eq!(status, 503, "{why}: {body}");
        assert_eq!(self.server.get("/health/ready").await.0, 503, "{why}");
        assert_eq!(self.server.get(&self.history()).await.0, 503, "{why}");
        assert_eq!(self.server.get("/api/tokens").await.0, 200, "{why}: tokens are in memory");
        let log = self.server.log();
        assert!(
            log.contains("nothing is acknowledged any more") && log.contains(why),
            "{why}: {log}"
        );
    }

    /// Asserts that the server recovers and has the earlier lease.
    async fn assert_goes_on(&self) {
        self.assert_ready().await;
        assert_eq!(self.server.allocate("again").await.0, 200);
        let (status, history) = self.server.get(&self.history()).await;
        assert_eq!((status, &history["history"][0]["lease_id"]), (200, &self.lease["lease_id"]));
    }

    async fn assert_ready(&self) {
        let ready = async || self.server.get("/health/ready").await.0 == 200;
        eventually("the server is ready", ready).await;
    }
}

fn serve(database: &Path) -> TestServer {
    TestServer::start(&url(database), &["--request-timeout", "500ms"])
}

pub fn url(database: &Path) -> String {
    format!("sqlite:{}", database.display())
}

/// A second server, which fails to start.
fn refused(database: &Path) -> Ended {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--database", &url(database)];
    let ended = run(&mut command(Path::new("/"), &arguments));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    ended
}

/// A database of a server that has ended.
async fn made(folder: &Path) -> PathBuf {
    let file = folder.join("pool.db");
    let mut server = serve(&file);
    assert_eq!(server.allocate("before").await.0, 200);
    server.signal("TERM");
    assert!(server.wait().success());
    file
}

#[tokio::test]
async fn with_deleted_files_no_change_is_acknowledged() {
    let mut place = FileServer::start().await;
    for name in ["pool.db", "pool.db-wal", "pool.db-shm", "pool.db.lock"] {
        fs::remove_file(place.file(name)).unwrap();
    }
    place.assert_stopped("pool.db was deleted or renamed").await;
    assert_eq!(fs::read_dir(place.file("")).unwrap().count(), 0, "no file is made again");

    // Follow the advice in the log.
    let log = place.server.log();
    let (_, copy) = log.split_once("`cp ").unwrap_or_else(|| panic!("{log}"));
    let copied = place.file("copied.db");
    fs::copy(copy.split_once(" COPY`").unwrap().0, &copied).unwrap();
    place.server.signal("TERM");
    assert!(place.server.wait().success());
    assert!(place.server.log().contains("the database was deleted"), "{}", place.server.log());
    let (_, history) = serve(&copied).get(&place.history()).await;
    assert_eq!(history["history"][0]["lease_id"], place.lease["lease_id"]);
}

#[tokio::test]
async fn a_database_that_is_renamed_and_comes_back_is_used_again() {
    let place = FileServer::start().await;
    fs::rename(place.file("pool.db"), place.file("other.db")).unwrap();
    place.assert_stopped("other.db now. Move it back").await;
    fs::rename(place.file("other.db"), place.file("pool.db")).unwrap();
    place.assert_goes_on().await;

    let moved = place.outer.path().join("moved");
    fs::rename(place.file(""), &moved).unwrap();
    place.assert_stopped("moved/pool.db now. Move it back").await;
    fs::rename(&moved, place.file("")).unwrap();
    place.assert_goes_on().await;
}

#[tokio::test]
async fn a_server_whose_folder_is_gone_stops() {
    let mut place = FileServer::start().await;
    let moved = place.outer.path().join("moved");
    fs::rename(place.file(""), &moved).unwrap();
    fs::remove_dir_all(&moved).unwrap();
    place.assert_stopped("pool.db was deleted or renamed").await;
    place.server.signal("TERM");
    assert!(place.server.wait().success());
}

#[tokio::test]
async fn a_replaced_database_file_is_not_served() {
    let other = tempfile::tempdir().unwrap();
    let other = made(other.path()).await;
    let mut place = FileServer::start().await;
    let before = fs::read(&other).unwrap();
    fs::copy(&other, place.file("restored.db")).unwrap();
    fs::rename(place.file("restored.db"), place.file("pool.db")).unwrap();
    place.assert_stopped("pool.db was replaced by another file").await;
    place.server.signal("KILL");
    place.server.wait();
    assert_eq!(fs::read(place.file("pool.db")).unwrap(), before);
    let wal = fs::metadata(place.file("pool.db-wal")).unwrap();
    assert_eq!(wal.len(), 0, "no log of another database lies beside it");
}

#[tokio::test]
async fn with_a_deleted_wal_the_server_stops_and_saves_all() {
    for name in ["pool.db-wal", "pool.db-shm"] {
        let mut place = FileServer::start().await;
        fs::remove_file(place.file(name)).unwrap();
        if name == "pool.db-shm" {
            // No commit uses this file, so the server notices its loss later.
            poll("the file to be missed", || {
                place.server.log().contains("nothing is acknowledged").then_some(())
            });
        }
        place.assert_stopped(&format!("{name} was deleted or renamed")).await;
        place.server.signal("TERM");
        assert!(place.server.wait().success());
        let (_, history) = serve(&place.file("pool.db")).get(&place.history()).await;
        assert_eq!(history["history"][0]["lease_id"], place.lease["lease_id"]);
    }
}

#[tokio::test]
async fn truncated_files_stop_the_server() {
    for name in ["pool.db-wal", "pool.db"] {
        let mut place = FileServer::start().await;
        let whole = fs::read(place.file(name)).unwrap();
        let file = File::options().write(true).open(place.file(name)).unwrap();
        file.set_len(if name == "pool.db" { 1_000 } else { 0 }).unwrap();
        place.assert_stopped(&format!("{name} was truncated")).await;
        assert!(place.server.log().contains("doctor --after-restore"));
        if name == "pool.db-wal" {
            // The database has only what the log had.
            fs::write(place.file(name), &whole).unwrap();
            place.assert_goes_on().await;
        }
        place.server.signal("TERM");
        assert!(place.server.wait().success());
    }
}

#[tokio::test]
async fn a_deleted_lock_file_is_created_again_and_admits_no_second_server() {
    let place = FileServer::start().await;
    fs::remove_file(place.file("pool.db.lock")).unwrap();
    let ended = refused(&place.file("pool.db"));
    assert!(ended.err.contains("in use by another server"), "{ended:?}");
    poll("the lock file", || place.server.log().contains("made the lock file again").then_some(()));
    let ended = refused(&place.file("pool.db"));
    let holder = format!("process {}", place.server.pid());
    assert!(ended.err.contains(&holder), "{ended:?}");
    assert_eq!(place.server.allocate("still").await.0, 200);
    let doctor = run(&mut command(
        Path::new("/"),
        &["doctor", "--listen", "127.0.0.1:0", "--database", &url(&place.file("pool.db"))],
    ));
    assert_eq!(doctor.code, Some(0), "{doctor:?}");
    assert!(doctor.out.contains(&format!("in use by a server: yes, {holder}")), "{}", doctor.out);
}

#[tokio::test]
async fn a_hard_link_is_rejected() {
    let place = FileServer::start().await;
    let link = place.outer.path().join("link.db");
    fs::hard_link(place.file("pool.db"), &link).unwrap();
    let database = url(&link);
    for arguments in [
        &["serve", "--listen", "127.0.0.1:0", "--database", &database][..],
        &["migrate", "--database", &database],
        &["doctor", "--listen", "127.0.0.1:0", "--database", &database],
        &["backup", "/nowhere.db", "--database", &database],
    ] {
        let ended = run(&mut command(Path::new("/"), arguments));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.text().contains("has 2 names (hard links)"), "{ended:?}");
    }
    assert_eq!(place.server.allocate("still").await.0, 200, "the first server goes on");
    poll("a warning", || place.server.log().contains("another name (hard link)").then_some(()));
    for log in ["pool.db-wal", "pool.db.lock"] {
        let folder = tempfile::tempdir().unwrap();
        let file = made(folder.path()).await;
        fs::write(folder.path().join("x"), "").unwrap();
        let _ = fs::remove_file(folder.path().join(log));
        fs::hard_link(folder.path().join("x"), folder.path().join(log)).unwrap();
        assert!(refused(&file).err.contains("has 2 names (hard links)"));
    }
}

#[tokio::test]
async fn a_file_that_is_mounted_by_itself_is_refused() {
    let place = FileServer::start().await;
    let mounted = place.outer.path().join("mounted.db");
    fs::write(&mounted, "").unwrap();
    let script = "mount --bind \"$1\" \"$2\" || exit 77; shift 2; exec \"$@\"";
    let mut second = Command::new("unshare");
    second.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
    second.args([&place.file("pool.db"), &mounted]).arg(env!("CARGO_BIN_EXE_token-manager"));
    second.args(["serve", "--listen", "127.0.0.1:0", "--database", &url(&mounted)]);
    let ended = run(&mut second);
    if ended.code == Some(77) || ended.err.contains("unshare: ") {
        eprintln!("skipped: this user may not mount: {}", ended.err);
        return;
    }
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("is a mount point"), "{ended:?}");
    assert!(ended.err.contains("Mount the folder"), "{ended:?}");
    assert_eq!(place.server.allocate("still").await.0, 200);
}

#[tokio::test]
async fn other_file_types_are_rejected_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let fifo = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    fifo(&at("fifo"));
    let _socket = UnixListener::bind(at("socket")).unwrap();
    for (path, kind) in [
        (PathBuf::from("/dev/null"), "is a device"),
        (at("fifo"), "is a FIFO"),
        (at("socket"), "is a socket"),
        (at(""), "is a directory"),
    ] {
        assert!(refused(&path).err.contains(kind), "{kind}");
        for arguments in [["doctor", "--database"], ["migrate", "--database"]] {
            let ended =
                run(&mut command(Path::new("/"), &[&arguments[..], &[&url(&path)]].concat()));
            assert_eq!(ended.code, Some(1), "{ended:?}");
            assert!(ended.text().contains(kind), "{ended:?}");
        }
        let pool = at("pool.db");
        drop(serve(&pool));
        let backup = ["backup", path.to_str().unwrap(), "--replace", "--database", &url(&pool)];
        let ended = run(&mut command(Path::new("/"), &backup));
        assert_eq!(ended.code, Some(1), "{ended:?}");
    }
    for suffix in [".lock", "-wal", "-shm"] {
        let folder = tempfile::tempdir().unwrap();
        fifo(&folder.path().join(format!("pool.db{suffix}")));
        assert!(refused(&folder.path().join("pool.db")).err.contains("is a FIFO"), "{suffix}");
    }
}
