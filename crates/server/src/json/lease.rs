//! Leases in JSON, never with the token's value.

use std::sync::Arc;
use std::time::Duration;

use engine::LeaseRecord;
use pool::{Lease, LeaseId, Timestamp};
use wire::{CurrentLease, LeaseStatus, Seconds};

use super::time;

/// Approximate size of a lease in JSON.
pub(crate) const BYTES: usize = 512;

/// A lease whose end is filled in as of `now`.
pub(crate) fn lease(lease: &Lease, evicted_by: Option<LeaseId>, now: Timestamp) -> wire::Lease {
    wire::Lease {
        lease_id: lease.id.0,
        token_id: lease.token_id.0,
        user: Arc::clone(&lease.user.name),
        user_id: lease.user.id.0,
        status: status(lease),
        started_at: time(lease.started_at),
        expires_at: time(lease.expires_at),
        expires_in: left(lease, now),
        fence: lease.fence.get(),
        ended_at: lease.end.map(|end| time(end.at)),
        end_reason: lease.end.map(|end| end.reason.as_str().into()),
        evicted_by: evicted_by.map(|by| by.0),
        pool: None,
        token_name: None,
        note: None,
        by: lease.by.map(String::from),
        ended_by: lease.end.and_then(|end| end.by).map(String::from),
    }
}

/// A lease with the names of its pool and token, and its note.
pub(crate) fn named(lease: wire::Lease, record: &LeaseRecord) -> wire::Lease {
    wire::Lease {
        pool: Some(record.pool_name.clone().into()),
        token_name: Some(record.token_name.clone().into()),
        note: record.lease.note.clone().map(Arc::from),
        ..lease
    }
}

/// The lease that holds a token.
pub(crate) fn current(lease: &Lease) -> CurrentLease {
    CurrentLease {
        lease_id: lease.id.0,
        user: Arc::clone(&lease.user.name),
        user_id: lease.user.id.0,
        fence: lease.fence.get(),
        started_at: time(lease.started_at),
        expires_at: time(lease.expires_at),
    }
}

/// Status of a lease whose end is filled in.
pub(crate) fn status(lease: &Lease) -> LeaseStatus {
    if lease.end.is_none() { LeaseStatus::ACTIVE } else { LeaseStatus::ENDED }
}

/// Remaining time of a lease whose end is filled in, rounded down, so that a holder never relies on a
/// lease that has ended.
pub(super) fn left(lease: &Lease, now: Timestamp) -> Seconds {
    Seconds::whole_millis(match lease.end {
        None => lease.expires_at.since(now),
        Some(_) => Duration::ZERO,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remaining_time_is_rounded_down() {
        let mut lease = crate::api::bench::lease(1);
        let until = lease.expires_at.as_micros();
        let left =
            |lease: &Lease, micros| left(lease, Timestamp::from_micros(until - micros)).to_string();
        for (micros, text) in
            [(120_000_000, "120"), (119_999_999, "119.999"), (999, "0"), (-5, "0")]
        {
            assert_eq!(left(&lease, micros), text);
        }
        let at = Timestamp::from_micros(until - 5_000_000);
        lease.end = Some(pool::End::new(at, pool::EndReason::Released));
        assert_eq!(left(&lease, 5_000_000), "0");
    }
}
