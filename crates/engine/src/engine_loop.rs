use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use pool::{Command, HEARTBEAT_INTERVAL, LeaseId, Outcome, Refusal, Ticket, Timestamp, Waiting};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

use crate::held::HeldRequest;
use crate::housekeeping::Signals;
use crate::mailbox::{Left, Request};
use crate::writer::{Failure, Writer};
use crate::{BoxFuture, Error, Fatal, Health, spans};

/// Pause before the database is tried again: the first, and the longest.
pub(crate) const BACKOFF: (Duration, Duration) =
    (Duration::from_millis(50), Duration::from_secs(1));

/// Longest sleep: a clock may be set, and other servers may have started leases.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Maximum time for which a stopping engine answers the requests that it has.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Loop of the engine: waits for work, then does it.
pub(crate) struct EngineLoop {
    pub writer: Writer,
    pub waiting: VecDeque<Request>,
    pub mailbox: mpsc::Receiver<Request>,
    pub withdrawals: mpsc::UnboundedReceiver<Left>,
    pub housekeeping: Arc<Signals>,
    /// Maximum number of commands that are decided together.
    pub batch: usize,
    pub jitter: Duration,
    pub shared_database: bool,
    /// When the tickets of this server were last tended.
    pub tended: Option<Instant>,
    /// How often the tickets were tended.
    pub tends: u32,
}

impl EngineLoop {
    pub async fn run(mut self, mut stop: BoxFuture<'_, ()>) -> Result<(), Fatal> {
        let mut backoff = BACKOFF.0;
        let mut stopping: Option<Instant> = None;
        loop {
            if stopping.is_none() {
                tokio::select! {
                    biased;
                    () = &mut stop => {
                        self.mailbox.close();
                        stopping = Some(Instant::now());
                    }
                    () = self.wait() => {}
                }
            }
            self.gather();
            self.tend_queue();
            if stopping.is_some() {
                self.dismiss();
            }
            if stopping.is_some_and(|since| !self.pressed() || since.elapsed() > DRAIN_TIMEOUT) {
                return Ok(());
            }
            let taken = self.turn_in_sight().await;
            self.writer.shared.metrics.left(self.waiting.len());
            let Err(failure) = taken else {
                self.writer.shared.set_health(Health::Ready);
                backoff = BACKOFF.0;
                continue;
            };
            self.note(failure)?;
            tokio::time::sleep(backoff + self.jitter).await;
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    /// Records the failure of a turn that will be repeated.
    fn note(&self, failure: Failure) -> Result<(), Fatal> {
        let shared = &self.writer.shared;
        match failure {
            Failure::Away => {
                shared.metrics.failures.inc();
                shared.writing_failed();
                shared.time.forget_clock();
            }
            Failure::Mismatch(of) => {
                shared.metrics.mismatched(of);
                shared.set_health(Health::Ready);
            }
            Failure::Operator(sentence) => return Err(Fatal(sentence)),
        }
        Ok(())
    }

    /// Returns when the engine has work: a command, or a moment at which the ledger may change by
    /// itself.
    async fn wait(&mut self) {
        if self.pressed() {
            return;
        }
        let sleep = self.until_next_moment() + self.jitter;
        tokio::select! {
            biased;
            left = self.withdrawals.recv() => {
                if let Some(left) = left {
                    self.withdraw(left);
                }
            }
            // Once all handles are dropped, the mailbox has nothing more to receive.
            request = self.mailbox.recv(), if !self.mailbox.is_closed() => {
                self.waiting.extend(request);
            }
            () = self.writer.notifier.notified() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }

    /// Whether the engine has work now, without waiting.
    fn pressed(&self) -> bool {
        !self.waiting.is_empty() || self.writer.has_to_go_on()
    }

    /// Takes all waiting requests from the mailbox, up to the limit of a batch.
    fn gather(&mut self) {
        while let Ok(left) = self.withdrawals.try_recv() {
            self.withdraw(left);
        }
        if self.writer.shared.health().is_trouble() {
            keep_wanted(&mut self.waiting, &mut self.mailbox, self.batch);
            self.writer.shared.metrics.left(self.waiting.len());
        }
        while self.waiting.len() < self.batch
            && let Ok(request) = self.mailbox.try_recv()
        {
            self.waiting.push_back(request);
        }
    }

    fn withdraw(&mut self, left: Left) {
        match left {
            Left::Lease(lease_id) => {
                self.writer.held.take(lease_id);
                self.waiting.push_back(Request::unattended(Command::Withdraw { lease_id }));
            }
            Left::Ticket(ticket) => self.writer.held.left(ticket),
        }
    }

    /// Tends the tickets of this server: answers the requests that are due and, about once a
    /// second, requests lost tickets again, ends those that have lapsed, and shows the other
    /// servers that this one is alive.
    fn tend_queue(&mut self) {
        self.writer.held.look(!self.writer.shared.health().is_trouble());
        self.answer_due();
        if self.tended.is_some_and(|last| last.elapsed() < HEARTBEAT_INTERVAL) {
            return;
        }
        self.tended = Some(Instant::now());
        for ticket in self.without_place() {
            self.waiting.extend(self.writer.held.take(ticket));
        }
        let lapsed = {
            let (held, shared) = (&mut self.writer.held, &self.writer.shared);
            let server = Some(shared.server).filter(|_| self.shared_database);
            let copy = shared.copy();
            copy.as_ref().map(|copy| held.lapsed(&copy.ledger, server)).unwrap_or_default()
        };
        let lapse = |lease_id| Request::unattended(Command::Lapse { lease_id });
        self.waiting.extend(lapsed.into_iter().map(lapse));
        // A command that could not be written still waits.
        let pending = || self.waiting.iter().any(|one| matches!(one.command, Command::Heartbeat));
        if self.shared_database && self.writer.held.has_tickets() && !pending() {
            self.waiting.push_back(Request::unattended(Command::Heartbeat));
        }
    }

    /// Answers the requests whose wait is over, and those whose hold time has passed.
    fn answer_due(&mut self) {
        if self.writer.held.is_empty() {
            return;
        }
        let now = self.writer.shared.estimate();
        for (ticket, held, over) in self.writer.held.due(now) {
            let HeldRequest { request, until, position } = held;
            if !request.take() {
                self.withdraw(Left::of(ticket, &request));
                continue;
            }
            let outcome = {
                let copy = self.writer.shared.copy();
                let ledger = copy.as_ref().map(|copy| &copy.ledger);
                // Another batch may have recorded the end already.
                let waiting = ledger.and_then(|ledger| ledger.place_in_queue(ticket));
                let position = waiting.map_or(position, |waiting| waiting.position);
                if over {
                    let next_end = ledger.and_then(|ledger| request.next_end(ledger, now));
                    let retry_after = next_end.map_or(Duration::ZERO, |at| at.since(now));
                    Outcome::NotAllocated(Refusal::Full { position, retry_after })
                } else {
                    let since = waiting.map(|waiting| waiting.since).or(request.queued_since);
                    let since = since.unwrap_or(now);
                    Outcome::Queued(Waiting { ticket, position, since, until })
                }
            };
            if over {
                let told = request.key().map(|key| Command::TimeoutDelivered { key });
                let last = told.or_else(|| request.leaves_queue());
                self.waiting.extend(last.map(Request::unattended));
            }
            self.writer.shared.metrics.pools.refused(request.refused(&outcome));
            request.deliver(outcome, now, &self.writer.withdrawals);
            if !over {
                self.writer.held.left(ticket);
            }
        }
    }

    /// Tickets of requests that wait here but have lost their position in the queue: other servers
    /// removed it, or a restored database lacks it. Now and then, also tickets that another server
    /// serves, because their clients sent a request there, too.
    fn without_place(&mut self) -> Vec<LeaseId> {
        /// Limits how often the ticket of a client that waits at two servers moves between them.
        const BACK_AFTER: u32 = 5;
        self.tends = self.tends.wrapping_add(1);
        let shared = &self.writer.shared;
        let copy = shared.copy();
        let Some(ledger) = copy.as_ref().map(|copy| &copy.ledger) else { return Vec::new() };
        let elsewhere = |ticket: &Ticket| {
            ticket.server != shared.server && self.tends.is_multiple_of(BACK_AFTER)
        };
        let mut tickets = self.writer.held.tickets();
        tickets.retain(|ticket| ledger.ticket(*ticket).is_none_or(elsewhere));
        tickets
    }

    /// Refuses all requests that wait in a queue. Tickets with a key are kept.
    fn dismiss(&mut self) {
        for ticket in self.writer.held.tickets() {
            for request in self.writer.held.take(ticket) {
                if !request.is_kept() {
                    self.waiting.extend(request.leaves_queue().map(Request::unattended));
                }
                if request.take() {
                    request.refuse(Error::Stopping);
                }
            }
        }
    }

    /// Takes a turn. If that takes longer than the request timeout, the database is reported as away
    /// ([`watch_turns`](crate::shared::Shared::watch_turns)); the turn continues, because the outcome of the statements sent must
    /// become known.
    async fn turn_in_sight(&mut self) -> Result<(), Failure> {
        let shared = Arc::clone(&self.writer.shared);
        let _in_sight = shared.turn.begin();
        self.turn().await
    }

    async fn turn(&mut self) -> Result<(), Failure> {
        let away = self.writer.shared.health().is_trouble();
        let idle = !self.pressed() && !away && !self.writer.has_to_load();
        if idle && self.shared_database {
            // Other servers may have started leases, or recorded the expiry by now; and this is how
            // an idle server learns that the database is away.
            match self.writer.shared.catch_up().await {
                Ok(_) | Err(Error::Busy { .. }) => {}
                Err(_) => return Err(Failure::Away),
            }
        } else if idle {
            self.writer.store.check().await?;
        }
        if !away {
            // Also when commands wait: they may all change nothing.
            self.witness();
        }
        if idle && !self.pressed() && !self.is_time() {
            return Ok(());
        }
        if self.pressed() || away || self.writer.has_to_load() || self.is_time() {
            // No batch may be begun if this is the last one.
            let may_begin = !self.mailbox.is_closed();
            let first = self.waiting.iter().take(self.batch);
            let span = spans::batch(first.filter_map(|request| request.trace.as_ref()));
            self.writer.span.clone_from(&span);
            let attempt = self.writer.attempt(&mut self.waiting, self.batch, may_begin);
            let attempted = attempt.instrument(span).await;
            self.writer.span = Span::none();
            if attempted? {
                self.housekeeping.wrote_batch();
            }
            if std::mem::take(&mut self.writer.key_limits.overdue) {
                self.housekeeping.keys_overdue();
            }
        }
        Ok(())
    }

    /// Records that the database can be reached while another server with tickets is silent, so
    /// that these lapse in time if it is dead.
    fn witness(&mut self) {
        let (shared, now) = (&self.writer.shared, self.writer.shared.estimate());
        let needed = shared
            .copy()
            .as_ref()
            .is_some_and(|copy| copy.ledger.needs_witness(&shared.observer(copy, now)));
        if needed {
            self.waiting.push_back(Request::unattended(Command::Heartbeat));
        }
    }

    /// Whether a moment has come at which the ledger may change by itself.
    fn is_time(&self) -> bool {
        let now = self.writer.shared.estimate();
        self.next_moment(now).is_some_and(|at| at <= now)
    }

    /// Time until the ledger may change by itself, a request is due, or this server has to show that
    /// it is alive, by the latest known value of the ledger's time; at most [`LONGEST_SLEEP`].
    fn until_next_moment(&self) -> Duration {
        let now = self.writer.shared.estimate();
        let next = self.next_moment(now).map(|at| at.since(now));
        let due = self.writer.held.until_due(now);
        let tended = self.tended.filter(|_| self.writer.held.has_tickets());
        let tend = tended.map(|last| HEARTBEAT_INTERVAL.saturating_sub(last.elapsed()));
        [next, due, tend].into_iter().flatten().fold(LONGEST_SLEEP, Duration::min)
    }

    /// The next deadline, the moment when the first in a queue can be served, or the one when
    /// another server will have been silent for too long, whichever is first.
    fn next_moment(&self, now: Timestamp) -> Option<Timestamp> {
        let shared = &self.writer.shared;
        let copy = shared.copy();
        let copy = copy.as_ref()?;
        let (ledger, observer) = (&copy.ledger, shared.observer(copy, now));
        let connected = |ticket: &Ticket| !self.writer.held.is_absent(ticket.lease_id);
        let chance = ledger.next_chance(&observer, connected);
        let death = ledger.next_death(&observer);
        ledger.next_deadline().into_iter().chain(chance).chain(death).min()
    }
}

/// Drops requests whose clients no longer wait, and takes in others, up to `most`: while no batch
/// can be decided, the mailbox must not fill with requests that were answered long ago.
pub(crate) fn keep_wanted(
    waiting: &mut VecDeque<Request>,
    mailbox: &mut mpsc::Receiver<Request>,
    most: usize,
) {
    waiting.retain(Request::is_wanted);
    while waiting.len() < most
        && let Ok(request) = mailbox.try_recv()
    {
        waiting.extend(Some(request).filter(Request::is_wanted));
    }
}
