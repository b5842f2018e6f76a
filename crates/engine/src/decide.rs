use std::collections::{HashMap, HashSet, VecDeque};

use pool::{
    Batch, BatchContext, Command, Finished, IdempotencyKeys, LeaseId, Outcome, Timestamp, UserKey,
};
use store::KeysFound;

use crate::mailbox::Request;
use crate::replica::Replica;
use crate::writer::{Writer, put_back};

/// How many of those in the queue have their keys looked up together.
const KEYS_AT_ONCE: usize = 64;

/// The result of a decided batch.
pub(crate) struct Decided {
    pub outcomes: Vec<(Request, Outcome)>,
    pub finished: Finished,
}

impl Writer {
    /// Decides up to `limit` of the commands that wait, as one batch, and then serves up to as many
    /// of those in the pool's queue as there are tokens for. Where it fails, all wait again.
    pub(crate) async fn decide(
        &mut self,
        copy: &mut Replica,
        now: Timestamp,
        waiting: &mut VecDeque<Request>,
        limit: usize,
    ) -> Result<Decided, store::Error> {
        let keys = waiting.iter().take(limit).filter_map(Request::key);
        let keys = self.look_up(keys.collect(), now).await?;
        let context = BatchContext { observer: self.shared.observer(copy, now), keys };
        let mut batch = copy.pool.batch(context);
        let mut outcomes = Outcomes::with_capacity(waiting.len().min(limit));
        for _ in 0..limit {
            let Some(request) = waiting.pop_front() else { break };
            let Some(request) = taken_or_withdrawn(request) else { continue };
            if let Command::Lapse { lease_id } = &request.command
                && (outcomes.queued.contains_key(lease_id) || self.held.first(*lease_id).is_some())
            {
                // Its client has just asked for it.
                continue;
            }
            if let Some(request) = outcomes.decide(&mut batch, request) {
                put_back(waiting, [request]);
                break;
            }
        }
        let queue = self.serve_queue(&mut batch, &mut outcomes, waiting, (limit, now)).await;
        if let Err(error) = queue {
            put_back(waiting, outcomes.all.into_iter().map(|(request, _)| request));
            return Err(error);
        }
        Ok(Decided { outcomes: outcomes.all, finished: batch.finish() })
    }

    /// Serves up to `limit` of the tickets in the pool's queue, as long as there is a token for them; and
    /// further requests with the keys that were granted in this batch.
    async fn serve_queue(
        &mut self,
        batch: &mut Batch<'_>,
        outcomes: &mut Outcomes,
        waiting: &mut VecDeque<Request>,
        (limit, now): (usize, Timestamp),
    ) -> Result<(), store::Error> {
        let most = if self.alone > 0 { limit.saturating_sub(outcomes.all.len()) } else { limit };
        let mut known: HashSet<UserKey> = HashSet::new();
        for _ in 0..most {
            let next = batch.next_in_queue(|ticket| !self.held.is_absent(ticket.lease_id));
            let Some((ticket, kept)) = next.map(|next| (next.lease_id, next.is_kept())) else {
                break;
            };
            if let Some(&place) = outcomes.queued.get(&ticket).and_then(|places| places.first()) {
                let (request, outcome) = &mut outcomes.all[place];
                let Some(decided) = batch.decide(&request.command) else { break };
                *outcome = decided;
                continue;
            }
            let request = self.held.take_one(ticket).or_else(|| take_out(waiting, ticket));
            let Some(request) = request else {
                if kept {
                    self.held.left(ticket);
                    continue;
                }
                let withdrawal = Request::unattended(Command::Withdraw { lease_id: ticket });
                outcomes.decide(batch, withdrawal);
                continue;
            };
            if let Some(key) = request.key()
                && !known.contains(&key)
            {
                // With those of the next, who may be served in this batch, too.
                let next = batch.queue().filter_map(|ticket| self.held.first(ticket));
                let next = next.filter_map(Request::key).take(KEYS_AT_ONCE);
                let keys: HashSet<UserKey> = next.chain([key]).collect();
                known.extend(keys.iter().cloned());
                match self.look_up(keys, now).await {
                    Ok(keys) => batch.learn(keys),
                    Err(error) => {
                        put_back(waiting, [request]);
                        return Err(error);
                    }
                }
            }
            let Some(request) = taken_or_withdrawn(request) else { continue };
            if let Some(request) = outcomes.decide(batch, request) {
                put_back(waiting, [request]);
                break;
            }
        }
        self.answer_same_keys(batch, outcomes);
        Ok(())
    }

    /// Other requests with a key that was granted meanwhile get the same lease, and no other token.
    fn answer_same_keys(&mut self, batch: &mut Batch<'_>, outcomes: &mut Outcomes) {
        for ticket in batch.granted_with_keys() {
            for place in outcomes.queued.remove(&ticket).unwrap_or_default() {
                let (request, outcome) = &mut outcomes.all[place];
                if let Some(decided) = batch.decide(&request.command) {
                    *outcome = decided;
                }
            }
            for request in self.held.take(ticket).into_iter().filter_map(taken_or_withdrawn) {
                outcomes.decide(batch, request);
            }
        }
    }

    /// What is remembered of these keys.
    async fn look_up(
        &mut self,
        keys: HashSet<UserKey>,
        now: Timestamp,
    ) -> Result<IdempotencyKeys, store::Error> {
        if keys.is_empty() {
            return Ok(IdempotencyKeys::default());
        }
        let keys: Vec<UserKey> = keys.into_iter().collect();
        let KeysFound { remembered: found, count } = self.store.keys(&keys).await?;
        let room = self.key_limits.room(&mut *self.store, count, keys.len(), now).await?;
        Ok(IdempotencyKeys { found, ..room })
    }
}

/// What was decided, in the order of the commands.
#[derive(Default)]
struct Outcomes {
    all: Vec<(Request, Outcome)>,
    /// Where those are that wait with a ticket.
    queued: HashMap<LeaseId, Vec<usize>>,
}

impl Outcomes {
    fn with_capacity(capacity: usize) -> Self {
        Outcomes { all: Vec::with_capacity(capacity), queued: HashMap::new() }
    }

    /// Decides the request's command. Gives the request back where that has to wait for the next batch.
    fn decide(&mut self, batch: &mut Batch<'_>, request: Request) -> Option<Request> {
        let Some(outcome) = batch.decide(&request.command) else { return Some(request) };
        if let Outcome::Queued(waiting) = &outcome {
            self.queued.entry(waiting.ticket).or_default().push(self.all.len());
        }
        self.all.push((request, outcome));
        None
    }
}

/// The request, which is carried out from now on; or, where nobody waits for it any more, what
/// gives up the place in the queue that it may have. A ticket with a key is kept.
fn taken_or_withdrawn(request: Request) -> Option<Request> {
    if request.take() {
        return Some(request);
    }
    let withdraw = |lease_id| Request::unattended(Command::Withdraw { lease_id });
    request.allocates().filter(|_| !request.is_kept()).map(withdraw)
}

/// Takes the request that allocates this lease out of those that wait.
fn take_out(waiting: &mut VecDeque<Request>, lease_id: LeaseId) -> Option<Request> {
    let place = waiting.iter().position(|request| request.allocates() == Some(lease_id))?;
    waiting.remove(place)
}
