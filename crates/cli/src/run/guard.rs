//! Guarding the command: it runs as long as its lease, and no longer.

mod job;

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use nix::sys::signal::Signal;
use tokio::sync::mpsc;

use crate::api::Api;

use super::child::{Child, How};
use super::clock::Moment;
use super::deadline::{Deadline, Plan};
use super::keep::{self, Calls, Over, Word};
use super::lease::Held;
use super::order::Order;
use super::signals::{Signals, also_ends};
use super::tell::{self, Tell};
use super::terminal::{Terminal, nobody_continues};

use self::job::Paused;

/// How often to look round, so that what a sleeping machine missed is not missed for long.
const TICK: Duration = Duration::from_secs(1);

/// Whoever looks round later than this after the last time was stopped, or the machine was.
const LATE: Duration = Duration::from_secs(3);

/// How often to look whether a terminal is gone. That may be some time after the signal.
const TERMINAL_TICK: Duration = Duration::from_millis(200);

/// How often to look whether all have ended. Only the command itself gives notice of it.
const LOOK: Duration = Duration::from_millis(40);

/// How long those who were killed may take to be gone. Some can't be, until a disk answers.
const DYING: Duration = Duration::from_secs(1);

/// Why a command is being ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its terminal was closed.
    HungUp,
    /// The lease's time is up.
    TimeUp,
    /// The lease was lost.
    Lost,
}

/// How it all came out.
#[derive(Debug)]
pub struct Outcome {
    /// How the command ended; None if it could not be ended.
    pub how: Option<How>,
    /// Why it was ended, if it was.
    pub why: Option<Why>,
    /// How the lease ended, if that is known.
    pub over: Option<Over>,
    /// Until when the lease was known to run.
    pub deadline: Deadline,
    /// The same by the server's clock.
    pub expires_at: Timestamp,
    /// What the server last failed with, if it did not answer since.
    pub away: Option<String>,
    /// Whether the lease could not be renewed further.
    pub limit: bool,
    /// The plan by which it was ended.
    pub plan: Plan,
    /// Whether the command had to be killed.
    pub killed: bool,
    /// Whether a part of it goes on in spite of that.
    pub goes_on: bool,
}

#[derive(Debug)]
struct Ending {
    why: Why,
    /// When the grace time is over.
    kill_at: Moment,
    /// When that was done.
    killed: Option<Moment>,
}

/// A command and all that bears on its end.
#[derive(Debug)]
pub struct Guard<'a> {
    order: &'a Order,
    tell: Tell,
    child: Child,
    terminal: Terminal,
    ending: Option<Ending>,
    paused: Option<Paused>,
    calls: Rc<Calls>,
    looked_round: Moment,
    hung_up: bool,
    deadline: Deadline,
    plan: Plan,
    expires_at: Timestamp,
    over: Option<Over>,
    away: Option<String>,
    limit: bool,
}

impl<'a> Guard<'a> {
    /// Guards a command that was just started under a lease.
    pub fn new(
        order: &'a Order,
        tell: Tell,
        child: Child,
        terminal: Terminal,
        held: &Held,
    ) -> Self {
        Guard {
            order,
            tell,
            child,
            terminal,
            ending: None,
            paused: None,
            calls: Rc::default(),
            looked_round: Moment::now(),
            hung_up: false,
            deadline: held.deadline,
            plan: held.plan,
            expires_at: held.expires_at,
            over: None,
            away: None,
            limit: false,
        }
    }

    /// Returns when the command has ended, and, where it was ended, all that it started.
    pub async fn guard(mut self, api: &Api, held: &Held, signals: &mut Signals) -> Outcome {
        let (to, mut words) = mpsc::channel(16);
        let calls = Rc::clone(&self.calls);
        let mut keeping = pin!(keep::keep(api, self.order, held, &calls, to));
        let mut keeps = true;
        loop {
            self.observe();
            self.act(Moment::now());
            if self.is_done(Moment::now()) {
                break;
            }
            tokio::select! {
                signal = signals.next() => self.pass_on(signal),
                Some(word) = words.recv() => self.hear(word),
                () = &mut keeping, if keeps => keeps = false,
                () = self.due().reached() => {}
            }
        }
        // Where the lease is over, there is still to be heard why.
        while self.why() == Some(Why::Lost) && self.over.is_none() {
            tokio::select! {
                () = &mut keeping, if keeps => keeps = false,
                word = words.recv() => match word {
                    Some(word) => self.hear(word),
                    None => break,
                },
            }
        }
        self.leave();
        let (why, how) = (self.why(), self.child.ended());
        let goes_on = matches!(why, Some(Why::Lost | Why::TimeUp)) && !self.child.is_gone();
        let Guard { ending, over, deadline, plan, expires_at, away, limit, .. } = self;
        let killed = ending.is_some_and(|ending| ending.killed.is_some());
        Outcome { how, why, over, deadline, expires_at, away, limit, plan, killed, goes_on }
    }

    fn why(&self) -> Option<Why> {
        self.ending.as_ref().map(|ending| ending.why)
    }

    /// When the command gets the signal to end, unless the lease is renewed.
    fn stop_at(&self) -> Moment {
        self.deadline.at().before(self.plan.stop_before)
    }

    /// When there is something to do at the latest.
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
            due = due.min(now.after(LOOK));
        }
        if matches!(self.why(), None | Some(Why::HungUp)) {
            due = due.min(self.stop_at());
        }
        due
    }

    /// Does what is due.
    fn act(&mut self, now: Moment) {
        if now.since(std::mem::replace(&mut self.looked_round, now)) > LATE {
            self.calls.look.notify_one();
        }
        if self.child.ended().is_none() {
            if now >= self.stop_at() {
                self.end(Why::TimeUp);
            } else if self.hung_up && self.terminal.is_gone() {
                self.end(Why::HungUp);
            }
        }
        if self.paused.as_ref().is_some_and(|paused| now >= paused.until) {
            self.go_on();
        }
        if let Some(ending) = &mut self.ending
            && now >= ending.kill_at
        {
            if ending.why != Why::HungUp {
                // Time and again: whoever was quick may have started another.
                self.child.signal_all(Signal::SIGKILL);
            } else if ending.killed.is_none() {
                self.child.signal(Signal::SIGKILL);
            }
            ending.killed.get_or_insert(now);
        }
    }

    /// Whether there is nothing left to wait for.
    fn is_done(&mut self, now: Moment) -> bool {
        match &self.ending {
            None | Some(Ending { why: Why::HungUp, .. }) => self.child.ended().is_some(),
            Some(Ending { killed: Some(at), .. }) if now >= at.after(DYING) => true,
            Some(_) => self.child.ended().is_some() && self.child.is_gone(),
        }
    }

    /// Begins to end the command. What is being ended for a closed terminal is so once more.
    fn end(&mut self, why: Why) {
        let before = self.why();
        if before.is_some_and(|before| before != Why::HungUp || why == Why::HungUp) {
            return;
        }
        let now = Moment::now();
        let mut kill_at = match why {
            Why::TimeUp => self.plan.kill_at(now, self.deadline.at()),
            Why::Lost | Why::HungUp => now.after(self.plan.grace),
        };
        if let Some(ending) = &self.ending {
            kill_at = kill_at.min(ending.kill_at);
        }
        self.ending = Some(Ending { why, kill_at, killed: None });
        if why != Why::HungUp {
            self.paused = None;
            self.child.tell_all_to_end();
            self.tell.verbose("told the command to end by SIGTERM");
            if self.child.is_immune() {
                let program = self.order.program_shown();
                tell::warn(&format!(
                    "{program}, or something that it started, runs as another user and can't be \
                     ended: it goes on without a lease"
                ));
            }
        }
    }

    fn hear(&mut self, word: Word) {
        match word {
            Word::Until(deadline) => {
                self.deadline = deadline;
                if self.away.take().is_some() {
                    self.tell.verbose("the server answers again");
                }
                self.go_on();
            }
            Word::Renewed(expires_at) => {
                (self.expires_at, self.limit) = (expires_at, false);
                self.tell.verbose(&format!("renewed the lease until {}", tell::time(expires_at)));
            }
            Word::Limit => {
                if !std::mem::replace(&mut self.limit, true) {
                    self.tell.verbose("the pool's policy lets the lease be renewed no further");
                }
            }
            Word::Away(why) => {
                if self.away.replace(why.clone()).is_none() {
                    self.tell.verbose(&format!("the lease runs on. {}", tell::sentence(&why)));
                }
            }
            Word::Over => {
                if self.child.ended().is_none() {
                    self.end(Why::Lost);
                }
            }
            Word::Why(over) => self.over = Some(over),
        }
    }

    /// Passes a signal on to the command and all that it started.
    fn pass_on(&mut self, signal: Signal) {
        match signal {
            // Noticed in any case.
            Signal::SIGCHLD => {}
            signal if also_ends(signal) => self.child.signal(Signal::SIGTERM),
            Signal::SIGTSTP if nobody_continues() => {}
            Signal::SIGTSTP if self.paused.is_some() => self.stop_too(signal),
            Signal::SIGCONT => {
                // Nobody tells for how long this had been stopped.
                self.calls.look.notify_one();
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
