//! Fixtures of the tests of `token-manager run`: a pool with one token, and a command under its lease.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Ended, TestServer, command};
use crate::sqlite;
use testbed::{poll, poll_async};

/// A server with one token, and a folder for commands.
pub struct Pool {
    pub folder: TempDir,
    pub server: TestServer,
}

impl Pool {
    /// A pool with these policy settings.
    pub fn start(policy: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let policy = [&["--pool-size", "1"], policy].concat();
        let server = TestServer::start(&sqlite(folder.path()), &policy);
        Pool { folder, server }
    }

    /// `token-manager run` for ann, with options and a script for a shell.
    pub fn under(&self, options: &[&str], script: &str) -> Command {
        self.run(&[options, &["--", "sh", "-c", script]].concat())
    }

    /// As [`Pool::under`], for any command.
    pub fn run(&self, arguments: &[&str]) -> Command {
        let url = self.server.url();
        let common = ["run", "--server", &url, "--user", "ann"];
        let mut command = command(self.folder.path(), &[&common, arguments].concat());
        command.env("PATH", std::env::var_os("PATH").unwrap());
        command
    }

    /// Starts a script under a lease, and waits until it prints `ready`.
    pub fn started(&self, options: &[&str], script: &str) -> RunCommand {
        let running = RunCommand::start(self.folder.path(), &mut self.under(options, script));
        running.says("ready");
        running
    }

    /// All leases, the latest first, once none of ann's is running.
    pub async fn over(&self) -> Vec<Value> {
        poll_async("ann's leases end", async || {
            let (_, leases) = self.server.get("/api/leases").await;
            let leases = leases["leases"].as_array().unwrap().clone();
            let runs = |lease: &Value| lease["user"] == "ann" && lease["status"] == "active";
            (!leases.iter().any(runs)).then_some(leases)
        })
        .await
    }

    /// End reason of ann's only lease; asserts that the token is free.
    pub async fn reason(&self) -> String {
        let leases = self.over().await;
        assert_eq!(leases.len(), 1, "{leases:?}");
        let (_, pool) = self.server.get("/api/pool").await;
        assert_eq!((&pool["available"], &pool["waiting"]), (&1.into(), &0.into()));
        leases[0]["end_reason"].as_str().unwrap().to_owned()
    }
}

/// A running `token-manager run` with its output in files; stopped when dropped.
pub struct RunCommand {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl RunCommand {
    pub fn start(folder: &Path, command: &mut Command) -> Self {
        let (out, err) = (folder.join("out"), folder.join("err"));
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        RunCommand { child: command.spawn().unwrap(), out, err }
    }

    pub fn out(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    pub fn err(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    /// Waits until the command prints this.
    pub fn says(&self, text: &str) {
        poll(text, || {
            assert!(!self.err().contains("error: "), "{}", self.err());
            self.out().contains(text).then_some(())
        });
    }

    /// Waits until `run` itself prints this.
    pub fn tells(&self, text: &str) {
        poll(text, || self.err().contains(text).then_some(()));
    }

    /// Sends `run` a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end and returns the exit code.
    pub fn end(mut self) -> Ended {
        let status = poll("the command to end", || self.child.try_wait().unwrap());
        // As shells report it.
        let code = status.code().or(status.signal().map(|signal| 128 + signal));
        Ended { code, out: self.out(), err: self.err() }
    }
}

impl Drop for RunCommand {
    fn drop(&mut self) {
        if self.is_running() {
            // This also ends the command.
            self.signal("TERM");
            self.signal("CONT");
            let _ = self.child.wait();
        }
    }
}

/// Sends a process a signal, such as `TERM`.
pub fn signal(pid: u32, name: &str) {
    let kill = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(kill.unwrap().success());
}

/// Whether the process exists and has not ended.
pub fn lives(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.trim()));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}
