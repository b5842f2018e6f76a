use std::collections::VecDeque;
use std::error::Error as Cause;
use std::sync::Arc;

use pool::{Change, Command, Outcome, Timestamp};
use store::{Begun, Entry, News, Position, ServerId, Store};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::copy::{Copy, NOWHERE, Unfit, next};
use crate::mailbox::Request;
use crate::reading::Shared;
use crate::{Error, ids};

/// The side of the engine that writes: takes what waits through store and rules, a batch at a time.
pub(crate) struct Writer {
    pub shared: Arc<Shared>,
    pub store: Box<dyn Store>,
    pub server: ServerId,
    pub withdrawals: mpsc::UnboundedSender<Command>,
    /// The copy that batches are decided on. None after something went wrong: it then begins again
    /// from the readers' copy, which holds nothing that is not durable.
    pub copy: Option<Copy>,
    /// Whether the pool was loaded whole since a batch last became durable. What is refused then is
    /// refused for its own sake, and not because the copy is wrong.
    pub loaded_anew: bool,
    /// How many of the next commands are decided alone, because the database refused a batch that
    /// had one of them.
    pub alone: usize,
    /// Whether the next batch was begun together with the last commit. An attempt has to follow
    /// without delay then, since other servers wait for the lock.
    pub begun: bool,
    /// A batch whose fate is not known yet.
    pub unsettled: Option<Unsettled>,
}

/// A batch that was sent to the database, with no word since on whether it became durable.
pub(crate) struct Unsettled {
    entry: Entry,
    decided: Vec<(Request, Outcome)>,
}

/// How an attempt ended that did not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The database is away. What waits, waits on.
    Away,
    /// Trying again is of no use; a person has to do what the sentence says.
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
    /// carried out are left in `waiting`, in their order. Where several were decided, more are to be
    /// expected: if `may_begin`, the next batch is then begun at once. Returns whether anything was
    /// written.
    pub async fn attempt(
        &mut self,
        waiting: &mut VecDeque<Request>,
        limit: usize,
        may_begin: bool,
    ) -> Result<bool, Failure> {
        self.begun = false;
        if self.has_to_load() {
            // It did not fit; neither may this one.
            self.copy = None;
        }
        let mut copy = match self.copy.take() {
            Some(copy) => copy,
            None => self.start_again().await?,
        };
        let known = copy.position;
        let Begun { now, news, new_epoch } = self.store.begin(&known).await?;
        if let Err(unfit) = take(&mut copy, &news) {
            error!(%unfit, "the pool is loaded anew");
            self.store.abandon().await;
            self.shared.forget();
            return Err(Failure::Away);
        }
        if let Some(unsettled) = self.unsettled.take() {
            let settled = self.settle(unsettled, copy, &known, news, waiting).await;
            self.store.abandon().await;
            return settled;
        }
        if let News::Whole(_) = news {
            // Loading it took long, and the lock was held meanwhile: others first.
            self.store.abandon().await;
            self.shared.publish(&known, news, None);
            self.copy = Some(copy);
            return Ok(false);
        }
        if new_epoch {
            warn!("the database was restored or failed over; a new epoch begins");
            copy.pool.skip_fences(store::EPOCH_GAP);
        }
        let now = self.shared.time.observe(now, copy.at);
        let limit = if self.alone > 0 { 1 } else { limit };
        let (decided, changes) = decide(&mut copy, now, waiting, limit);
        if changes.is_empty() && !new_epoch {
            self.store.abandon().await;
            self.shared.publish(&known, news, None);
            self.answer(decided, copy);
            return Ok(false);
        }
        let position = next(copy.position, new_epoch, ids::batch());
        let fence = copy.pool.fence();
        let entry = Entry { position, server: self.server, at: now, fence, changes };
        let then_begin = may_begin && decided.len() > 1;
        let committed = if then_begin {
            self.store.commit_and_begin(&entry).await
        } else {
            self.store.commit(&entry).await
        };
        match committed {
            Ok(()) => {
                self.begun = then_begin;
                self.loaded_anew = false;
                copy.settle(&entry);
                self.shared.publish(&known, news, Some(&entry));
                self.answer(decided, copy);
                Ok(true)
            }
            Err(store::Error::Data(cause)) => self.refused(decided, &*cause, waiting),
            Err(store::Error::Unknown(cause)) => {
                warn!(error = &*cause as &dyn Cause, "a commit's outcome has to be found out");
                self.unsettled = Some(Unsettled { entry, decided });
                Err(Failure::Away)
            }
            Err(error) => {
                put_back(waiting, decided.into_iter().map(|(request, _)| request));
                Err(error.into())
            }
        }
    }

    /// Whether readers are without a copy until an attempt loads the pool.
    pub fn has_to_load(&self) -> bool {
        self.shared.copy().is_none()
    }

    /// The readers' copy; or, where that has turned out unfit, the whole pool.
    async fn start_again(&mut self) -> Result<Copy, Failure> {
        if let Some(copy) = self.shared.copy().as_ref() {
            return Ok(copy.clone());
        }
        let Begun { news, .. } = self.store.begin(&NOWHERE).await?;
        self.store.abandon().await;
        let News::Whole(snapshot) = news else {
            return Err(Failure::Operator("the journal of the pool is empty".to_owned()));
        };
        self.loaded_anew = true;
        self.shared.publish(&NOWHERE, News::Whole(snapshot.clone()), None);
        Ok(Copy::from(*snapshot))
    }

    /// Finds out whether a batch became durable, now that the lock shows that nothing of it is
    /// still under way, and answers those who wait or lets them wait on.
    async fn settle(
        &mut self,
        Unsettled { entry, decided }: Unsettled,
        mut copy: Copy,
        known: &Position,
        news: News,
        waiting: &mut VecDeque<Request>,
    ) -> Result<bool, Failure> {
        let durable = match self.store.has(&entry.position).await {
            Ok(durable) => durable,
            Err(error) => {
                self.unsettled = Some(Unsettled { entry, decided });
                return Err(error.into());
            }
        };
        info!(?durable, "what can be known of the commit's outcome is known now");
        if durable == Some(true) {
            // It may or may not have been among the news; it is passed over where it was.
            let fits = copy.advance(&entry);
            self.shared.publish(known, news, Some(&entry));
            self.answer(decided, copy);
            if fits.is_err() {
                self.copy = None;
            }
            return Ok(true);
        }
        self.shared.publish(known, news, None);
        self.copy = Some(copy);
        let requests = decided.into_iter().map(|(request, _)| request);
        if durable == Some(false) {
            put_back(waiting, requests);
        } else {
            requests.for_each(|request| request.refuse(Error::OutcomeUnknown));
        }
        Ok(false)
    }

    /// The database refused the data of a batch. Its commands are decided again one at a time, so
    /// that only the guilty one fails; and on a pool loaded anew, in case it is the copy that is
    /// wrong, because somebody changed the tables by hand.
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
        if !self.loaded_anew {
            warn!(error = cause, "the database refused a batch; the pool is loaded anew");
            self.shared.forget();
            put_back(waiting, decided.into_iter().map(|(request, _)| request));
            return Ok(false);
        }
        if decided.is_empty() {
            error!(error = cause, "the database refuses the ends of leases");
            return Err(Failure::Away);
        }
        warn!(error = cause, "the database refused a command");
        self.alone = self.alone.saturating_sub(1);
        for (request, _) in decided {
            request.refuse(Error::Refused);
        }
        Ok(false)
    }

    fn answer(&mut self, decided: Vec<(Request, Outcome)>, copy: Copy) {
        self.alone = self.alone.saturating_sub(decided.len());
        self.copy = Some(copy);
        for (request, outcome) in decided {
            request.deliver(outcome, &self.withdrawals);
        }
    }
}

/// Decides up to `limit` of the commands that wait, as one batch at `now`.
fn decide(
    copy: &mut Copy,
    now: Timestamp,
    waiting: &mut VecDeque<Request>,
    limit: usize,
) -> (Vec<(Request, Outcome)>, Vec<Change>) {
    let mut batch = copy.pool.batch(now);
    let mut decided = Vec::with_capacity(waiting.len().min(limit));
    while decided.len() < limit
        && let Some(request) = waiting.pop_front()
    {
        if !request.take() {
            continue;
        }
        let Some(outcome) = batch.decide(&request.command) else {
            put_back(waiting, [request]);
            break;
        };
        decided.push((request, outcome));
    }
    (decided, batch.finish())
}

fn take(copy: &mut Copy, news: &News) -> Result<(), Unfit> {
    match news {
        News::Entries(entries) => entries.iter().try_for_each(|entry| copy.advance(entry)),
        News::Whole(snapshot) => {
            *copy = Copy::from(*snapshot.clone());
            Ok(())
        }
    }
}

/// Puts requests that were not carried out back before those that wait, in their order.
fn put_back<I>(waiting: &mut VecDeque<Request>, requests: I)
where
    I: IntoIterator<Item = Request, IntoIter: DoubleEndedIterator>,
{
    for request in requests.into_iter().rev() {
        request.put_back();
        waiting.push_front(request);
    }
}
