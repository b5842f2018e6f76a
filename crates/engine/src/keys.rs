use std::collections::HashMap;
use std::time::Duration;

use pool::{IdempotencyKey, IdempotencyKeys, Timestamp, UserId};
use store::{KeyUsage, Store};
use tokio::time::Instant;

/// Maximum number of keys in a sample. That is enough to distinguish a user with a tenth of all
/// keys from one with an eighth; if no more keys exist than this, the sample is exact.
const SAMPLE: u64 = 1_024;

/// How long a sample is valid, and the share of the limit in new keys after which it is not.
const GOOD_FOR: (Duration, u64) = (Duration::from_secs(10), 256);

/// Whether keys are short: then old ones are forgotten early, and each user gets only a share.
pub(crate) fn are_short(count: u64, most: u64) -> bool {
    count > most / 2
}

/// Maximum number of idempotency keys, in all and of one user.
pub(crate) struct KeyLimits {
    most: u64,
    most_of_user: u64,
    /// The latest sample.
    sampled: Option<Sampled>,
    /// Whether a key was refused although some keys are old enough to be deleted.
    pub overdue: bool,
}

struct Sampled {
    taken: Instant,
    usage: KeyUsage,
    /// Approximate number of keys of each user; users with few are omitted.
    of_users: HashMap<UserId, u64>,
}

impl Sampled {
    fn of(usage: KeyUsage) -> Self {
        let size = u64::try_from(usage.sample.len()).unwrap_or(u64::MAX);
        let mut of_users: HashMap<UserId, u64> = HashMap::new();
        for user in &usage.sample {
            *of_users.entry(*user).or_default() += 1;
        }
        for keys in of_users.values_mut() {
            // Both are at most a billion.
            *keys = *keys * usage.count / size;
        }
        Sampled { taken: Instant::now(), usage, of_users }
    }

    fn is_good(&self, count: u64, most: u64) -> bool {
        let new = self.usage.count.abs_diff(count);
        self.taken.elapsed() < GOOD_FOR.0 && new < (most / GOOD_FOR.1).max(1)
    }
}

impl KeyLimits {
    pub fn new(most: u64, most_of_user: u64) -> Self {
        KeyLimits { most, most_of_user, sampled: None, overdue: false }
    }

    /// Remaining keys for a batch with this number of new keys, while `count` are remembered.
    pub async fn room(
        &mut self,
        store: &mut dyn Store,
        count: u64,
        keys: usize,
        now: Timestamp,
    ) -> Result<IdempotencyKeys, store::Error> {
        let mut left =
            IdempotencyKeys { room: self.most.saturating_sub(count), ..IdempotencyKeys::default() };
        if are_short(count, self.most) {
            let sampled = match self.sampled.take().filter(|last| last.is_good(count, self.most)) {
                Some(sampled) => sampled,
                None => Sampled::of(store.key_usage(SAMPLE).await?),
            };
            let most = self.most_of_user;
            let room = |(user, has): (&UserId, &u64)| (*user, most.saturating_sub(*has));
            left.room_of_users = sampled.of_users.iter().map(room).collect();
            left.most_of_user = most;
            left.next_forgotten_in = next_forgotten_in(&sampled.usage, now);
            self.sampled = Some(sampled);
        }
        if usize::try_from(left.room).is_ok_and(|room| room < keys) {
            // Some may be refused, with a time to retry. Housekeeping may have deleted keys meanwhile.
            let usage = store.key_usage(0).await?;
            left.room = self.most.saturating_sub(usage.count);
            left.next_forgotten_in = next_forgotten_in(&usage, now);
            self.overdue = left.room == 0 && left.next_forgotten_in.is_zero();
        }
        Ok(left)
    }
}

/// Time until housekeeping forgets a key: after it and its lease have been over for long enough,
/// and the keys before it were used long enough ago for its turn to come.
fn next_forgotten_in(usage: &KeyUsage, now: Timestamp) -> Duration {
    let least = IdempotencyKey::MIN_RETENTION;
    let mut turn = Timestamp::MIN;
    let forgotten_at = usage.oldest.iter().map(|(used_at, over_at)| {
        turn = turn.max(used_at.after(least));
        turn.max(over_at.after(least)).min(used_at.after(IdempotencyKey::RETENTION))
    });
    forgotten_at.min().map_or(least, |at| at.since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_tells_how_many_keys_a_user_has() {
        let user = |name: &str| pool::User::new(name).unwrap().id;
        let sample = [["Ada"; 3].as_slice(), &["Bea"; 4]].concat().into_iter().map(user).collect();
        let sampled = Sampled::of(KeyUsage { count: 13, oldest: Vec::new(), sample });
        let of_users = HashMap::from([(user("Ada"), 5), (user("Bea"), 7)]);
        assert_eq!(sampled.of_users, of_users);
    }

    #[test]
    fn a_key_is_forgotten_when_it_gets_its_turn() {
        let at = |minutes: i64| Timestamp::from_micros(minutes * 60_000_000);
        let next = |oldest: &[(i64, i64)], now| {
            let oldest = oldest.iter().map(|(used, over)| (at(*used), at(*over))).collect();
            let usage = KeyUsage { count: 9, oldest, sample: Vec::new() };
            next_forgotten_in(&usage, at(now)).as_secs() / 60
        };
        assert_eq!(next(&[(0, 2)], 1), 11, "its lease has to be over for 10 minutes");
        assert_eq!(next(&[(0, 60), (1, 2), (3, 3)], 5), 7, "one whose lease runs is passed over");
        assert_eq!(next(&[(5, 60), (0, 1)], 5), 10, "but not before it was used 10 minutes ago");
        assert_eq!(next(&[(0, 9_000)], 5), 24 * 60 - 5, "a day is enough in any case");
        assert_eq!(next(&[(0, 1)], 50), 0);
        assert_eq!(next(&[], 50), 10);
    }
}
