//! The model of the journal: the entries that are possible by the documents (`docs/leases.md`, `docs/api.md`,
//! `docs/pools.md`, `docs/security.md`). Written without the rules of `pool`, so that neither repeats a
//! mistake of the other.

mod grants;
mod queue;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pool::{
    ApiKeyId, Change, Effect, EndReason, Lease, LeaseId, Patterns, PoolId, Rights, Ticket,
    Timestamp, Token, TokenId, User, WhenFull,
};
use store::Entry;

use crate::facts::{Ask, Request, State};
use crate::tables::Tables;
use crate::world::World;

/// Minimum by which a new epoch raises version and fence.
const EPOCH_GAP: i64 = 1_000_000;

/// Time after which the lease of a client that disconnected is released.
const WITHDRAWAL: Duration = Duration::from_secs(1);

/// `Err` with the broken promise: its kind, a colon, and the facts.
pub type Check = Result<(), String>;

macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}
pub(crate) use ensure;

struct Model<'a> {
    world: &'a World,
    entry: &'a Entry,
    /// The rows after the changes so far.
    tables: Tables,
    /// Tickets that left the queue in this entry.
    left: BTreeMap<LeaseId, Ticket>,
}

/// Checks an entry that follows on these rows.
pub fn check(world: &World, before: &Tables, entry: &Entry) -> Check {
    let Some(last) = world.journal.last() else { return Ok(()) };
    let (old, new) = (&last.entry, entry);
    ensure!(new.at >= old.at, "time: {:?} after {:?}", new.at, old.at);
    let step = new.position.version - old.position.version;
    let raised = new.fence.get() - old.fence.get() >= EPOCH_GAP;
    let same = last.timeline == world.timeline;
    match new.position.epoch - old.position.epoch {
        0 => ensure!(same && step == 1, "epoch: version {step} later, no failover: {same}"),
        1 => ensure!(raised && step > EPOCH_GAP, "epoch: version {step} later, fence: {raised}"),
        _ => return Err("epoch: skipped".to_owned()),
    }
    let mut model = Model { world, entry, tables: before.clone(), left: BTreeMap::new() };
    for (place, change) in entry.changes.iter().enumerate() {
        model.change(change, entry.changes.get(place + 1))?;
        model.tables.apply(change);
    }
    model.end()
}

/// Whether a request for this token, or any, can get one at `at`, with these tickets before it.
pub fn can_get(
    tables: &Tables,
    pool: PoolId,
    token: Option<TokenId>,
    ahead: &[&Ticket],
    at: Timestamp,
) -> bool {
    let Some(record) = tables.pools.get(&pool) else { return false };
    let policy = record.policy;
    let named: BTreeSet<TokenId> = ahead.iter().filter_map(|ticket| ticket.token).collect();
    let any = ahead.iter().filter(|ticket| ticket.token.is_none()).count();
    let evictable = |lease: &Lease| {
        let is_old = lease.started_at.after(policy.min_hold) <= at;
        policy.when_full == WhenFull::EvictOldest && is_old
    };
    let usable = |token: &&Token| {
        let running = tables.latest_of(token.id).filter(|lease| lease.is_running(at));
        is_available(token, at) && !named.contains(&token.id) && running.is_none_or(evictable)
    };
    let usable: BTreeSet<TokenId> =
        tables.tokens_of(pool).filter(usable).map(|token| token.id).collect();
    usable.len() > any && token.is_none_or(|token| usable.contains(&token))
}

fn is_available(token: &Token, at: Timestamp) -> bool {
    let applies = |taint: &pool::Taint| taint.until.is_none_or(|until| until > at);
    let mut taints = token.taints.iter().filter(|taint| taint.effect != Effect::Note);
    token.retired_at.is_none() && !taints.any(applies)
}

/// Whether an API key has this right at `at`, for the pool and the user, if any.
pub fn is_permitted(
    tables: &Tables,
    key: ApiKeyId,
    right: Rights,
    (pool, user): (Option<PoolId>, Option<&User>),
    at: Timestamp,
) -> bool {
    let Some(key) = tables.api_keys.get(&key) else { return false };
    let matches =
        |patterns: &Patterns, name: &str| patterns.iter().any(|text| text == "*" || text == name);
    let pool = pool.and_then(|pool| tables.pools.get(&pool)).map(|record| record.name.as_str());
    key.revoked_at.is_none()
        && key.expires_at.is_none_or(|until| until > at)
        && key.rights as u8 >= right as u8
        && pool.is_none_or(|name| matches(&key.pools, name))
        && user.is_none_or(|user| matches(&key.users, &user.name))
}

/// Whether an API key may end or renew this user's lease or ticket.
pub fn may_end(tables: &Tables, key: ApiKeyId, pool: PoolId, user: &User, at: Timestamp) -> bool {
    is_permitted(tables, key, Rights::Operate, (Some(pool), None), at)
        || is_permitted(tables, key, Rights::Use, (Some(pool), Some(user)), at)
}

/// Whether the user, or the API key, has the maximum number of leases.
pub fn is_at_limit(
    tables: &Tables,
    pool: PoolId,
    user: &User,
    by: Option<ApiKeyId>,
    at: Timestamp,
) -> bool {
    let is_of_user = |lease: &&Lease| lease.pool == pool && lease.user.id == user.id;
    let of_user = tables.running(at).filter(is_of_user).count();
    let of_key = tables.running(at).filter(|lease| lease.by == by).count();
    let policy = tables.pools.get(&pool).map(|record| record.policy);
    let key = by.and_then(|by| tables.api_keys.get(&by));
    let reached = |count: usize, most: Option<u32>| most.is_some_and(|most| count >= most as usize);
    reached(of_user, policy.and_then(|policy| policy.max_per_user))
        || reached(of_key, key.and_then(|key| key.max_leases))
}

impl Model<'_> {
    fn change(&mut self, change: &Change, next: Option<&Change>) -> Check {
        let at = self.entry.at;
        match change {
            Change::LeaseStarted(lease) => self.starts(lease),
            Change::LeaseEnded { lease_id, fence, end } => {
                let lease = self.tables.leases.get(lease_id).ok_or("ended: unknown lease")?;
                ensure!(lease.fence == *fence && lease.end.is_none(), "ended: {lease:?} twice");
                if end.reason == EndReason::Expired {
                    let deadline = lease.expires_at;
                    ensure!(end.at == deadline && deadline <= at, "expired: {lease:?} at {end:?}");
                    return Ok(());
                }
                ensure!(end.at == at && lease.expires_at > at, "deadline: {lease:?} ends later");
                self.ends(lease, end.reason, end.by, next)
            }
            Change::LeaseRenewed { lease_id, expires_at, .. } => {
                self.renewed(*lease_id, *expires_at)
            }
            Change::WaitStarted(ticket) => self.waits(ticket),
            Change::WaitEnded { lease_id }
            | Change::WaitTimedOut { lease_id, .. }
            | Change::WaitGivenUp { lease_id } => {
                let ticket = self.tables.ticket(*lease_id).cloned();
                let ticket = ticket.ok_or("queue: unknown ticket")?;
                self.leaves(&ticket, change)?;
                self.left.insert(ticket.lease_id, ticket);
                Ok(())
            }
            Change::TokenTainted(token) => self.tainted(token),
            Change::PoolDeleted { pool, .. } => {
                let is_used = self.tables.running(at).any(|lease| lease.pool == *pool);
                let has_queue = self.tables.queue(*pool).next().is_some();
                ensure!(!is_used && !has_queue, "deleted: {pool:?} with leases or tickets");
                self.planned()
            }
            Change::PoolCreated(_)
            | Change::PoolChanged(_)
            | Change::TokenAdded(_)
            | Change::TokenRetired { .. } => self.planned(),
            Change::KeyChanged(key) => {
                let before = self.tables.api_keys.get(&key.id);
                let is_valid = before.is_none_or(|before| before.revoked_at.is_none());
                ensure!(is_valid, "access: {} was revoked", key.id);
                self.caused(
                    |ask| matches!(ask, Ask::Access(_)),
                    |key| is_permitted(&self.tables, key, Rights::Admin, (None, None), at),
                )
            }
            _ => Ok(()),
        }
    }

    /// Checks that a request asked for a change, and was permitted to.
    fn caused(&self, asks: impl Fn(&Ask) -> bool, may: impl Fn(ApiKeyId) -> bool) -> Check {
        let (facts, at) = (&self.world.facts, self.entry.at);
        let acting = |request: &Request| asks(&request.ask);
        ensure!(facts.acting(at, acting).is_some(), "cause: no request asked for a change");
        let permitted = |request: &Request| acting(request) && request.actor.is_none_or(&may);
        ensure!(facts.acting(at, permitted).is_some(), "access: no request was permitted");
        Ok(())
    }

    fn planned(&self) -> Check {
        let may = |key| is_permitted(&self.tables, key, Rights::Admin, (None, None), self.entry.at);
        self.caused(|ask| matches!(ask, Ask::Apply(_)), may)
    }

    fn tainted(&self, token: &Token) -> Check {
        let (tables, at, of) = (&self.tables, self.entry.at, token.id);
        let before = &tables.tokens.get(&of).ok_or("taint: unknown token")?.taints;
        let may = |key| is_permitted(tables, key, Rights::Operate, (Some(token.pool), None), at);
        for new in token.taints.iter().filter(|taint| before.get(&taint.name) != Some(taint)) {
            let sets = |ask: &Ask| matches!(ask, Ask::Taint(_, id, taint) if *id == of && taint.name == new.name);
            self.caused(sets, may)?;
        }
        for old in before.iter().filter(|taint| token.taints.get(&taint.name).is_none()) {
            if old.until.is_none_or(|until| until > at) {
                let removes = |ask: &Ask| matches!(ask, Ask::Untaint(_, id, name) if *id == of && *name == old.name);
                self.caused(removes, may)?;
            }
        }
        Ok(())
    }

    /// Whether the client of this lease disconnected long ago, without a key, and nothing kept its server from
    /// releasing the lease.
    fn is_left(&self, lease: &Lease) -> bool {
        let (facts, at) = (&self.world.facts, self.entry.at);
        let mut requests = facts.of_note(lease.note.as_ref());
        let is_left = |request: &Request| match request.state {
            State::Gone(left) => left.after(WITHDRAWAL) < at,
            State::Open | State::Answered => false,
        };
        let has_no_key =
            |request: &Request| request.allocation().is_some_and(|asked| asked.key.is_none());
        !self.world.is_troubled && requests.any(|request| has_no_key(request) && is_left(request))
    }

    /// Invariants after each entry.
    fn end(&self) -> Check {
        let (tables, at) = (&self.tables, self.entry.at);
        let fence = tables.fence.max(self.world.newest().entry.fence);
        ensure!(self.entry.fence >= fence, "fence: the entry is behind its leases");
        let open = |lease: &&Lease| lease.end.is_none();
        let latest = || tables.latest.values().map(|id| &tables.leases[id]).filter(open);
        let overdue = latest().find(|lease| lease.expires_at <= at);
        ensure!(overdue.is_none(), "deadline: {overdue:?} goes on");
        let ends = |lease: &&Lease| {
            let mut taints = tables.tokens[&lease.token_id].taints.iter();
            taints.any(|taint| taint.effect == Effect::EndLease)
        };
        let drained = latest().find(ends);
        ensure!(drained.is_none(), "drained: {drained:?} goes on");
        let left = latest().find(|lease| self.is_left(lease));
        ensure!(left.is_none(), "left: {left:?} goes on, without a client");
        let waits = tables.tickets.values().find(|ticket| ticket.until <= at);
        ensure!(waits.is_none(), "queue: {waits:?} goes on");
        Ok(())
    }
}
