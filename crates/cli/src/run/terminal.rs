//! The terminal, of which only one process group at a time may read and set the modes.

use std::fs::File;
use std::io::{stderr, stdin, stdout};
use std::os::fd::AsFd as _;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{Pid, getpgid, getpgrp, getppid, getsid, tcgetpgrp, tcsetpgrp};

use super::descendants::processes;

/// The terminal that this program was started from, if there is one.
#[derive(Debug)]
pub struct Terminal {
    tty: Option<File>,
    modes: Option<Termios>,
    given: bool,
}

impl Terminal {
    /// Looks for it.
    pub fn open() -> Self {
        let tty = File::options().read(true).write(true).open("/dev/tty").ok();
        let modes = tty.as_ref().and_then(|tty| tcgetattr(tty.as_fd()).ok());
        Terminal { tty, modes, given: false }
    }

    /// Gives it to a process group, if it is this program's to give.
    pub fn give(&mut self, group: Pid) -> bool {
        let Some(tty) = &self.tty else { return false };
        if !self.given && tcgetpgrp(tty) != Ok(getpgrp()) {
            return false;
        }
        self.given = undisturbed(|| tcsetpgrp(tty, group)).is_ok();
        self.given
    }

    /// Whether this program has it for itself: nobody else is in its group, and all that it reads
    /// and writes is the terminal. Then a command gets it at the start, as many programs only look
    /// whether they are in the foreground, and ask for nothing.
    pub fn is_ours_alone() -> bool {
        let own = getpgrp();
        let (input, output, errors) = (stdin(), stdout(), stderr());
        let all = [input.as_fd(), output.as_fd(), errors.as_fd()];
        all.into_iter().all(|one| tcgetpgrp(one) == Ok(own))
            && processes().iter().filter(|process| process.group == own).count() == 1
    }

    /// Whether it is given away.
    pub const fn is_given(&self) -> bool {
        self.given
    }

    /// Takes it back, if it was given away.
    pub fn take_back(&mut self) {
        if let Some(tty) = &self.tty
            && std::mem::take(&mut self.given)
        {
            // It may be gone.
            let _ = undisturbed(|| tcsetpgrp(tty, getpgrp()));
        }
    }

    /// Sets it as it was in the beginning: whoever was killed could not.
    pub fn restore(&self) {
        if let (Some(tty), Some(modes)) = (&self.tty, &self.modes) {
            // It may be gone. Who waited until it has shown all would wait for Ctrl-Q.
            let _ = undisturbed(|| tcsetattr(tty.as_fd(), SetArg::TCSANOW, modes));
        }
    }

    /// Whether there was one that has been closed.
    pub fn is_gone(&self) -> bool {
        self.tty.as_ref().is_some_and(|tty| tcgetpgrp(tty).is_err())
    }
}

/// Does what is not for those in the background to do. The system would stop them for it.
pub fn undisturbed<T>(act: impl FnOnce() -> T) -> T {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTTOU);
    let before = set.thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let done = act();
    if let Ok(before) = before {
        // Fails for no mask that was one before.
        let _ = before.thread_set_mask();
    }
    done
}

/// Whether nobody is there who would continue this program's process group if it stopped, such as
/// a shell with job control. The system doesn't stop such a group by a terminal's signals.
pub fn nobody_continues() -> bool {
    let (group, session) = (getpgrp(), getsid(None));
    // A group is a shell's job if one of its members was started from the same session's other
    // group.
    let continues = |parent: Pid| {
        getsid(Some(parent)) == session && getpgid(Some(parent)).is_ok_and(|its| its != group)
    };
    let members = processes().into_iter().filter(|process| process.group == group);
    !members.map(|member| member.parent).chain([getppid()]).any(continues)
}
