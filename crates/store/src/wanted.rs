use std::time::Duration;

use pool::{Policy, Timestamp};

use crate::{Error, MAX_POOL_SIZE, NewPool, Wanted};

const DEFAULT_SIZE: usize = 100;
const DEFAULT_POLICY: Policy = Policy { lease: Duration::from_mins(2) };

/// Deadlines must stay within the years that databases can write down.
const LONGEST_LEASE: Duration = Duration::from_hours(24 * 365 * 100);

/// The pool to make where there is none yet.
pub(crate) fn new_pool(wanted: &Wanted, at: Timestamp) -> Result<NewPool, Error> {
    let size = wanted.size.unwrap_or(DEFAULT_SIZE);
    if size > MAX_POOL_SIZE {
        return Err(Error::Operator(format!(
            "a pool has {MAX_POOL_SIZE} tokens at most, so none can be made with {size}"
        )));
    }
    let policy = storable(wanted.policy.unwrap_or(DEFAULT_POLICY))?;
    Ok(NewPool::random(size, policy, at))
}

/// Compares the pool that is there, of `size` tokens under `policy`, with the one wanted. Returns
/// the policy that is to replace the pool's, if any.
pub(crate) fn compare(
    size: usize,
    policy: Policy,
    wanted: &Wanted,
) -> Result<Option<Policy>, Error> {
    if let Some(other) = wanted.size.filter(|&other| other != size) {
        return Err(Error::Operator(format!(
            "the pool has {size} tokens, not {other}, and tokens are never created or discarded \
             once a pool is made: ask for {size}, leave the size out, or use another database"
        )));
    }
    let Some(other) = wanted.policy.map(storable).transpose()? else {
        return Ok(None);
    };
    if other != policy && !wanted.update_policy {
        return Err(Error::Operator(format!(
            "the pool's leases last {:?}, not {:?}: ask for the same, leave the duration out, or \
             add --update-policy to let new leases last {1:?} from now on",
            policy.lease, other.lease
        )));
    }
    Ok((other != policy).then_some(other))
}

/// The policy as a database holds it: in whole microseconds.
fn storable(policy: Policy) -> Result<Policy, Error> {
    let micros = u64::try_from(policy.lease.as_micros()).unwrap_or(u64::MAX);
    let lease = Duration::from_micros(micros);
    if lease.is_zero() || lease > LONGEST_LEASE {
        return Err(Error::Operator(format!(
            "a lease lasts from a microsecond to 100 years, so {:?} can't be had",
            policy.lease
        )));
    }
    Ok(Policy { lease })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Policy = Policy { lease: Duration::from_mins(1) };
    const HOUR: Policy = Policy { lease: Duration::from_hours(1) };

    fn wanted(size: Option<usize>, policy: Option<Policy>, update_policy: bool) -> Wanted {
        Wanted { size, policy, update_policy }
    }

    fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
        match result.unwrap_err() {
            Error::Operator(sentence) => sentence,
            other => panic!("{other:?} does not tell anybody what to do"),
        }
    }

    #[test]
    fn what_is_not_asked_for_is_taken_as_it_is() {
        assert_eq!(compare(5, MINUTE, &wanted(None, None, false)).unwrap(), None);
        assert_eq!(compare(5, MINUTE, &wanted(Some(5), Some(MINUTE), true)).unwrap(), None);
    }

    #[test]
    fn another_size_or_policy_is_explained() {
        let sentence = refusal(compare(5, MINUTE, &wanted(Some(6), None, true)));
        assert!(sentence.contains("5 tokens, not 6"), "{sentence}");
        let sentence = refusal(compare(5, MINUTE, &wanted(None, Some(HOUR), false)));
        assert!(sentence.contains("last 60s, not 3600s"), "{sentence}");
        let update = compare(5, MINUTE, &wanted(None, Some(HOUR), true)).unwrap();
        assert_eq!(update, Some(HOUR));
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
    fn a_lease_is_of_whole_microseconds() {
        let policy = |lease| Some(Policy { lease });
        let odd = wanted(Some(1), policy(Duration::from_nanos(60_000_000_999)), false);
        let new = new_pool(&odd, Timestamp::MIN).unwrap();
        assert_eq!(new.policy, MINUTE);
        assert_eq!(compare(1, MINUTE, &odd).unwrap(), None, "the same pool on the next start");
        for lease in [Duration::from_nanos(999), Duration::MAX] {
            refusal(new_pool(&wanted(None, policy(lease), false), Timestamp::MIN));
        }
    }
}
