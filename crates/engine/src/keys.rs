use std::collections::HashMap;
use std::time::Duration;

use pool::{IdempotencyKey, Keys, Timestamp, UserId};
use store::{KeyUsage, Store};
use tokio::time::Instant;

use crate::housekeeping::STEPS;

/// How many keys a sample has at most. That is enough to tell a user who has a tenth of all from one who
/// has an eighth; where there are no more keys, nothing is left to chance.
const SAMPLE: u64 = 1_024;

/// How long a sample is good for, and after which share of the limit in new keys.
const GOOD_FOR: (Duration, u64) = (Duration::from_secs(10), 256);

/// Whether keys are short: then old ones are forgotten early, and each user gets a share only.
pub(crate) fn are_short(count: u64, most: u64) -> bool {
    count > most / 2
}

/// How many idempotency keys there may be, in all and of one user.
pub(crate) struct KeyLimits {
    most: u64,
    most_of_user: u64,
    /// The last sample.
    sampled: Option<Sampled>,
    /// Whether a key was refused although there are some that may be forgotten.
    pub overdue: bool,
}

struct Sampled {
    taken: Instant,
    usage: KeyUsage,
    /// About how many keys each user has; none of those who have few.
    of_users: HashMap<UserId, u64>,
}

impl Sampled {
    fn of(usage: KeyUsage) -> Self {
        let size = u64::try_from(usage.sample.len()).unwrap_or(u64::MAX);
        let weight = usage.count.checked_div(size).unwrap_or(0);
        let mut of_users: HashMap<UserId, u64> = HashMap::new();
        for user in &usage.sample {
            *of_users.entry(*user).or_default() += weight;
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

    /// What is left for a batch with so many keys, while `count` are remembered.
    pub async fn room(
        &mut self,
        store: &mut dyn Store,
        count: u64,
        keys: usize,
        now: Timestamp,
    ) -> Result<Keys, store::Error> {
        let mut left = Keys { room: self.most.saturating_sub(count), ..Keys::default() };
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
            // Some may be refused, and are told when to try again.
            let usage = store.key_usage(0).await?;
            left.next_forgotten_in = next_forgotten_in(&usage, now);
            let used_at = usage.oldest.map_or(now, |(used_at, _)| used_at);
            self.overdue = left.room == 0 && used_at.after(IdempotencyKey::KEPT_AT_LEAST) < now;
        }
        Ok(left)
    }
}

/// How long until the oldest key is forgotten, for which housekeeping has to look.
fn next_forgotten_in(usage: &KeyUsage, now: Timestamp) -> Duration {
    let Some((used_at, over_at)) = usage.oldest else { return IdempotencyKey::KEPT_AT_LEAST };
    let looked_at = used_at.after(IdempotencyKey::KEPT_AT_LEAST);
    if looked_at < now && over_at > now {
        // Its lease still runs: it is about to be passed over, and the next one may be forgotten.
        return STEPS.0;
    }
    let early = looked_at.max(over_at.after(IdempotencyKey::KEPT_AT_LEAST));
    early.min(used_at.after(IdempotencyKey::KEPT)).since(now)
}
