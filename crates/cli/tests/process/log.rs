//! Blocked outputs: neither the log nor other output delays the server.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::Mutex;

use crate::harness::{TestServer, client, command, unprotected};
use crate::sqlite;
use testbed::{TIMEOUT, poll};

/// A server whose standard error is read only on request of the test; killed when dropped.
struct Unread {
    child: Child,
    address: String,
}

impl Unread {
    fn start(folder: &Path) -> Self {
        Unread::of(folder, |command| command.stdout(Stdio::null()))
    }

    fn of(folder: &Path, adapt: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let address = free_address();
        let arguments = ["serve", "--listen", &address, "--database", &sqlite(folder)];
        let child = adapt(&mut command(Path::new("/"), &arguments)).spawn().unwrap();
        poll("the server to listen", || TcpStream::connect(&address).ok());
        Unread { child, address }
    }

    /// Sends the same request many times on one connection, and returns how many were answered with
    /// this status.
    fn ask(&self, path: &str, times: usize, status: u16) -> usize {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let mut answers = BufReader::new(stream.try_clone().unwrap());
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let first = format!("HTTP/1.1 {status} ");
        (0..times)
            .filter(|_| {
                stream.write_all(request.as_bytes()).unwrap();
                answer(&mut answers).starts_with(&first)
            })
            .count()
    }

    fn dropped(&self) -> u64 {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let name = "token_manager_log_lines_dropped_total ";
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
    }

    fn stop(&mut self) -> ExitStatus {
        signal(self.child.id(), "TERM");
        poll("the server to end", || self.child.try_wait().unwrap())
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn signal(pid: u32, name: &str) {
    let kill = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(kill.unwrap().success());
}

/// Reads an answer with a `content-length`, and returns its head.
fn answer(from: &mut impl std::io::BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(from.read_line(&mut head).unwrap() > 0, "no whole answer: {head}");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    from.read_exact(&mut vec![0; length.parse().unwrap()]).unwrap();
    head
}

/// Both ends of a full pipe, as of a pager.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (kept, full) = std::io::pipe().unwrap();
    let mut filling = Command::new("head");
    filling.args(["-c", "65536", "/dev/zero"]).stdout(full.try_clone().unwrap());
    assert!(filling.status().unwrap().success());
    (kept, full)
}

/// Reads lines until one matches.
fn lines_until(stderr: &mut BufReader<ChildStderr>, fits: impl Fn(&str) -> bool) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "the log ended: {lines:?}");
        lines.push(line);
        if fits(&lines[lines.len() - 1]) {
            return lines;
        }
    }
}

#[test]
fn an_unread_log_delays_nothing_and_later_reports_the_lost_lines() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Unread::start(folder.path());
    assert_eq!(server.ask("/api/pool", 1_500, 200), 1_500);
    assert_eq!(server.ask("/health/live", 1, 200), 1);
    // More than the queue holds, with lines of maximum length.
    let long = "/no-such-path".repeat(500);
    assert_eq!(server.ask(&long, 200, 404), 200);
    let dropped = server.dropped();
    assert!(dropped > 0, "the queue is bounded");
    let mut stderr = BufReader::new(server.child.stderr.take().unwrap());
    let lines = lines_until(&mut stderr, |line| line.contains("log lines dropped"));
    let report = &lines[lines.len() - 1];
    let lost: u64 = report.trim_end().rsplit_once("lost=").unwrap().1.parse().unwrap();
    // The request for the metrics was logged after they were written.
    assert!((dropped..=dropped + 1).contains(&lost), "{lost} is not {dropped}: {report}");
    assert_eq!(server.dropped(), lost);
    let written = lines.len() as u64 - 1;
    assert_eq!(written + lost, 1_500 + 1 + 200 + 1, "each line is written or counted");
    assert!(lines[..1_500].iter().all(|line| line.contains("path=/api/pool status=200")));
    assert!(server.stop().success());
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(rest.lines().last().unwrap().ends_with("stopped"), "{rest}");
}

#[test]
fn a_blocked_log_does_not_delay_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (_kept, full) = full_pipe();
    let mut server = Unread::of(folder.path(), |command| {
        let out = full.try_clone().unwrap();
        command.stdout(out).stderr(full)
    });
    assert_eq!(server.ask("/api/pool", 100, 200), 100);
    assert!(server.stop().success());
}

#[test]
fn a_blocked_output_does_not_delay_an_error() {
    let (_kept, full) = full_pipe();
    for arguments in [&["serve", "--listen", "nowhere.invalid"][..], &["serve", "--no-such-flag"]] {
        let mut command = command(Path::new("/"), arguments);
        let mut child = command.stderr(full.try_clone().unwrap()).spawn().unwrap();
        let status = poll("the program to end", || child.try_wait().unwrap());
        assert!(matches!(status.code(), Some(1 | 2)), "{status:?}");
    }
}

#[test]
fn an_orderly_end_loses_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Unread::start(folder.path());
    let mut stderr = server.child.stderr.take().unwrap();
    // The pipe holds 64 KiB.
    assert_eq!(server.ask("/api/pool", 2_000, 200), 2_000);
    signal(server.child.id(), "TERM");
    let mut log = String::new();
    stderr.read_to_string(&mut log).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("path=/api/pool")).count(), 2_000);
    assert!(log.lines().last().unwrap().ends_with("stopped"), "{log}");
    assert!(!log.contains("log lines dropped"), "{log}");
}

/// Ctrl-S, as typed by accident.
#[tokio::test]
async fn a_stopped_terminal_does_not_stop_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let (address, database) = (free_address(), sqlite(folder.path()));
    let mut script = unprotected("script");
    let serve = format!("echo pid $$; exec \"$T\" serve --listen {address} --database {database}");
    script.args(["-qec", &serve, "/dev/null"]).env("SHELL", "/bin/sh");
    script.env("T", env!("CARGO_BIN_EXE_token-manager"));
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut script = script.spawn().unwrap();
    let mut shown = BufReader::new(script.stdout.take().unwrap());
    let mut line = String::new();
    shown.read_line(&mut line).unwrap();
    let pid = line.trim().strip_prefix("pid ").unwrap().parse().unwrap();
    poll("the server to listen", || TcpStream::connect(&address).ok());
    script.stdin.as_mut().unwrap().write_all(b"\x13").unwrap();
    let client = client();
    for _ in 0..500 {
        let url = format!("http://{address}/api/pool");
        assert_eq!(client.get(url).send().await.unwrap().status(), 200);
    }
    signal(pid, "TERM");
    poll("the server to end", || (!Path::new(&format!("/proc/{pid}/fd/0")).exists()).then_some(()));
    script.kill().unwrap();
    script.wait().unwrap();
}

/// The queue of a service manager's socket is full.
#[test]
fn a_service_manager_that_does_not_read_delays_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("notify");
    let _socket = UnixDatagram::bind(&place).unwrap();
    let filling = UnixDatagram::unbound().unwrap();
    filling.set_nonblocking(true).unwrap();
    while filling.send_to(b"X=1", &place).is_ok() {}
    let arguments = ["serve", "--listen", "127.0.0.1:0"];
    let mut command = command(folder.path(), &arguments);
    let mut server = TestServer::of(command.env("NOTIFY_SOCKET", &place));
    server.ready();
    server.signal("TERM");
    assert!(server.wait().success());
}

/// Another program has set standard error to non-blocking mode.
#[test]
fn a_full_output_in_non_blocking_mode_loses_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let theirs = std::os::fd::OwnedFd::from(theirs);
    let mut server =
        Unread::of(folder.path(), |command| command.stdout(Stdio::null()).stderr(theirs));
    let (mut ours, log) = (ours, Mutex::new(String::new()));
    std::thread::scope(|scope| {
        assert_eq!(server.ask("/api/pool", 3_000, 200), 3_000);
        scope.spawn(|| ours.read_to_string(&mut log.lock().unwrap()).unwrap());
        assert!(server.stop().success());
    });
    let log = log.into_inner().unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("path=/api/pool")).count(), 3_000);
}
