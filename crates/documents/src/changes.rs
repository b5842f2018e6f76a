//! Describes the changes of a plan. Values of tokens never leave this module.

use std::collections::HashMap;
use std::sync::Arc;

use pool::{Before, Change, Ledger, Policy, PoolId, PoolRecord, Timestamp, Token, TokenId};
use wire::{ApplyResult, ChangeKind, FieldChange, PoolChange, Time};

/// The changes of a plan, as [`Ledger::plan`] decided them at `now` for the ledger `before`.
#[must_use]
pub fn apply_result(
    before: &Ledger,
    changes: &[Change],
    now: Timestamp,
    dry_run: bool,
) -> ApplyResult {
    applied_result(&before.before(changes, now), changes, dry_run)
}

/// The changes of a plan, with what they changed.
#[must_use]
pub fn applied_result(before: &Before, changes: &[Change], dry_run: bool) -> ApplyResult {
    let count =
        |kind: fn(&Change) -> bool| changes.iter().filter(|change| kind(change)).count() as u64;
    let leases_ended = count(|change| matches!(change, Change::LeaseEnded { .. }));
    let waits_given_up = count(|change| matches!(change, Change::WaitGivenUp { .. }));
    let mut describer = Describer { before, new: HashMap::new() };
    let changes = changes.iter().filter_map(|change| describer.describe(change)).collect();
    ApplyResult { dry_run, changes, leases_ended, waits_given_up }
}

struct Describer<'a> {
    before: &'a Before,
    /// Names of new pools.
    new: HashMap<PoolId, Arc<str>>,
}

impl Describer<'_> {
    fn describe(&mut self, change: &Change) -> Option<PoolChange> {
        match change {
            Change::PoolCreated(record) => {
                self.new.insert(record.id, record.name.clone().into());
                Some(PoolChange {
                    fields: of_pool(None, record),
                    ..self.of(record.id, ChangeKind::POOL_CREATED)
                })
            }
            Change::PoolChanged(record) => {
                let before = self.before.pool(record.id);
                Some(PoolChange {
                    fields: of_pool(before, record),
                    ..self.of(record.id, ChangeKind::POOL_CHANGED)
                })
            }
            Change::PoolDeleted { pool, .. } => Some(self.of(*pool, ChangeKind::POOL_DELETED)),
            Change::TokenAdded(token) => {
                let token_name = Some(token.name.clone().into());
                Some(PoolChange {
                    token: token_name,
                    ..self.of(token.pool, ChangeKind::TOKEN_ADDED)
                })
            }
            Change::TokenChanged(token) => {
                let before = self.before.token(token.id);
                let token_name = Some(token.name.clone().into());
                let fields = before.map(|before| of_token(before, token)).unwrap_or_default();
                Some(PoolChange {
                    token: token_name,
                    fields,
                    ..self.of(token.pool, ChangeKind::TOKEN_CHANGED)
                })
            }
            Change::TokenRetired { token_id, .. } => self.retired(*token_id),
            _ => None,
        }
    }

    fn of(&self, pool: PoolId, kind: ChangeKind) -> PoolChange {
        let name = self.before.pool(pool).map(|record| record.name.clone().into());
        let pool = name.or_else(|| self.new.get(&pool).cloned()).unwrap_or_default();
        PoolChange { kind, pool, token: None, fields: Vec::new(), retiring_until: None }
    }

    fn retired(&self, id: TokenId) -> Option<PoolChange> {
        let before = self.before.token(id)?;
        let deadline = self.before.deadline(id);
        let retiring_until = deadline.map(|at| Time::from_micros(at.as_micros()));
        let token = Some(before.name.clone().into());
        Some(PoolChange {
            token,
            retiring_until,
            ..self.of(before.pool, ChangeKind::TOKEN_RETIRED)
        })
    }
}

/// The members of a pool that changed, or all that a new one has.
fn of_pool(before: Option<&PoolRecord>, after: &PoolRecord) -> Vec<FieldChange> {
    let mut fields = Vec::new();
    let mut add = |name: &str, before: Option<String>, after: String| {
        if before.as_ref() != Some(&after) {
            fields.push(FieldChange { name: name.into(), before, after: Some(after) });
        }
    };
    let description = before.map(|before| before.description.to_string());
    if description.is_some() || !after.description.is_empty() {
        add("description", description, after.description.to_string());
    }
    for field in Policy::FIELDS {
        let before = before.map(|before| field.show(&before.policy));
        add(field.name, before, field.show(&after.policy));
    }
    fields
}

fn of_token(before: &Token, after: &Token) -> Vec<FieldChange> {
    let changed = |name: &str| FieldChange { name: name.into(), before: None, after: None };
    let mut fields = Vec::new();
    if before.name != after.name {
        let [before, after] = [before, after].map(|token| Some(token.name.to_string()));
        fields.push(FieldChange { before, after, ..changed("name") });
    }
    fields.extend((before.value != after.value).then(|| changed("value")));
    fields.extend((before.labels != after.labels).then(|| changed("labels")));
    fields
}
