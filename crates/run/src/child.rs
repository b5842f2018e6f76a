//! The command, in a process group of its own together with its descendants.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::thread;
use std::time::Duration;

use client::Moment;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use rustix::process::{WaitOptions, wait};

use crate::descendants::{Descendants, Process, processes};
use crate::exec;

/// Time for processes to stop by themselves after SIGTSTP.
const STOP_PERIOD: Duration = Duration::from_millis(100);

/// Started command.
#[derive(Debug)]
pub(crate) struct Child {
    /// Process of the command, and id of its group.
    leader: Pid,
    ended: Option<CommandEnd>,
    group_is_gone: bool,
    descendants: Descendants,
    /// Whether this process has no child left.
    childless: bool,
    /// Whether a process may not be sent signals.
    immune: bool,
}

/// End of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommandEnd {
    /// Exit code.
    Exited(u8),
    /// Signal number. Not every signal has a name.
    Killed(i32),
}

/// Change of the command's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The command was stopped by this signal and may be continued.
    Stopped(Option<Signal>),
    /// The command ended.
    Ended,
}

impl Child {
    /// Starts a program with these environment variables, without those that have no value, and with the
    /// terminal if `foreground`.
    pub fn start(
        program: &OsStr,
        arguments: &[OsString],
        variables: &[(OsString, Option<String>)],
        foreground: bool,
    ) -> io::Result<Self> {
        become_subreaper();
        let descendants = Descendants::from_now_on();
        let mut command = exec::command(program, arguments, foreground);
        for (name, value) in variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let child = command.process_group(0).spawn()?;
        // Waited for by `Child::change`, which also sees when it is stopped.
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

    /// Returns the command's process group.
    pub const fn group(&self) -> Pid {
        self.leader
    }

    /// Returns how the command ended, if it did.
    pub const fn ended(&self) -> Option<CommandEnd> {
        self.ended
    }

    /// Returns the next change since the last call.
    pub fn change(&mut self) -> Option<Change> {
        loop {
            // Waits for any child, because adopted descendants have to be waited for, too.
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
            let code = || status.exit_status().and_then(|code| u8::try_from(code).ok());
            self.ended = Some(match status.terminating_signal() {
                Some(signal) => CommandEnd::Killed(signal),
                None => CommandEnd::Exited(code().unwrap_or(u8::MAX)),
            });
            return Some(Change::Ended);
        }
    }

    /// Sends a signal to the command's process group.
    pub fn signal(&mut self, signal: Signal) {
        if !self.group_is_gone {
            self.check(killpg(self.leader, signal));
        }
    }

    /// Sends SIGSTOP to the group, after a moment for processes that handle SIGTSTP themselves.
    pub fn stop_rest(&mut self) {
        let until = Moment::now().after(STOP_PERIOD);
        let runs = |process: &Process| process.group == self.leader && !process.is_stopped();
        while Moment::now() < until && processes().iter().any(runs) {
            thread::sleep(STOP_PERIOD / 10);
        }
        self.signal(Signal::SIGSTOP);
    }

    /// Sends a signal to the group and to all descendants outside it.
    pub fn signal_all(&mut self, signal: Signal) {
        self.signal(signal);
        for process in self.descendants.running() {
            // The kernel reports success if one member of the group got the signal, so members are only probed here.
            let sent = (process.group != self.leader).then_some(signal);
            self.immune |= kill(process.pid, sent) == Err(Errno::EPERM);
        }
    }

    /// Asks the command and all descendants to end. Interactive shells ignore SIGTERM, so they get SIGHUP as well.
    pub fn terminate_all(&mut self) {
        self.signal_all(Signal::SIGTERM);
        // A stopped process handles SIGTERM only after SIGCONT.
        self.signal_all(Signal::SIGCONT);
        let shells = self.descendants.running().into_iter();
        for shell in shells.filter(Process::needs_hangup) {
            let _ = kill(shell.pid, Signal::SIGHUP);
        }
    }

    /// Returns whether a signal failed because a process runs as another user.
    pub const fn is_immune(&self) -> bool {
        self.immune
    }

    /// Returns whether the command, its group and all descendants have ended.
    pub fn is_gone(&mut self) -> bool {
        if !self.group_is_gone {
            self.check(killpg(self.leader, None));
        }
        self.group_is_gone && (self.childless || self.descendants.running().is_empty())
    }

    /// Records the result of a signal. A group that is gone gets no more, because its id may be reused.
    fn check(&mut self, sent: nix::Result<()>) {
        if self.ended.is_some() && sent == Err(Errno::ESRCH) {
            self.group_is_gone = true;
        }
        self.immune |= sent == Err(Errno::EPERM);
    }
}

/// Makes this process the parent of orphaned descendants, so that they can be found.
#[cfg(target_os = "linux")]
fn become_subreaper() {
    // Without it, descendants are found as on other systems.
    let _ = nix::sys::prctl::set_child_subreaper(true);
}

#[cfg(not(target_os = "linux"))]
fn become_subreaper() {}
