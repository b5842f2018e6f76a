use std::collections::{HashMap, HashSet, VecDeque};

use pool::{
    Batch, BatchContext, Command, Finished, IdempotencyKeys, LeaseId, Outcome, Timestamp, UserKey,
};
use store::KeysFound;

use crate::mailbox::Request;
use crate::replica::Replica;
use crate::writer::{Writer, put_back};

/// Number of queued allocations whose keys are looked up together.
const KEYS_AT_ONCE: usize = 64;

/// The result of a decided batch.
pub(super) struct Decided {
    pub outcomes: Vec<(Request, Outcome)>,
    pub finished: Finished,
}

impl Writer {
    /// Decides up to `limit` of the waiting commands as one batch. Then serves the pool's queue: up
    /// to `limit` tickets, as far as tokens are free. If this fails, all requests wait again.
    pub(super) async fn decide(
        &mut self,
        copy: &mut Replica,
        now: Timestamp,
        waiting: &mut VecDeque<Request>,
        limit: usize,
    ) -> Result<Decided, store::Error> {
        let keys = waiting.iter().take(limit).filter_map(Request::key);
        let keys = self.look_up(keys.collect(), now).await?;
        let context = BatchContext { observer: self.shared.observer(copy, now), keys };
        let mut batch = copy.ledger.batch(context);
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

    /// Serves up to `limit` of the tickets in the pool's queue while tokens are available for them;
    /// and further requests with the keys that were granted in this batch.
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
                let Some(decided) = batch.decide_for(request.sender.clone(), &request.command)
                else {
                    break;
                };
                let is_forbidden = matches!(decided, Outcome::Forbidden(_));
                *outcome = decided;
                if is_forbidden {
                    // Its key was revoked in this batch. The ticket may have other requests; otherwise it is
                    // removed.
                    outcomes.queued.entry(ticket).or_default().remove(0);
                }
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
                // Together with the keys of the next tickets, which may be served in this batch,
                // too.
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

    /// Other requests with a key that was granted meanwhile get the same lease, and no further
    /// token.
    fn answer_same_keys(&mut self, batch: &mut Batch<'_>, outcomes: &mut Outcomes) {
        for ticket in batch.granted_with_keys() {
            for place in outcomes.queued.remove(&ticket).unwrap_or_default() {
                let (request, outcome) = &mut outcomes.all[place];
                if let Some(decided) = batch.decide_for(request.sender.clone(), &request.command) {
                    *outcome = decided;
                }
            }
            for request in self.held.take(ticket).into_iter().filter_map(taken_or_withdrawn) {
                outcomes.decide(batch, request);
            }
        }
    }

    /// Looks up the records of these keys.
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

/// Outcomes, in the order of the commands.
#[derive(Default)]
struct Outcomes {
    all: Vec<(Request, Outcome)>,
    /// Indexes of the requests that wait with a ticket.
    queued: HashMap<LeaseId, Vec<usize>>,
}

impl Outcomes {
    fn with_capacity(capacity: usize) -> Self {
        Outcomes { all: Vec::with_capacity(capacity), queued: HashMap::new() }
    }

    /// Decides the request's command. Returns the request if it has to wait for the next batch.
    fn decide(&mut self, batch: &mut Batch<'_>, request: Request) -> Option<Request> {
        let Some(outcome) = batch.decide_for(request.sender.clone(), &request.command) else {
            return Some(request);
        };
        if let Outcome::Queued(waiting) = &outcome {
            self.queued.entry(waiting.ticket).or_default().push(self.all.len());
        }
        self.all.push((request, outcome));
        None
    }
}

/// Marks the request as being carried out. If its client no longer waits, returns instead a command
/// that removes its ticket from the queue, if it has one. A ticket with a key is kept.
fn taken_or_withdrawn(request: Request) -> Option<Request> {
    if request.take() {
        return Some(request);
    }
    let withdraw = |lease_id| Request::unattended(Command::Withdraw { lease_id });
    request.allocates().filter(|_| !request.is_kept()).map(withdraw)
}

/// Removes and returns the waiting request that allocates this lease.
fn take_out(waiting: &mut VecDeque<Request>, lease_id: LeaseId) -> Option<Request> {
    let place = waiting.iter().position(|request| request.allocates() == Some(lease_id))?;
    waiting.remove(place)
}
