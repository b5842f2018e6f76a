//! Writing side of the engine: takes waiting commands through rules and store, a batch at a time.

mod answer;
mod commit;
mod decide;
mod epoch;

use std::collections::VecDeque;
use std::error::Error as Cause;
use std::sync::Arc;

use pool::Timestamp;
use store::{Begun, News, Notifier, Store};
use tracing::{Instrument as _, Span, error, warn};

use self::commit::{Attempt, Unsettled};
use crate::held::Held;
use crate::keys::KeyLimits;
use crate::mailbox::{Request, Withdrawals};
use crate::metrics::Mismatch;
use crate::replica::{NOWHERE, Replica, Unfit, next};
use crate::shared::Shared;
use crate::{ids, spans};

/// Decides and commits the batches of the engine's loop.
pub(crate) struct Writer {
    pub shared: Arc<Shared>,
    pub store: Box<dyn Store>,
    pub notifier: Notifier,
    pub withdrawals: Withdrawals,
    pub key_limits: KeyLimits,
    /// Requests that wait in the pool's queue.
    pub held: Held,
    /// Span of the batch that is being attempted; none if it is not traced.
    pub span: Span,
    /// The copy that batches are decided on. None after a failure: the next attempt starts again
    /// from the readers' replica, which has only durable batches.
    copy: Option<Replica>,
    loaded: Loaded,
    last_write: LastWrite,
    /// Number of next commands that are decided alone, because the database refused a batch with
    /// one of them.
    alone: usize,
}

/// Whether the pool was loaded whole since a batch last became durable.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loaded {
    No,
    /// A batch that is refused now has a fault of its own; the copy is not wrong.
    Yes,
    /// As `Yes`; and the last attempt gave up the lock, because loading took long.
    GaveWay,
}

/// Outcome of the last write.
enum LastWrite {
    /// Durable; or no batch was written yet.
    Durable,
    /// Durable, and the next batch was begun together with the commit. An attempt has to follow
    /// without delay, since other servers wait for the lock.
    DurableAndBegun,
    /// Not durable. Then a batch is written even if it changes nothing, to test whether writing
    /// works again: a full disk can still be read.
    Failed,
    /// The connection was lost during the commit.
    Unknown(Unsettled),
}

impl LastWrite {
    fn take_unsettled(&mut self) -> Option<Unsettled> {
        match std::mem::replace(self, LastWrite::Failed) {
            LastWrite::Unknown(unsettled) => Some(unsettled),
            known => {
                *self = known;
                None
            }
        }
    }
}

/// Maximum number of batches by which the copy may be behind the readers' replica; further behind,
/// it is replaced by that one, since the database would return the whole pool.
const MOST_BEHIND: i64 = 500;

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The database is away. All requests continue to wait.
    Away,
    /// The database can be used, but the state of the ledger does not fit it. All requests continue
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
    pub fn new(
        shared: Arc<Shared>,
        (store, notifier): (Box<dyn Store>, Notifier),
        withdrawals: Withdrawals,
        key_limits: KeyLimits,
    ) -> Self {
        Writer {
            shared,
            store,
            notifier,
            withdrawals,
            key_limits,
            held: Held::default(),
            span: Span::none(),
            copy: None,
            loaded: Loaded::No,
            last_write: LastWrite::Durable,
            alone: 0,
        }
    }

    /// Whether an attempt has to follow the last one without delay, even if no command waits.
    pub fn has_to_go_on(&self) -> bool {
        matches!(self.last_write, LastWrite::DurableAndBegun | LastWrite::Unknown(_))
    }

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
        if !matches!(self.last_write, LastWrite::Unknown(_)) {
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
        if let LastWrite::DurableAndBegun = self.last_write {
            self.last_write = LastWrite::Durable;
        }
        // Every waiting command was sent before.
        let taken = self.shared.time.uptime();
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
            error!(%unfit, "reloading the ledger");
            spans::failed(&self.span, "unfit");
            self.store.abandon().await;
            self.shared.forget();
            return Err(Failure::Mismatch(Mismatch::News));
        }
        if let Some(unsettled) = self.last_write.take_unsettled() {
            let settled = self.settle(unsettled, copy, &known, news, waiting).await;
            self.store.abandon().await;
            return settled;
        }
        let gave_way = self.loaded == Loaded::GaveWay;
        if let News::Whole(_) = news
            && !gave_way
        {
            // Loading it took long, and the lock was held meanwhile: others first. But not
            // repeatedly: their batches may be the ones that this server can't read.
            self.loaded = Loaded::GaveWay;
            self.store.abandon().await;
            self.shared.publish(&known, news, None);
            self.copy = Some(copy);
            return Ok(false);
        }
        if gave_way {
            self.loaded = Loaded::Yes;
        }
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
        let traces = decided.outcomes.iter().filter_map(|(request, _)| request.trace.as_ref());
        let counts = (decided.outcomes.len(), decided.finished.changes.len());
        spans::decided(&mut span, traces, counts);
        self.span = span.clone();
        let untested = matches!(self.last_write, LastWrite::Failed);
        if decided.finished.changes.is_empty() && gap.is_none() && !untested {
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
        let asked = self.shared.time.uptime();
        match self.store.read_clock().await {
            Ok(clock) => {
                let answered = self.shared.time.uptime();
                self.shared.time.note_round_trip(clock, asked, answered);
                Ok(clock)
            }
            Err(error) => {
                self.store.abandon().await;
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
            return Err(Failure::Operator("the journal of the ledger is empty".to_owned()));
        };
        if self.loaded == Loaded::No {
            self.loaded = Loaded::Yes;
        }
        self.shared.publish(&NOWHERE, News::Whole(snapshot.clone()), None);
        Ok(Replica::from(*snapshot))
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
fn put_back<I>(waiting: &mut VecDeque<Request>, requests: I)
where
    I: IntoIterator<Item = Request, IntoIter: DoubleEndedIterator>,
{
    for mut request in requests.into_iter().rev() {
        request.put_back();
        waiting.push_front(request);
    }
}
