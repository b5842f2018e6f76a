//! The command, in a process group of its own together with all that it starts.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use rustix::process::{WaitOptions, wait};

use super::clock::Moment;
use super::descendants::{Descendants, Process, processes};
use super::stage;

/// How long those who are told to stop have for it.
const STOPPING: Duration = Duration::from_millis(100);

/// A command that was started.
#[derive(Debug)]
pub struct Child {
    /// The command itself, and its group.
    leader: Pid,
    ended: Option<How>,
    group_is_gone: bool,
    descendants: Descendants,
    /// Whether nothing at all is left.
    childless: bool,
    /// Whether a part of it may not be sent signals.
    immune: bool,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By itself, with this code.
    Exited(u8),
    /// By the signal of this number. Not each of them has a name.
    Killed(i32),
}

/// The code by which shells tell that a signal ended something.
pub fn exit_code(signal: i32) -> u8 {
    128 | u8::try_from(signal).unwrap_or(0)
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was stopped by this signal, and may be continued.
    Stopped(Option<Signal>),
    /// It has ended.
    Ended(How),
}

impl Child {
    /// Starts a program with further variables in its environment.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn start(
        program: &OsStr,
        arguments: &[OsString],
        variables: &[(&str, String)],
    ) -> io::Result<Self> {
        adopt();
        let descendants = Descendants::from_now_on();
        let variables = variables.iter().map(|(name, value)| (name, value));
        let mut command = stage::command(program, arguments);
        let child = command.envs(variables).process_group(0).spawn()?;
        // Child::change waits for it, and sees it stop.
        let leader = i32::try_from(child.id()).map_err(io::Error::other)?;
        let leader = Pid::from_raw(leader);
        Ok(Child {
            leader,
            ended: None,
            group_is_gone: false,
            descendants,
            childless: false,
            immune: false,
        })
    }

    /// Its process group.
    pub const fn group(&self) -> Pid {
        self.leader
    }

    /// How it ended, if it did.
    pub const fn ended(&self) -> Option<How> {
        self.ended
    }

    /// What became of it since this was last asked, if anything did.
    pub fn change(&mut self) -> Option<Change> {
        loop {
            // Any child: those that were adopted, too.
            let (pid, status) = match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
                Ok(Some(changed)) => changed,
                Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::CHILD) => {
                    self.childless = true;
                    return None;
                }
                Ok(None) | Err(_) => return None,
            };
            if pid.as_raw_nonzero().get() != self.leader.as_raw() {
                continue;
            }
            if let Some(signal) = status.stopping_signal() {
                return Some(Change::Stopped(Signal::try_from(signal).ok()));
            }
            let how = match status.terminating_signal() {
                Some(signal) => How::Killed(signal),
                None => How::Exited(
                    status
                        .exit_status()
                        .map_or(u8::MAX, |code| u8::try_from(code).unwrap_or(u8::MAX)),
                ),
            };
            self.ended = Some(how);
            return Some(Change::Ended(how));
        }
    }

    /// Sends it and all in its group a signal.
    pub fn signal(&mut self, signal: Signal) {
        if !self.group_is_gone {
            self.heed(killpg(self.leader, signal));
        }
    }

    /// Stops what is left unstopped in its group a moment after a signal that may be caught.
    pub fn stop_rest(&mut self) {
        let until = Moment::now().after(STOPPING);
        let runs = |process: &Process| process.group == self.leader && !process.is_stopped();
        while Moment::now() < until && processes().iter().any(runs) {
            thread::sleep(STOPPING / 10);
        }
        self.signal(Signal::SIGSTOP);
    }

    /// Sends it and all that descends from it a signal, also what left its group.
    pub fn signal_all(&mut self, signal: Signal) {
        self.signal(signal);
        for process in self.descendants.running() {
            // That a part of a group was sent it says nothing about the others.
            let sent = (process.group != self.leader).then_some(signal);
            self.immune |= kill(process.pid, sent) == Err(Errno::EPERM);
        }
    }

    /// Tells it and all that descends from it to end. The shells among them that somebody types into
    /// heed only that the terminal is gone.
    pub fn tell_all_to_end(&mut self) {
        self.signal_all(Signal::SIGTERM);
        // Who is stopped has to go on to notice.
        self.signal_all(Signal::SIGCONT);
        let shells = self.descendants.running().into_iter();
        for shell in shells.filter(Process::is_for_hanging_up) {
            let _ = kill(shell.pid, Signal::SIGHUP);
        }
    }

    /// Whether it, or something that descends from it, could not be sent a signal, as it runs as
    /// another user.
    pub const fn is_immune(&self) -> bool {
        self.immune
    }

    /// Whether it, all in its group, and all that descends from it have ended.
    pub fn is_gone(&mut self) -> bool {
        if !self.group_is_gone {
            self.heed(killpg(self.leader, None));
        }
        self.group_is_gone && (self.childless || self.descendants.running().is_empty())
    }

    /// A group that is gone is left alone from then on: its number may be another's.
    fn heed(&mut self, sent: nix::Result<()>) {
        if self.ended.is_some() && sent == Err(Errno::ESRCH) {
            self.group_is_gone = true;
        }
        self.immune |= sent == Err(Errno::EPERM);
    }
}

/// Takes on what the command's children leave behind when they end, so that all that descends from
/// the command is found. It has to be waited for, too, or it would be taken for alive.
#[cfg(target_os = "linux")]
fn adopt() {
    // Whoever can't is no worse off than elsewhere.
    let _ = nix::sys::prctl::set_child_subreaper(true);
}

#[cfg(not(target_os = "linux"))]
fn adopt() {}
