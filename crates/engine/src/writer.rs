use std::collections::{HashMap, HashSet, VecDeque};
use std::error::Error as Cause;
use std::sync::Arc;

use pool::{
    Batch, Change, Circumstances, Command, IdempotencyKey, KeyUse, Keys, LeaseId, Outcome,
    Timestamp,
};
use store::{Begun, Entry, Hints, News, Position, Store};
use tracing::{error, info, warn};

use crate::copy::{Copy, NOWHERE, Unfit, next};
use crate::mailbox::{Request, Withdrawals};
use crate::reading::Shared;
use crate::{Error, ids};

/// The side of the engine that writes: takes what waits through store and rules, a batch at a time.
pub(crate) struct Writer {
    pub shared: Arc<Shared>,
    pub store: Box<dyn Store>,
    pub hints: Hints,
    pub withdrawals: Withdrawals,
    /// How many idempotency keys may be remembered.
    pub most_keys: u64,
    /// Those whose allocation has a place in the pool's queue, and until when they wait.
    pub queued: HashMap<LeaseId, (Request, Timestamp)>,
    /// The copy that batches are decided on. None after something went wrong: it then begins again
    /// from the readers' copy, which holds nothing that is not durable.
    pub copy: Option<Copy>,
    /// Whether the pool was loaded whole since a batch last became durable. What is refused then is
    /// refused for its own sake, and not because the copy is wrong.
    pub loaded_anew: bool,
    /// Whether the lock was given up last time because the pool had to be loaded whole.
    pub gave_way: bool,
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

/// How far the copy may be behind the readers' before it is made from that anew. Further behind, the
/// database would hand out the whole pool.
const MOST_BEHIND: i64 = 500;

/// How many of those in the queue have their keys looked up together.
const KEYS_AT_ONCE: usize = 64;

/// What a batch came to.
struct Decided {
    outcomes: Vec<(Request, Outcome)>,
    changes: Vec<Change>,
    keys: Vec<KeyUse>,
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
        let newest = self.shared.position();
        let near = |copy: &Copy| newest.version - copy.position.version <= MOST_BEHIND;
        let mut copy = match self.copy.take().filter(near) {
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
        if let News::Whole(_) = news
            && !std::mem::replace(&mut self.gave_way, true)
        {
            // Loading it took long, and the lock was held meanwhile: others first. But not again and
            // again: what they write may be what this server can't read.
            self.store.abandon().await;
            self.shared.publish(&known, news, None);
            self.copy = Some(copy);
            return Ok(false);
        }
        self.gave_way = false;
        if new_epoch {
            warn!("the database was restored or failed over; a new epoch begins");
            copy.pool.skip_fences(store::EPOCH_GAP);
        }
        let now = self.shared.time.observe(now, copy.at);
        self.shared.touched(now);
        let limit = if self.alone > 0 { 1 } else { limit };
        let decided = match self.decide(&mut copy, now, waiting, limit).await {
            Ok(decided) => decided,
            Err(error) => {
                self.store.abandon().await;
                return Err(error.into());
            }
        };
        if decided.changes.is_empty() && !new_epoch {
            self.store.abandon().await;
            self.shared.publish(&known, news, None);
            self.answer(decided.outcomes, copy, now);
            return Ok(false);
        }
        let position = next(copy.position, new_epoch, ids::batch());
        let then_begin = may_begin && decided.outcomes.len() > 1;
        self.write(copy, (known, news), (position, now), decided, then_begin, waiting).await
    }

    /// Makes a batch durable and answers its commands.
    async fn write(
        &mut self,
        mut copy: Copy,
        (known, news): (Position, News),
        (position, at): (Position, Timestamp),
        Decided { outcomes, changes, keys }: Decided,
        then_begin: bool,
        waiting: &mut VecDeque<Request>,
    ) -> Result<bool, Failure> {
        let (server, fence) = (self.shared.server, copy.pool.fence());
        let entry = Entry { position, server, at, fence, changes, keys };
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
                self.answer(outcomes, copy, at);
                self.hints.tell();
                Ok(true)
            }
            Err(store::Error::Data(cause)) => self.refused(outcomes, &*cause, waiting),
            Err(store::Error::Unknown(cause)) => {
                warn!(error = &*cause as &dyn Cause, "a commit's outcome has to be found out");
                self.unsettled = Some(Unsettled { entry, decided: outcomes });
                Err(Failure::Away)
            }
            Err(error) => {
                put_back(waiting, outcomes.into_iter().map(|(request, _)| request));
                Err(error.into())
            }
        }
    }

    /// Decides up to `limit` of the commands that wait, as one batch, and then serves up to as many
    /// of those in the pool's queue as there are tokens for. Where it fails, all wait again.
    async fn decide(
        &mut self,
        copy: &mut Copy,
        now: Timestamp,
        waiting: &mut VecDeque<Request>,
        limit: usize,
    ) -> Result<Decided, store::Error> {
        let (server, in_touch_since) = (self.shared.server, self.shared.in_touch_since());
        let keys = waiting.iter().take(limit).filter_map(Request::key).cloned();
        let keys = self.look_up(keys.collect()).await?;
        let circumstances = Circumstances { now, server, in_touch_since, keys };
        let mut batch = copy.pool.batch(circumstances);
        let mut outcomes = Outcomes::with_capacity(waiting.len().min(limit));
        for _ in 0..limit {
            let Some(request) = waiting.pop_front() else { break };
            let Some(request) = taken_or_withdrawn(request) else { continue };
            let Some(outcome) = batch.decide(&request.command) else {
                put_back(waiting, [request]);
                break;
            };
            outcomes.push(request, outcome);
        }
        let queue = self.serve_queue(&mut batch, &mut outcomes, waiting, limit).await;
        if let Err(error) = queue {
            put_back(waiting, outcomes.all.into_iter().map(|(request, _)| request));
            return Err(error);
        }
        let keys = batch.take_keys_used();
        Ok(Decided { outcomes: outcomes.all, changes: batch.finish(), keys })
    }

    /// Serves up to `limit` of those in the pool's queue, as long as there is a token for them; and
    /// those who wait for what a key has been granted in this batch.
    async fn serve_queue(
        &mut self,
        batch: &mut Batch<'_>,
        outcomes: &mut Outcomes,
        waiting: &mut VecDeque<Request>,
        limit: usize,
    ) -> Result<(), store::Error> {
        let most = if self.alone > 0 { limit.saturating_sub(outcomes.all.len()) } else { limit };
        let mut known: HashSet<IdempotencyKey> = HashSet::new();
        for _ in 0..most {
            let Some(lease_id) = batch.next_in_queue() else { break };
            if let Some(&place) = outcomes.queued.get(&lease_id) {
                let (request, outcome) = &mut outcomes.all[place];
                let Some(decided) = batch.decide(&request.command) else { break };
                *outcome = decided;
                continue;
            }
            let request = self.queued.remove(&lease_id).map(|(request, _)| request);
            let request = request.or_else(|| take_out(waiting, lease_id));
            if let Some(key) = request.as_ref().and_then(Request::key)
                && !known.contains(key)
            {
                // With those of the next, who may be served in this batch, too.
                let next = batch.queue().filter_map(|lease_id| self.queued.get(&lease_id));
                let next = next.take(KEYS_AT_ONCE).filter_map(|(request, _)| request.key());
                let keys: HashSet<_> = next.chain([key]).cloned().collect();
                known.extend(keys.iter().cloned());
                match self.look_up(keys).await {
                    Ok(keys) => batch.learn(keys),
                    Err(error) => {
                        put_back(waiting, request);
                        return Err(error);
                    }
                }
            }
            let withdrawal = || Request::unattended(Command::Withdraw { lease_id });
            let request = request.and_then(taken_or_withdrawn).unwrap_or_else(withdrawal);
            let Some(outcome) = batch.decide(&request.command) else {
                put_back(waiting, [request]);
                break;
            };
            outcomes.push(request, outcome);
        }
        self.answer_same_keys(batch, outcomes);
        Ok(())
    }

    /// Whoever waits with a key that was granted meanwhile gets the same lease, and no other token.
    fn answer_same_keys(&mut self, batch: &mut Batch<'_>, outcomes: &mut Outcomes) {
        let granted = |request: &Request| request.key().is_some_and(|key| batch.uses(key));
        let same = self.queued.iter().filter(|(_, (request, _))| granted(request));
        let same: Vec<LeaseId> = same.map(|(lease_id, _)| *lease_id).collect();
        let here = outcomes.queued.values().filter(|&&place| granted(&outcomes.all[place].0));
        let here: Vec<usize> = here.copied().collect();
        for place in here {
            let (request, outcome) = &mut outcomes.all[place];
            if let Some(decided) = batch.decide(&request.command) {
                *outcome = decided;
            }
        }
        for lease_id in same {
            let request = self.queued.remove(&lease_id).map(|(request, _)| request);
            if let Some(request) = request.and_then(taken_or_withdrawn)
                && let Some(outcome) = batch.decide(&request.command)
            {
                outcomes.push(request, outcome);
            }
        }
    }

    /// What is remembered of these keys.
    async fn look_up(&mut self, keys: HashSet<IdempotencyKey>) -> Result<Keys, store::Error> {
        if keys.is_empty() {
            return Ok(Keys::default());
        }
        let keys: Vec<IdempotencyKey> = keys.into_iter().collect();
        let found = self.store.keys(&keys).await?;
        Ok(Keys { found: found.remembered, room: self.most_keys.saturating_sub(found.count) })
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
            self.answer(decided, copy, entry.at);
            self.hints.tell();
            if fits.is_err() {
                self.copy = None;
            }
            return Ok(true);
        }
        self.shared.publish(known, news, None);
        self.copy = Some(copy);
        let mut requests: Vec<Request> = decided.into_iter().map(|(request, _)| request).collect();
        if durable.is_none() {
            // What the engine asks of itself may be done twice.
            let attended = requests.extract_if(.., |request| request.is_attended());
            attended.for_each(|request| request.refuse(Error::OutcomeUnknown));
        }
        put_back(waiting, requests);
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
            self.loaded_anew = true;
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
            // It may have a place in the queue.
            let withdraw = request.allocates().map(|lease_id| Command::Withdraw { lease_id });
            waiting.extend(withdraw.map(Request::unattended));
            request.refuse(Error::Refused);
        }
        Ok(false)
    }

    fn answer(&mut self, decided: Vec<(Request, Outcome)>, copy: Copy, at: Timestamp) {
        self.alone = self.alone.saturating_sub(decided.len());
        for (mut request, outcome) in decided {
            let ticket = request.allocates().and_then(|lease_id| copy.pool.ticket(lease_id));
            let Some(ticket) = ticket.filter(|_| matches!(outcome, Outcome::Queued { .. })) else {
                request.deliver(outcome, at, &self.withdrawals);
                continue;
            };
            let until = request.waits_until(ticket.until);
            if request.queue() {
                self.queued.insert(ticket.lease_id, (request, until));
            } else {
                // The engine itself receives it.
                let _ = self.withdrawals.send(Command::Withdraw { lease_id: ticket.lease_id });
            }
        }
        self.copy = Some(copy);
    }
}

/// What was decided, in the order of the commands.
#[derive(Default)]
struct Outcomes {
    all: Vec<(Request, Outcome)>,
    /// Where those are that were given a place in the pool's queue.
    queued: HashMap<LeaseId, usize>,
}

impl Outcomes {
    fn with_capacity(capacity: usize) -> Self {
        Outcomes { all: Vec::with_capacity(capacity), queued: HashMap::new() }
    }

    fn push(&mut self, request: Request, outcome: Outcome) {
        if let (Outcome::Queued { .. }, Some(lease_id)) = (&outcome, request.allocates()) {
            self.queued.insert(lease_id, self.all.len());
        }
        self.all.push((request, outcome));
    }
}

/// The request, which is carried out from now on; or, where nobody waits for it any more, what
/// gives up the place in the queue that it may have.
fn taken_or_withdrawn(request: Request) -> Option<Request> {
    if request.take() {
        return Some(request);
    }
    let withdraw = |lease_id| Request::unattended(Command::Withdraw { lease_id });
    request.allocates().map(withdraw)
}

/// Takes the request that allocates this lease out of those that wait.
fn take_out(waiting: &mut VecDeque<Request>, lease_id: LeaseId) -> Option<Request> {
    let place = waiting.iter().position(|request| request.allocates() == Some(lease_id))?;
    waiting.remove(place)
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
