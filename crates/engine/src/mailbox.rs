use std::error::Error as Cause;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pool::{
    Allocation, Command, LeaseId, Ledger, Outcome, PoolId, Refusal, Sender, Timestamp, UserKey,
    Waiting,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::warn;

use crate::Error;
use crate::spans::{RequestTrace, TraceEnd};

/// A command on its way to the engine.
pub(crate) struct Request {
    pub command: Command,
    pub sender: Sender,
    /// Called when it begins to wait in a queue.
    pub on_queued: Option<OnQueued>,
    /// When it was first added to a queue.
    pub queued_since: Option<Timestamp>,
    /// When it is answered although it still waits; None if it is held until the wait ends.
    pub answer_by: Option<Instant>,
    /// None for the engine's own commands.
    reply: Option<Reply>,
    /// None if it is not traced.
    pub trace: Option<RequestTrace>,
}

/// See [`Handle::on_queued`](crate::Handle::on_queued).
pub(crate) type OnQueued = Arc<dyn Fn() + Send + Sync>;

struct Reply {
    sender: oneshot::Sender<Result<Delivery, Unanswered>>,
    progress: Arc<Progress>,
}

/// Progress of a request; shared by the engine and the waiting client.
#[derive(Default)]
struct Progress {
    stage: AtomicU8,
    /// Its ticket in a queue, if it ever had one.
    ticket: Mutex<Option<LeaseId>>,
}

impl Progress {
    fn ticket(&self) -> Option<LeaseId> {
        *self.ticket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resources left behind by a client that disconnected.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Left {
    /// A lease, or a ticket for it, that no client can use.
    Lease(LeaseId),
    /// A ticket with a key, which the client may request again.
    Ticket(LeaseId),
}

impl Left {
    /// The resource that the client of this request leaves, which waits with that ticket.
    pub fn of(ticket: LeaseId, request: &Request) -> Self {
        if request.is_kept() { Left::Ticket(ticket) } else { Left::Lease(ticket) }
    }
}

/// Channel for these reports: bounded by the requests that were in progress, each of which reports
/// at most once.
pub(crate) type Withdrawals = mpsc::UnboundedSender<Left>;

// Stages of a request from a client. Every step is one atomic exchange, so that the engine and the
// waiting client always agree on which of them came first.
const WAITING: u8 = 0;
const TAKEN: u8 = 1;
/// The request is in a queue.
const QUEUED: u8 = 2;
const GIVEN_UP: u8 = 3;

/// The end at which the answer to a [`Request`] arrives.
pub(crate) struct Answer {
    pub receiver: oneshot::Receiver<Result<Delivery, Unanswered>>,
    progress: Arc<Progress>,
    /// Whether its ticket is kept for the client, and the channel that reports that the client
    /// left. None if it is not an allocation.
    kept: Option<(bool, Withdrawals)>,
    /// None if it is not traced.
    trace_end: Option<TraceEnd>,
}

impl Answer {
    /// Whether the request waits, or has waited, in a queue.
    pub fn was_queued(&self) -> bool {
        self.progress.ticket().is_some()
    }

    /// Stops waiting, and returns the error for the command: it will certainly not be carried out,
    /// or it may have been.
    pub fn give_up(self) -> Error {
        match self.leave() {
            TAKEN => Error::OutcomeUnknown,
            _ => Error::not_done(),
        }
    }

    fn leave(&self) -> u8 {
        let stage = self.progress.stage.swap(GIVEN_UP, SeqCst);
        self.trace_end.iter().for_each(TraceEnd::leave);
        if let Some((kept, withdrawals)) = &self.kept
            && let Some(ticket) = self.progress.ticket().filter(|_| stage == QUEUED)
        {
            let left = if *kept { Left::Ticket(ticket) } else { Left::Lease(ticket) };
            // Without an engine the ticket lapses.
            let _ = withdrawals.send(left);
        }
        stage
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Request {
    /// A client's command. An allocation with a key that waits is answered after `hold`.
    pub fn new(
        command: Command,
        hold: Option<Duration>,
        withdrawals: &Withdrawals,
    ) -> (Self, Answer) {
        let (sender, receiver) = oneshot::channel();
        let progress = Arc::<Progress>::default();
        let kept = match &command {
            Command::Allocate(allocation) => Some((allocation.key.is_some(), withdrawals.clone())),
            _ => None,
        };
        let answer_by = hold.and_then(|hold| Instant::now().checked_add(hold));
        let reply = Some(Reply { sender, progress: Arc::clone(&progress) });
        let trace = RequestTrace::begin();
        let trace_end = trace.as_ref().map(RequestTrace::out);
        let (sender, on_queued, queued_since) = Default::default();
        let request = Request { command, sender, on_queued, queued_since, answer_by, reply, trace };
        (request, Answer { receiver, progress, kept, trace_end })
    }

    /// A command of the engine itself; no client waits for its outcome.
    pub fn unattended(command: Command) -> Self {
        Request {
            command,
            sender: Sender::Trusted,
            on_queued: None,
            queued_since: None,
            answer_by: None,
            reply: None,
            trace: None,
        }
    }

    /// Whether it came from outside: a client waits, or has waited, for its outcome.
    pub fn is_attended(&self) -> bool {
        self.reply.is_some()
    }

    /// The allocation, if it is one.
    fn allocation(&self) -> Option<&Allocation> {
        match &self.command {
            Command::Allocate(allocation) => Some(allocation),
            _ => None,
        }
    }

    /// The lease that it allocates, if it does.
    pub fn allocates(&self) -> Option<LeaseId> {
        self.allocation().map(|allocation| allocation.lease_id)
    }

    /// The pool that refuses it, and why, if it allocates and this is its outcome.
    pub fn refused<'a>(&self, outcome: &'a Outcome) -> Option<(PoolId, &'a Refusal)> {
        match outcome {
            Outcome::NotAllocated(refusal) => Some((self.allocation()?.pool, refusal)),
            _ => None,
        }
    }

    /// Its idempotency key, if it allocates and has one.
    pub fn key(&self) -> Option<UserKey> {
        self.allocation().and_then(Allocation::user_key)
    }

    /// Whether it allocates with a key, so that its ticket outlasts the request.
    pub fn is_kept(&self) -> bool {
        self.allocation().is_some_and(|allocation| allocation.key.is_some())
    }

    /// Earliest moment after `now` at which a token may become available for it, if it allocates.
    pub fn next_end(&self, ledger: &Ledger, now: Timestamp) -> Option<Timestamp> {
        let Allocation { pool, token, .. } = self.allocation()?;
        let pool = ledger.pool(*pool)?;
        token.map_or_else(|| pool.next_end(now), |token| pool.next_end_of(token, now))
    }

    /// Command that ends the wait of this allocation.
    pub fn leaves_queue(&self) -> Option<Command> {
        let lease_id = self.allocates()?;
        Some(if self.is_kept() {
            Command::Lapse { lease_id }
        } else {
            Command::Withdraw { lease_id }
        })
    }

    /// Records that it waits with that ticket, and until when: never later than recorded before.
    pub fn wait(&mut self, waiting: &mut Waiting) {
        self.queued_since.get_or_insert(waiting.since);
        if let Command::Allocate(allocation) = &mut self.command {
            allocation.lease_id = waiting.ticket;
            waiting.until = *allocation.until.get_or_insert(waiting.until);
        }
    }

    /// Whether to keep it: a client waits for its outcome, or the command is the engine's own.
    pub fn is_wanted(&self) -> bool {
        self.reply.as_ref().is_none_or(|reply| {
            !reply.sender.is_closed() && reply.progress.stage.load(SeqCst) != GIVEN_UP
        })
    }

    /// Marks the command as one that may be carried out from now on. False if the client has
    /// stopped waiting: it must not be carried out.
    pub fn take(&self) -> bool {
        self.reply.as_ref().is_none_or(|Reply { sender, .. }| {
            !sender.is_closed() && (self.step(WAITING, TAKEN) || self.step(QUEUED, TAKEN))
        })
    }

    /// The command was certainly not carried out, and waits again.
    pub fn put_back(&mut self) {
        self.trace.iter().for_each(RequestTrace::put_back);
        self.step(TAKEN, WAITING);
    }

    /// The command waits in a queue. False if the client has stopped waiting.
    pub fn queue(&mut self) -> bool {
        if let Some(call) = self.on_queued.take() {
            call();
        }
        self.trace.iter().for_each(RequestTrace::queue);
        if let Some(reply) = &self.reply {
            let mut ticket = reply.progress.ticket.lock().unwrap_or_else(PoisonError::into_inner);
            *ticket = self.allocates();
        }
        self.step(TAKEN, QUEUED)
    }

    fn step(&self, from: u8, to: u8) -> bool {
        let exchange =
            |reply: &Reply| reply.progress.stage.compare_exchange(from, to, SeqCst, SeqCst);
        self.reply.as_ref().is_some_and(|reply| exchange(reply).is_ok())
    }

    /// Delivers the outcome, which was decided at `at`. A lease that can't be delivered is
    /// withdrawn.
    pub fn deliver(self, outcome: Outcome, at: Timestamp, withdrawals: &Withdrawals) {
        let kept = self.is_kept();
        if let Some(reply) = self.reply {
            // With a key, a client that repeats the request gets the same lease.
            let withdrawals = (!kept).then(|| withdrawals.clone());
            // A refused value is dropped by the channel, which withdraws it.
            drop(reply.sender.send(Ok(Delivery { outcome: Some(outcome), at, withdrawals })));
        }
    }

    pub fn refuse(self, error: Error) {
        self.leave_unanswered(Unanswered { error, cause: None });
    }

    /// Rejects the request: the database does not accept its values, for this cause.
    pub fn refuse_for(self, cause: &(dyn Cause + 'static)) {
        self.leave_unanswered(Unanswered { error: Error::Refused, cause: Some(cause.to_string()) });
    }

    fn leave_unanswered(self, why: Unanswered) {
        if let Some(reply) = self.reply {
            // An error that no client receives logs itself when dropped.
            drop(reply.sender.send(Err(why)));
        }
    }
}

/// Reason for a missing outcome. It is logged when dropped: for a client's request, that happens in
/// the client's task, so the log lines have the request's id.
#[derive(Debug)]
pub(crate) struct Unanswered {
    error: Error,
    /// For the log.
    cause: Option<String>,
}

impl Unanswered {
    pub fn receive(self) -> Error {
        self.error.clone()
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(error) = &self.cause {
            warn!(error, "the database refused a command");
        }
    }
}

/// An outcome on its way to the client. If it is dropped before it was received, the lease it
/// grants is withdrawn: no client knows it.
pub(crate) struct Delivery {
    outcome: Option<Outcome>,
    at: Timestamp,
    /// None if it grants no lease that would be withdrawn.
    withdrawals: Option<Withdrawals>,
}

impl Delivery {
    pub fn receive(mut self) -> (Outcome, Timestamp) {
        (self.outcome.take().expect("an outcome is taken out once, here"), self.at)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let (Some(Outcome::Allocated(grant)), Some(withdrawals)) =
            (&self.outcome, &self.withdrawals)
        {
            // Without an engine the lease runs to its deadline.
            let _ = withdrawals.send(Left::Lease(grant.lease.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use pool::PoolId;
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;

    /// Counts log lines.
    struct Lines(Arc<AtomicUsize>);

    impl Subscriber for Lines {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, _: &Event<'_>) {
            self.0.fetch_add(1, SeqCst);
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn the_cause_of_a_refusal_is_logged_once_with_or_without_a_client() {
        let lines = Arc::<AtomicUsize>::default();
        let _logging = tracing::subscriber::set_default(Lines(Arc::clone(&lines)));
        let (withdrawals, _) = mpsc::unbounded_channel();
        let cause = std::fmt::Error;
        let gone = |(request, answer): (Request, Answer)| {
            drop(answer);
            request.refuse_for(&cause);
        };
        let leaves = |(request, answer): (Request, Answer)| {
            request.refuse_for(&cause);
            drop(answer);
        };
        let hears = |(request, mut answer): (Request, Answer)| {
            request.refuse_for(&cause);
            let why = answer.receiver.try_recv().unwrap().err().unwrap();
            assert_eq!(why.receive(), Error::Refused);
        };
        let ways: [&dyn Fn((Request, Answer)); 3] = [&gone, &leaves, &hears];
        for (place, way) in ways.iter().enumerate() {
            way(Request::new(Command::Clear { pool: PoolId::DEFAULT }, None, &withdrawals));
            assert_eq!(lines.load(SeqCst), place + 1);
        }
        Request::unattended(Command::Clear { pool: PoolId::DEFAULT }).refuse_for(&cause);
        assert_eq!(lines.load(SeqCst), ways.len() + 1);
    }
}
