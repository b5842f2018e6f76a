//! The controlling terminal, which only one process group at a time may read and configure.

use std::fs::File;
use std::io::{stderr, stdin, stdout};
use std::os::fd::AsFd as _;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{Pid, getpgid, getpgrp, getppid, getsid, tcgetpgrp, tcsetpgrp};

use crate::descendants::processes;

/// Controlling terminal, if there is one.
#[derive(Debug)]
pub(crate) struct Terminal {
    tty: Option<File>,
    modes: Option<Termios>,
    given: bool,
}

impl Terminal {
    /// Opens the terminal and reads its modes.
    pub fn open() -> Self {
        let tty = File::options().read(true).write(true).open("/dev/tty").ok();
        let modes = tty.as_ref().and_then(|tty| tcgetattr(tty.as_fd()).ok());
        Terminal { tty, modes, given: false }
    }

    /// Gives the terminal to a process group, if this process may. Returns whether it did.
    pub fn give(&mut self, group: Pid) -> bool {
        let Some(tty) = &self.tty else { return false };
        // The group may have taken it already.
        let ours = |owner: Pid| owner == getpgrp() || owner == group;
        if !self.given && !tcgetpgrp(tty).is_ok_and(ours) {
            return false;
        }
        self.given = ignoring_sigttou(|| tcsetpgrp(tty, group)).is_ok();
        self.given
    }

    /// Takes the terminal for this process's own group.
    pub fn take(&self) {
        if let Some(tty) = &self.tty {
            // If it fails, the command starts in the background.
            let _ = ignoring_sigttou(|| tcsetpgrp(tty, getpgrp()));
        }
    }

    /// Returns whether this process is alone in its group and has the terminal as input and outputs. Then the
    /// command gets the terminal at the start, because many programs only check whether they are in the
    /// foreground and never request it.
    pub fn is_ours_alone() -> bool {
        let own = getpgrp();
        let (input, output, errors) = (stdin(), stdout(), stderr());
        let all = [input.as_fd(), output.as_fd(), errors.as_fd()];
        all.into_iter().all(|one| tcgetpgrp(one) == Ok(own))
            && processes().iter().filter(|process| process.group == own).count() == 1
    }

    pub const fn is_given(&self) -> bool {
        self.given
    }

    /// Takes the terminal back, if it was given away.
    pub fn take_back(&mut self) {
        if let Some(tty) = &self.tty
            && std::mem::take(&mut self.given)
        {
            // Fails when the terminal was closed.
            let _ = ignoring_sigttou(|| tcsetpgrp(tty, getpgrp()));
        }
    }

    /// Restores the initial modes, which a killed command could not.
    pub fn restore(&self) {
        if let (Some(tty), Some(modes)) = (&self.tty, &self.modes) {
            // Fails when the terminal was closed. TCSADRAIN would wait for Ctrl-Q after Ctrl-S.
            let _ = ignoring_sigttou(|| tcsetattr(tty.as_fd(), SetArg::TCSANOW, modes));
        }
    }

    /// Returns whether the terminal was closed.
    pub fn is_gone(&self) -> bool {
        self.tty.as_ref().is_some_and(|tty| tcgetpgrp(tty).is_err())
    }
}

/// Runs an action with SIGTTOU blocked, because the system stops background processes that write to their
/// terminal or configure it.
pub fn ignoring_sigttou<T>(act: impl FnOnce() -> T) -> T {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTTOU);
    let before = set.thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let done = act();
    if let Ok(before) = before {
        // Can't fail for a mask that was valid before.
        let _ = before.thread_set_mask();
    }
    done
}

/// Returns whether this process group is orphaned: no shell with job control would continue it after a stop. The
/// system doesn't stop such a group by the terminal's signals.
pub(crate) fn is_orphaned() -> bool {
    let (group, session) = (getpgrp(), getsid(None));
    // A group is a job of a shell if a member's parent is in another group of the same session.
    let continues = |parent: Pid| {
        getsid(Some(parent)) == session && getpgid(Some(parent)).is_ok_and(|its| its != group)
    };
    let members = processes().into_iter().filter(|process| process.group == group);
    !members.map(|member| member.parent).chain([getppid()]).any(continues)
}
