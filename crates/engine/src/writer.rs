use std::collections::VecDeque;
use std::error::Error as Cause;
use std::sync::Arc;

use pool::{Command, Finished, Outcome, Refusal, Timestamp, Waiting};
use store::{Begun, Entry, News, Notifier, Position, Store, Uptime};
use tokio::time::Instant;
use tracing::{Instrument as _, Span, error, info, warn};

use crate::decide::Decided;
use crate::held::Held;
use crate::keys::KeyLimits;
use crate::mailbox::{Left, Request, Withdrawals};
use crate::metrics::Mismatch;
use crate::replica::{NOWHERE, Replica, Unfit, next};
use crate::shared::Shared;
use crate::{Error, ids, spans};

/// Writing side of the engine: takes waiting commands through rules and store, a batch at a time.
#[expect(clippy::struct_excessive_bools, reason = "each tells the next attempt of one more thing")]
pub(crate) struct Writer {
    pub shared: Arc<Shared>,
    pub store: Box<dyn Store>,
    pub notifier: Notifier,
    pub withdrawals: Withdrawals,
    pub key_limits: KeyLimits,
    /// Requests that wait in the pool's queue.
    pub held: Held,
    /// The copy that batches are decided on. None after a failure: the next attempt starts again
    /// from the readers' replica, which has only durable batches.
    pub copy: Option<Replica>,
    /// Whether the pool was loaded whole since a batch last became durable. A batch that is refused
    /// then has a fault of its own; the copy is not wrong.
    pub reloaded: bool,
    /// Whether the lock was given up last time because the pool had to be loaded whole.
    pub gave_way: bool,
    /// Number of next commands that are decided alone, because the database refused a batch with
    /// one of them.
    pub alone: usize,
    /// Whether the next batch was begun together with the last commit. An attempt has to follow
    /// without delay then, since other servers wait for the lock.
    pub begun: bool,
    /// A batch whose outcome is not known yet.
    pub unsettled: Option<Unsettled>,
    /// Whether the last batch could not be written, and none since. Then a batch is written even if
    /// it changes nothing, to test whether writing works again: a full disk can still be read.
    pub unwritten: bool,
    /// Span of the batch that is being attempted; none if it is not traced.
    pub span: Span,
}

/// A batch that was sent to the database, without a reply on whether it became durable.
pub(crate) struct Unsettled {
    entry: Entry,
    /// Starts of the leases that ended.
    ended: Vec<Timestamp>,
    outcomes: Vec<(Request, Outcome)>,
}

/// A decided batch on its way to the database.
struct Attempt {
    /// The replica with the changes of the batch.
    copy: Replica,
    /// The position after which `news` were requested, for publishing them with the batch.
    known: Position,
    news: News,
    position: Position,
    at: Timestamp,
    decided: Decided,
    /// Whether the next batch begins together with the commit.
    then_begin: bool,
}

/// Maximum number of batches by which the copy may be behind the readers' replica; further behind,
/// it is replaced by that one, since the database would return the whole pool.
const MOST_BEHIND: i64 = 500;

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The database is away. All requests continue to wait.
    Away,
    /// The database can be used, but the state of the pool does not fit it. All requests continue
    /// to wait.
    Mismatch(Mismatch),
    /// Retries are pointless; an operator has to act on the sentence.
    Operator(String),
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Operator(sentence) => Failure::Operator(sentence),
            other => {
                warn!(error = &other as &dyn Cause, "the database can't be used right now");
                Failure::Away
            }
        }
    }
}

impl Writer {
    /// Decides up to `limit` of the commands in `waiting` and makes the batch durable, together
    /// with the ends of leases that are past their deadline. Commands that certainly were not
    /// carried out are left in `waiting`, in their order. After a batch of several commands, more
    /// are expected: if `may_begin`, the next batch is then begun at once. Returns whether a batch
    /// was written.
    pub async fn attempt(
        &mut self,
        waiting: &mut VecDeque<Request>,
        limit: usize,
        may_begin: bool,
    ) -> Result<bool, Failure> {
        let attempted = self.attempt_batch(waiting, limit, may_begin).await;
        if self.unsettled.is_none() {
            self.shared.in_flight.end();
        }
        attempted
    }

    async fn attempt_batch(
        &mut self,
        waiting: &mut VecDeque<Request>,
        limit: usize,
        may_begin: bool,
    ) -> Result<bool, Failure> {
        self.begun = false;
        // Every waiting command was sent before.
        let taken = Uptime::now();
        if self.has_to_load() {
            // The copy did not fit the news; this one may not fit either.
            self.copy = None;
        }
        let newest = self.shared.position();
        let near = |copy: &Replica| newest.version - copy.position.version <= MOST_BEHIND;
        let mut copy = match self.copy.take().filter(near) {
            Some(copy) => copy,
            None => self.start_again().await?,
        };
        let known = copy.position;
        let begin = spans::step(&self.span, "begin", self.store.begin(&known));
        let Begun { now: clock, asked, answered, news, new_epoch } = begin.await?;
        if let Err(unfit) = take(&mut copy, &news) {
            error!(%unfit, "reloading the pool");
            spans::failed(&self.span, "unfit");
            self.store.abandon().await;
            self.shared.forget();
            return Err(Failure::Mismatch(Mismatch::News));
        }
        if let Some(unsettled) = self.unsettled.take() {
            let settled = self.settle(unsettled, copy, &known, news, waiting).await;
            self.store.abandon().await;
            return settled;
        }
        if let News::Whole(_) = news
            && !std::mem::replace(&mut self.gave_way, true)
        {
            // Loading it took long, and the lock was held meanwhile: others first. But not
            // repeatedly: their batches may be the ones that this server can't read.
            self.store.abandon().await;
            self.shared.publish(&known, news, None);
            self.copy = Some(copy);
            return Ok(false);
        }
        self.gave_way = false;
        let gap = self.raise_fences(&mut copy, clock, new_epoch).await?;
        self.shared.time.note(clock, asked, answered);
        let clock = if asked < taken { self.clock_by_now().await? } else { clock };
        let now = self.shared.in_flight.begin(|| self.shared.time.observe(clock, copy.at));
        let limit = if self.alone > 0 { 1 } else { limit };
        let mut span = self.span.clone();
        let decided = self.decide(&mut copy, now, waiting, limit);
        let decided = match spans::step(&span, "decide", decided).await {
            Ok(decided) => decided,
            Err(error) => {
                self.store.abandon().await;
                return Err(error.into());
            }
        };
        spans::decided(&mut span, &decided);
        self.span = span.clone();
        if decided.finished.changes.is_empty() && gap.is_none() && !self.unwritten {
            self.store.abandon().await;
            self.shared.time.reached(now).await;
            self.shared.publish(&known, news, None);
            self.answer(decided.outcomes, copy, now);
            return Ok(false);
        }
        let position = next(copy.position, gap, ids::batch());
        let then_begin = may_begin && decided.outcomes.len() > 1;
        let attempt = Attempt { copy, known, news, position, at: now, decided, then_begin };
        let write = self.write(attempt, waiting);
        // The batch may have no span until now.
        let written = write.instrument(span).await?;
        if gap.is_some() && written {
            self.epoch_began();
        }
        Ok(written)
    }

    /// Returns the database's clock for a batch that was begun ahead, with the last commit: its
    /// clock was read before some of its commands were sent, and no decision may be earlier than
    /// its command. If the bounds of the clock are narrow enough, no query is needed; the responses
    /// may have to wait until the clock reaches that time.
    async fn clock_by_now(&mut self) -> Result<Timestamp, Failure> {
        if let Some(latest) = self.shared.time.clock_at_latest() {
            return Ok(latest);
        }
        let asked = Uptime::now();
        match self.store.read_clock().await {
            Ok(clock) => {
                self.shared.time.note_round_trip(clock, asked, Uptime::now());
                Ok(clock)
            }
            Err(error) => {
                self.store.abandon().await;
                Err(error.into())
            }
        }
    }

    /// Makes a batch durable and answers its commands.
    async fn write(
        &mut self,
        Attempt { mut copy, known, news, position, at, decided, then_begin }: Attempt,
        waiting: &mut VecDeque<Request>,
    ) -> Result<bool, Failure> {
        let Decided { outcomes, finished: Finished { changes, keys_used: keys, ended } } = decided;
        let (server, fence) = (self.shared.server, copy.pool.fence());
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
                self.begun = then_begin;
                self.reloaded = false;
                self.unwritten = false;
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
                warn!(error, %batch, "a commit's outcome has to be found out");
                self.unsettled = Some(Unsettled { entry, ended, outcomes });
                Err(Failure::Away)
            }
            Err(error) => {
                self.unwritten = true;
                put_back(waiting, outcomes.into_iter().map(|(request, _)| request));
                Err(error.into())
            }
        }
    }

    /// Whether readers have no copy until an attempt loads the pool.
    pub fn has_to_load(&self) -> bool {
        self.shared.copy().is_none()
    }

    /// The readers' replica; or the whole pool, if the replica was unfit.
    async fn start_again(&mut self) -> Result<Replica, Failure> {
        if let Some(copy) = self.shared.copy().as_ref() {
            return Ok(copy.clone());
        }
        let Begun { news, .. } =
            spans::step(&self.span, "begin", self.store.begin(&NOWHERE)).await?;
        self.store.abandon().await;
        let News::Whole(snapshot) = news else {
            return Err(Failure::Operator("the journal of the pool is empty".to_owned()));
        };
        self.reloaded = true;
        self.shared.publish(&NOWHERE, News::Whole(snapshot.clone()), None);
        Ok(Replica::from(*snapshot))
    }

    /// Finds out whether a batch became durable. The lock shows that no part of the batch is still
    /// in progress. Answers its requests, or puts them back to wait.
    async fn settle(
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
                self.unsettled = Some(Unsettled { entry, ended, outcomes });
                return Err(error.into());
            }
        };
        let batch = entry.position.batch.0;
        info!(?durable, %batch, "what can be known of the commit's outcome is known now");
        self.shared.metrics.settled(durable);
        if durable == Some(true) {
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
        if !self.reloaded {
            warn!(error = cause, "database rejected a batch; reloading the pool");
            self.shared.metrics.mismatched(Mismatch::Batch);
            self.shared.forget();
            self.reloaded = true;
            put_back(waiting, decided.into_iter().map(|(request, _)| request));
            return Ok(false);
        }
        if decided.is_empty() {
            error!(error = cause, "the database refuses the ends of leases");
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
    fn count(&self, entry: &Entry, ended: &[Timestamp], commands: usize) {
        let now = || self.shared.estimate();
        self.shared.metrics.wrote(entry, ended, commands, now);
    }

    fn answer(&mut self, decided: Vec<(Request, Outcome)>, copy: Replica, at: Timestamp) {
        self.alone = self.alone.saturating_sub(decided.len());
        for (request, outcome) in decided {
            if let Outcome::Queued(waiting) = outcome {
                self.hold(request, waiting, at);
                continue;
            }
            if let (Outcome::GaveUp, Command::GiveUp { lease_id }) = (&outcome, &request.command) {
                for held in self.held.take(*lease_id) {
                    held.deliver(Outcome::NotAllocated(Refusal::GivenUp), at, &self.withdrawals);
                }
            }
            self.shared.metrics.answered(&request, &outcome, at);
            request.deliver(outcome, at, &self.withdrawals);
        }
        self.copy = Some(copy);
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

fn take(copy: &mut Replica, news: &News) -> Result<(), Unfit> {
    match news {
        News::Entries(entries) => entries.iter().try_for_each(|entry| copy.advance(entry)),
        News::Whole(snapshot) => {
            *copy = Replica::from(*snapshot.clone());
            Ok(())
        }
    }
}

/// Puts requests that were not carried out back in front of the waiting ones, in their order.
pub(crate) fn put_back<I>(waiting: &mut VecDeque<Request>, requests: I)
where
    I: IntoIterator<Item = Request, IntoIter: DoubleEndedIterator>,
{
    for mut request in requests.into_iter().rev() {
        request.put_back();
        waiting.push_front(request);
    }
}
