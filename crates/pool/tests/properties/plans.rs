//! The model's decisions about plans.

use std::collections::HashSet;

use pool::{
    EndReason, Intent, Lease, Membership, Note, Outcome, Plan, Policy, PoolId, PoolRecord,
    PoolWanted, Taints, Token, TokenId, TokenName, TokenWanted,
};

use crate::model::Model;

impl Model {
    /// Applies the plan, and compares with the outcome.
    pub fn apply(&mut self, plan: &Plan, outcome: &Outcome) {
        let after = self.planned(plan);
        match outcome {
            Outcome::Applied(changes, _) => {
                let after = after.expect("the model refuses the plan");
                let same = self.pools == after.pools && self.tokens == after.tokens;
                assert_eq!(changes.is_empty(), same, "{changes:?}");
                *self = after;
                let again = self.planned(plan).filter(|_| !is_repeated_differently(plan));
                assert!(again.is_none_or(|again| again.tokens == self.tokens), "idempotent");
            }
            Outcome::NotApplied(refused) => {
                assert!(after.is_none(), "{refused}");
                assert!(plan.pools.iter().any(|pool| pool.name == refused.pool));
            }
            other => panic!("{other:?}"),
        }
    }

    /// The model after the plan. `None` if it is refused.
    fn planned(&self, plan: &Plan) -> Option<Model> {
        let mut model = self.clone();
        let names: HashSet<_> = plan.pools.iter().map(|pool| &pool.name).collect();
        if names.len() < plan.pools.len() {
            return None;
        }
        for wanted in plan.pools.iter().filter(|pool| pool.delete) {
            let record = model.present().find(|record| record.name == wanted.name)?.clone();
            let fixed = record.policy.membership == Membership::Fixed;
            let running: Vec<Lease> = model.running(record.id).into_iter().cloned().collect();
            if record.id == PoolId(1) || fixed || !running.is_empty() && !plan.end_leases {
                return None;
            }
            for lease in running {
                model.end(lease.id, EndReason::Cleared);
            }
            let tickets: Vec<_> = model.queue_of(record.id).iter().map(|w| w.lease_id).collect();
            for lease_id in tickets {
                model.give_up(lease_id);
            }
            let now = model.now;
            let pool = model.pools.iter_mut().find(|(one, _)| one.id == record.id)?;
            pool.1 = Some(now);
        }
        for wanted in plan.pools.iter().filter(|pool| !pool.delete) {
            let was_fixed = model
                .present()
                .any(|one| one.name == wanted.name && one.policy.membership == Membership::Fixed);
            let id = model.plan_record(wanted)?;
            let is_fixed = model.record(id)?.policy.membership == Membership::Fixed;
            let before = model.tokens.clone();
            if let Some(entries) = &wanted.tokens {
                model.plan_tokens(id, entries, plan.prune && !wanted.keep_other_tokens)?;
            }
            if was_fixed && is_fixed && before != model.tokens {
                return None;
            }
        }
        Some(model)
    }

    fn plan_record(&mut self, wanted: &PoolWanted) -> Option<PoolId> {
        let now = self.now;
        let last = self.pools.iter().map(|(record, _)| record.id.0).max().unwrap_or(0);
        let found = self.pools.iter_mut().find(|(r, end)| end.is_none() && r.name == wanted.name);
        if let Some((record, _)) = found {
            record.policy = wanted.policy.apply(record.policy).check().ok()?;
            return Some(record.id);
        }
        let is_default = wanted.name.as_str() == "default";
        let base = if is_default { Policy::DEFAULT } else { Policy::OTHER };
        let policy = wanted.policy.apply(base).check().ok()?;
        let id = PoolId(if is_default { 1 } else { last.max(1) + 1 });
        let (name, description) = (wanted.name.clone(), Note::default());
        self.pools.push((PoolRecord { id, name, description, policy, created_at: now }, None));
        Some(id)
    }

    fn plan_tokens(&mut self, pool: PoolId, entries: &[TokenWanted], prune: bool) -> Option<()> {
        let there: Vec<Token> = self.tokens_of(pool).into_iter().cloned().collect();
        let find = |id: TokenId| there.iter().find(|token| token.id == id);
        let mut found: Vec<TokenId> = vec![];
        let mut retired: Vec<TokenId> = vec![];
        for entry in entries {
            if let Intent::Retire(id) = entry.intent {
                found.push(find(id)?.id);
                retired.push(id);
            }
        }
        let live = there.iter().filter(|token| token.retired_at.is_none());
        let live: Vec<&Token> = live.collect();
        let left = |retired: &[TokenId], token: &Token| !retired.contains(&token.id);
        let mut names: HashSet<TokenName> =
            live.iter().filter(|t| left(&retired, t)).map(|t| t.name.clone()).collect();
        let mut lost: Vec<TokenName> = vec![];
        let mut about: Vec<(&TokenWanted, Option<TokenId>)> = vec![];
        for entry in entries {
            let token = match (entry.intent, &entry.name) {
                (Intent::Retire(_), _) | (Intent::Put, None) => continue,
                (Intent::Create, name) => {
                    name.as_ref().is_none_or(|name| names.insert(name.clone())).then_some(())?;
                    None
                }
                (Intent::Change(id), name) => {
                    let token = find(id).filter(|token| token.retired_at.is_none())?;
                    if let Some(name) = name.as_ref().filter(|name| **name != token.name) {
                        names.insert(name.clone()).then_some(())?;
                        names.remove(&token.name);
                        lost.push(token.name.clone());
                    }
                    Some(id)
                }
                (Intent::Put, Some(name)) => {
                    let same = live.iter().find(|token| token.name == *name);
                    let same = same.filter(|t| !lost.contains(name) && left(&retired, t));
                    if same.is_none() {
                        names.insert(name.clone()).then_some(())?;
                    }
                    same.map(|token| token.id)
                }
            };
            found.extend(token);
            about.push((entry, token));
        }
        if found.iter().collect::<HashSet<_>>().len() < found.len() {
            return None;
        }
        let unnamed = |e: &&TokenWanted| e.intent == Intent::Put && e.name.is_none();
        let (valued, others): (Vec<_>, Vec<_>) =
            entries.iter().filter(unnamed).partition(|entry| entry.value.is_some());
        for entry in valued.into_iter().chain(others) {
            let mut rest = live.iter().filter(|token| !found.contains(&token.id));
            let same = rest.find(|t| entry.value.as_ref().is_none_or(|value| *value == t.value));
            let same = same.map(|token| token.id);
            found.extend(same);
            about.push((entry, same));
        }
        if prune {
            retired.extend(live.iter().map(|token| token.id).filter(|id| !found.contains(id)));
        }
        self.plan_result(pool, &retired, entries, &about);
        Some(())
    }

    fn plan_result(
        &mut self,
        pool: PoolId,
        retired: &[TokenId],
        entries: &[TokenWanted],
        about: &[(&TokenWanted, Option<TokenId>)],
    ) {
        let now = self.now;
        let gone: HashSet<TokenId> = retired.iter().copied().collect();
        for token in self.tokens.iter_mut().filter(|token| gone.contains(&token.id)) {
            token.retired_at = token.retired_at.or(Some(now));
        }
        let tickets = self.queue_of(pool).into_iter();
        let tickets = tickets.filter(|w| w.asked.token.is_some_and(|token| gone.contains(&token)));
        let tickets: Vec<_> = tickets.map(|waiting| waiting.lease_id).collect();
        for lease_id in tickets {
            self.give_up(lease_id);
        }
        let explicit: HashSet<&TokenName> = about
            .iter()
            .filter(|(entry, token)| token.is_none() || entry.intent != Intent::Put)
            .filter_map(|(entry, _)| entry.name.as_ref())
            .collect();
        for (entry, token) in about {
            let Some(token) = self.tokens.iter_mut().find(|one| Some(one.id) == *token) else {
                continue;
            };
            token.name = entry.name.clone().unwrap_or_else(|| token.name.clone());
            token.value = entry.value.clone().unwrap_or_else(|| token.value.clone());
            token.labels = entry.labels.clone().unwrap_or_else(|| token.labels.clone());
        }
        // New tokens get their positions in the order of naming, then of the entries.
        let order =
            |e: &TokenWanted| (e.name.is_none() && e.intent == Intent::Put, e.value.is_none());
        let mut new: Vec<&TokenWanted> =
            about.iter().filter(|(_, token)| token.is_none()).map(|(entry, _)| *entry).collect();
        let place = |e: &TokenWanted| entries.iter().position(|one| one.fresh_id == e.fresh_id);
        new.sort_by_key(|entry| (order(entry).0, place(entry)));
        for entry in new {
            let there = self.tokens.iter().filter(|token| token.pool == pool);
            let mut position = there.map(|token| token.position + 1).max().unwrap_or(0);
            let is_taken = |name: &TokenName, model: &Model| {
                let mut live = model.tokens.iter().filter(|t| t.pool == pool);
                let live = live.any(|t| t.name == *name && t.retired_at.is_none());
                live || explicit.contains(name)
            };
            while entry.name.is_none() && is_taken(&TokenName::of_position(position), self) {
                position += 1;
            }
            let name = entry.name.clone().unwrap_or_else(|| TokenName::of_position(position));
            self.tokens.push(Token {
                id: entry.fresh_id,
                pool,
                position,
                name,
                value: entry.value.clone().unwrap_or_else(|| entry.fresh_value.clone()),
                labels: entry.labels.clone().unwrap_or_default(),
                taints: Taints::default(),
                inserted_at: now,
                retired_at: None,
            });
        }
    }
}

/// Whether the plan names tokens by more than their state, so that it can't be applied twice.
fn is_repeated_differently(plan: &Plan) -> bool {
    let entries = plan.pools.iter().flat_map(|pool| pool.tokens.iter().flatten());
    let deletes = plan.pools.iter().any(|pool| pool.delete);
    deletes || entries.into_iter().any(|entry| entry.intent != Intent::Put)
}
