//! Pools, their tokens, and changes to both.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Allocation, ChangeKind, CurrentLease, Lease, PoolPolicy, PoolTokenStatus, Seconds, TaintEffect,
    Time, TokenDocument, TokenValue,
};

/// A pool: its policy and how much of it is in use.
///
/// `size` is the sum of `active`, `available` and `tainted`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PoolDetails {
    /// Name of the pool.
    pub name: Arc<str>,
    /// Description, for people.
    pub description: Arc<str>,
    /// Number of tokens, with those that are being retired.
    pub size: u64,
    /// Number of tokens with a running lease.
    pub active: u64,
    /// Number of tokens that the next allocations can get at once.
    pub available: u64,
    /// Number of tokens without a running lease that taints keep from new leases.
    pub tainted: u64,
    /// Number of active tokens that are being retired: they leave the pool when their lease ends.
    pub retiring: u64,
    /// Number of requests that wait for a token of the pool, on all servers.
    pub waiting: u64,
    /// Next time at which a running lease or a taint ends by itself, or null.
    pub next_deadline: Option<Time>,
    /// The policy.
    pub policy: PoolPolicy,
    /// Creation of the pool.
    pub created_at: Time,
}

/// A pool, and the point in the journal at which it was so.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PoolStatus {
    /// The pool.
    #[serde(flatten)]
    pub pool: PoolDetails,
    /// The lease that has run longest, which is the first to be evicted; null if none runs.
    pub oldest_lease: Option<Lease>,
    /// Epoch of the journal. A new one begins when entries may have been lost, such as after a failover.
    pub epoch: i64,
    /// Number of the newest entry of the journal, which has the changes of all pools.
    pub version: i64,
}

/// A page of the pools.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PoolPage {
    /// The pools, in the order of their names.
    pub pools: Vec<PoolDetails>,
    /// Path of the next page; null on the last page.
    pub next: Option<String>,
    /// Epoch of the journal.
    pub epoch: i64,
    /// Number of the newest entry of the journal.
    pub version: i64,
}

/// A token of a pool and its running lease.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PoolToken {
    /// Id of the token.
    pub id: Uuid,
    /// Name, unique within the pool.
    pub name: Arc<str>,
    /// Position of the token in the pool, from 1. It never changes.
    pub number: u64,
    /// Value of the token. Present only if the pool shows values to everyone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<TokenValue>,
    /// Labels.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// Taints, in the order in which they were set.
    pub taints: Vec<Taint>,
    /// `active` while the token has a running lease, `tainted` while it has none and a taint keeps it from
    /// new ones, otherwise `available`.
    pub status: PoolTokenStatus,
    /// Whether the token leaves the pool when its lease ends.
    pub retiring: bool,
    /// The running lease, or null.
    pub lease: Option<PoolTokenLease>,
    /// Creation of the token.
    pub inserted_at: Time,
}

/// The running lease of a token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PoolTokenLease {
    /// The lease.
    #[serde(flatten)]
    pub lease: CurrentLease,
    /// Note of the request, or null.
    pub note: Option<Arc<str>>,
}

/// A mark on a token: why it is not handed out, by whom and until when.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Taint {
    /// Name, unique within the token.
    pub name: Arc<str>,
    /// Effect on the token.
    pub effect: TaintEffect,
    /// Reason, for people.
    pub reason: Arc<str>,
    /// Name of the author as sent, or null.
    pub by: Option<Arc<str>>,
    /// When it was set.
    pub since: Time,
    /// When it is removed; null if only a request removes it.
    pub until: Option<Time>,
}

/// A page of the tokens of a pool.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PoolTokenPage {
    /// The tokens, in the order of their numbers.
    pub tokens: Vec<PoolToken>,
    /// Path of the next page; null on the last page.
    pub next: Option<String>,
}

/// Request for a token of a pool.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PoolAllocationRequest {
    /// Name of the user, without NUL. A UUID, in any letter case, is that identity. For any other text the
    /// identity is the UUID whose hex digits are the MD5 of the text.
    #[cfg_attr(
        test,
        schemars(length(min = 1, max = ::pool::User::MAX_CHARS), regex(pattern = "^[^\\u0000]*$"), example = &"ann")
    )]
    pub user: String,
    /// Duration of the lease, at most the `lease_seconds` of the policy, which is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(range(min = ::pool::SHORTEST_LEASE.as_secs_f64()), with = "Option<f64>", example = 90))]
    pub lease_seconds: Option<Seconds>,
    /// Time to wait while no token is available. The default is 30 if `when_full` is `wait`, else 0. Not
    /// allowed if `when_full` is `reject`. More than 60 needs an `Idempotency-Key` and takes several
    /// requests: see the answer 202.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(range(min = 0, max = ::pool::Allocation::MAX_KEPT_WAIT.as_secs()), with = "Option<f64>", example = 10))]
    pub wait_seconds: Option<Seconds>,
    /// Name of the token; absent if any will do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(regex(pattern = "^[A-Za-z0-9._-]{1,63}$")))]
    pub token: Option<Arc<str>>,
    /// Note for the lease, without control characters. Everyone can see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(max = ::pool::Note::MAX_CHARS)))]
    pub note: Option<Arc<str>>,
}

/// A granted lease of a pool, with its token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PoolAllocation {
    /// The lease and the value of its token.
    #[serde(flatten)]
    pub allocation: Allocation,
    /// Name of the pool.
    pub pool: Arc<str>,
    /// Name of the token.
    pub token_name: Arc<str>,
    /// Labels of the token; empty if it has left the pool since an earlier request with this key.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// Note of the request, or null.
    pub note: Option<Arc<str>>,
}

/// Number of leases of a pool that were ended together.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PoolCleared {
    /// Name of the pool.
    pub pool: Arc<str>,
    /// Number of leases that ended.
    pub leases_ended: u64,
}

/// Wanted state of some tokens of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TokensDocument {
    /// The tokens. Others of the pool stay, unless they are pruned.
    pub tokens: Vec<TokenDocument>,
}

/// A taint to set.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TaintRequest {
    /// Name, unique within the token. A taint with the same name is replaced.
    #[cfg_attr(test, schemars(regex(pattern = "^[A-Za-z0-9._-]{1,63}$"), example = &"cordon"))]
    pub name: Arc<str>,
    /// Effect on the token.
    pub effect: TaintEffect,
    /// Reason, for people. Empty by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(max = ::pool::Note::MAX_CHARS)))]
    pub reason: Option<Arc<str>>,
    /// Name of the author, as in an allocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1, max = ::pool::User::MAX_CHARS)))]
    pub by: Option<Arc<str>>,
    /// When it is removed, with an offset; absent if only a request removes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// Answer to a taint that was set.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaintResult {
    /// The token with its taints.
    pub token: PoolToken,
    /// Id of the lease that ended for the taint, or null.
    pub ended_lease_id: Option<Uuid>,
}

/// Changes that a document makes, or would make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ApplyResult {
    /// Whether nothing was changed, because the request only asked for the list.
    pub dry_run: bool,
    /// The changes to pools and tokens. Empty if everything already is as the document says.
    pub changes: Vec<PoolChange>,
    /// Number of running leases that end.
    pub leases_ended: u64,
    /// Number of waiting requests that are refused, because their pool or token leaves.
    pub waits_given_up: u64,
}

/// A change to a pool or token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PoolChange {
    /// What changes.
    pub kind: ChangeKind,
    /// Name of the pool.
    pub pool: Arc<str>,
    /// Name of the token; absent if the change is to the pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Arc<str>>,
    /// The members that change, or those of a new pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
    /// Deadline of the lease after which a retired token leaves; absent if it leaves at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retiring_until: Option<Time>,
}

/// A member that changes. It never contains the value of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FieldChange {
    /// Name of the member, as documents have it.
    pub name: Arc<str>,
    /// Text before the change; absent for a new pool, and for the values and labels of tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Text after the change; absent for the values and labels of tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Reads the JSON as `T` and compares it with what `T` writes.
    fn same<T: Serialize + serde::de::DeserializeOwned>(json: &Value) {
        let read: T = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), *json);
    }

    #[test]
    fn pools_and_tokens_are_written_as_they_are_read() {
        same::<PoolPage>(&json!({
            "pools": [{
                "name": "staging", "description": "", "size": 3, "active": 1, "available": 1,
                "tainted": 1, "retiring": 1, "waiting": 0,
                "next_deadline": "2026-11-22T15:36:01.813887Z",
                "policy": {
                    "when_full": "wait", "lease_seconds": 1800, "max_lease_seconds": 28800,
                    "min_hold_seconds": 0, "max_per_user": null, "membership": "open",
                    "show_values": "holder",
                },
                "created_at": "2026-11-22T15:00:00.000000Z",
            }],
            "next": null, "epoch": 1, "version": 8,
        }));
        same::<PoolTokenPage>(&json!({
            "tokens": [{
                "id": "8a9b2b99-6ed9-480c-a27c-0115087ea057", "name": "staging-1", "number": 1,
                "labels": { "region": "eu" },
                "taints": [{
                    "name": "cordon", "effect": "no-new-leases", "reason": "upgrade", "by": "ann",
                    "since": "2026-11-22T15:00:00.000000Z", "until": null,
                }],
                "status": "active", "retiring": false,
                "lease": {
                    "lease_id": "01a203e6-6a22-72df-8783-2402c50c1dcb", "user": "ann",
                    "user_id": "8a9b2b99-6ed9-480c-a27c-0115087ea057", "fence": 2,
                    "started_at": "2026-11-22T15:00:00.000000Z",
                    "expires_at": "2026-11-22T15:30:00.000000Z", "note": "PR 1234",
                },
                "inserted_at": "2026-11-22T15:00:00.000000Z",
            }],
            "next": "/api/pools/staging/tokens?after=1",
        }));
    }

    #[test]
    fn changes_are_short() {
        same::<ApplyResult>(&json!({
            "dry_run": true,
            "changes": [
                {
                    "kind": "pool.changed", "pool": "staging",
                    "fields": [{ "name": "lease", "before": "2m", "after": "30m" }],
                },
                {
                    "kind": "token.changed", "pool": "staging", "token": "staging-2",
                    "fields": [{ "name": "value" }],
                },
                {
                    "kind": "token.retired", "pool": "staging", "token": "staging-3",
                    "retiring_until": "2026-11-22T15:36:01.813887Z",
                },
            ],
            "leases_ended": 0,
            "waits_given_up": 0,
        }));
    }

    #[test]
    fn schemas_have_the_words_of_the_rules() {
        let schema = schemars::schema_for!((PoolPage, PoolTokenPage, ApplyResult)).to_value();
        let words = |name: &str| schema["$defs"][name]["enum"].clone();
        assert_eq!(words("Membership"), json!(::pool::Membership::WORDS));
        assert_eq!(words("ShowValues"), json!(::pool::ShowValues::WORDS));
        assert_eq!(words("TaintEffect"), json!(::pool::Effect::WORDS));
        assert_eq!(words("ChangeKind"), json!(ChangeKind::WORDS));
    }
}
