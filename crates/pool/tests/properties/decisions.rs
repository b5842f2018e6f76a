//! The model's decisions about leases and taints.

use pool::{
    Command, Effect, EndReason, HolderCondition, Lease, LeaseId, Outcome, PoolId, Taint, TaintName,
    TaintRefusal, Taints, TokenId,
};

use crate::model::Model;

impl Model {
    pub fn decide(&mut self, command: &Command) -> Option<Outcome> {
        Some(match command {
            Command::Allocate(allocation) => return self.allocate(allocation),
            Command::Release { pool, token_id, if_held } => match self.unknown(*pool, *token_id) {
                Some(unknown) => unknown,
                None => self.release(*token_id, if_held),
            },
            Command::ReleaseLease { lease_id } => match self.if_latest(*lease_id) {
                None => Outcome::NotLatest,
                Some(Lease { end: None, .. }) => {
                    Outcome::LeaseReleased(self.end(*lease_id, EndReason::Released))
                }
                Some(lease) if lease.end.unwrap().reason == EndReason::Released => {
                    Outcome::LeaseReleased(lease)
                }
                Some(lease) => Outcome::LeaseOver(lease),
            },
            Command::Renew { lease_id } => self.renew(*lease_id),
            Command::Withdraw { lease_id } => {
                self.queue.retain(|waiting| waiting.lease_id != *lease_id);
                let ended = self.lease(*lease_id).is_some_and(|lease| lease.end.is_none());
                if ended {
                    self.end(*lease_id, EndReason::Released);
                }
                Outcome::Withdrawn { ended }
            }
            Command::GiveUp { lease_id } => match self.position_of(*lease_id) {
                Some(_) => {
                    self.give_up(*lease_id);
                    Outcome::GaveUp
                }
                None => self.if_latest(*lease_id).map_or(Outcome::UnknownTicket, Outcome::Served),
            },
            Command::Lapse { lease_id } => {
                let server = self.server;
                self.queue.retain(|one| one.lease_id != *lease_id || one.server != server);
                Outcome::GaveUp
            }
            Command::TimeoutDelivered { key } => {
                self.told(key);
                Outcome::GaveUp
            }
            Command::Heartbeat => {
                let (server, now) = (self.server, self.now);
                let own = self.queue.iter_mut().filter(|waiting| waiting.server == server);
                own.for_each(|waiting| waiting.heard_at = now);
                Outcome::Heard
            }
            Command::Clear { pool } => self.clear(*pool),
            Command::Apply(_) => unreachable!("plans have their own comparison"),
            Command::Access(_) => unreachable!("no step changes keys"),
            Command::Taint { pool, token, taint } => match self.unknown(*pool, *token) {
                Some(unknown) => unknown,
                None => self.taint(*token, taint),
            },
            Command::Untaint { pool, token, name } => match self.unknown(*pool, *token) {
                Some(unknown) => unknown,
                None => self.untaint(*token, name),
            },
        })
    }

    fn unknown(&self, pool: PoolId, token: TokenId) -> Option<Outcome> {
        if self.record(pool).is_none() {
            return Some(Outcome::UnknownPool);
        }
        self.token(pool, token).is_none().then_some(Outcome::UnknownToken)
    }

    fn taint(&mut self, id: TokenId, taint: &Taint) -> Outcome {
        let now = self.now;
        let token = self.tokens.iter_mut().find(|token| token.id == id).unwrap();
        let before = token.taints.iter().find(|one| one.name == taint.name);
        if taint.until.is_some_and(|until| until <= now) {
            return Outcome::NotTainted(TaintRefusal::Over);
        }
        if before.is_none() && token.taints.len() == 16 {
            return Outcome::NotTainted(TaintRefusal::TooMany);
        }
        let same = before.is_some_and(|before| {
            let texts = before.reason == taint.reason && before.by == taint.by;
            texts && before.effect == taint.effect && before.until == taint.until
        });
        if !same {
            let others = token.taints.iter().filter(|one| one.name != taint.name).cloned();
            let new = Taint { since: now, ..taint.clone() };
            token.taints = others.chain([new]).collect::<Taints>();
        }
        let token = token.clone();
        let running = self.latest(id).filter(|lease| lease.end.is_none()).map(|lease| lease.id);
        let ends = running.filter(|_| taint.effect == Effect::EndLease);
        let ended = ends.map(|lease| self.end(lease, EndReason::Drained));
        Outcome::Tainted { token, ended }
    }

    fn release(&mut self, token_id: TokenId, if_held: &HolderCondition) -> Outcome {
        let latest = self.latest(token_id).cloned();
        let held = latest.as_ref().is_some_and(|lease| {
            let as_expected = if_held.lease_id.is_none_or(|id| id == lease.id)
                && if_held.user.is_none_or(|user| user == lease.user.id);
            as_expected && lease.end.is_none_or(|end| end.reason == EndReason::Released)
        });
        if !held && (if_held.lease_id.is_some() || if_held.user.is_some()) {
            return Outcome::HolderMismatch { latest };
        }
        let running = latest.filter(|lease| lease.end.is_none());
        Outcome::Released { ended: running.map(|l| self.end(l.id, EndReason::Released)) }
    }

    fn clear(&mut self, pool: PoolId) -> Outcome {
        if self.record(pool).is_none() {
            return Outcome::UnknownPool;
        }
        let running: Vec<LeaseId> = self.running(pool).iter().map(|lease| lease.id).collect();
        for id in &running {
            self.end(*id, EndReason::Cleared);
        }
        Outcome::Cleared { ended: running.len() }
    }

    fn untaint(&mut self, token: TokenId, name: &TaintName) -> Outcome {
        let token = self.tokens.iter_mut().find(|one| one.id == token).unwrap();
        let removed = token.taints.iter().find(|taint| taint.name == *name).cloned();
        let left = token.taints.iter().filter(|taint| taint.name != *name);
        token.taints = left.cloned().collect();
        Outcome::Untainted { token: token.clone(), removed }
    }

    fn renew(&mut self, lease_id: LeaseId) -> Outcome {
        let Some(lease) = self.if_latest(lease_id) else { return Outcome::NotLatest };
        if lease.end.is_some() {
            return Outcome::LeaseOver(lease);
        }
        let policy = self.policy(lease.pool);
        let limit = lease.started_at.after(policy.max_lease.unwrap_or(policy.lease));
        if lease.expires_at >= limit {
            return Outcome::NotRenewable(lease);
        }
        let length = lease.granted_until.since(lease.started_at);
        let renewed = lease.expires_at.max(self.now.after(length).min(limit));
        let lease = self.leases.iter_mut().find(|lease| lease.id == lease_id).unwrap();
        lease.expires_at = renewed;
        Outcome::Renewed(lease.clone())
    }
}
