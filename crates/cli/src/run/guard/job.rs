//! Stopping and going on together with the command, as one job of the shell that both were started
//! from.

use std::time::Duration;

use nix::sys::signal::{Signal, killpg, raise};
use nix::unistd::getpgrp;

use super::super::child::{Change, How};
use super::super::clock::Moment;
use super::super::tell;
use super::super::terminal::nobody_continues;
use super::Guard;

/// How long to ask whether the lease is still there before a command goes on that was stopped.
const ASKING: Duration = Duration::from_secs(1);

/// A command that goes on as soon as it is known to have its lease.
#[derive(Debug)]
pub(super) struct Paused {
    /// When it goes on if the server does not answer.
    pub(super) until: Moment,
    /// Whether it gets the terminal then.
    with_terminal: bool,
}

impl Guard<'_> {
    /// Sees what became of the command.
    pub(super) fn observe(&mut self) {
        while let Some(change) = self.child.change() {
            match change {
                Change::Ended(_) => {}
                Change::Stopped(Some(signal @ (Signal::SIGTTIN | Signal::SIGTTOU))) => {
                    if self.terminal.give(self.child.group()) {
                        self.child.signal(Signal::SIGCONT);
                    } else {
                        self.stop_too(signal);
                    }
                }
                Change::Stopped(signal) => {
                    if signal == Some(Signal::SIGTSTP) || self.terminal.is_given() {
                        self.stop_too(Signal::SIGTSTP);
                    }
                }
            }
        }
    }

    /// Stops as the command did, so that the shell that both were started from takes over, and goes
    /// on when that continues them.
    pub(super) fn stop_too(&mut self, signal: Signal) {
        let by_reading = matches!(signal, Signal::SIGTTIN | Signal::SIGTTOU);
        if nobody_continues() {
            // The command would stop for good.
            if !by_reading {
                self.child.signal(Signal::SIGCONT);
                return;
            }
            let program = self.order.program_shown();
            tell::warn(&format!(
                "{program} is stopped, since it waits for the terminal in the background; nobody \
                 can bring it to the foreground"
            ));
            return;
        }
        let paused = self.paused.take();
        let had_it = self.terminal.is_given() || paused.is_some_and(|paused| paused.with_terminal);
        let with_terminal = had_it || by_reading;
        // Not all heed a signal that may be caught.
        self.child.stop_rest();
        self.terminal.take_back();
        if with_terminal {
            // What the terminal has done to the command it would have done to all of these.
            let _ = killpg(getpgrp(), Signal::SIGSTOP);
        } else {
            let _ = raise(Signal::SIGSTOP);
        }
        // That may have been long, and the lease may be lost.
        self.calls.look.notify_one();
        self.paused = Some(Paused { until: Moment::now().after(ASKING), with_terminal });
    }

    /// Lets the command go on if it waits for that.
    pub(super) fn go_on(&mut self) {
        if let Some(paused) = self.paused.take() {
            if paused.with_terminal {
                self.terminal.give(self.child.group());
            }
            self.child.signal(Signal::SIGCONT);
        }
    }

    /// Leaves the terminal as it was found.
    pub(super) fn leave(&mut self) {
        if self.terminal.is_given() {
            self.terminal.take_back();
            if self.ending.is_some() || matches!(self.child.ended(), Some(How::Killed(_))) {
                self.terminal.restore();
            }
        }
    }
}
