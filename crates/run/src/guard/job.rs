//! Job control: stopping and continuing together with the command, as one job of the shell.

use std::time::Duration;

use client::Moment;
use nix::sys::signal::{Signal, killpg, raise};
use nix::unistd::getpgrp;

use crate::child::{Change, CommandEnd};
use crate::terminal::is_orphaned;

use super::Guard;

/// Maximum time to check the lease before a stopped command continues.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// Stopped command that continues once its lease is checked.
#[derive(Debug)]
pub(super) struct Paused {
    /// Time at which it continues without a reply.
    pub(super) until: Moment,
    /// Whether it gets the terminal when it continues.
    with_terminal: bool,
}

impl Guard<'_> {
    /// Handles changes of the command's state.
    pub(super) fn observe(&mut self) {
        while let Some(change) = self.child.change() {
            match change {
                Change::Ended => {}
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

    /// Stops this process as the command was stopped, so that the shell takes over; returns when the shell
    /// continues both.
    pub(super) fn stop_too(&mut self, signal: Signal) {
        let by_reading = matches!(signal, Signal::SIGTTIN | Signal::SIGTTOU);
        if is_orphaned() {
            // No shell would continue the command.
            if !by_reading {
                self.child.signal(Signal::SIGCONT);
                return;
            }
            let program = self.args.quoted_program();
            self.report.warn(&format!(
                "{program} is stopped, because it waits for the terminal in the background and no shell can \
                 bring it to the foreground"
            ));
            return;
        }
        let paused = self.paused.take();
        let had_it = self.terminal.is_given() || paused.is_some_and(|paused| paused.with_terminal);
        let with_terminal = had_it || by_reading;
        // Processes may handle SIGTSTP without stopping.
        self.child.stop_rest();
        self.terminal.take_back();
        if with_terminal {
            // The terminal would have stopped this whole group.
            let _ = killpg(getpgrp(), Signal::SIGSTOP);
        } else {
            let _ = raise(Signal::SIGSTOP);
        }
        // The lease may have been lost meanwhile.
        self.wakeups.check.notify_one();
        self.paused = Some(Paused { until: Moment::now().after(CHECK_TIMEOUT), with_terminal });
    }

    /// Continues the command, if it is paused.
    pub(super) fn resume(&mut self) {
        if let Some(paused) = self.paused.take() {
            if paused.with_terminal {
                self.terminal.give(self.child.group());
            }
            self.child.signal(Signal::SIGCONT);
        }
    }

    /// Restores the terminal.
    pub(super) fn leave(&mut self) {
        if self.terminal.is_given() {
            self.terminal.take_back();
            if self.ending.is_some() || matches!(self.child.ended(), Some(CommandEnd::Killed(_))) {
                self.terminal.restore();
            }
        }
    }
}
