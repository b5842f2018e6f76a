//! What follows on a restore from a backup.

use pool::{Fence, Timestamp};

use crate::EPOCH_GAP;

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
    /// The pool's time of the newest entry that was restored.
    pub restored: Timestamp,
}

/// By how much to raise version and fence so that nothing is given again that was given after
/// `restored`: not in what was lost, and not after an earlier restore of the same backup either.
pub(crate) fn gap(restored: Timestamp, now: Timestamp) -> i64 {
    let seconds = i64::try_from(now.since(restored).as_secs()).unwrap_or(i64::MAX);
    seconds.saturating_mul(MOST_A_SECOND).saturating_add(EPOCH_GAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_the_backup_the_larger_the_gap() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        assert_eq!(gap(at(50), at(50)), EPOCH_GAP);
        assert_eq!(gap(at(50), at(40)), EPOCH_GAP, "a clock that is behind");
        assert_eq!(gap(at(0), at(86_400)), EPOCH_GAP + 8_640_000_000);
        assert_eq!(gap(Timestamp::MIN, at(0)), EPOCH_GAP + i64::MAX / 1_000_000 * MOST_A_SECOND);
    }
}
