//! Starts, renewals and ends of leases.

use pool::{
    ApiKeyId, Change, Effect, EndReason, Fence, KeyUse, Lease, LeaseId, Rights, Ticket, Timestamp,
    Token, WhenFull,
};

use super::{Ask, Check, Model, Request, State, can_get, ensure, is_at_limit, is_available};
use super::{is_permitted, may_end};
use crate::tables::text;

impl Model<'_> {
    pub(super) fn starts(&self, lease: &Lease) -> Check {
        let (tables, at, facts) = (&self.tables, self.entry.at, &self.world.facts);
        let is_new = lease.fence > tables.fence && !facts.fences.contains(&lease.fence);
        ensure!(is_new, "fence: {lease:?} is not new");
        let token = tables.tokens.get(&lease.token_id).ok_or("granted: unknown token")?;
        let fits = token.pool == lease.pool && is_available(token, at);
        ensure!(fits, "granted: {lease:?} of {token:?}");
        let before = tables.latest_of(token.id);
        let is_over = |old: &Lease| old.end.is_some_and(|end| end.at <= lease.started_at);
        ensure!(before.is_none_or(is_over), "exclusive: {lease:?} overlaps {before:?}");
        let previous = before.map_or(Fence::NONE, |before| before.fence);
        ensure!(lease.previous_fence == previous, "chain: {lease:?} after {before:?}");
        let is_it = |request: &Request| {
            let is_same = request.allocation().is_some_and(|asked| asked.note == lease.note);
            is_same && request.actor == lease.by
        };
        let request = facts.acting(at, is_it).and_then(Request::allocation);
        let asked = request.ok_or_else(|| format!("cause: no request for {lease:?}"))?;
        let of_token = asked.token.is_none_or(|token| token == lease.token_id);
        let fits = asked.user == lease.user && asked.pool == lease.pool && of_token;
        ensure!(fits, "granted: {lease:?} for {asked:?}");
        let policy = tables.pools.get(&lease.pool).ok_or("granted: unknown pool")?.policy;
        let length = asked.lease.unwrap_or(policy.lease);
        let fits = lease.started_at == at && lease.expires_at == at.after(length);
        ensure!(fits && length <= policy.lease, "length: {lease:?} for {asked:?}");
        let key = asked.key.as_ref().map(|key| key.of(asked.user.id));
        let is_use = |used: &&KeyUse| Some(&used.key) == key.as_ref();
        let uses: Vec<LeaseId> =
            self.entry.keys.iter().filter(is_use).map(|used| used.lease_id).collect();
        let expected: Vec<LeaseId> = key.iter().map(|_| lease.id).collect();
        ensure!(uses == expected, "key: {lease:?} is remembered {} times", uses.len());
        let is_known = key.is_some_and(|key| tables.keys.contains_key(&text(&key)));
        let is_repeated = is_known || tables.leases.values().any(|other| other.note == lease.note);
        ensure!(!is_repeated, "twice: {lease:?} is granted again");
        let may =
            |by| is_permitted(tables, by, Rights::Use, (Some(lease.pool), Some(&lease.user)), at);
        ensure!(lease.by.is_none_or(may), "access: {lease:?} was not permitted");
        let is_one_more = is_at_limit(tables, lease.pool, &lease.user, lease.by, at);
        ensure!(!is_one_more, "limit: {lease:?} is one too many");
        let number = self.left.get(&lease.id).map_or(i64::MAX, |ticket| ticket.number);
        let queue = tables.queue(lease.pool);
        let ahead: Vec<&Ticket> = queue.filter(|ticket| ticket.number < number).collect();
        let is_fair = can_get(tables, lease.pool, Some(lease.token_id), &ahead, at);
        ensure!(is_fair, "fair: {lease:?} passes {ahead:?}");
        let age = |token: &Token| {
            let latest = tables.latest_of(token.id);
            (latest.and_then(|lease| Some((lease.end?.at, lease.fence))), token.position)
        };
        let is_free = |token: &&Token| {
            let is_open = tables.latest_of(token.id).is_some_and(|lease| lease.end.is_none());
            is_available(token, at) && !is_open
        };
        let oldest = tables.tokens_of(lease.pool).filter(is_free).map(age).min();
        let is_named = asked.token.is_some() || self.names_tokens(lease);
        ensure!(is_named || oldest == Some(age(token)), "order: {lease:?}: another is free longer");
        Ok(())
    }

    /// Whether a ticket of the lease's pool names a token.
    fn names_tokens(&self, lease: &Lease) -> bool {
        self.tables.queue(lease.pool).any(|ticket| ticket.token.is_some())
    }

    pub(super) fn renewed(&self, id: LeaseId, expires_at: Timestamp) -> Check {
        let (tables, at) = (&self.tables, self.entry.at);
        let lease = tables.leases.get(&id).ok_or("renewed: unknown lease")?;
        ensure!(lease.is_running(at), "renewed: {lease:?} is over");
        let was_seen = self.world.facts.seen_expired.contains(&id);
        ensure!(!was_seen, "read: renewed {lease:?} was shown as expired");
        let policy = tables.pools[&lease.pool].policy;
        let limit = lease.started_at.after(policy.max_lease.unwrap_or(policy.lease));
        let length = lease.granted_until.since(lease.started_at);
        let fits = expires_at == at.after(length).min(limit) && expires_at > lease.expires_at;
        ensure!(fits, "renewed: {lease:?} to {expires_at:?}");
        let may = |key| may_end(tables, key, lease.pool, &lease.user, at);
        self.caused(|ask| matches!(ask, Ask::Renew(of) if *of == id), may)
    }

    pub(super) fn ends(
        &self,
        lease: &Lease,
        reason: EndReason,
        by: Option<ApiKeyId>,
        next: Option<&Change>,
    ) -> Check {
        let (tables, at, facts) = (&self.tables, self.entry.at, &self.world.facts);
        let was_seen = facts.seen_expired.contains(&lease.id);
        ensure!(!was_seen, "read: ended {lease:?} was shown as expired");
        match reason {
            EndReason::Released => {
                let left = |request: &Request| {
                    let has_key = request.allocation().is_some_and(|asked| asked.key.is_some());
                    matches!(request.state, State::Gone(_)) && !has_key
                };
                if by.is_none() && facts.of_note(lease.note.as_ref()).any(left) {
                    return Ok(());
                }
                let releases = |ask: &Ask| match ask {
                    Ask::ReleaseLease(id) => *id == lease.id,
                    Ask::Release(_, token, held) => {
                        let is_user = held.user.is_none_or(|user| user == lease.user.id);
                        *token == lease.token_id && is_user
                    }
                    _ => false,
                };
                self.caused(releases, |key| may_end(tables, key, lease.pool, &lease.user, at))
            }
            EndReason::Cleared => {
                let clears = |ask: &Ask| match ask {
                    Ask::Clear(pool) => *pool == lease.pool,
                    Ask::Apply(plan) => plan.end_leases,
                    _ => false,
                };
                let of = (Some(lease.pool), None);
                self.caused(clears, |key| is_permitted(tables, key, Rights::Operate, of, at))
            }
            EndReason::Drained => {
                let mut taints = tables.tokens[&lease.token_id].taints.iter();
                let is_drained = taints.any(|taint| taint.effect == Effect::EndLease);
                ensure!(is_drained, "drained: {lease:?} has no such taint");
                Ok(())
            }
            EndReason::Evicted => self.evicted(lease, next),
            _ => Err(format!("ended: {lease:?} for {reason:?}")),
        }
    }

    fn evicted(&self, lease: &Lease, next: Option<&Change>) -> Check {
        let (tables, at) = (&self.tables, self.entry.at);
        let policy = tables.pools[&lease.pool].policy;
        let is_old = lease.started_at.after(policy.min_hold) <= at;
        let evicts = policy.when_full == WhenFull::EvictOldest && is_old;
        ensure!(evicts, "evicted: {lease:?} may not be");
        let Some(Change::LeaseStarted(new)) = next else {
            return Err(format!("evicted: {lease:?} for no other"));
        };
        ensure!(new.token_id == lease.token_id, "evicted: {lease:?} for {new:?}");
        let asked =
            self.world.facts.of_note(new.note.as_ref()).next().and_then(Request::allocation);
        if self.names_tokens(lease) || asked.is_none_or(|asked| asked.token.is_some()) {
            return Ok(());
        }
        let usable = tables.tokens_of(lease.pool).filter(|token| is_available(token, at));
        let running = usable.map(|token| {
            let running = tables.latest_of(token.id).filter(|lease| lease.is_running(at));
            running.map(|lease| (lease.started_at, lease.fence))
        });
        // A free token is less than every lease.
        let oldest = running.min().flatten();
        let is_oldest = oldest == Some((lease.started_at, lease.fence));
        ensure!(is_oldest, "evicted: {lease:?}, but {oldest:?} is older, or a token is free");
        Ok(())
    }
}
