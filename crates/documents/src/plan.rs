//! Checks documents by the rules, and makes plans of them.

use std::collections::HashMap;
use std::sync::Arc;

use pool::{
    Expected, Intent, LONGEST_LEASE, Labels, Ledger, Note, Plan, Policy, PolicyPatch, PoolName,
    PoolWanted, TokenId, TokenName, TokenValue, TokenWanted,
};
use uuid::Uuid;
use wire::{PoolDocument, PoolsDocument, TokenDocument};

use crate::finding::{Finding, Findings, Invalid, shown};

/// Choices of a request to apply a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether tokens that the document does not name are retired, in the pools whose tokens it names.
    pub prune: bool,
    /// Whether running leases of deleted pools are ended.
    pub end_leases: bool,
}

/// The plan of a document. `id` and `value` make the id and the default value of a new token: ids should
/// increase, since databases store them in order, and values must be hard to guess.
///
/// # Errors
///
/// [`Invalid`] if the document breaks a rule that does not depend on the present pools.
pub fn plan(
    document: &PoolsDocument,
    options: Options,
    mut id: impl FnMut() -> Uuid,
    mut value: impl FnMut() -> Uuid,
) -> Result<Plan, Invalid> {
    let mut planner =
        Planner { findings: Findings::default(), tokens: 0, id: &mut id, value: &mut value };
    if document.pools.len() > Ledger::MAX_POOLS {
        let (most, count) = (Ledger::MAX_POOLS, document.pools.len());
        let rule = format!("has {count} pools, and the limit is {most}");
        return Err(Invalid(vec![Finding::new(rule)]));
    }
    let pools = document.pools.iter().filter_map(|(name, pool)| planner.pool(name, pool)).collect();
    let Options { prune, end_leases } = options;
    if planner.findings.0.is_empty() {
        Ok(Plan { pools, prune, end_leases })
    } else {
        Err(Invalid(planner.findings.0))
    }
}

struct Planner<'a> {
    findings: Findings,
    /// Number of tokens so far.
    tokens: usize,
    id: &'a mut dyn FnMut() -> Uuid,
    value: &'a mut dyn FnMut() -> Uuid,
}

impl Planner<'_> {
    /// The wanted state of a pool. `None` if it has a mistake.
    fn pool(&mut self, text: &Arc<str>, document: &PoolDocument) -> Option<PoolWanted> {
        let before = self.findings.0.len();
        let name = PoolName::try_from(text.clone());
        if let Err(rule) = &name {
            self.add(text, Finding::new(format!("the name {rule}")));
        }
        let (delete, keep_other_tokens) = (document.delete, document.keep_other_tokens);
        if delete && *document != (PoolDocument { delete, ..PoolDocument::default() }) {
            let rule = "a pool that is deleted has no other members: remove them";
            self.add(text, Finding::new(rule).of_field("delete"));
        }
        let description = document.description.clone().map(Note::try_from).transpose();
        if let Err(rule) = &description {
            self.add(text, Finding::new(rule.to_string()).of_field("description"));
        }
        let policy = self.policy(text, document);
        let tokens = document.tokens.as_ref().map(|tokens| self.tokens(text, tokens));
        let is_legal = self.findings.0.len() == before && !self.findings.is_full();
        let (name, description) = (name.ok()?, description.ok()?);
        is_legal.then_some(PoolWanted {
            name,
            description,
            policy,
            tokens,
            delete,
            keep_other_tokens,
            expected: Expected::Any,
        })
    }

    fn add(&mut self, pool: &str, finding: Finding) {
        self.findings.add(finding.of_pool(pool));
    }

    fn policy(&mut self, pool: &str, document: &PoolDocument) -> PolicyPatch {
        let mut patch = PolicyPatch::NONE;
        for (name, text) in document.policy() {
            let field = Policy::FIELDS.iter().find(|field| field.name == name);
            let Some(Err(expected)) = field.map(|field| field.read(&text.0, &mut patch)) else {
                continue;
            };
            let rule = format!("can't be \"{}\": {expected}", shown(&text.0));
            self.add(pool, Finding::new(rule).of_field(name));
        }
        // Fields that the document lacks have values that fit the others, because a present pool may have
        // such values.
        let lease = patch.lease.or(patch.max_lease.flatten()).unwrap_or(LONGEST_LEASE);
        if let Err(invalid) = patch.apply(Policy::of_lease(lease)).check() {
            self.add(pool, Finding::new(invalid.to_string()).of_field(invalid.field));
        }
        patch
    }

    fn tokens(&mut self, pool: &str, documents: &[TokenDocument]) -> Vec<TokenWanted> {
        self.tokens += documents.len();
        if self.tokens > Ledger::MAX_TOKENS {
            let rule = format!("the limit is {} tokens in all pools", Ledger::MAX_TOKENS);
            self.add(pool, Finding::new(rule).of_field("tokens"));
            return Vec::new();
        }
        let mut names = HashMap::new();
        let mut tokens = Vec::with_capacity(documents.len());
        for (entry, document) in documents.iter().enumerate() {
            if self.findings.is_full() {
                break;
            }
            if let Some(name) = document.name.as_deref()
                && let Some(other) = names.insert(name, entry)
            {
                let rule = format!("token number {} has this name, too: rename one", other + 1);
                let finding = Finding { other: Some(other), ..Finding::new(rule) };
                self.add(pool, finding.of_token(entry, Some(name)).of_field("name"));
            }
            let wanted = self.token(document).map_err(|(field, rule)| {
                let finding = Finding::new(rule).of_token(entry, document.name.as_deref());
                self.add(pool, finding.of_field(field));
            });
            tokens.extend(wanted);
        }
        tokens
    }

    fn token(&mut self, document: &TokenDocument) -> Result<TokenWanted, (&'static str, String)> {
        let TokenDocument { name, value, labels } = document;
        let name = name.clone().map(TokenName::try_from).transpose();
        let name = name.map_err(|rule| ("name", rule.to_string()))?;
        let value = value.clone().map(TokenValue::try_from).transpose();
        let value = value.map_err(|rule| ("value", rule.to_string()))?;
        let labels = labels.clone().map(Labels::try_from).transpose();
        let labels = labels.map_err(|rule| ("labels", rule.to_string()))?;
        let fresh_id = TokenId((self.id)());
        let fresh_value = value.clone().unwrap_or_else(|| TokenValue::of_uuid((self.value)()));
        Ok(TokenWanted { intent: Intent::Put, name, value, labels, fresh_id, fresh_value })
    }
}

/// Tokens with the same value as another one of their pool. That is legal, and usually a mistake.
#[must_use]
pub fn shared_values(document: &PoolsDocument) -> Vec<Finding> {
    let mut findings = Findings::default();
    for (pool, document) in &document.pools {
        let mut values = HashMap::new();
        for (entry, token) in document.tokens.iter().flatten().enumerate() {
            let Some(value) = token.value.as_deref() else { continue };
            let other = *values.entry(value).or_insert(entry);
            if other != entry {
                let rule = format!(
                    "token number {} has this value, too: two users can have it at the same time",
                    other + 1
                );
                let finding = Finding { other: Some(other), ..Finding::new(rule) }.of_pool(pool);
                findings.add(finding.of_token(entry, token.name.as_deref()).of_field("value"));
            }
        }
    }
    findings.0
}
