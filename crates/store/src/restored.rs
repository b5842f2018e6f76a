//! What follows on a restore from a backup.

use std::time::Duration;

use pool::{Fence, Timestamp};

use crate::{EPOCH_GAP, Snapshot};

/// More leases than any pool was ever seen to grant in a second, several times over.
const MOST_A_SECOND: i64 = 100_000;

/// A new epoch that began because the database was restored from a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewEpoch {
    /// Its number.
    pub epoch: i64,
    /// The version of its first entry.
    pub version: i64,
    /// Every fence that is given in it is above this one.
    pub fence: Fence,
    /// By how much version and fence were raised.
    pub gap: i64,
    /// How old the pool is.
    pub age: Duration,
    /// The pool's time of the newest entry that was restored.
    pub restored: Timestamp,
}

/// How long ago the pool was made.
pub(crate) fn age(before: &Snapshot, now: Timestamp) -> Duration {
    let made = before.pool.tokens(0).map(|view| view.token.inserted_at).min();
    now.since(made.unwrap_or(before.at))
}

/// By how much to raise version and fence so that nothing is given again that was given before: up
/// to what a pool of that age can have given at most. So it does not matter how old the backup is,
/// how often it was restored, and whether the pool was used before this.
pub(crate) fn gap(version: i64, fence: Fence, age: Duration) -> i64 {
    let seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
    let most = seconds.saturating_mul(MOST_A_SECOND);
    (most - version.min(fence.get())).max(EPOCH_GAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_leads_beyond_whatever_can_have_been_given() {
        let gap =
            |version, fence, seconds| gap(version, Fence::new(fence), Duration::from_secs(seconds));
        assert_eq!(gap(3, 2, 0), EPOCH_GAP);
        assert_eq!(gap(70, 400, 86_400), 8_640_000_000 - 70);
        assert_eq!(gap(9_000_000_000, 9_000_000_000, 86_400), EPOCH_GAP, "raised before");
        assert_eq!(gap(1, 0, u64::MAX), i64::MAX);
    }
}
