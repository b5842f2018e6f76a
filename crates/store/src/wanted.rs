use pool::{Change, Ledger, Membership, Policy, PolicyPatch, Pool, PoolId, PoolRecord, Timestamp};

use crate::{Error, MAX_POOL_SIZE, NewPool};

const DEFAULT_SIZE: usize = 100;

/// Requested pool `default`: created on the first start, compared with the existing one on later starts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Number of tokens, 0 to [`MAX_POOL_SIZE`]. `None` accepts the pool as it is (and 100 for a
    /// new one): a size is only compared if the operator chose one, and while membership is fixed.
    pub size: Option<usize>,
    /// The policy.
    pub policy: PolicyPatch,
    /// Whether a different policy replaces the pool's, instead of being refused.
    pub update_policy: bool,
}

/// The pool to create in a database without one.
pub(crate) fn new_pool(wanted: &Wanted, at: Timestamp) -> Result<NewPool, Error> {
    let size = wanted.size.unwrap_or(DEFAULT_SIZE);
    if size > MAX_POOL_SIZE {
        return Err(Error::Operator(format!(
            "a pool has {MAX_POOL_SIZE} tokens at most, so none can be made with {size}"
        )));
    }
    let policy = storable(wanted.policy.apply(Policy::DEFAULT))?;
    Ok(NewPool::random(size, policy, at))
}

/// Compares the existing pool `default`, of `size` tokens under `policy`, with the requested one. Returns
/// the policy that replaces the pool's, if any.
pub(crate) fn compare(
    size: usize,
    policy: Policy,
    wanted: &Wanted,
) -> Result<Option<Policy>, Error> {
    let is_fixed = policy.membership == Membership::Fixed;
    if let Some(other) = wanted.size.filter(|&other| other != size && is_fixed) {
        return Err(Error::Operator(format!(
            "the pool `default` has {size} {}, not {other}, and its tokens are never created or discarded \
             once it is made: ask for {size}, leave the size out, or use another database",
            if size == 1 { "token" } else { "tokens" }
        )));
    }
    let other = storable(wanted.policy.apply(policy))?;
    if other == policy {
        return Ok(None);
    }
    if !wanted.update_policy {
        return Err(Error::Operator(format!(
            "the pool `default` has another policy: {}. Use the same settings, omit those that differ, or \
             add --update-policy to change it",
            differences(policy, other)
        )));
    }
    Ok(Some(other))
}

/// Size and policy of a pool.
pub(crate) fn facts(pool: &Pool) -> (usize, Policy) {
    (pool.size() - pool.retiring(), pool.policy())
}

/// The changes that give the pool `default` this policy.
pub(crate) fn change_policy(ledger: &Ledger, policy: Policy) -> Vec<Change> {
    let record = ledger.pool(PoolId::DEFAULT).map(Pool::record);
    let changed = record.map(|record| PoolRecord { policy, ..record.clone() });
    changed.map(Change::PoolChanged).into_iter().collect()
}

/// Number of pools and of their tokens, for a person, with a name that tells whether one is near its
/// limit.
pub(crate) fn all_pools((pools, tokens): (i64, i64)) -> (&'static str, String) {
    let limits = [Ledger::MAX_POOLS, Ledger::MAX_TOKENS];
    let counts = [pools, tokens].map(|count| usize::try_from(count).unwrap_or(0));
    let is_near = counts.iter().zip(limits).any(|(count, most)| *count > most / 10 * 9);
    let name = if is_near { "pools near a limit" } else { "pools" };
    let ([pools, tokens], [most, most_tokens]) = (counts, limits);
    (name, format!("{pools} (limit {most}), with {tokens} tokens (limit {most_tokens})"))
}

/// In which rules a policy differs from the one that is asked for.
fn differences(policy: Policy, other: Policy) -> String {
    let pairs = rules(policy).zip(rules(other));
    let differing = pairs.filter(|(is, wanted)| is != wanted);
    let told = differing.map(|((rule, is), (_, wanted))| format!("{rule} is {is}, not {wanted}"));
    told.collect::<Vec<_>>().join("; ")
}

/// The policy's fields, as the settings spell them.
fn rules(policy: Policy) -> impl Iterator<Item = (String, String)> {
    Policy::FIELDS.iter().map(move |field| (field.setting(), field.show(&policy)))
}

/// The policy in words, for a person.
pub(crate) fn in_words(policy: Policy) -> String {
    rules(policy).map(|(rule, is)| format!("{rule} {is}")).collect::<Vec<_>>().join(", ")
}

fn storable(policy: Policy) -> Result<Policy, Error> {
    policy.check().map_err(|error| Error::Operator(format!("invalid policy: {error}")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pool::WhenFull;

    use super::*;

    const MINUTE: Policy = Policy::of_lease(Duration::from_mins(1));
    const HOUR: Policy = Policy::of_lease(Duration::from_hours(1));

    fn wanted(size: Option<usize>, policy: Option<Policy>, update_policy: bool) -> Wanted {
        let policy = policy.map(PolicyPatch::from).unwrap_or_default();
        Wanted { size, policy, update_policy }
    }

    fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
        match result.unwrap_err() {
            Error::Operator(sentence) => sentence,
            other => panic!("{other:?} does not state a remedy"),
        }
    }

    #[test]
    fn values_that_are_not_requested_stay() {
        assert_eq!(compare(5, MINUTE, &wanted(None, None, false)).unwrap(), None);
        assert_eq!(compare(5, MINUTE, &wanted(Some(5), Some(MINUTE), true)).unwrap(), None);
    }

    #[test]
    fn another_size_or_policy_is_explained() {
        let sentence = refusal(compare(5, MINUTE, &wanted(Some(6), None, true)));
        assert!(sentence.contains("5 tokens, not 6"), "{sentence}");
        let sentence = refusal(compare(5, MINUTE, &wanted(None, Some(HOUR), false)));
        assert!(sentence.contains("lease is 1m, not 1h"), "{sentence}");
        let update = compare(5, MINUTE, &wanted(None, Some(HOUR), true)).unwrap();
        assert_eq!(update, Some(HOUR));
    }

    #[test]
    fn the_size_of_an_open_pool_is_only_that_of_a_new_one() {
        let open = Policy { membership: Membership::Open, ..MINUTE };
        assert_eq!(compare(5, open, &wanted(Some(6), None, false)).unwrap(), None);
    }

    #[test]
    fn a_new_pool_has_100_tokens_and_2_minutes_unless_told_otherwise() {
        let new = new_pool(&wanted(None, None, false), Timestamp::MIN).unwrap();
        assert_eq!((new.tokens.len(), new.policy.lease), (100, Duration::from_mins(2)));
    }

    #[test]
    fn a_pool_may_have_no_tokens_but_not_too_many() {
        let new = |size| new_pool(&wanted(Some(size), None, false), Timestamp::MIN);
        assert_eq!(new(0).unwrap().tokens, []);
        refusal(new(MAX_POOL_SIZE + 1));
        let sentence = refusal(compare(0, MINUTE, &wanted(Some(1), None, false)));
        assert!(sentence.contains("0 tokens, not 1"), "{sentence}");
    }

    #[test]
    fn a_ledger_near_a_limit_says_so() {
        let near = |pools, tokens| all_pools((pools, tokens)).0 == "pools near a limit";
        assert!(!near(1, 100) && !near(9_000, 900_000));
        assert!(near(9_001, 1) && near(1, 900_001));
    }

    #[test]
    fn only_requested_values_are_compared() {
        let policy = Policy { min_hold: Duration::from_secs(5), max_per_user: Some(2), ..MINUTE };
        let asked = PolicyPatch {
            when_full: Some(WhenFull::Wait),
            max_per_user: Some(None),
            ..PolicyPatch::default()
        };
        let wanted = |update_policy| Wanted { size: None, policy: asked, update_policy };
        let sentence = refusal(compare(5, policy, &wanted(false)));
        let told = "when-full is evict-oldest, not wait; max-per-user is 2, not none";
        assert!(sentence.contains(told), "{sentence}");
        let update = compare(5, policy, &wanted(true)).unwrap();
        let other = Policy { when_full: WhenFull::Wait, max_per_user: None, ..policy };
        assert_eq!(update, Some(other));
        let contradicting = PolicyPatch { min_hold: Some(Duration::from_secs(61)), ..asked };
        let wanted = Wanted { size: None, policy: contradicting, update_policy: true };
        let sentence = refusal(compare(5, policy, &wanted));
        assert!(sentence.contains("min-hold (61s) can't be longer than lease (1m)"), "{sentence}");
    }

    #[test]
    fn a_lease_is_of_whole_microseconds() {
        let policy = |lease| Some(Policy::of_lease(lease));
        let odd = wanted(Some(1), policy(Duration::from_nanos(60_000_000_999)), false);
        let new = new_pool(&odd, Timestamp::MIN).unwrap();
        assert_eq!(new.policy, MINUTE);
        assert_eq!(compare(1, MINUTE, &odd).unwrap(), None, "the same pool on the next start");
        for lease in [Duration::from_nanos(999), Duration::MAX] {
            refusal(new_pool(&wanted(None, policy(lease), false), Timestamp::MIN));
        }
    }
}
