//! Uses of API keys, until housekeeping writes them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pool::{ApiKeyId, Timestamp};

/// When keys were last used at this server, for those whose use is not written yet: at most one entry for
/// each key.
#[derive(Default)]
pub(crate) struct KeyUses(Mutex<HashMap<ApiKeyId, Timestamp>>);

impl KeyUses {
    /// Notes a use.
    pub fn note(&self, id: ApiKeyId, at: Timestamp) {
        let mut uses = self.uses();
        let latest = uses.entry(id).or_insert(at);
        *latest = at.max(*latest);
    }

    /// The last use that is not written yet.
    pub fn of(&self, id: ApiKeyId) -> Option<Timestamp> {
        self.uses().get(&id).copied()
    }

    /// Takes the uses of at most `limit` keys.
    pub fn take(&self, limit: usize) -> Vec<(ApiKeyId, Timestamp)> {
        let mut uses = self.uses();
        let taken: Vec<_> = uses.iter().take(limit).map(|(id, at)| (*id, *at)).collect();
        for (id, _) in &taken {
            uses.remove(id);
        }
        taken
    }

    fn uses(&self) -> MutexGuard<'_, HashMap<ApiKeyId, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_use_of_each_key_is_taken_once() {
        let uses = KeyUses::default();
        let [a, b] = ["a", "b"].map(|digit| ApiKeyId::new(&digit.repeat(12)).unwrap());
        let at = Timestamp::from_micros;
        for (id, micros) in [(a, 2), (b, 3), (a, 1)] {
            uses.note(id, at(micros));
        }
        assert_eq!(uses.of(a), Some(at(2)));
        let mut taken = [uses.take(1), uses.take(7)].concat();
        taken.sort();
        assert_eq!(taken, [(a, at(2)), (b, at(3))]);
        assert_eq!((uses.of(a), uses.take(7)), (None, vec![]));
    }
}
