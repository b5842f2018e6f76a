//! Documents of present pools.

use pool::{Policy, Pool};
use wire::{PolicyText, PoolDocument, TokenDocument};

/// The document of a pool, with every field of its policy and, if `values` is set, with the values of its
/// tokens. Applying it changes nothing, and elsewhere it makes the same pool. Tokens that are being
/// retired are left out.
#[must_use]
pub fn export(pool: &Pool, values: bool) -> PoolDocument {
    let description = &pool.record().description;
    let description = (!description.is_empty()).then(|| description.clone().into());
    let tokens = pool.tokens(0).map(|view| view.token).filter(|token| token.retired_at.is_none());
    let tokens = tokens.map(|token| TokenDocument {
        name: Some(token.name.clone().into()),
        value: values.then(|| token.value.clone().into()),
        labels: (!token.labels.is_empty()).then(|| token.labels.clone().into()),
    });
    let tokens = Some(tokens.collect());
    let mut document = PoolDocument { description, tokens, ..PoolDocument::default() };
    for field in Policy::FIELDS {
        if let Some(member) = document.policy_mut(field.name) {
            *member = Some(PolicyText(field.show(&pool.policy())));
        }
    }
    document
}
