use std::collections::{HashMap, HashSet, VecDeque};

use pool::{
    Batch, Change, Circumstances, Command, IdempotencyKey, KeyUse, Keys, LeaseId, Outcome,
    Timestamp,
};
use store::KeysFound;

use crate::copy::Copy;
use crate::mailbox::Request;
use crate::writer::{Writer, put_back};

/// How many of those in the queue have their keys looked up together.
const KEYS_AT_ONCE: usize = 64;

/// What a batch came to.
pub(crate) struct Decided {
    pub outcomes: Vec<(Request, Outcome)>,
    pub changes: Vec<Change>,
    /// When those leases had started that ended, in the order of the changes.
    pub starts_of_ended: Vec<Timestamp>,
    pub keys: Vec<KeyUse>,
}

impl Writer {
    /// Decides up to `limit` of the commands that wait, as one batch, and then serves up to as many
    /// of those in the pool's queue as there are tokens for. Where it fails, all wait again.
    pub(crate) async fn decide(
        &mut self,
        copy: &mut Copy,
        now: Timestamp,
        waiting: &mut VecDeque<Request>,
        limit: usize,
    ) -> Result<Decided, store::Error> {
        let (server, journal_at) = (self.shared.server, self.shared.journal_at(copy));
        let keys = waiting.iter().take(limit).filter_map(Request::key).cloned();
        let keys = self.look_up(keys.collect(), now).await?;
        let circumstances = Circumstances { now, server, journal_at, keys };
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
        let queue = self.serve_queue(&mut batch, &mut outcomes, waiting, (limit, now)).await;
        if let Err(error) = queue {
            put_back(waiting, outcomes.all.into_iter().map(|(request, _)| request));
            return Err(error);
        }
        let (starts_of_ended, keys) = (batch.take_starts_of_ended(), batch.take_keys_used());
        Ok(Decided { outcomes: outcomes.all, changes: batch.finish(), starts_of_ended, keys })
    }

    /// Serves up to `limit` of those in the pool's queue, as long as there is a token for them; and
    /// those who wait for what a key has been granted in this batch.
    async fn serve_queue(
        &mut self,
        batch: &mut Batch<'_>,
        outcomes: &mut Outcomes,
        waiting: &mut VecDeque<Request>,
        (limit, now): (usize, Timestamp),
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
            let request = self.queued.remove(&lease_id).map(|queued| queued.request);
            let request = request.or_else(|| take_out(waiting, lease_id));
            if let Some(key) = request.as_ref().and_then(Request::key)
                && !known.contains(key)
            {
                // With those of the next, who may be served in this batch, too.
                let next = batch.queue().filter_map(|lease_id| self.queued.get(&lease_id));
                let next = next.take(KEYS_AT_ONCE).filter_map(|queued| queued.request.key());
                let keys: HashSet<_> = next.chain([key]).cloned().collect();
                known.extend(keys.iter().cloned());
                match self.look_up(keys, now).await {
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
        let same = self.queued.iter().filter(|(_, queued)| granted(&queued.request));
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
            let request = self.queued.remove(&lease_id).map(|queued| queued.request);
            if let Some(request) = request.and_then(taken_or_withdrawn)
                && let Some(outcome) = batch.decide(&request.command)
            {
                outcomes.push(request, outcome);
            }
        }
    }

    /// What is remembered of these keys.
    async fn look_up(
        &mut self,
        keys: HashSet<IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Keys, store::Error> {
        if keys.is_empty() {
            return Ok(Keys::default());
        }
        let keys: Vec<IdempotencyKey> = keys.into_iter().collect();
        let KeysFound { remembered: found, count } = self.store.keys(&keys).await?;
        let room = self.key_limits.room(&mut *self.store, count, keys.len(), now).await?;
        Ok(Keys { found, ..room })
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
