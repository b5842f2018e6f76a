//! Supervision of the command: it runs as long as its lease, and no longer.

mod job;

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use client::{Client, Moment};
use jiff::Timestamp;
use nix::sys::signal::Signal;
use tokio::sync::mpsc;

use crate::child::{Child, CommandEnd};
use crate::deadline::{Deadline, Plan};
use crate::keep::{LeaseEnd, LeaseUpdate, Wakeups, keep};
use crate::lease::HeldLease;
use crate::report::{sentence, time};
use crate::signals::{Signals, also_ends};
use crate::terminal::{Terminal, is_orphaned};
use crate::{Report, RunArgs};

use self::job::Paused;

/// Longest sleep, so that a deadline missed during the machine's sleep is noticed soon.
const TICK: Duration = Duration::from_secs(1);

/// Gap between two wake-ups that means that this process or the machine was stopped.
const LATE: Duration = Duration::from_secs(3);

/// Interval of checks whether the terminal is gone, which may be some time after SIGHUP.
const TERMINAL_TICK: Duration = Duration::from_millis(200);

/// Interval of checks whether all descendants have ended. Only the command itself causes SIGCHLD.
const DESCENDANTS_TICK: Duration = Duration::from_millis(40);

/// Maximum time for killed processes to disappear. A process in disk I/O may take longer.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// Reason to stop a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// The terminal was closed.
    HungUp,
    /// The deadline is near.
    TimeUp,
    /// The lease was lost.
    Lost,
}

/// Outcome of the supervision.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// End of the command; None if it could not be stopped.
    pub command: Option<CommandEnd>,
    /// Reason why the command was stopped, if it was.
    pub why: Option<StopReason>,
    /// End of the lease, if known.
    pub lease_end: Option<LeaseEnd>,
    /// Known deadline.
    pub deadline: Deadline,
    /// Deadline by the server's clock.
    pub expires_at: Timestamp,
    /// Last error of a server that has not replied since.
    pub away: Option<String>,
    /// Whether the policy allowed no further renewal.
    pub limit: bool,
    pub plan: Plan,
    /// Whether SIGKILL was sent.
    pub killed: bool,
    /// Whether a process continues nevertheless.
    pub goes_on: bool,
}

#[derive(Debug)]
struct Ending {
    why: StopReason,
    /// End of the grace period.
    kill_at: Moment,
    /// Time of the first SIGKILL.
    killed: Option<Moment>,
}

/// Supervisor of a command.
pub(crate) struct Guard<'a> {
    args: &'a RunArgs,
    report: &'a dyn Report,
    child: Child,
    terminal: Terminal,
    ending: Option<Ending>,
    paused: Option<Paused>,
    wakeups: Rc<Wakeups>,
    last_tick: Moment,
    hung_up: bool,
    deadline: Deadline,
    plan: Plan,
    expires_at: Timestamp,
    lease_end: Option<LeaseEnd>,
    away: Option<String>,
    limit: bool,
}

impl<'a> Guard<'a> {
    /// Creates the supervisor of a command that was just started.
    pub fn new(
        args: &'a RunArgs,
        report: &'a dyn Report,
        child: Child,
        terminal: Terminal,
        held: &HeldLease,
    ) -> Self {
        Guard {
            args,
            report,
            child,
            terminal,
            ending: None,
            paused: None,
            wakeups: Rc::default(),
            last_tick: Moment::now(),
            hung_up: false,
            deadline: held.deadline,
            plan: held.plan,
            expires_at: held.expires_at,
            lease_end: None,
            away: None,
            limit: false,
        }
    }

    /// Returns when the command has ended and, if it was stopped, all its descendants.
    pub async fn guard(
        mut self,
        client: &Client,
        held: &HeldLease,
        signals: &mut Signals,
    ) -> Outcome {
        let (to, mut updates) = mpsc::channel(16);
        let wakeups = Rc::clone(&self.wakeups);
        let mut keeping = pin!(keep(client, self.args, held, &wakeups, to));
        let mut keeps = true;
        loop {
            self.observe();
            self.act(Moment::now());
            if self.is_done(Moment::now()) {
                break;
            }
            tokio::select! {
                signal = signals.next() => self.pass_on(signal),
                Some(update) = updates.recv() => self.update(update),
                () = &mut keeping, if keeps => keeps = false,
                () = self.due().reached() => {}
            }
        }
        // The reason of a lost lease may arrive after the command has ended.
        while self.why() == Some(StopReason::Lost) && self.lease_end.is_none() {
            tokio::select! {
                () = &mut keeping, if keeps => keeps = false,
                update = updates.recv() => match update {
                    Some(update) => self.update(update),
                    None => break,
                },
            }
        }
        self.leave();
        let (why, command) = (self.why(), self.child.ended());
        let stopped = matches!(why, Some(StopReason::Lost | StopReason::TimeUp));
        let goes_on = stopped && !self.child.is_gone();
        let Guard { ending, lease_end, deadline, plan, expires_at, away, limit, .. } = self;
        let killed = ending.is_some_and(|ending| ending.killed.is_some());
        Outcome {
            command,
            why,
            lease_end,
            deadline,
            expires_at,
            away,
            limit,
            plan,
            killed,
            goes_on,
        }
    }

    fn why(&self) -> Option<StopReason> {
        self.ending.as_ref().map(|ending| ending.why)
    }

    /// Returns when the command gets SIGTERM unless the lease is renewed.
    fn stop_at(&self) -> Moment {
        self.deadline.at().before(self.plan.stop_before)
    }

    /// Returns when to act next at the latest.
    fn due(&self) -> Moment {
        let now = Moment::now();
        let mut due = now.after(if self.hung_up { TERMINAL_TICK } else { TICK });
        if let Some(Ending { kill_at, killed: None, .. }) = &self.ending {
            due = due.min(*kill_at);
        }
        if let Some(paused) = &self.paused {
            due = due.min(paused.until);
        }
        if self.why().is_some() && self.child.ended().is_some() {
            due = due.min(now.after(DESCENDANTS_TICK));
        }
        if matches!(self.why(), None | Some(StopReason::HungUp)) {
            due = due.min(self.stop_at());
        }
        due
    }

    /// Does what is due.
    fn act(&mut self, now: Moment) {
        if now.since(std::mem::replace(&mut self.last_tick, now)) > LATE {
            self.wakeups.check.notify_one();
        }
        if self.child.ended().is_none() {
            if now >= self.stop_at() {
                self.stop(StopReason::TimeUp);
            } else if self.hung_up && self.terminal.is_gone() {
                self.stop(StopReason::HungUp);
            }
        }
        if self.paused.as_ref().is_some_and(|paused| now >= paused.until) {
            self.resume();
        }
        if let Some(ending) = &mut self.ending
            && now >= ending.kill_at
        {
            if ending.why != StopReason::HungUp {
                // Repeated, because a process may have forked meanwhile.
                self.child.signal_all(Signal::SIGKILL);
            } else if ending.killed.is_none() {
                self.child.signal(Signal::SIGKILL);
            }
            ending.killed.get_or_insert(now);
        }
    }

    fn is_done(&mut self, now: Moment) -> bool {
        match &self.ending {
            None | Some(Ending { why: StopReason::HungUp, .. }) => self.child.ended().is_some(),
            Some(Ending { killed: Some(at), .. }) if now >= at.after(KILL_TIMEOUT) => true,
            Some(_) => self.child.ended().is_some() && self.child.is_gone(),
        }
    }

    /// Starts to stop the command. Loss of the lease overrides a closed terminal.
    fn stop(&mut self, why: StopReason) {
        let hung_up = StopReason::HungUp;
        if self.why().is_some_and(|before| before != hung_up || why == hung_up) {
            return;
        }
        let now = Moment::now();
        let mut kill_at = match why {
            StopReason::TimeUp => self.plan.kill_at(now, self.deadline.at()),
            StopReason::Lost | StopReason::HungUp => now.after(self.plan.grace),
        };
        if let Some(ending) = &self.ending {
            kill_at = kill_at.min(ending.kill_at);
        }
        self.ending = Some(Ending { why, kill_at, killed: None });
        if why != hung_up {
            self.paused = None;
            self.child.terminate_all();
            self.report.info("sent SIGTERM to the command");
            if self.child.is_immune() {
                let program = self.args.quoted_program();
                self.report.warn(&format!(
                    "{program} or one of its descendants runs as another user and can't be stopped: it \
                     continues without a lease"
                ));
            }
        }
    }

    fn update(&mut self, update: LeaseUpdate) {
        match update {
            LeaseUpdate::Until(deadline) => {
                self.deadline = deadline;
                if self.away.take().is_some() {
                    self.report.info("the server replies again");
                }
                self.resume();
            }
            LeaseUpdate::Renewed(expires_at) => {
                (self.expires_at, self.limit) = (expires_at, false);
                self.report.info(&format!("renewed the lease until {}", time(expires_at)));
            }
            LeaseUpdate::Limit => {
                if !std::mem::replace(&mut self.limit, true) {
                    self.report.info("the pool's policy allows no further renewal");
                }
            }
            LeaseUpdate::Away(why) => {
                if self.away.replace(why.clone()).is_none() {
                    self.report.info(&format!("the lease continues. {}", sentence(&why)));
                }
            }
            LeaseUpdate::Over => {
                if self.child.ended().is_none() {
                    self.stop(StopReason::Lost);
                }
            }
            LeaseUpdate::Ended(end) => self.lease_end = Some(end),
        }
    }

    /// Passes a signal on to the command's group.
    fn pass_on(&mut self, signal: Signal) {
        match signal {
            // The loop calls `observe` in any case.
            Signal::SIGCHLD => {}
            signal if also_ends(signal) => self.child.signal(Signal::SIGTERM),
            Signal::SIGTSTP if is_orphaned() => {}
            Signal::SIGTSTP if self.paused.is_some() => self.stop_too(signal),
            Signal::SIGCONT => {
                // The stop may have been long.
                self.wakeups.check.notify_one();
                if self.paused.is_none() {
                    self.child.signal(signal);
                }
            }
            Signal::SIGHUP => {
                self.hung_up = true;
                self.paused = None;
                self.child.signal(Signal::SIGHUP);
                self.child.signal(Signal::SIGCONT);
            }
            _ => self.child.signal(signal),
        }
    }
}
