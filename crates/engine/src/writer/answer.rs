use pool::{Change, Command, LeaseId, Outcome, Refusal, Timestamp, Waiting};
use tokio::time::Instant;

use crate::mailbox::{Left, Request};
use crate::replica::Replica;
use crate::writer::Writer;

impl Writer {
    /// Answers the commands of a batch that is durable, or that changed nothing. The next batch is
    /// decided on `copy`.
    pub(super) fn answer(
        &mut self,
        decided: Vec<(Request, Outcome)>,
        copy: Replica,
        at: Timestamp,
    ) {
        self.alone = self.alone.saturating_sub(decided.len());
        let refused = decided.iter().filter_map(|(request, outcome)| request.refused(outcome));
        self.shared.metrics.pools.refused(refused);
        for (request, outcome) in decided {
            if let Outcome::Queued(waiting) = outcome {
                self.hold(request, waiting, at);
                continue;
            }
            match (&outcome, &request.command) {
                (Outcome::GaveUp, Command::GiveUp { lease_id }) => self.given_up(*lease_id, at),
                (Outcome::Applied(changes, _), _) => {
                    for change in changes {
                        if let Change::WaitGivenUp { lease_id } = change {
                            self.given_up(*lease_id, at);
                        }
                    }
                }
                _ => {}
            }
            self.shared.metrics.answered(request.queued_since, &outcome, at);
            request.deliver(outcome, at, &self.withdrawals);
        }
        self.copy = Some(copy);
    }

    /// Refuses the requests that wait with a ticket that was given up.
    fn given_up(&mut self, ticket: LeaseId, at: Timestamp) {
        for held in self.held.take(ticket) {
            held.deliver(Outcome::NotAllocated(Refusal::GivenUp), at, &self.withdrawals);
        }
    }

    /// Holds a request whose allocation waits, or answers it with its position in the queue.
    fn hold(&mut self, mut request: Request, mut waiting: Waiting, at: Timestamp) {
        request.wait(&mut waiting);
        if request.answer_by.is_some_and(|at| at <= Instant::now()) {
            request.deliver(Outcome::Queued(waiting), at, &self.withdrawals);
            self.held.left(waiting.ticket);
        } else if request.queue() {
            self.held.insert(&waiting, request);
        } else if request.is_kept() {
            self.held.left(waiting.ticket);
        } else {
            // The engine itself receives it.
            let _ = self.withdrawals.send(Left::Lease(waiting.ticket));
        }
    }
}
