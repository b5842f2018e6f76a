//! `serve` and signals, with a request in flight.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use testbed::{Cluster, TIMEOUT, poll};

use crate::harness::{TestServer, client, command, unprotected};
use crate::sqlite;

const BODY: &str = r#"{"user_id":"slow"}"#;

/// A request whose body is not sent yet.
struct InFlight(TcpStream);

impl InFlight {
    fn begin(address: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let head = format!(
            "POST /api/tokens/allocate HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            BODY.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // The server asks for the body, so it has received the request.
        stream.read_exact(&mut [0; 25]).unwrap();
        InFlight(stream)
    }

    /// Sends the body, and returns the head of the answer.
    fn finish(mut self) -> String {
        self.0.write_all(BODY.as_bytes()).unwrap();
        let (mut head, mut answer) = (String::new(), BufReader::new(self.0));
        while !head.ends_with("\r\n\r\n") {
            assert!(answer.read_line(&mut head).unwrap() > 0, "no whole answer: {head}");
        }
        head
    }
}

fn address(server: &TestServer) -> String {
    server.url().replace("http://", "")
}

#[test]
fn terminating_signals_stop_the_server_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["TERM", "INT", "QUIT", "ALRM", "VTALRM", "PROF", "XCPU", "IO", "PWR"];
    for name in names {
        let mut server = TestServer::start(&sqlite(folder.path()), &[]);
        let request = InFlight::begin(&address(&server));
        server.signal(name);
        poll("the server to be stopping", || server.log().contains("stopping").then_some(()));
        let head = request.finish();
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{name}: {head}");
        assert!(head.contains("\r\nconnection: close\r\n"), "{name}: {head}");
        assert_eq!(server.wait().code(), Some(0), "{name}: {}", server.log());
    }
}

#[test]
fn other_signals_are_logged_and_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = TestServer::start(&sqlite(folder.path()), &[]);
    for name in ["HUP", "USR1", "USR2", "XFSZ", "PIPE", "WINCH"] {
        let request = InFlight::begin(&address(&server));
        server.signal(name);
        if !["PIPE", "WINCH"].contains(&name) {
            let noted = format!("signal=\"SIG{name}\"");
            poll("a line about it", || server.log().contains(&noted).then_some(()));
        }
        let head = request.finish();
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{name}: {head}");
    }
    assert!(!server.log().contains("stopping"), "{}", server.log());
    server.signal("TERM");
    assert!(server.wait().success());
}

#[test]
fn a_second_signal_to_stop_ends_at_once_with_its_code() {
    let folder = tempfile::tempdir().unwrap();
    for (first, second, code) in [("TERM", "TERM", 143), ("HUP", "QUIT", 131), ("INT", "INT", 130)]
    {
        let arguments = ["--shutdown-timeout", "1h"];
        let mut server = TestServer::start(&sqlite(folder.path()), &arguments);
        let _request = InFlight::begin(&address(&server));
        // Without a terminal this signal is ignored; the next one counts as the first.
        if first == "HUP" {
            server.signal("TERM");
            poll("the server to be stopping", || server.log().contains("stopping").then_some(()));
            server.signal("HUP");
            server.signal("USR1");
            poll("a line", || server.log().contains("SIGUSR1").then_some(()));
        } else {
            server.signal(first);
            poll("the server to be stopping", || server.log().contains("stopping").then_some(()));
        }
        server.signal(second);
        assert_eq!(server.wait().code(), Some(code), "{}", server.log());
    }
}

/// A server on a new terminal, by `script`.
struct OnTerminal {
    script: Child,
    address: String,
    pid: u32,
}

impl OnTerminal {
    fn start(folder: &Path, protection: &str) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let database = sqlite(folder);
        let mut script = unprotected("script");
        let serve = format!(
            "echo pid $$; {protection} exec \"$T\" serve --listen {address} --database {database}"
        );
        script.args(["-qec", &serve, "/dev/null"]).env("SHELL", "/bin/sh");
        script.env("T", env!("CARGO_BIN_EXE_token-manager"));
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut script = script.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(script.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = line.trim().strip_prefix("pid ").unwrap().parse().unwrap();
        poll("the server to listen", || TcpStream::connect(&address).ok());
        OnTerminal { script, address, pid }
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([&format!("-{name}"), &self.pid.to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// Whether the process has ended.
    fn has_ended(&self) -> bool {
        !Path::new(&format!("/proc/{}/fd/0", self.pid)).exists()
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = Command::new("kill").args(["-KILL", &self.pid.to_string()]).status();
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

#[test]
fn a_closed_terminal_stops_the_server_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let server = OnTerminal::start(folder.path(), "");
    let request = InFlight::begin(&server.address);
    server.signal("HUP");
    poll("the port to be closed", || TcpStream::connect(&server.address).is_err().then_some(()));
    // The shell and the kernel may both send it.
    server.signal("HUP");
    assert!(request.finish().starts_with("HTTP/1.1 200 OK"));
    poll("the server to end", || server.has_ended().then_some(()));
}

#[test]
fn a_server_under_nohup_outlives_its_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let server = OnTerminal::start(folder.path(), "trap '' HUP;");
    server.signal("HUP");
    server.signal("USR1");
    let request = InFlight::begin(&server.address);
    assert!(request.finish().starts_with("HTTP/1.1 200 OK"));
    assert!(!server.has_ended());
}

#[test]
fn a_server_that_waits_for_its_database_can_be_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("postgres://nobody@{}/tokens", silent.local_addr().unwrap());
    let absent = format!("postgres:///tokens?host={}", folder.path().display());
    for database in [silent, absent] {
        let mut server = TestServer::spawn(&database, &["--shutdown-timeout", "1h"]);
        poll("the server to wait", || {
            let threads = format!("/proc/{}/task", server.pid());
            let threads = std::fs::read_dir(threads).unwrap().flatten();
            let mut names =
                threads.map(|thread| std::fs::read_to_string(thread.path().join("comm")));
            names.any(|name| name.is_ok_and(|name| name.trim() == "engine")).then_some(())
        });
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    }
}

/// Sends a signal to the sessions of a database of the shared cluster, and to no other process.
fn signal_sessions(database: &str, name: &str) {
    let parent = format!("PPid:\t{}\n", Cluster::shared().pid().unwrap());
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    for process in processes.map(|process| process.path()) {
        let read = |file| std::fs::read_to_string(process.join(file)).unwrap_or_default();
        let is_of_database = || read("cmdline").split([' ', '\0']).any(|word| word == database);
        if read("status").contains(&parent) && is_of_database() {
            let pid = process.file_name().unwrap();
            // The session may have ended.
            let _ = Command::new("kill").arg(format!("-{name}")).arg(pid).status();
        }
    }
}

#[tokio::test]
async fn a_stalled_database_does_not_delay_the_end() {
    let database = Cluster::shared().database().await.unwrap();
    let name = database.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    let mut server = TestServer::start(&database, &["--shutdown-timeout", "200ms"]);
    assert_eq!(server.allocate("Edivan").await.0, 200);
    signal_sessions(&name, "STOP");
    let url = format!("{}/api/tokens/allocate", server.url());
    let request = client().post(url).json(&serde_json::json!({ "user_id": "stalled" })).send();
    let request = tokio::spawn(request);
    poll("the request to be with the engine", || {
        server.log().contains("/api/tokens/allocate").then_some(())
    });
    server.signal("TERM");
    // It ends while the database is stalled.
    let ended = tokio::task::spawn_blocking(move || (server.wait(), server.log())).await;
    signal_sessions(&name, "CONT");
    let (status, log) = ended.unwrap();
    assert_eq!(status.code(), Some(0), "{log}");
    drop(request.await);
}

#[test]
fn abstract_notification_sockets_and_the_watchdog_work() {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("token-manager-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut command = command(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", format!("@{name}")).env("WATCHDOG_USEC", "100000");
    let _server = TestServer::of(&mut command);
    let (mut ready, mut fed) = (false, 0);
    while !ready || fed < 3 {
        let mut message = [0; 4096];
        let length = socket.recv(&mut message).unwrap();
        let message = std::str::from_utf8(&message[..length]).unwrap();
        ready |= message.starts_with("READY=1\n");
        fed += usize::from(message == "WATCHDOG=1\n");
    }
}
