//! Descendants of this process, from `/proc`. On systems without it, only the command's process group is known.

use std::collections::{HashMap, HashSet};
use std::fs;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::signals::{CAUGHT, IGNORED, has};

/// Process, as read from `/proc`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pub pid: Pid,
    /// Its parent, or the process that adopted it.
    pub parent: Pid,
    pub group: Pid,
    /// State letter, such as `T` for stopped.
    state: u8,
    /// Start time. Identifies the process together with its id.
    began: u64,
}

impl Process {
    pub const fn is_stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }

    /// Returns whether it ignores SIGTERM but handles SIGHUP, as interactive shells do.
    pub fn needs_hangup(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid));
        status.is_ok_and(|status| {
            has(&status, IGNORED, Signal::SIGTERM) && has(&status, CAUGHT, Signal::SIGHUP)
        })
    }

    fn read(pid: Pid) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before it may have any characters, also spaces.
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let number = |at: usize| fields.get(at)?.parse().ok().map(Pid::from_raw);
        Some(Process {
            pid,
            parent: number(1)?,
            group: number(2)?,
            state: *fields.first()?.as_bytes().first()?,
            began: fields.get(19)?.parse().ok()?,
        })
    }
}

/// Returns all processes, without zombies.
pub(crate) fn processes() -> Vec<Process> {
    let Ok(folders) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = folders.flatten().filter_map(|folder| folder.file_name().to_str()?.parse().ok());
    let found = numbers.filter_map(|number| Process::read(Pid::from_raw(number)));
    found.filter(|process| !matches!(process.state, b'Z' | b'X')).collect()
}

/// Descendants of the command. This process adopts those whose parents end.
#[derive(Debug)]
pub(crate) struct Descendants {
    /// Earlier children of this process, such as jobs of the shell that became it.
    others: HashSet<(Pid, u64)>,
}

impl Descendants {
    /// Excludes the children that exist now.
    pub fn from_now_on() -> Self {
        let children = below(Pid::this(), &HashSet::new());
        Descendants { others: children.iter().map(|one| (one.pid, one.began)).collect() }
    }

    pub fn running(&self) -> Vec<Process> {
        below(Pid::this(), &self.others)
    }
}

/// Returns the descendants of a process, without some and their descendants.
fn below(root: Pid, without: &HashSet<(Pid, u64)>) -> Vec<Process> {
    let mut children: HashMap<Pid, Vec<Process>> = HashMap::new();
    for process in processes() {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = children.remove(&root).unwrap_or_default();
    let mut at = 0;
    while let Some(process) = found.get(at).copied() {
        if without.contains(&(process.pid, process.began)) {
            found.swap_remove(at);
        } else {
            found.extend(children.remove(&process.pid).unwrap_or_default());
            at += 1;
        }
    }
    found
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn descendants_are_found() {
        let before = Descendants::from_now_on();
        // Each `cat` ends when its input does, which this test closes.
        let mut shell = Command::new("sh");
        shell.args(["-c", "cat & cat; wait"]).stdin(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(shell.id()).unwrap());
        let found = |from: &Descendants| {
            let running = from.running();
            let below = running.iter().filter(|one| one.parent == pid).count();
            (running.iter().any(|one| one.pid == pid), below)
        };
        let begun = Instant::now();
        while !matches!(found(&before), (true, 1 | 2)) {
            assert!(begun.elapsed() < Duration::from_secs(30), "the shell did not start");
        }
        assert_eq!(found(&Descendants::from_now_on()), (false, 0));
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert_eq!(found(&before), (false, 0));
    }
}
