//! The model of answers: those that are possible, given the journal from the moment of the request to that of the
//! answer. An answer is allowed if one state of the ledger between the two explains it.

mod reading;
mod reasons;

use std::time::Duration;

use engine::{Error, GiveUpOutcome, LeaseOutcome, ReleaseOutcome, TaintOutcome, UntaintOutcome};
use pool::{
    AccessDone, AccessRefusal, ApiKeyId, Change, EndReason, Lease, LeaseId, PlanRefused, PoolId,
    Refusal, Rights, Timestamp, Token, TokenId, UserId, Waiting,
};
use store::Entry;

use self::reading::read;
use self::reasons::failed;
use crate::facts::{Ask, Request};
use crate::model::{Check, ensure, is_permitted};
use crate::tables::{Stored, Tables};
use crate::world::World;

/// How far the estimate of the ledger's time may be off.
const TICK: Duration = Duration::from_millis(20);

/// The answer that a client received.
#[derive(Debug)]
pub enum Answer {
    Granted(Box<engine::Allocated>),
    Waiting(Waiting),
    Refused(Refusal),
    Released(ReleaseOutcome),
    Lease(LeaseOutcome),
    GaveUp(GiveUpOutcome),
    Cleared(usize),
    Tainted(TaintOutcome),
    Untainted(UntaintOutcome),
    Applied(Result<Vec<Change>, PlanRefused>),
    Access(Result<AccessDone, AccessRefusal>),
    Read(Box<Shown>),
    Looked(Option<Lease>),
    Failed(Error),
    /// The client left, or its server died.
    Nothing,
}

/// The ledger as a read showed it.
#[derive(Debug)]
pub struct Shown {
    pub epoch: i64,
    pub version: i64,
    pub now: Timestamp,
    pub pools: Vec<PoolId>,
    pub tokens: Vec<(Token, Option<Lease>)>,
    pub queue: Vec<LeaseId>,
    pub keys: Vec<ApiKeyId>,
}

/// A state of the ledger: the rows, with the first and last moment at which they were current.
struct Moment<'a> {
    tables: &'a Tables,
    first: Timestamp,
    last: Timestamp,
}

/// Checks the answer to a request, and notes the version that it shows.
pub fn check(world: &mut World, request: &Request, answer: &Answer) -> Check {
    match (answer, &request.ask) {
        (Answer::Granted(granted), Ask::Allocate(asked)) => {
            return self::granted(world, request, asked, granted);
        }
        (Answer::Read(shown), _) => return read(world, request, shown),
        (Answer::Failed(error), ask) => return failed(world, request, ask, error),
        (Answer::Refused(Refusal::Full { .. }), Ask::Allocate(asked)) if asked.key.is_none() => {
            let waited_until = request.sent.after(asked.wait.unwrap_or_default());
            let waited = world.facts.stepped || world.clock().after(TICK) >= waited_until;
            ensure!(waited, "refused: {asked:?} before its wait ended");
        }
        _ => {}
    }
    let is_explained =
        explained(world, request, |moment| explains(world, request, answer, moment) == Some(true));
    ensure!(is_explained, "answer: {answer:?} to {:?}", request.ask);
    match (answer, &request.ask) {
        (Answer::Waiting(waiting), _) => world.facts.tickets.push(waiting.ticket),
        (Answer::Lease(_), Ask::ReleaseLease(id)) => show(
            world,
            |change| matches!(change, Change::LeaseEnded { lease_id, .. } if lease_id == id),
        ),
        (Answer::Lease(_), Ask::Renew(id)) => show(
            world,
            |change| matches!(change, Change::LeaseRenewed { lease_id, .. } if lease_id == id),
        ),
        (Answer::Released(ReleaseOutcome::Free { ended: Some(lease) }), _) => show(
            world,
            |change| matches!(change, Change::LeaseEnded { lease_id, .. } if *lease_id == lease.id),
        ),
        (Answer::Access(Ok(AccessDone::Key(key))), _) => {
            show(world, |change| matches!(change, Change::KeyChanged(new) if new == key));
        }
        (Answer::Looked(Some(lease)), _) => {
            let is_expired = lease.end.is_some_and(|end| end.reason == EndReason::Expired);
            if is_expired && !world.facts.stepped && request.timeline == world.timeline {
                world.facts.seen_expired.insert(lease.id);
            }
        }
        _ => {}
    }
    Ok(())
}

/// Whether an answer is right at a moment. `None` if the rows lack the subject of the answer.
fn explains(
    world: &World,
    request: &Request,
    answer: &Answer,
    moment: &Moment<'_>,
) -> Option<bool> {
    let Moment { tables, last, .. } = *moment;
    Some(match (answer, &request.ask) {
        (Answer::Waiting(waiting), Ask::Allocate(asked)) => {
            asked.key.is_some() && tables.ticket(waiting.ticket)?.note == asked.note
        }
        (Answer::Refused(refusal), Ask::Allocate(asked)) => {
            reasons::refuses(world, request, asked, refusal, moment)
        }
        (Answer::Released(outcome), Ask::Release(_, token, held)) => {
            released(outcome, *token, held.user, moment)
        }
        (Answer::Lease(LeaseOutcome::Unknown), Ask::ReleaseLease(id) | Ask::Renew(id)) => {
            // For a key of other pools, the lease does not exist.
            let hidden = |lease: &Lease| {
                request.actor.is_some_and(|key| {
                    !is_permitted(tables, key, Rights::Read, (Some(lease.pool), None), moment.first)
                })
            };
            tables.leases.get(id).is_none_or(hidden)
        }
        (Answer::Lease(outcome), Ask::ReleaseLease(id)) => {
            match (outcome, tables.leases.get(id)?.end) {
                (LeaseOutcome::Done { lease, .. }, Some(end)) => {
                    end.reason == EndReason::Released && lease.end == Some(end)
                }
                (LeaseOutcome::Over { lease, .. }, _) => is_over(lease, moment)?,
                _ => false,
            }
        }
        (Answer::Lease(outcome), Ask::Renew(_)) => renewed(outcome, moment)?,
        (Answer::GaveUp(GiveUpOutcome::Served(lease)), _) => tables.leases.contains_key(&lease.id),
        (Answer::GaveUp(_), Ask::GiveUp(id)) => tables.ticket(*id).is_none(),
        (Answer::Cleared(count), Ask::Clear(pool)) => {
            let is_empty = tables.running(last).all(|lease| lease.pool != *pool);
            is_empty && (*count == 0 || has_cleared(world, request, *pool, *count))
        }
        (Answer::Tainted(TaintOutcome::Done { ended, .. }), Ask::Taint(_, token, taint)) => {
            let is_set = tables.tokens.get(token)?.taints.get(&taint.name)?.effect == taint.effect;
            let end = |lease: &Lease| tables.leases.get(&lease.id).and_then(|row| row.end);
            // The lease ends in the same batch, after the taint is set.
            is_set
                && ended
                    .as_ref()
                    .is_none_or(|lease| end(lease).is_none_or(|end| lease.end == Some(end)))
        }
        (Answer::Untainted(UntaintOutcome::Done { .. }), Ask::Untaint(_, token, name)) => {
            tables.tokens.get(token)?.taints.get(name).is_none()
        }
        (Answer::Applied(Ok(changes)), _) => {
            changes.is_empty() || has_applied(world, request, changes)
        }
        (Answer::Access(Ok(AccessDone::Key(key))), _) => tables.api_keys.get(&key.id)? == key,
        (Answer::Looked(None), Ask::Look(id)) => !tables.leases.contains_key(id),
        (Answer::Looked(Some(lease)), _) => {
            let row = tables.leases.get(&lease.id)?;
            let ends = [row.end_at(moment.first), row.end_at(last)];
            lease.expires_at == row.expires_at && ends.contains(&lease.end)
        }
        _ => true,
    })
}

fn granted(
    world: &mut World,
    request: &Request,
    asked: &engine::AllocateRequest,
    granted: &engine::Allocated,
) -> Check {
    let (now, lease, at) = (world.clock(), &granted.grant.lease, granted.at);
    world.facts.leases.push(lease.id);
    if world.facts.lost.contains_key(&lease.id) || request.timeline != world.timeline {
        return Ok(());
    }
    let tables = world.newest().after.clone();
    let row = tables.leases.get(&lease.id);
    let row = row.ok_or_else(|| format!("durable: {lease:?} is not in the journal"))?;
    let first =
        |lease: &Lease| Lease { end: None, expires_at: lease.granted_until, ..lease.clone() };
    let is_row = first(row) == first(lease) && lease.expires_at <= row.expires_at;
    ensure!(is_row, "answer: {lease:?} is {row:?}");
    let is_asked = lease.note == asked.note && lease.user == asked.user;
    ensure!(is_asked, "answer: {lease:?} for {asked:?}");
    let ran = lease.expires_at > at && row.end.is_none_or(|end| end.at >= at);
    ensure!(lease.end.is_some() || ran, "answer: {row:?} was over at {at:?}");
    ensure!(lease.end.is_none() || lease.end == row.end_at(now), "answer: {lease:?} is {row:?}");
    let value = &tables.tokens[&lease.token_id].value;
    ensure!(*value == granted.grant.value, "answer: {lease:?} with another value");
    let evicted = granted.grant.evicted.as_ref().map(|lease| lease.id);
    ensure!(
        evicted == tables.evicted.get(&lease.id).copied(),
        "answer: {evicted:?} was not evicted"
    );
    let in_time = world.facts.stepped || (request.sent <= at && at <= now);
    ensure!(in_time, "time: sent at {:?}, decided at {at:?}, answered at {now:?}", request.sent);
    show(world, |change| matches!(change, Change::LeaseStarted(new) if new.id == lease.id));
    Ok(())
}

fn released(
    outcome: &ReleaseOutcome,
    token: TokenId,
    user: Option<UserId>,
    Moment { tables, last, .. }: &Moment<'_>,
) -> bool {
    let latest = tables.latest_of(token);
    let is_running = latest.is_some_and(|lease| lease.is_running(*last));
    match outcome {
        ReleaseOutcome::Free { ended: Some(lease) } => {
            tables.leases.get(&lease.id).is_some_and(|row| {
                row.end == lease.end && row.end.is_some_and(|end| end.reason == EndReason::Released)
            })
        }
        ReleaseOutcome::Free { ended: None } => !is_running,
        ReleaseOutcome::HolderMismatch { .. } => {
            !is_running || latest.is_some_and(|lease| Some(lease.user.id) != user)
        }
        ReleaseOutcome::UnknownToken => tables
            .tokens
            .get(&token)
            .is_none_or(|row| tables.tokens_of(row.pool).all(|other| other.id != token)),
    }
}

fn renewed(outcome: &LeaseOutcome, moment: &Moment<'_>) -> Option<bool> {
    let Moment { tables, first, .. } = *moment;
    let (LeaseOutcome::Done { lease, .. }
    | LeaseOutcome::AtLimit { lease, .. }
    | LeaseOutcome::Over { lease, .. }) = outcome
    else {
        return None;
    };
    let row = tables.leases.get(&lease.id)?;
    let policy = tables.pools.get(&lease.pool).map(|record| record.policy);
    let limit = policy.map(|policy| row.started_at.after(policy.max_lease.unwrap_or(policy.lease)));
    let runs = row.is_running(first) && row.expires_at == lease.expires_at;
    Some(match outcome {
        LeaseOutcome::Done { at, .. } => {
            runs && row.expires_at >= at.after(row.length()).min(limit?)
        }
        LeaseOutcome::AtLimit { .. } => runs && limit? <= row.expires_at,
        _ => is_over(lease, moment)?,
    })
}

fn is_over(lease: &Lease, Moment { tables, last, .. }: &Moment<'_>) -> Option<bool> {
    Some(lease.end.is_some() && tables.leases.get(&lease.id)?.end_at(*last) == lease.end)
}

/// The entries since a request was sent.
fn since<'a>(world: &'a World, request: &Request) -> &'a [Stored] {
    &world.journal[request.known.min(world.journal.len())..]
}

fn has_cleared(world: &World, request: &Request, pool: PoolId, count: usize) -> bool {
    since(world, request).iter().any(|stored| {
        let is_cleared = |change: &&Change| match change {
            Change::LeaseEnded { lease_id, end, .. } => {
                let is_of_pool = stored.after.leases[lease_id].pool == pool;
                is_of_pool && end.reason == EndReason::Cleared
            }
            _ => false,
        };
        stored.entry.changes.iter().filter(is_cleared).count() >= count
    })
}

fn has_applied(world: &World, request: &Request, changes: &[Change]) -> bool {
    let has = |stored: &Stored| changes.iter().all(|change| stored.entry.changes.contains(change));
    since(world, request).iter().any(has)
}

/// Place of the entry after which an answer may show the ledger. Reads of a server that is alone show a commit
/// only when the server has its answer; then it was the last entry.
fn first_state(world: &World, request: &Request) -> usize {
    let is_read = matches!(request.ask, Ask::Read | Ask::Look(_));
    let in_flight = usize::from(world.servers == 1 && is_read);
    (request.known - 1).saturating_sub(in_flight)
}

/// Whether a state of the ledger between request and answer fits.
fn explained(world: &World, request: &Request, fits: impl Fn(&Moment<'_>) -> bool) -> bool {
    if request.timeline != world.timeline {
        return true;
    }
    let is_stepped = world.facts.stepped;
    let now = world.newest().entry.at.max(world.last_clock());
    let now = if is_stepped { Timestamp::from_micros(i64::MAX) } else { now };
    let sent = if is_stepped { Timestamp::MIN } else { request.sent };
    let journal = &world.journal[first_state(world, request)..];
    let whole = journal.iter().enumerate().any(|(place, stored)| {
        let last = journal.get(place + 1).map_or(now, |next| next.entry.at);
        let first = stored.entry.at.max(sent).min(last);
        fits(&Moment { tables: &stored.after, first, last })
    });
    // Commands of one batch are decided one after the other.
    whole
        || journal.windows(2).any(|pair| {
            let mut tables = Tables::clone(&pair[0].after);
            let Entry { at, changes, .. } = &pair[1].entry;
            changes.iter().any(|change| {
                tables.apply(change);
                fits(&Moment { tables: &tables, first: *at, last: *at })
            })
        })
}

/// Notes that an answer has shown the newest entry with such a change.
fn show(world: &mut World, is_it: impl Fn(&Change) -> bool) {
    let found = world.journal.iter().rev().find(|stored| stored.entry.changes.iter().any(&is_it));
    let version = found.map_or(0, |stored| stored.entry.position.version);
    world.facts.shown = world.facts.shown.max(version);
}
