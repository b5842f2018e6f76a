//! Requests of random steps.

use pool::{
    Allocation, Command, Expected, HolderCondition, IdempotencyKey, Intent, Labels, LeaseId, Note,
    Plan, PoolId, PoolName, PoolWanted, Taint, TaintName, Timestamp, TokenId, TokenName,
    TokenValue, TokenWanted, User,
};
use uuid::Uuid;

use crate::steps::{Ago, AnyPool, AnyToken, Asked, Planned, PlannedToken, Step};
use crate::world::{NAMES, World};

impl World {
    /// Command of the step. `None` if the step names a lease that does not exist yet.
    pub fn command(&mut self, server: usize, step: &Step) -> Option<Command> {
        Some(match step {
            Step::Allocate(asked) => {
                let allocation = self.allocation(asked);
                self.keyed.extend(allocation.key.is_some().then(|| allocation.clone()));
                Command::Allocate(allocation)
            }
            Step::AllocateAgain(Ago(ago)) => {
                let before = self.keyed.iter().rev().nth(*ago)?.clone();
                Command::Allocate(Allocation { lease_id: LeaseId(self.new_id()), ..before })
            }
            Step::Release { pool, token, lease, user } => {
                let lease_id = match lease {
                    Some(ago) => Some(self.lease_id(*ago)?),
                    None => None,
                };
                let (pool, user) = (self.pool_id(*pool), user.map(|user| name(user).id));
                let token_id = self.token_of(pool, *token);
                Command::Release { pool, token_id, if_held: HolderCondition { lease_id, user } }
            }
            Step::ReleaseLease(ago) => Command::ReleaseLease { lease_id: self.lease_id(*ago)? },
            Step::Renew(ago) => Command::Renew { lease_id: self.lease_id(*ago)? },
            Step::Withdraw(ago) => Command::Withdraw { lease_id: self.lease_id(*ago)? },
            Step::Leave(Ago(ago)) => {
                self.gone.extend(self.history.waiting().into_iter().rev().nth(*ago));
                return None;
            }
            Step::GiveUp(ago) => Command::GiveUp { lease_id: self.lease_id(*ago)? },
            Step::Lapse(ago) => Command::Lapse { lease_id: self.lease_id(*ago)? },
            Step::Heartbeat => Command::Heartbeat,
            Step::Clear(pool) => Command::Clear { pool: self.pool_id(*pool) },
            Step::Apply(planned) => {
                let plan = self.plan(planned);
                let dry_run = self.servers[server].ledger.plan(&plan, self.model.now);
                assert!(dry_run.is_err() || !plan.pools.is_empty());
                Command::Apply(plan)
            }
            Step::Taint { pool, token, name, effect, lasts } => {
                let pool = self.pool_id(*pool);
                let until = lasts.map(|lasts| self.model.now.after(lasts));
                let (name, since) = (taint_name(*name), Timestamp::MIN);
                let (effect, reason, by) = (*effect, Note::default(), None);
                let taint = Taint { name, effect, reason, by, since, until };
                Command::Taint { pool, token: self.token_of(pool, *token), taint }
            }
            Step::Untaint { pool, token, name } => {
                let pool = self.pool_id(*pool);
                let token = self.token_of(pool, *token);
                Command::Untaint { pool, token, name: taint_name(*name) }
            }
        })
    }

    /// A pool that exists, or one that was deleted or never created.
    fn pool_id(&self, AnyPool(index): AnyPool) -> PoolId {
        let mut ids: Vec<PoolId> = self.model.present().map(|record| record.id).collect();
        ids.sort();
        let others = self.model.pools.iter().filter(|(_, deleted)| deleted.is_some());
        ids.extend(others.map(|(record, _)| record.id));
        ids.get(index).copied().unwrap_or(PoolId(99))
    }

    /// A token of the pool, of another pool, or of none.
    fn token_of(&self, pool: PoolId, index: usize) -> TokenId {
        let own = self.model.tokens_of(pool).get(index).map(|token| token.id);
        own.unwrap_or_else(|| self.any_token(AnyToken(index)))
    }

    fn any_token(&self, AnyToken(index): AnyToken) -> TokenId {
        let token = self.model.tokens.iter().rev().nth(index);
        token.map_or(TokenId(Uuid::nil()), |token| token.id)
    }

    fn plan(&mut self, planned: &Planned) -> Plan {
        let Planned { ref pools, prune, end_leases } = *planned;
        let pools = pools.iter().map(|pool| PoolWanted {
            name: PoolName::new(NAMES[pool.name]).unwrap(),
            description: None,
            policy: pool.policy.map(Into::into).unwrap_or_default(),
            tokens: pool
                .tokens
                .as_ref()
                .map(|tokens| tokens.iter().map(|token| self.token_wanted(token)).collect()),
            delete: pool.delete,
            keep_other_tokens: pool.keep_other_tokens,
            expected: Expected::Any,
        });
        Plan { pools: pools.collect(), prune, end_leases }
    }

    fn token_wanted(&mut self, planned: &PlannedToken) -> TokenWanted {
        let PlannedToken { intent, token, name, value, label } = *planned;
        let token = self.any_token(token);
        TokenWanted {
            intent: match intent {
                0 => Intent::Put,
                1 => Intent::Create,
                2 => Intent::Change(token),
                _ => Intent::Retire(token),
            },
            value: value.map(|value| TokenValue::new(&format!("value {value}")).unwrap()),
            labels: label.map(|label| Labels::new([("label", label.to_string())]).unwrap()),
            ..self.fresh(name.map(|name| TokenName::new(&name.to_string()).unwrap()))
        }
    }

    fn allocation(&mut self, asked: &Asked) -> Allocation {
        let pool = self.pool_id(asked.pool);
        Allocation {
            pool,
            token: asked.token.map(|token| self.token_of(pool, token)),
            note: asked.note.then(|| Note::new("note").unwrap()),
            until: None,
            lease_id: LeaseId(self.new_id()),
            user: name(asked.user),
            lease: asked.lease,
            wait: asked.wait,
            key: asked.key.map(|key| IdempotencyKey::new(&format!("key {key}")).unwrap()),
        }
    }

    /// Id of a granted or queued lease, counted back from the latest.
    fn lease_id(&self, Ago(ago): Ago) -> Option<LeaseId> {
        let waiting = self.history.waiting().into_iter().rev();
        let granted = self.model.leases.iter().rev().map(|lease| lease.id);
        let mut ids: Vec<LeaseId> = waiting.chain(granted).collect();
        ids.sort_by_key(|id| std::cmp::Reverse(id.0));
        ids.get(ago).copied()
    }
}

fn name(number: u8) -> User {
    User::new(&format!("user {number}")).unwrap()
}

fn taint_name(number: u8) -> TaintName {
    TaintName::new(&format!("taint-{number}")).unwrap()
}
