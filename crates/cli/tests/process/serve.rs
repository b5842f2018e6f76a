//! `serve` and `migrate`: starting, refusing to start, stopping.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use testbed::{Cluster, Stop, TIMEOUT, TestDb, on_both, poll};

use crate::harness::{Ended, TestServer, command, run};
use crate::sqlite;

/// Runs a `serve` that fails to start.
fn refused(database: &str, arguments: &[&str]) -> Ended {
    let ended = refused_later(database, arguments);
    assert!(!ended.err.contains("stopping"), "it never began: {ended:?}");
    ended
}

/// As [`refused`], perhaps once it has opened the database.
fn refused_later(database: &str, arguments: &[&str]) -> Ended {
    let common = ["serve", "--listen", "127.0.0.1:0", "--database", database];
    // A flag may only be given once, so that a test's own `--listen` replaces this one.
    let common = if arguments.contains(&"--listen") { vec!["serve"] } else { common.to_vec() };
    let ended = run(&mut command(Path::new("/"), &[&common, arguments].concat()));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(!ended.out.contains("ready"), "{ended:?}");
    ended
}

fn assert_says(ended: &Ended, sentences: &[&str]) {
    for sentence in sentences {
        assert!(ended.err.contains(sentence), "`{sentence}` is not in: {}", ended.err);
    }
}

#[tokio::test]
async fn the_ready_line_has_address_pool_and_database() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--lease", "1m 30s", "--pool-size", "3"];
    let server = TestServer::of(&mut command(folder.path(), &arguments));
    let ready = server.ready();
    assert!(ready.starts_with("TokenManager is ready: http://localhost:"), "{ready}");
    assert!(ready.ends_with(" (3 tokens, leases of 90s, sqlite:token-manager.db)"), "{ready}");
    let (status, body) = server.get("/api/tokens").await;
    assert_eq!((status, body.as_array().unwrap().len()), (200, 3));
    assert!(folder.path().join("token-manager.db").exists());
}

#[test]
fn a_port_in_use_is_reported_before_files_are_created() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let database = sqlite(folder.path());
    let ended = refused("", &["--listen", &address, "--database", &database]);
    let sentence = format!("{address} is in use; stop the other program or choose another");
    assert_says(&ended, &[&sentence]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn port_and_a_name_work() {
    let folder = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut start = command(folder.path(), &["serve", "--listen", "localhost"]);
    let server =
        TestServer::of(start.env("PORT", free.to_string()).env("DATABASE_URL", "sqlite:x.db"));
    assert_eq!(server.url(), format!("http://127.0.0.1:{free}"));
    assert!(server.ready().ends_with("sqlite:x.db)"));
}

/// A server with a notification socket, as under systemd, and that socket.
fn watched(folder: &Path, arguments: &[&str]) -> (TestServer, UnixDatagram) {
    let place = folder.join("notify");
    let socket = UnixDatagram::bind(&place).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    let common = ["serve", "--listen", "127.0.0.1:0"];
    let mut command = command(folder, &[&common, arguments].concat());
    (TestServer::of(command.env("NOTIFY_SOCKET", place)), socket)
}

fn said(socket: &UnixDatagram) -> String {
    let mut message = [0; 4096];
    let length = socket.recv(&mut message).unwrap();
    String::from_utf8(message[..length].to_vec()).unwrap()
}

#[test]
fn a_service_manager_is_notified_of_readiness_and_stop() {
    let folder = tempfile::tempdir().unwrap();
    let (mut server, socket) = watched(folder.path(), &["--pool-size", "3"]);
    let ready = said(&socket);
    assert!(ready.starts_with("READY=1\nSTATUS=http://localhost:"), "{ready}");
    assert!(ready.contains("(3 tokens"), "{ready}");
    server.signal("TERM");
    assert_eq!(said(&socket), "STOPPING=1\nSTATUS=stopping: finishing requests\n");
    assert!(server.wait().success());
}

#[test]
fn a_service_manager_does_not_wait_for_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let missing = format!("postgres:///tokens?host={}", folder.path().display());
    let (server, socket) =
        watched(folder.path(), &["--database", &missing, "--request-timeout", "100ms"]);
    assert_eq!(said(&socket), "READY=1\nSTATUS=starting: the database is not ready\n");
    assert_eq!(server.out(), "");
}

#[tokio::test]
async fn a_service_manager_gets_the_state_of_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().unwrap();
    let database = cluster.database().await.unwrap();
    let (_server, socket) = watched(folder.path(), &["--database", &database]);
    let ready = said(&socket);
    let status = ready.strip_prefix("READY=1\n").unwrap();
    for _ in 0..2 {
        cluster.stop(Stop::Fast).unwrap();
        assert_eq!(said(&socket), "STATUS=the database can't be reached\n");
        cluster.start_again().unwrap();
        assert_eq!(said(&socket), status);
    }
}

#[test]
fn a_failed_start_is_not_reported_as_ready() {
    let folder = tempfile::tempdir().unwrap();
    drop(watched(folder.path(), &["--pool-size", "3"]).0.ready());
    std::fs::remove_file(folder.path().join("notify")).unwrap();
    let (mut server, socket) = watched(folder.path(), &["--pool-size", "4"]);
    assert_eq!(server.wait().code(), Some(1));
    assert_eq!(said(&socket), "STOPPING=1\nSTATUS=stopping: finishing requests\n");
}

#[test]
fn listening_beyond_this_machine_needs_a_key_or_a_decision() {
    let folder = tempfile::tempdir().unwrap();
    let database = sqlite(folder.path());
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let ended = refused_later("", &["--listen", listen, "--database", &database]);
        let remedies = ["keys create", "TOKEN_MANAGER_BOOTSTRAP_KEY", "--anonymous"];
        assert_says(&ended, &remedies);
    }
    let trusting = ["--listen", "0.0.0.0:0", "--database", &database, "--trust-loopback"];
    assert_says(&refused_later("", &trusting), &["trust-loopback"]);
    for (anonymous, may) in [("none", "do nothing"), ("read", "read"), ("use", "read and use")] {
        let arguments = ["serve", "--listen", "0.0.0.0:0", "--anonymous", anonymous];
        let server = TestServer::of(&mut command(folder.path(), &arguments));
        assert!(server.url().starts_with("http://127.0.0.1:"));
        assert!(server.out().ends_with(&format!("other callers may {may}.\n")), "{}", server.out());
    }
}

#[on_both]
fn another_size_or_lease_is_rejected_with_a_reason(db: &TestDb) {
    let database = db.url();
    let mut first = TestServer::start(database, &["--pool-size", "5", "--lease", "30s"]);
    first.signal("TERM");
    assert!(first.wait().success());
    let ended = refused(database, &["--pool-size", "6"]);
    assert_says(&ended, &["has 5 tokens, not 6", "never created or discarded"]);
    let ended = refused(database, &["--lease", "31s"]);
    assert_says(&ended, &["lease is 30s, not 31s", "--update-policy"]);
    let same = TestServer::start(database, &["--pool-size", "5"]);
    assert!(same.ready().contains("(5 tokens, leases of 30s, "), "{}", same.ready());
    drop(same);
    let changed = TestServer::start(database, &["--lease", "31s", "--update-policy"]);
    assert!(changed.ready().contains("leases of 31s"), "{}", changed.ready());
}

#[on_both]
async fn another_policy_is_rejected_rule_by_rule_without_update_policy(db: TestDb) {
    let database = db.url();
    let policy = |rules: [&'static str; 5]| {
        let names = ["--lease", "--max-lease", "--when-full", "--min-hold", "--max-per-user"];
        names.into_iter().zip(rules).flat_map(|(name, rule)| [name, rule]).collect::<Vec<_>>()
    };
    let first = policy(["30s", "1m", "reject", "0s", "2"]);
    let other = policy(["31s", "lease", "wait", "5s", "none"]);
    let stop = |mut server: TestServer| {
        server.signal("TERM");
        assert!(server.wait().success());
    };
    let server = TestServer::start(database, &[&["--pool-size", "1"], &first[..]].concat());
    assert!(server.ready().contains("leases of 30s, rejecting when full, "));
    assert_eq!(server.allocate("Edivan").await.0, 200);
    assert_eq!(server.allocate("Edivan").await.0, 503, "the policy is in force");
    stop(server);
    assert_says(
        &refused(database, &other),
        &[
            "lease is 30s, not 31s; max-lease is 1m, not lease; when-full is reject, not wait; \
                 min-hold is 0s, not 5s; max-per-user is 2, not none",
            "--update-policy",
        ],
    );
    let ended = refused(database, &["--when-full", "wait", "--max-per-user", "2"]);
    assert_says(&ended, &["another policy: when-full is reject, not wait. "]);
    let ended = refused(database, &["--min-hold", "31s", "--update-policy"]);
    assert_says(&ended, &["min-hold (31s) can't be longer than lease (30s)"]);
    stop(TestServer::start(database, &first));
    let updated = [&other[..], &["--update-policy"]].concat();
    stop(TestServer::start(database, &updated));
    let server = TestServer::start(database, &other);
    assert!(server.ready().contains("leases of 31s, waiting when full, "));
    stop(server);
    assert_says(&refused(database, &first), &["lease is 31s, not 30s"]);
}

#[test]
fn a_contradictory_policy_creates_no_pool() {
    let folder = tempfile::tempdir().unwrap();
    let database = sqlite(folder.path());
    for (arguments, sentence) in [
        (&["--min-hold", "121s"][..], "min-hold (2m1s) can't be longer than lease (2m)"),
        (&["--max-lease", "119s"], "max-lease (119s) can't be shorter than lease (2m)"),
        (&["--lease", "9s", "--min-hold", "10s"], "invalid --min-hold \"10s\""),
        (&["--when-full", "evict"], "it is one of evict-oldest, reject, wait"),
    ] {
        assert_says(&refused(&database, arguments), &[sentence]);
    }
    let server = TestServer::start(&database, &["--min-hold", "2m", "--max-lease", "2m"]);
    assert!(server.ready().contains("(100 tokens, leases of 2m, "), "{}", server.ready());
}

#[test]
fn a_second_server_on_a_file_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let database = sqlite(folder.path());
    let first = TestServer::start(&database, &[]);
    assert_says(&refused(&database, &[]), &["in use by another server", "PostgreSQL"]);
    drop(first);
    TestServer::start(&database, &[]);
}

#[on_both]
async fn acknowledged_leases_survive_a_stop(db: TestDb) {
    let database = db.url();
    for signal in ["TERM", "INT"] {
        let mut server = TestServer::start(database, &[]);
        let (status, allocated) = server.allocate("Edivan").await;
        assert_eq!(status, 200);
        let id = allocated["token_id"].as_str().unwrap();
        assert_eq!(server.get(&format!("/api/tokens/{id}/history")).await.0, 200);
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0), "{}", server.log());
        let log = format!("{}-wal", database.trim_start_matches("sqlite:"));
        assert!(
            !database.starts_with("sqlite:") || !Path::new(&log).exists(),
            "all is in the one file"
        );
        let again = TestServer::start(database, &[]);
        let (_, body) = again.get(&format!("/api/tokens/{id}")).await;
        assert_eq!(body["token"]["status"], "active", "{body}");
    }
}

#[test]
fn requests_in_flight_are_answered_before_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = TestServer::start(&sqlite(folder.path()), &[]);
    let address = server.url().replace("http://", "");
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let body = r#"{"user_id":"slow"}"#;
    let head = format!(
        "POST /api/tokens/allocate HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // The server asks for the body, so it has received the request.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100 Continue"));
    server.signal("TERM");
    poll("the server to be stopping", || server.log().contains("stopping").then_some(()));
    poll("the port to be closed", || TcpStream::connect(&address).is_err().then_some(()));
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_stalled_client_does_not_prevent_the_stop() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = TestServer::start(&sqlite(folder.path()), &["--shutdown-timeout", "100ms"]);
    let address = server.url().replace("http://", "");
    let mut stream = TcpStream::connect(&address).unwrap();
    let head = "POST /api/tokens/allocate HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
}

#[test]
fn a_second_signal_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = TestServer::start(&sqlite(folder.path()), &["--shutdown-timeout", "1h"]);
    let address = server.url().replace("http://", "");
    let mut stream = TcpStream::connect(&address).unwrap();
    let head = "POST /api/tokens/allocate HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n\
                content-type: application/json\r\ncontent-length: 9\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream.read_exact(&mut [0; 25]).unwrap();
    server.signal("INT");
    poll("the server to be stopping", || server.log().contains("stopping").then_some(()));
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(130), "{}", server.log());
}

#[tokio::test]
async fn a_server_waits_for_a_database_that_is_not_up_yet() {
    let cluster = Cluster::start().unwrap();
    let database = cluster.database().await.unwrap();
    cluster.stop(Stop::Fast).unwrap();
    let server = TestServer::spawn(&database, &[]);
    poll("a word about it in the log", || server.log().contains("database").then_some(()));
    cluster.start_again().unwrap();
    assert!(server.ready().contains("(100 tokens"), "{}", server.log());
    assert_eq!(server.allocate("Edivan").await.0, 200);
}

#[on_both]
fn migrating_twice_does_nothing_the_second_time(db: &TestDb) {
    let database = db.url();
    let migrate = || run(&mut command(Path::new("/"), &["migrate", "--database", database]));
    let first = migrate();
    assert_eq!(first.code, Some(0), "{first:?}");
    assert!(first.out.starts_with("Applied to "), "{first:?}");
    let second = migrate();
    assert_eq!(second.code, Some(0), "{second:?}");
    assert!(second.out.starts_with("Nothing to do"), "{second:?}");
    TestServer::start(database, &[]);
}

#[test]
fn logs_can_be_json() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = TestServer::start(&sqlite(folder.path()), &["--log-format", "json"]);
    server.signal("TERM");
    server.wait();
    let log = server.log();
    assert!(log.contains("stopping"), "{log}");
    for line in log.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(event["timestamp"].is_string() && event["level"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn the_access_log_can_be_switched_off() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, expected) in [(&[][..], true), (&["--access-log=false"], false)] {
        let mut server = TestServer::start(&sqlite(folder.path()), arguments);
        let (_, body) = server.allocate("Edivan").await;
        server.signal("TERM");
        server.wait();
        let log = server.log();
        assert_eq!(log.contains("/api/tokens/allocate"), expected, "{log}");
        assert!(!log.contains(body["token_value"].as_str().unwrap()), "{log}");
    }
}

#[on_both]
async fn no_log_level_shows_secrets(db: TestDb) {
    let database = db.url();
    for levels in ["trace", "trace,tokio_postgres=trace", "info,tokio_postgres::query=debug"] {
        let mut server = TestServer::start(database, &["--log", levels]);
        let (_, body) = server.allocate("Edivan da Silva").await;
        let id = body["token_id"].as_str().unwrap();
        assert_eq!(server.get(&format!("/api/tokens/{id}/history")).await.0, 200);
        server.signal("TERM");
        server.wait();
        let log = server.log();
        assert!(log.contains("stopped"), "{log}");
        let value = body["token_value"].as_str().unwrap();
        // The access log names users, and nothing else does.
        let is_access = |line: &str| line.contains(" access: ") && !line.contains(value);
        for secret in ["Edivan", value] {
            let line = log.lines().find(|line| line.contains(secret) && !is_access(line));
            assert_eq!(line, None, "{levels} on {database}");
        }
    }
}

#[tokio::test]
async fn a_start_on_postgres_logs_no_warning() {
    // The shared cluster would cause a warning: it runs without fsync.
    let cluster = testbed::Options::default().durable().start().unwrap();
    let database = cluster.database().await.unwrap();
    for _ in 0..2 {
        let mut server = TestServer::start(&database, &[]);
        server.signal("TERM");
        server.wait();
        let log = server.log();
        assert!(
            log.lines().all(|line| line.contains(" token_manager::server::serve: stop")),
            "{log}"
        );
    }
}
