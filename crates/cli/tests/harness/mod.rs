//! Processes of `token-manager`: commands that end, and servers that are killed with the test.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::{Value, json};
use testbed::{TIMEOUT, poll};

/// A program with default signal handling, even if the tests run under `nohup`.
pub fn unprotected(program: &str) -> Command {
    // Only GNU env has the option, and only tests on Linux need it.
    if cfg!(target_os = "linux") {
        let mut command = Command::new("/usr/bin/env");
        command.args(["--default-signal", program]);
        return command;
    }
    Command::new(program)
}

/// `token-manager` with these arguments, in `folder`, with an empty environment.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = unprotected(env!("CARGO_BIN_EXE_token-manager"));
    command.args(arguments).current_dir(folder).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A process that has ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// Standard output, then standard error.
    pub fn text(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

impl Ended {
    /// Problems that `doctor` found, except that test clusters run without fsync.
    pub fn problems(&self) -> Vec<&str> {
        let expected = ["problem  fsync: ", "problem  full_page_writes: "];
        let problems = self.out.lines().filter(|line| line.starts_with("problem  "));
        problems.filter(|line| !expected.iter().any(|start| line.starts_with(start))).collect()
    }

    /// Asserts that `doctor` checked everything and found no problem.
    pub fn assert_no_problem(&self) {
        assert_eq!(self.problems(), [""; 0], "{}", self.text());
        assert!(self.out.contains("ok       audit: "), "{}", self.text());
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A running server; killed when dropped.
pub struct TestServer {
    child: Child,
    out: Arc<Mutex<String>>,
    err: Arc<Mutex<String>>,
}

impl TestServer {
    /// Starts `serve` on a free port with a database and further arguments, and waits until it is
    /// ready.
    pub fn start(database: &str, arguments: &[&str]) -> Self {
        let server = TestServer::spawn(database, arguments);
        server.url();
        server
    }

    /// As [`TestServer::start`], without waiting.
    pub fn spawn(database: &str, arguments: &[&str]) -> Self {
        let common = ["serve", "--listen", "127.0.0.1:0", "--database", database];
        TestServer::of(&mut command(Path::new("/"), &[&common, arguments].concat()))
    }

    /// Starts a server by this command.
    pub fn of(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let out = collect(child.stdout.take().unwrap());
        let err = collect(child.stderr.take().unwrap());
        TestServer { child, out, err }
    }

    /// The line with which the server reports that it is ready.
    pub fn ready(&self) -> String {
        poll("the server to be ready", || {
            let out = text(&self.out);
            let ended = out.is_empty() && text(&self.err).contains("error: ");
            assert!(!ended, "the server ended: {}", text(&self.err));
            out.lines().next().filter(|_| out.ends_with('\n')).map(str::to_owned)
        })
    }

    /// URL of the server, once it is ready.
    pub fn url(&self) -> String {
        let ready = self.ready();
        let url =
            ready.strip_prefix("TokenManager is ready: ").unwrap_or_else(|| panic!("{ready}"));
        url.split(' ').next().unwrap().replace("localhost", "127.0.0.1")
    }

    /// Standard output so far.
    pub fn out(&self) -> String {
        text(&self.out)
    }

    /// Log so far.
    pub fn log(&self) -> String {
        text(&self.err)
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `TERM` or `KILL`.
    pub fn signal(&self, name: &str) {
        let kill =
            Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// Waits until the process has ended.
    pub fn wait(&mut self) -> ExitStatus {
        poll("the server to end", || self.child.try_wait().unwrap())
    }

    /// The status and body of a `GET`.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let response = client().get(format!("{}{path}", self.url())).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// The status and body of a `POST` for a token.
    pub async fn allocate(&self, user: &str) -> (u16, Value) {
        let request = client().post(format!("{}/api/tokens/allocate", self.url()));
        let response = request.json(&json!({ "user_id": user })).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}

/// A new client, so that tests share no connection.
pub fn client() -> reqwest::Client {
    // Fails only if another test has installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().unwrap()
}

fn collect(from: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let collected = Arc::new(Mutex::new(String::new()));
    let to = Arc::clone(&collected);
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
            to.push_str(&line);
            to.push('\n');
        }
    });
    collected
}

fn text(collected: &Mutex<String>) -> String {
    collected.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
