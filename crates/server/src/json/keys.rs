//! API keys, sessions and the audit log in JSON, never with a secret.

use std::collections::HashMap;

use pool::{Access, ApiKey, ApiKeyId, Patterns, Timestamp};

use super::{count, time};

/// Approximate size of a key in JSON.
pub(crate) const KEY_BYTES: usize = 512;

/// A key as of `now`, with the number of sessions of each key.
pub(crate) fn key(
    key: &ApiKey,
    access: &Access,
    sessions: &HashMap<ApiKeyId, usize>,
    now: Timestamp,
) -> wire::ApiKey {
    let old = key.secrets.iter().filter_map(|secret| secret.expires_at).find(|at| now < *at);
    wire::ApiKey {
        id: key.id.into(),
        name: key.name.clone().into(),
        rights: key.rights.as_str().into(),
        pools: patterns(&key.pools),
        users: patterns(&key.users),
        created_at: time(key.created_at),
        created_by: key.created_by.map(String::from),
        expires_at: key.expires_at.map(time),
        last_used_at: None,
        rotating_until: old.map(time),
        max_requests_per_second: key.max_requests_per_second,
        max_leases: key.max_leases,
        running_leases: access.leases(key.id),
        sessions: count(sessions.get(&key.id).copied().unwrap_or_default()),
        revoked_at: key.revoked_at.map(time),
    }
}

/// A key by its id and name.
pub(crate) fn name(key: &ApiKey) -> wire::KeyName {
    wire::KeyName { id: key.id.into(), name: key.name.clone().into() }
}

pub(crate) fn patterns(patterns: &Patterns) -> Vec<String> {
    patterns.iter().map(str::to_owned).collect()
}
