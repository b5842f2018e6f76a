//! Decides about taints.

use super::Batch;
use crate::{
    Action, Change, Effect, EndReason, Outcome, PoolId, Taint, TaintName, TaintRefusal, Taints,
    TokenId, TokenView,
};

impl Batch<'_> {
    pub(super) fn taint(&mut self, pool: PoolId, token: TokenId, taint: &Taint) -> Outcome {
        let Some(pool) = self.ledger.pool(pool) else { return Outcome::UnknownPool };
        let Some(view) = pool.token(token) else { return Outcome::UnknownToken };
        let (name, TokenView { token, latest }) = (pool.name().clone(), view);
        if !taint.applies(self.now) {
            return Outcome::NotTainted(TaintRefusal::Over);
        }
        let before = token.taints.get(&taint.name);
        if before.is_none() && token.taints.len() >= Taints::MAX {
            return Outcome::NotTainted(TaintRefusal::TooMany);
        }
        let running = latest.filter(|lease| lease.end.is_none());
        let drained = running.filter(|_| taint.effect == Effect::EndLease).cloned();
        let mut token = token.clone();
        // Setting a taint twice is idempotent.
        if !before.is_some_and(|before| before.is_like(taint)) {
            token.taints = token.taints.with(Taint { since: self.now, ..taint.clone() });
            self.act(Action::TokenTainted, Some(name), format!("{}: {}", token.name, taint.name));
            self.record(Change::TokenTainted(token.clone()));
        }
        let ended = drained.map(|lease| self.end(lease, EndReason::Drained));
        Outcome::Tainted { token, ended }
    }

    pub(super) fn untaint(&mut self, pool: PoolId, token: TokenId, name: &TaintName) -> Outcome {
        let Some(pool) = self.ledger.pool(pool) else { return Outcome::UnknownPool };
        let Some(view) = pool.token(token) else { return Outcome::UnknownToken };
        let (pool, mut token) = (pool.name().clone(), view.token.clone());
        let removed = token.taints.get(name).cloned();
        if removed.is_some() {
            token.taints = token.taints.without(name);
            self.act(Action::TokenUntainted, Some(pool), format!("{}: {name}", token.name));
            self.record(Change::TokenTainted(token.clone()));
        }
        Outcome::Untainted { token, removed }
    }
}
