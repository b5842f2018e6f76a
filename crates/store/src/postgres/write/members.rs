//! Parameters of the statements that write pools and tokens, column by column.

use std::collections::HashSet;

use pool::{PoolRecord, Timestamp, Token};
use uuid::Uuid;

use crate::document;
use crate::net_changes::MemberChanges;
use crate::postgres::connect::flight::Step;
use crate::postgres::read::rows::{Moment, micros};
use crate::postgres::write::parameters::Parameter;
use crate::postgres::write::statements::Statements;

/// Number of tokens that one statement inserts.
const PART: usize = 10_000;

/// The changes of pools and tokens.
pub(crate) struct Members<'a> {
    pools_deleted: (Vec<i32>, Vec<Moment>),
    pools_changed: Pools<'a>,
    pools_created: Pools<'a>,
    tokens_retired: (Vec<Uuid>, Vec<Moment>),
    tokens_changed: Tokens<'a>,
    tokens_added: Vec<Tokens<'a>>,
    longest_lease: Option<i64>,
}

impl<'a> Members<'a> {
    pub(crate) fn of(members: &'a MemberChanges) -> Self {
        let deleted = members.pools_deleted.iter().map(|(pool, at)| (pool.0, Moment(*at)));
        let retired = members.tokens_retired.iter().map(|(token, at)| (token.0, Moment(*at)));
        let created =
            members.pools_created.iter().map(|(record, deleted_at)| (record, *deleted_at));
        // Only the last change of each: a statement changes a row once.
        let mut seen = HashSet::new();
        let changed = members.tokens_changed.iter().rev().filter(|token| seen.insert(token.id));
        Members {
            pools_deleted: deleted.unzip(),
            pools_changed: Pools::of(members.pools_changed.values().map(|record| (record, None))),
            pools_created: Pools::of(created),
            tokens_retired: retired.unzip(),
            tokens_changed: Tokens::of(changed),
            tokens_added: members.tokens_added.chunks(PART).map(Tokens::of).collect(),
            longest_lease: members.longest_lease().map(micros),
        }
    }

    /// The statements that have rows to write. Pools come before their tokens; apart from that, the order
    /// does not matter, since names are compared at the commit.
    pub(crate) fn steps<'s>(&'s self, statements: &'s Statements) -> Vec<Step<'s>> {
        let mut steps: Vec<Step<'_>> = Vec::new();
        let (pools, moments) = &self.pools_deleted;
        if !pools.is_empty() {
            steps.push((&statements.delete_pools, vec![pools, moments]));
        }
        let Pools { ids, descriptions, policies, .. } = &self.pools_changed;
        if !ids.is_empty() {
            steps.push((&statements.change_pools, vec![ids, descriptions, policies]));
        }
        if !self.pools_created.ids.is_empty() {
            steps.push((&statements.insert_pools, self.pools_created.parameters().into()));
        }
        let (tokens, moments) = &self.tokens_retired;
        if !tokens.is_empty() {
            steps.push((&statements.retire_tokens, vec![tokens, moments]));
        }
        let Tokens { ids, names, values, labels, taints, .. } = &self.tokens_changed;
        if !ids.is_empty() {
            steps.push((&statements.change_tokens, vec![ids, names, values, labels, taints]));
        }
        for part in &self.tokens_added {
            steps.push((&statements.insert_tokens, part.parameters().into()));
        }
        if let Some(longest) = &self.longest_lease {
            steps.push((&statements.raise_longest, vec![longest]));
        }
        steps
    }
}

#[derive(Default)]
struct Pools<'a> {
    ids: Vec<i32>,
    names: Vec<&'a str>,
    descriptions: Vec<&'a str>,
    policies: Vec<String>,
    created: Vec<Moment>,
    deleted: Vec<Option<Moment>>,
}

impl<'a> Pools<'a> {
    fn of(records: impl Iterator<Item = (&'a PoolRecord, Option<Timestamp>)>) -> Self {
        let mut columns = Pools::default();
        for (record, deleted_at) in records {
            columns.ids.push(record.id.0);
            columns.names.push(&record.name);
            columns.descriptions.push(&record.description);
            columns.policies.push(document::of(&record.policy));
            columns.created.push(Moment(record.created_at));
            columns.deleted.push(deleted_at.map(Moment));
        }
        columns
    }

    fn parameters(&self) -> [Parameter<'_>; 6] {
        let Pools { ids, names, descriptions, policies, created, deleted } = self;
        [ids, names, descriptions, policies, created, deleted]
    }
}

#[derive(Default)]
struct Tokens<'a> {
    ids: Vec<Uuid>,
    pools: Vec<i32>,
    positions: Vec<i64>,
    names: Vec<&'a str>,
    inserted: Vec<Moment>,
    retired: Vec<Option<Moment>>,
    values: Vec<&'a str>,
    labels: Vec<String>,
    taints: Vec<String>,
}

impl<'a> Tokens<'a> {
    fn of(tokens: impl IntoIterator<Item = &'a Token>) -> Self {
        let mut columns = Tokens::default();
        for token in tokens {
            columns.ids.push(token.id.0);
            columns.pools.push(token.pool.0);
            columns.positions.push(i64::from(token.position));
            columns.names.push(&token.name);
            columns.inserted.push(Moment(token.inserted_at));
            columns.retired.push(token.retired_at.map(Moment));
            columns.values.push(token.value.as_str());
            columns.labels.push(document::of(&token.labels));
            columns.taints.push(document::of(&token.taints));
        }
        columns
    }

    fn parameters(&self) -> [Parameter<'_>; 9] {
        let Tokens { ids, pools, positions, names, inserted, retired, values, labels, taints } =
            self;
        [ids, pools, positions, names, inserted, retired, values, labels, taints]
    }
}
