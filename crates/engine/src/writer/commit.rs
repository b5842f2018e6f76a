//! Commit of a decided batch, and what follows a refusal or an unknown outcome.

use std::collections::VecDeque;
use std::error::Error as Cause;

use pool::{Finished, Outcome, PoolId, Timestamp};
use store::{Entry, News, Position};
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::mailbox::Request;
use crate::metrics::Mismatch;
use crate::replica::Replica;
use crate::writer::decide::Decided;
use crate::writer::{Failure, LastWrite, Loaded, Writer, put_back};
use crate::{Error, spans};

/// A batch that was sent to the database, without a reply on whether it became durable.
pub(super) struct Unsettled {
    entry: Entry,
    /// Pools and starts of the leases that ended.
    ended: Vec<(PoolId, Timestamp)>,
    outcomes: Vec<(Request, Outcome)>,
}

/// A decided batch on its way to the database.
pub(super) struct Attempt {
    /// The replica with the changes of the batch.
    pub copy: Replica,
    /// The position after which `news` were requested, for publishing them with the batch.
    pub known: Position,
    pub news: News,
    pub position: Position,
    pub at: Timestamp,
    pub decided: Decided,
    /// Whether the next batch begins together with the commit.
    pub then_begin: bool,
}

impl Writer {
    /// Makes a batch durable and answers its commands.
    pub(super) async fn write(
        &mut self,
        Attempt { mut copy, known, news, position, at, decided, then_begin }: Attempt,
        waiting: &mut VecDeque<Request>,
    ) -> Result<bool, Failure> {
        let Decided { outcomes, finished: Finished { changes, keys_used: keys, ended } } = decided;
        let (server, fence) = (self.shared.server, copy.ledger.fence());
        let entry = Entry { position, server, at, fence, changes, keys };
        let started = Instant::now();
        let committed = if then_begin {
            self.store.commit_and_begin(&entry)
        } else {
            self.store.commit(&entry)
        };
        spans::name(&self.span, &position);
        match spans::step(&self.span, "commit", committed).await {
            Ok(()) => {
                self.last_write =
                    if then_begin { LastWrite::DurableAndBegun } else { LastWrite::Durable };
                self.loaded = Loaded::No;
                copy.settle(&entry);
                self.shared.metrics.committed(started);
                self.count(&entry, &ended, outcomes.len());
                self.shared.time.reached(at).await;
                self.shared.publish(&known, news, Some(&entry));
                self.answer(outcomes, copy, at);
                self.notifier.notify();
                Ok(true)
            }
            Err(store::Error::Data(cause)) => self.refused(outcomes, &*cause, waiting),
            Err(store::Error::Unknown(cause)) => {
                let (error, batch) = (&*cause as &dyn Cause, position.batch.0);
                warn!(error, %batch, "unknown commit outcome; resolving");
                self.last_write = LastWrite::Unknown(Unsettled { entry, ended, outcomes });
                Err(Failure::Away)
            }
            Err(error) => {
                self.last_write = LastWrite::Failed;
                put_back(waiting, outcomes.into_iter().map(|(request, _)| request));
                Err(error.into())
            }
        }
    }

    /// Finds out whether a batch became durable. The lock shows that no part of the batch is still
    /// in progress. Answers its requests, or puts them back to wait.
    pub(super) async fn settle(
        &mut self,
        Unsettled { entry, ended, outcomes }: Unsettled,
        mut copy: Replica,
        known: &Position,
        news: News,
        waiting: &mut VecDeque<Request>,
    ) -> Result<bool, Failure> {
        let has = self.store.has(&entry.position);
        let durable = match spans::step(&self.span, "settle", has).await {
            Ok(durable) => durable,
            Err(error) => {
                self.last_write = LastWrite::Unknown(Unsettled { entry, ended, outcomes });
                return Err(error.into());
            }
        };
        let batch = entry.position.batch.0;
        info!(?durable, %batch, "unknown commit outcome resolved");
        self.shared.metrics.settled(durable);
        if durable == Some(true) {
            self.last_write = LastWrite::Durable;
            // The news may have included it; then it is skipped.
            let fits = copy.advance(&entry);
            self.count(&entry, &ended, outcomes.len());
            self.shared.publish(known, news, Some(&entry));
            self.answer(outcomes, copy, entry.at);
            self.notifier.notify();
            if fits.is_err() {
                self.copy = None;
            }
            return Ok(true);
        }
        self.shared.publish(known, news, None);
        self.copy = Some(copy);
        let mut requests: Vec<Request> = outcomes.into_iter().map(|(request, _)| request).collect();
        if durable.is_none() {
            // The engine's own commands may be repeated.
            let attended = requests.extract_if(.., |request| request.is_attended());
            attended.for_each(|request| request.refuse(Error::OutcomeUnknown));
        }
        put_back(waiting, requests);
        Ok(false)
    }

    /// The database refused the data of a batch. Its commands are decided again one at a time, so
    /// that only the guilty one fails; and on a pool that was loaded again, in case the copy is
    /// wrong because the tables were changed by hand.
    fn refused(
        &mut self,
        decided: Vec<(Request, Outcome)>,
        cause: &(dyn Cause + 'static),
        waiting: &mut VecDeque<Request>,
    ) -> Result<bool, Failure> {
        if decided.len() > 1 {
            self.alone = decided.len();
            put_back(waiting, decided.into_iter().map(|(request, _)| request));
            return Ok(false);
        }
        if self.loaded == Loaded::No {
            warn!(error = cause, "database rejected a batch; reloading the ledger");
            self.shared.metrics.mismatched(Mismatch::Batch);
            self.shared.forget();
            self.loaded = Loaded::Yes;
            put_back(waiting, decided.into_iter().map(|(request, _)| request));
            return Ok(false);
        }
        if decided.is_empty() {
            error!(error = cause, "database rejected lease expirations");
            return Err(Failure::Mismatch(Mismatch::Ends));
        }
        self.alone = self.alone.saturating_sub(1);
        for (request, _) in decided {
            // It may be in the queue.
            waiting.extend(request.leaves_queue().map(Request::unattended));
            request.refuse_for(cause);
        }
        Ok(false)
    }

    /// Counts a batch that became durable.
    fn count(&self, entry: &Entry, ended: &[(PoolId, Timestamp)], commands: usize) {
        let now = || self.shared.estimate();
        self.shared.metrics.wrote(entry, ended, commands, now);
    }
}
