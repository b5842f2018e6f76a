use std::error::Error as Cause;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::SeqCst};

use pool::{Command, IdempotencyKey, LeaseId, Outcome, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::Error;
use crate::spans::Way;

/// A command on its way to the engine.
pub(crate) struct Request {
    pub command: Command,
    /// When it was first given a place in the pool's queue.
    pub queued_since: Option<Timestamp>,
    /// None for what the engine asks of itself.
    reply: Option<Reply>,
    /// None where it is not traced.
    pub way: Option<Box<Way>>,
}

struct Reply {
    sender: oneshot::Sender<Result<Delivery, Unanswered>>,
    progress: Arc<Progress>,
}

/// How far a request has come; shared by the engine and the one who waits.
#[derive(Default)]
struct Progress {
    stage: AtomicU8,
    /// Whether it ever had a place in the pool's queue.
    queued: AtomicBool,
}

/// Where withdrawals go: bounded by the requests that were under way, each of which puts in one
/// command at most.
pub(crate) type Withdrawals = mpsc::UnboundedSender<Command>;

// The stages of a request that somebody waits for. Every step is one atomic exchange, so that the
// engine and the one who waits always agree on which of them came first.
const WAITING: u8 = 0;
const TAKEN: u8 = 1;
/// It has a place in the pool's queue.
const QUEUED: u8 = 2;
const GIVEN_UP: u8 = 3;

/// The end at which the answer to a [`Request`] arrives.
pub(crate) struct Answer {
    pub receiver: oneshot::Receiver<Result<Delivery, Unanswered>>,
    progress: Arc<Progress>,
    /// The lease that is allocated, and where to say that nobody wants it any more.
    allocates: Option<(LeaseId, Withdrawals)>,
}

impl Answer {
    /// Whether the request waits, or has waited, in the pool's queue.
    pub fn was_queued(&self) -> bool {
        self.progress.queued.load(SeqCst)
    }

    /// Stops waiting, and tells what is to be said of the command: that it will certainly not be
    /// carried out, or that it may have been.
    pub fn give_up(self) -> Error {
        match self.leave() {
            TAKEN => Error::OutcomeUnknown,
            _ => Error::not_done(),
        }
    }

    fn leave(&self) -> u8 {
        let stage = self.progress.stage.swap(GIVEN_UP, SeqCst);
        if let Some((lease_id, withdrawals)) = &self.allocates
            && stage == QUEUED
        {
            // Without an engine the place lapses.
            drop(withdrawals.send(Command::Withdraw { lease_id: *lease_id }));
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
    pub fn new(command: Command, withdrawals: &Withdrawals) -> (Self, Answer) {
        let (sender, receiver) = oneshot::channel();
        let progress = Arc::<Progress>::default();
        let allocates = match &command {
            Command::Allocate(allocation) => Some((allocation.lease_id, withdrawals.clone())),
            _ => None,
        };
        let reply = Some(Reply { sender, progress: Arc::clone(&progress) });
        let request = Request { command, queued_since: None, reply, way: Way::begin() };
        (request, Answer { receiver, progress, allocates })
    }

    /// A command whose outcome nobody waits for.
    pub fn unattended(command: Command) -> Self {
        Request { command, queued_since: None, reply: None, way: None }
    }

    /// Whether it came from outside, so that somebody waits, or has waited, for its outcome.
    pub fn is_attended(&self) -> bool {
        self.reply.is_some()
    }

    /// The lease that it allocates, if it does.
    pub fn allocates(&self) -> Option<LeaseId> {
        match &self.command {
            Command::Allocate(allocation) => Some(allocation.lease_id),
            _ => None,
        }
    }

    /// The key that it bears, if it allocates and bears one.
    pub fn key(&self) -> Option<&IdempotencyKey> {
        match &self.command {
            Command::Allocate(allocation) => allocation.key.as_ref(),
            _ => None,
        }
    }

    /// Notes when its wait is over, unless that was noted before, and tells when it is.
    pub fn waits_until(&mut self, until: Timestamp) -> Timestamp {
        match &mut self.command {
            Command::Allocate(allocation) => *allocation.until.get_or_insert(until),
            _ => until,
        }
    }

    /// Whether it is to be kept: somebody waits for its outcome, or nobody ever did.
    pub fn is_wanted(&self) -> bool {
        self.reply.as_ref().is_none_or(|reply| !reply.sender.is_closed())
    }

    /// Marks the command as one that may be carried out from now on. False when nobody waits for
    /// it any more: it must not be carried out.
    pub fn take(&self) -> bool {
        self.reply.as_ref().is_none_or(|Reply { sender, .. }| {
            !sender.is_closed() && (self.step(WAITING, TAKEN) || self.step(QUEUED, TAKEN))
        })
    }

    /// The command was certainly not carried out, and waits again.
    pub fn put_back(&mut self) {
        self.way.iter_mut().for_each(|way| way.put_back());
        self.step(TAKEN, WAITING);
    }

    /// The command waits in the pool's queue. False when nobody waits for it any more.
    pub fn queue(&mut self) -> bool {
        self.way.iter_mut().for_each(|way| way.queue());
        if let Some(reply) = &self.reply {
            reply.progress.queued.store(true, SeqCst);
        }
        self.step(TAKEN, QUEUED)
    }

    fn step(&self, from: u8, to: u8) -> bool {
        let exchange =
            |reply: &Reply| reply.progress.stage.compare_exchange(from, to, SeqCst, SeqCst);
        self.reply.as_ref().is_some_and(|reply| exchange(reply).is_ok())
    }

    /// Hands over the outcome, which was decided at `at`. A lease that can't be handed over is
    /// withdrawn.
    pub fn deliver(self, outcome: Outcome, at: Timestamp, withdrawals: &Withdrawals) {
        if let Some(reply) = self.reply {
            let withdraws = match &self.command {
                // With a key, whoever asks again gets the same lease.
                Command::Allocate(allocation) => allocation.key.is_none(),
                _ => false,
            };
            let withdrawals = withdraws.then(|| withdrawals.clone());
            // A refused value is dropped by the channel, which withdraws it.
            drop(reply.sender.send(Ok(Delivery { outcome: Some(outcome), at, withdrawals })));
        }
    }

    pub fn refuse(self, error: Error) {
        self.leave_unanswered(Unanswered { error, cause: None });
    }

    /// The database does not accept what it says, for this cause.
    pub fn refuse_for(self, cause: &(dyn Cause + 'static)) {
        self.leave_unanswered(Unanswered { error: Error::Refused, cause: Some(cause.to_string()) });
    }

    fn leave_unanswered(self, why: Unanswered) {
        let refused = match self.reply {
            Some(reply) => reply.sender.send(Err(why)).err(),
            None => Some(Err(why)),
        };
        if let Some(Err(why)) = refused {
            why.tell();
        }
    }
}

/// Why there is no outcome.
#[derive(Debug)]
pub(crate) struct Unanswered {
    error: Error,
    /// For the log.
    cause: Option<String>,
}

impl Unanswered {
    /// Says in the log what belongs there. Where somebody asked, that is their task's to do: its
    /// lines bear the name of their request.
    pub fn tell(self) -> Error {
        if let Some(error) = self.cause {
            warn!(error, "the database refused a command");
        }
        self.error
    }
}

/// An outcome on its way to the one who asked. If it is dropped before it was received, the lease
/// it grants is withdrawn: nobody knows of it.
pub(crate) struct Delivery {
    outcome: Option<Outcome>,
    at: Timestamp,
    /// None where nothing is to be withdrawn.
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
            drop(withdrawals.send(Command::Withdraw { lease_id: grant.lease.id }));
        }
    }
}
