//! New epochs, which begin after a failover or a restore from a backup.

use std::time::Duration;

use pool::{Fence, Timestamp};

use crate::{EPOCH_GAP, Error, MOST_CLOCK_BEHIND, Snapshot};

/// More leases than any pool was ever seen to grant in a second, several times over.
const MOST_A_SECOND: i64 = 100_000;

/// The beginning of 2026. No pool was used with this program before, unless the clock was wrong.
const FIRST_USE: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// By how much to raise version and fence in a new epoch whose first entry comes `since` the newest
/// entry that is left.
/// It grows with time, so that two epochs that begin after the same entry, the first of which was
/// lost as well, grant no fence twice.
#[must_use]
pub fn epoch_gap(since: Duration) -> i64 {
    const MOST_A_MILLISECOND: i64 = MOST_A_SECOND / 1_000;
    let since = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    since.saturating_mul(MOST_A_MILLISECOND).saturating_add(EPOCH_GAP)
}

/// A new epoch that began because the database was restored from a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewEpoch {
    /// Its number.
    pub epoch: i64,
    /// The version of its first entry.
    pub version: i64,
    /// Every fence granted in it is above this one.
    pub fence: Fence,
    /// By how much version and fence were raised: [`EPOCH_GAP`] at least.
    pub gap: i64,
    /// Maximum time that the pool can have been in use.
    pub used: Duration,
    /// The ledger's time of the newest entry that was restored.
    pub restored: Timestamp,
    /// How far the clock is behind that time; the raise can't account for it.
    pub clock_behind: Duration,
}

/// The epoch to begin after a restore.
pub(crate) fn new_epoch(
    before: &Snapshot,
    clock: Timestamp,
    clock_may_be_behind: bool,
) -> Result<NewEpoch, Error> {
    let clock_behind = before.at.since(clock);
    if clock_behind > MOST_CLOCK_BEHIND && !clock_may_be_behind {
        let minutes = clock_behind.as_secs() / 60;
        return Err(Error::Operator(format!(
            "the clock is {minutes} minutes behind the newest restored change, so it does not \
             tell how many fences were granted since. Set the clock or, if it was wrong \
             then and is right now, use --allow-clock-behind"
        )));
    }
    let now = clock.max(before.at);
    let made =
        before.ledger.pools().flat_map(|pool| pool.tokens(0)).map(|view| view.token.inserted_at);
    let made = made.chain(before.ledger.pools().map(|pool| pool.record().created_at)).min();
    let used = now.since(made.map_or(FIRST_USE, |made| made.min(FIRST_USE)));
    let (version, fence) = (before.position.version, before.ledger.fence());
    let gap = gap(version.min(fence.get()), used, now.since(before.at));
    Ok(NewEpoch {
        epoch: before.position.epoch + 1,
        version: version + 1 + gap,
        fence: fence.plus(gap),
        gap,
        used,
        restored: before.at,
        clock_behind,
    })
}

/// By how much to raise version and fence, the smaller of which is `least`, so that none is granted
/// twice: up to the maximum that can have been granted in all, and since the newest entry. So it
/// does not matter how old the backup is, how often it was restored, and whether the pool was used
/// before this; nor, for the second, whether a wrong clock led too far once.
fn gap(least: i64, used: Duration, lost: Duration) -> i64 {
    let most = |time: Duration| {
        i64::try_from(time.as_secs()).unwrap_or(i64::MAX).saturating_mul(MOST_A_SECOND)
    };
    (most(used) - least).max(most(lost)).max(EPOCH_GAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_epochs_after_the_same_entry_share_no_fence() {
        let [first, second] = [10, 12].map(|since| epoch_gap(Duration::from_secs(since)));
        assert!(second >= first + 2 * MOST_A_SECOND);
        assert_eq!(epoch_gap(Duration::ZERO), EPOCH_GAP);
        assert_eq!(epoch_gap(Duration::MAX), i64::MAX);
    }

    #[test]
    fn it_leads_beyond_whatever_can_have_been_given() {
        let gap =
            |least, used, lost| gap(least, Duration::from_secs(used), Duration::from_secs(lost));
        assert_eq!(gap(3, 0, 0), EPOCH_GAP);
        assert_eq!(gap(70, 86_400, 60), 8_640_000_000 - 70);
        assert_eq!(gap(9_000_000_000, 86_400, 5), EPOCH_GAP, "raised before");
        assert_eq!(gap(9_000_000_000, 86_400, 60), 6_000_000, "raised too far before");
        assert_eq!(gap(1, u64::MAX, 0), i64::MAX - 1);
    }
}
