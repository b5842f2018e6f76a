//! Explanation of refused allocations in terms of the command line.

use std::time::Duration;

use client::{AllocateRequest, Client, Error};
use pool::{HumanDuration, WhenFull};
use wire::{Code, Policy};

use crate::term::error::CliError;
use crate::term::exit::Exit;

/// Longest reply time of a request that did not wait.
const AT_ONCE: Duration = Duration::from_millis(500);

/// Suggested values of `--wait`.
const WAITS: [Duration; 6] = [
    Duration::from_secs(30),
    Duration::from_mins(2),
    Duration::from_mins(10),
    Duration::from_hours(1),
    Duration::from_hours(8),
    Duration::from_hours(24),
];

/// Returns an explanation of a refusal; None where the server's text is sufficient. `waited` is the time from the
/// first request to the refusal.
pub async fn explain(
    client: &Client,
    error: &Error,
    request: &AllocateRequest,
    waited: Duration,
) -> Option<CliError> {
    let Error::Refused(problem) = error else { return None };
    let of_lease = problem.detail.starts_with("lease_seconds");
    let (what, hints) = match (problem.code?, request.lease) {
        (Code::PoolFull, _) => full(policy(client, request).await.as_ref(), request, waited),
        (Code::InvalidParameter, Some(lease)) if of_lease => {
            let policy = policy(client, request).await?;
            let limit = HumanDuration(policy.lease_seconds.0);
            let given = HumanDuration(lease);
            if lease > policy.lease_seconds.0 {
                (
                    format!("--lease {given} is too long: this pool allows {limit} at most"),
                    vec![format!("--lease {limit}, or without --lease for the same")],
                )
            } else {
                (
                    format!("--lease {given} is too short"),
                    vec![format!("--lease 1ms or more, {limit} at most")],
                )
            }
        }
        _ => return None,
    };
    Some(hints.into_iter().fold(CliError::new(Exit::from(error), what), CliError::hint))
}

async fn policy(client: &Client, request: &AllocateRequest) -> Option<Policy> {
    Some(match &request.pool {
        Some(pool) => client.pool_details(pool).await.ok()?.read().ok()?.policy.leases,
        None => client.pool().await.ok()?.read().ok()?.policy,
    })
}

fn full(
    policy: Option<&Policy>,
    request: &AllocateRequest,
    waited: Duration,
) -> (String, Vec<String>) {
    let wait = request.wait;
    let of_pool = request.pool.as_ref().map_or(String::new(), |pool| format!(" --pool {pool}"));
    let look = format!("`token-manager tokens{of_pool} --active` to see when tokens become free");
    let (busy, free) = match &request.token {
        Some(token) => (
            format!("the token {token} is in use or tainted"),
            format!("the token {token} did not become free"),
        ),
        None => ("all tokens are in use".to_owned(), "no token became free".to_owned()),
    };
    if waited < AT_ONCE.min(wait.unwrap_or(AT_ONCE)) || wait.is_some_and(|wait| wait.is_zero()) {
        let waits = policy.is_none_or(|policy| policy.when_full != WhenFull::Reject.as_str());
        let wait = waits.then(|| longer(Duration::ZERO)).flatten();
        return (busy, wait.into_iter().chain([look]).collect());
    }
    let waited = wait.unwrap_or_else(|| Duration::from_secs((waited + AT_ONCE).as_secs()));
    let what = format!("{free} within {}", HumanDuration(waited));
    (what, longer(waited).into_iter().chain([look]).collect())
}

/// Returns a hint with at least twice the last wait.
fn longer(waited: Duration) -> Option<String> {
    let longer = WAITS.into_iter().find(|wait| *wait >= waited.saturating_mul(2));
    longer.map(|wait| format!("--wait {}, to wait for one", HumanDuration(wait)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_wait_is_suggested() {
        for (waited, suggested) in [
            (0, Some("--wait 30s, to wait for one")),
            (30, Some("--wait 2m, to wait for one")),
            (60, Some("--wait 2m, to wait for one")),
            (300, Some("--wait 10m, to wait for one")),
            (40_000, Some("--wait 1d, to wait for one")),
            (86_400, None),
        ] {
            assert_eq!(longer(Duration::from_secs(waited)).as_deref(), suggested);
        }
    }
}
