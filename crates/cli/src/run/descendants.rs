//! The processes that descend from this one, as `/proc` tells. Where there is none, nobody does, and
//! the command's process group has to do.

use std::collections::{HashMap, HashSet};
use std::fs;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::signals::bit;

/// A process, as it was when it was looked at.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Its number.
    pub pid: Pid,
    /// Who started it, or took it on.
    pub parent: Pid,
    /// Its process group.
    pub group: Pid,
    /// Such as `T` for stopped.
    state: u8,
    /// When it began. Together with the number this is no other process's.
    began: u64,
}

impl Process {
    /// Whether it is stopped.
    pub const fn is_stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }

    /// Whether it heeds no SIGTERM, but a SIGHUP, as a shell does that somebody types into.
    pub fn is_for_hanging_up(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid));
        status.is_ok_and(|status| {
            ignored(&status) & bit(Signal::SIGTERM) != 0
                && signals(&status, "SigCgt:") & bit(Signal::SIGHUP) != 0
        })
    }

    fn read(pid: Pid) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before may have anything in it, also spaces.
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

/// The signals that a process ignores, by its `/proc/PID/status`: a bit for each, from 1 on.
pub fn ignored(status: &str) -> u64 {
    signals(status, "SigIgn:")
}

fn signals(status: &str, name: &str) -> u64 {
    let bits = status.lines().find_map(|line| line.strip_prefix(name));
    bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0)
}

/// All that run. Who has ended and is only not waited for yet does not.
pub fn processes() -> Vec<Process> {
    let Ok(folders) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = folders.flatten().filter_map(|folder| folder.file_name().to_str()?.parse().ok());
    let found = numbers.filter_map(|number| Process::read(Pid::from_raw(number)));
    found.filter(|process| !matches!(process.state, b'Z' | b'X')).collect()
}

/// What descends from the command. All of that comes to this process when those between have ended.
#[derive(Debug)]
pub struct Descendants {
    /// What this process had started before it became what it is, such as a shell's jobs.
    others: HashSet<(Pid, u64)>,
}

impl Descendants {
    /// Those from now on.
    pub fn from_now_on() -> Self {
        let children = below(Pid::this(), &HashSet::new());
        Descendants { others: children.iter().map(|one| (one.pid, one.began)).collect() }
    }

    /// Those that run.
    pub fn running(&self) -> Vec<Process> {
        below(Pid::this(), &self.others)
    }
}

/// What descends from a process, without these and what descends from them.
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
    fn what_descends_from_a_process_is_found() {
        let before = Descendants::from_now_on();
        // Each waits for its input to end, which is when this does.
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
            assert!(begun.elapsed() < Duration::from_secs(30), "waited in vain for the shell");
        }
        assert_eq!(found(&Descendants::from_now_on()), (false, 0));
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert_eq!(found(&before), (false, 0));
    }
}
