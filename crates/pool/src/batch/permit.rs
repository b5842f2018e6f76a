//! What a command needs of the API key that it comes with.
//!
//! The server checks this as well, for earlier and better answers. Only this check sees the ledger in which the
//! command is decided: a revoked key does nothing more.

use super::Batch;
use super::access::permit_access;
use crate::{
    Action, ApiKey, Command, Forbidden, Lease, LeaseId, Plan, Pool, PoolId, Rights, Sender,
    TokenId, User,
};

impl Batch<'_> {
    pub(super) fn permit(&self, sender: &Sender, command: &Command) -> Result<(), Forbidden> {
        let id = match sender {
            Sender::Trusted => return Ok(()),
            Sender::WithoutKeys if self.ledger.access.is_empty() => return Ok(()),
            Sender::WithoutKeys => return Err(Forbidden::KeyNeeded),
            Sender::Key(id) | Sender::UserOf(id, _) => *id,
        };
        let key = self.ledger.access.valid(id, self.now).ok_or(Forbidden::Key)?;
        let pool = |pool: PoolId| self.has_pool(key, pool);
        match command {
            Command::Allocate(allocation) => {
                needs(key, Rights::Use)?;
                pool(allocation.pool)?;
                has_user(key, sender, &allocation.user)
            }
            Command::Release { pool: of, token_id, .. } => {
                needs(key, Rights::Use)?;
                pool(*of)?;
                self.running(*of, *token_id)
                    .map_or(Ok(()), |lease| may_end(key, sender, &lease.user))
            }
            Command::ReleaseLease { lease_id }
            | Command::Renew { lease_id }
            | Command::GiveUp { lease_id } => {
                needs(key, Rights::Use)?;
                let Some((of, user)) = self.holder(*lease_id) else { return Ok(()) };
                pool(of)?;
                may_end(key, sender, user)
            }
            Command::Clear { pool: of }
            | Command::Taint { pool: of, .. }
            | Command::Untaint { pool: of, .. } => {
                needs(key, Rights::Operate)?;
                pool(*of)
            }
            Command::Apply(plan) => permit_plan(key, plan),
            Command::Access(_) if matches!(sender, Sender::UserOf(..)) => Err(Forbidden::Proxied),
            Command::Access(command) => permit_access(key, command),
            // The engine's own.
            Command::Withdraw { .. }
            | Command::Lapse { .. }
            | Command::TimeoutDelivered { .. }
            | Command::Heartbeat => Ok(()),
        }
    }

    fn has_pool(&self, key: &ApiKey, pool: PoolId) -> Result<(), Forbidden> {
        // A deleted pool has another outcome.
        let name = self.ledger.pool(pool).map(Pool::name);
        if name.is_none_or(|name| key.has_pool(name)) { Ok(()) } else { Err(Forbidden::Pool) }
    }

    fn running(&self, pool: PoolId, token: TokenId) -> Option<&Lease> {
        let latest = self.ledger.pool(pool)?.token(token)?.latest?;
        latest.is_running(self.now).then_some(latest)
    }

    /// Pool and user of a ticket, or of a lease that is its token's latest.
    fn holder(&self, id: LeaseId) -> Option<(PoolId, &User)> {
        let ticket = self.ledger.ticket(id).map(|ticket| (ticket.pool, &ticket.user));
        ticket.or_else(|| self.ledger.lease(id).map(|lease| (lease.pool, &lease.user)))
    }

    /// Notes in the audit log that a lease or ticket of this user ends, if the acting key could not have
    /// allocated it.
    pub(super) fn act_on_other(&mut self, action: Action, pool: PoolId, user: &User, id: LeaseId) {
        let actor = self.sender.key().and_then(|id| self.ledger.access.key(id));
        if actor.is_some_and(|key| has_user(key, &self.sender, user).is_err()) {
            let pool = self.ledger.pool(pool).map(|pool| pool.name().clone());
            self.act(action, pool, id.0.to_string());
        }
    }
}

fn needs(key: &ApiKey, right: Rights) -> Result<(), Forbidden> {
    if key.rights.include(right) { Ok(()) } else { Err(Forbidden::Right(right)) }
}

fn has_user(key: &ApiKey, sender: &Sender, user: &User) -> Result<(), Forbidden> {
    if sender.acts_for(user) && key.has_user(user) { Ok(()) } else { Err(Forbidden::User) }
}

/// Whether the key may end, renew or give up what this user has.
fn may_end(key: &ApiKey, sender: &Sender, user: &User) -> Result<(), Forbidden> {
    if key.rights.include(Rights::Operate) { Ok(()) } else { has_user(key, sender, user) }
}

fn permit_plan(key: &ApiKey, plan: &Plan) -> Result<(), Forbidden> {
    needs(key, Rights::Admin)?;
    let within = plan.pools.iter().all(|pool| key.has_pool(&pool.name));
    if within { Ok(()) } else { Err(Forbidden::Pool) }
}
