use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

use pool::{Command, Outcome};
use tokio::sync::{mpsc, oneshot};

use crate::Error;

/// A command on its way to the engine.
pub(crate) struct Request {
    pub command: Command,
    /// None for what the engine asks of itself.
    reply: Option<Reply>,
}

struct Reply {
    sender: oneshot::Sender<Result<Delivery, Error>>,
    stage: Arc<AtomicU8>,
}

// The stages of a request that somebody waits for. The engine and the one who waits both leave
// `WAITING` by an exchange, so that only one of them can.
const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const GIVEN_UP: u8 = 2;

/// The end at which the answer to a [`Request`] arrives.
pub(crate) struct Answer {
    pub receiver: oneshot::Receiver<Result<Delivery, Error>>,
    stage: Arc<AtomicU8>,
}

impl Answer {
    /// Stops waiting, and tells what is to be said of the command: that it will certainly not be
    /// carried out, or that it may have been.
    pub fn give_up(self) -> Error {
        match self.stage.compare_exchange(WAITING, GIVEN_UP, SeqCst, SeqCst) {
            Ok(_) => Error::not_done(),
            Err(_) => Error::OutcomeUnknown,
        }
    }
}

impl Request {
    pub fn new(command: Command) -> (Self, Answer) {
        let (sender, receiver) = oneshot::channel();
        let stage = Arc::new(AtomicU8::new(WAITING));
        let reply = Some(Reply { sender, stage: Arc::clone(&stage) });
        (Request { command, reply }, Answer { receiver, stage })
    }

    /// A command whose outcome nobody waits for.
    pub fn unattended(command: Command) -> Self {
        Request { command, reply: None }
    }

    /// Marks the command as one that may be carried out from now on. False when nobody waits for
    /// it any more: it must not be carried out.
    pub fn take(&self) -> bool {
        self.reply.as_ref().is_none_or(|Reply { sender, stage }| {
            !sender.is_closed() && stage.compare_exchange(WAITING, TAKEN, SeqCst, SeqCst).is_ok()
        })
    }

    /// The command was certainly not carried out, and waits again.
    pub fn put_back(&self) {
        if let Some(reply) = &self.reply {
            reply.stage.store(WAITING, SeqCst);
        }
    }

    /// Hands the outcome over. A lease that can't be handed over is withdrawn.
    pub fn deliver(self, outcome: Outcome, withdrawals: &mpsc::UnboundedSender<Command>) {
        if let Some(reply) = self.reply {
            let withdrawals = withdrawals.clone();
            // A refused value is dropped by the channel, which withdraws it.
            drop(reply.sender.send(Ok(Delivery { outcome: Some(outcome), withdrawals })));
        }
    }

    pub fn refuse(self, error: Error) {
        if let Some(reply) = self.reply {
            drop(reply.sender.send(Err(error)));
        }
    }
}

/// An outcome on its way to the one who asked. If it is dropped before it was received, the lease
/// it grants is withdrawn: nobody knows of it.
pub(crate) struct Delivery {
    outcome: Option<Outcome>,
    /// Bounded by the requests that were under way: each puts in one command at most.
    withdrawals: mpsc::UnboundedSender<Command>,
}

impl Delivery {
    pub fn receive(mut self) -> Outcome {
        self.outcome.take().expect("an outcome is taken out once, here")
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(Outcome::Allocated { lease, .. }) = &self.outcome {
            let (lease_id, token_id) = (lease.id, lease.token_id);
            // Without an engine the lease runs to its deadline.
            drop(self.withdrawals.send(Command::Withdraw { lease_id, token_id }));
        }
    }
}
