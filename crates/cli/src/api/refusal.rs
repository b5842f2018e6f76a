//! Refused allocations in the terms of the command line.

use std::time::Duration;

use pool::HumanDuration;

use crate::duration::of_seconds;

use super::{Api, Failure, Policy, PoolView, Wish};

/// A request that took no longer has not waited.
const AT_ONCE: Duration = Duration::from_millis(500);

/// The waits that are proposed.
const WAITS: [Duration; 6] = [
    Duration::from_secs(30),
    Duration::from_mins(2),
    Duration::from_mins(10),
    Duration::from_hours(1),
    Duration::from_hours(8),
    Duration::from_hours(24),
];

/// What was refused, and what to do about it, a line each; None where the server's own words say it.
/// `waited` is the time from the first request to the refusal.
pub async fn explain(
    api: &Api,
    failure: &Failure,
    wish: &Wish,
    waited: Duration,
) -> Option<(String, Vec<String>)> {
    let Failure::Refused(problem) = failure else { return None };
    let of_lease = problem.detail.starts_with("lease_seconds");
    match (problem.code.as_str(), wish.lease) {
        ("pool-full", _) => Some(full(policy(api).await.as_ref(), wish.wait, waited)),
        ("invalid-parameter", Some(lease)) if of_lease => {
            let policy = policy(api).await?;
            let limit = of_seconds(policy.lease_seconds);
            let given = HumanDuration(lease);
            Some(if lease.as_secs_f64() > policy.lease_seconds {
                (
                    format!("--lease {given} is too long: this pool allows {limit} at most"),
                    vec![format!("--lease {limit}, or without --lease for the same")],
                )
            } else {
                (
                    format!("--lease {given} is too short"),
                    vec![format!("--lease 1ms or more, {limit} at most")],
                )
            })
        }
        _ => None,
    }
}

async fn policy(api: &Api) -> Option<Policy> {
    let pool: PoolView = api.get("/api/pool", &[]).await.ok()?.read().ok()?;
    Some(pool.policy)
}

fn full(
    policy: Option<&Policy>,
    wait: Option<Duration>,
    waited: Duration,
) -> (String, Vec<String>) {
    let look = "`token-manager tokens --active` shows when they come free".to_owned();
    if waited < AT_ONCE.min(wait.unwrap_or(AT_ONCE)) || wait.is_some_and(|wait| wait.is_zero()) {
        let waits = policy.is_none_or(|policy| policy.when_full != "reject");
        let wait = waits.then(|| longer(Duration::ZERO)).flatten();
        return ("every token is held".to_owned(), wait.into_iter().chain([look]).collect());
    }
    let waited = wait.unwrap_or_else(|| Duration::from_secs((waited + AT_ONCE).as_secs()));
    let what = format!("no token became free within {}", HumanDuration(waited));
    (what, longer(waited).into_iter().chain([look]).collect())
}

/// A wait that is clearly longer than the last one.
fn longer(waited: Duration) -> Option<String> {
    let longer = WAITS.into_iter().find(|wait| *wait >= waited.saturating_mul(2));
    longer.map(|wait| format!("--wait {}, to wait for one", HumanDuration(wait)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_wait_is_proposed() {
        for (waited, proposed) in [
            (0, Some("--wait 30s, to wait for one")),
            (30, Some("--wait 2m, to wait for one")),
            (60, Some("--wait 2m, to wait for one")),
            (300, Some("--wait 10m, to wait for one")),
            (40_000, Some("--wait 1d, to wait for one")),
            (86_400, None),
        ] {
            assert_eq!(longer(Duration::from_secs(waited)).as_deref(), proposed);
        }
    }
}
