use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::{ApiKey, ApiKeyId, SecretHash, Secrets, Session};
use crate::{Inconsistent, Timestamp};

/// The API keys and sessions of a ledger. Revoked keys are not part of it.
#[derive(Clone, Debug, Default)]
pub struct Access {
    keys: HashSet<ById>,
    names: BTreeSet<ByName>,
    sessions: HashMap<[u8; 32], Session>,
    /// Number of running leases that each key allocated.
    leases: HashMap<ApiKeyId, u32>,
    generation: u64,
}

/// A key, found by its id.
#[derive(Clone, Debug)]
struct ById(Arc<ApiKey>);

/// A key, found by its name and in the order of names.
#[derive(Clone, Debug)]
struct ByName(Arc<ApiKey>);

impl Access {
    /// Maximum number of keys.
    pub const MAX_KEYS: usize = 100_000;

    /// Maximum number of sessions and codes.
    pub const MAX_SESSIONS: usize = 10_000;

    /// The key with this id, unless it was revoked.
    #[must_use]
    pub fn key(&self, id: ApiKeyId) -> Option<&Arc<ApiKey>> {
        self.keys.get(&id).map(|ById(key)| key)
    }

    /// The key with this name, unless it was revoked.
    #[must_use]
    pub fn key_named(&self, name: &str) -> Option<&Arc<ApiKey>> {
        self.names.get(name).map(|ByName(key)| key)
    }

    /// The key with this id or, if no key has it, with this name.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<&Arc<ApiKey>> {
        let by_id = ApiKeyId::new(text).ok().and_then(|id| self.key(id));
        by_id.or_else(|| self.key_named(text))
    }

    /// Whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The keys in the order of their names, after this name.
    pub fn keys_after<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<ApiKey>> {
        let after = (std::ops::Bound::Excluded(name), std::ops::Bound::Unbounded);
        self.names.range::<str, _>(after).map(|ByName(key)| key)
    }

    /// The valid key for a secret with this hash.
    #[must_use]
    pub fn authenticate(
        &self,
        id: ApiKeyId,
        hash: &SecretHash,
        now: Timestamp,
    ) -> Option<&Arc<ApiKey>> {
        let key = self.key(id);
        // An unknown id takes as long as a wrong secret.
        let accepted = Secrets::is_of(key.map(AsRef::as_ref), hash, now);
        key.filter(|key| accepted && key.is_valid(now))
    }

    /// The valid key with this id.
    #[must_use]
    pub fn valid(&self, id: ApiKeyId, now: Timestamp) -> Option<&Arc<ApiKey>> {
        self.key(id).filter(|key| key.is_valid(now))
    }

    /// The running session or unused code with this hash, with its valid key. Found by the hash of a secret with
    /// 256 bits, so the time of the look-up tells nothing about other secrets.
    #[must_use]
    pub fn session(&self, hash: &SecretHash, now: Timestamp) -> Option<(&Session, &Arc<ApiKey>)> {
        let session = self.sessions.get(hash.as_bytes())?;
        let key = self.valid(session.key, now)?;
        (now < session.expires_at).then_some((session, key))
    }

    /// The sessions and codes of a key.
    pub(crate) fn sessions_of(&self, key: ApiKeyId) -> impl Iterator<Item = &Session> {
        self.sessions.values().filter(move |session| session.key == key)
    }

    /// Number of running browser sessions of a key.
    #[must_use]
    pub fn sessions(&self, key: ApiKeyId, now: Timestamp) -> usize {
        self.sessions_of(key).filter(|session| session.is_running(now)).count()
    }

    /// Number of running browser sessions of all keys.
    #[must_use]
    pub fn running_sessions(&self, now: Timestamp) -> usize {
        self.sessions.values().filter(|session| session.is_running(now)).count()
    }

    /// Number of running browser sessions of each key that has any.
    #[must_use]
    pub fn sessions_by_key(&self, now: Timestamp) -> HashMap<ApiKeyId, usize> {
        let mut counts = HashMap::new();
        for session in self.sessions.values() {
            if session.is_running(now) {
                *counts.entry(session.key).or_default() += 1;
            }
        }
        counts
    }

    pub(crate) fn session_count(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn has_session(&self, hash: &SecretHash) -> bool {
        self.sessions.contains_key(hash.as_bytes())
    }

    /// Sessions and codes that are over at `now`, at most `limit`.
    pub(crate) fn over(&self, now: Timestamp, limit: usize) -> Vec<SecretHash> {
        let over = self.sessions.values().filter(|session| session.expires_at <= now);
        over.map(|session| session.hash).take(limit).collect()
    }

    /// Number of running leases that the key allocated.
    #[must_use]
    pub fn leases(&self, key: ApiKeyId) -> u32 {
        self.leases.get(&key).copied().unwrap_or_default()
    }

    /// A number that differs after each change of a key or session.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Sets all keys, of which none was revoked. Faster than [`Access::put`] for each.
    pub(crate) fn set(&mut self, keys: Vec<Arc<ApiKey>>) -> Result<(), Inconsistent> {
        let count = keys.len();
        self.keys = keys.iter().cloned().map(ById).collect();
        self.names = keys.into_iter().map(ByName).collect();
        if self.keys.len() < count || self.names.len() < count {
            return Err(Inconsistent("two API keys have one id or name".to_owned()));
        }
        Ok(())
    }

    pub(crate) fn put(&mut self, key: &ApiKey) -> Result<(), Inconsistent> {
        if self.key_named(&key.name).is_some_and(|other| other.id != key.id) {
            return Err(Inconsistent(format!("two API keys have the name {}", key.name)));
        }
        self.generation += 1;
        if let Some(ById(before)) = self.keys.take(&key.id) {
            self.names.remove(&*before.name);
        }
        if key.revoked_at.is_some() {
            self.sessions.retain(|_, session| session.key != key.id);
            return Ok(());
        }
        let key = Arc::new(key.clone());
        self.keys.insert(ById(Arc::clone(&key)));
        self.names.insert(ByName(key));
        Ok(())
    }

    pub(crate) fn start(&mut self, session: &Session) -> Result<(), Inconsistent> {
        self.generation += 1;
        match self.sessions.insert(*session.hash.as_bytes(), session.clone()) {
            None => Ok(()),
            Some(_) => Err(Inconsistent("two sessions have the same secret".to_owned())),
        }
    }

    pub(crate) fn end(&mut self, hash: &SecretHash) {
        self.generation += 1;
        self.sessions.remove(hash.as_bytes());
    }

    pub(crate) fn lease_started(&mut self, by: Option<ApiKeyId>) {
        if let Some(by) = by {
            *self.leases.entry(by).or_default() += 1;
        }
    }

    pub(crate) fn lease_ended(&mut self, by: Option<ApiKeyId>) {
        let Some(by) = by else { return };
        if let Some(count) = self.leases.get_mut(&by) {
            *count -= 1;
            if *count == 0 {
                self.leases.remove(&by);
            }
        }
    }
}

impl Borrow<ApiKeyId> for ById {
    fn borrow(&self) -> &ApiKeyId {
        &self.0.id
    }
}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl Borrow<str> for ByName {
    fn borrow(&self) -> &str {
        &self.0.name
    }
}

impl Ord for ByName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.name.as_str().cmp(&other.0.name)
    }
}

impl PartialOrd for ByName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for ByName {}

#[cfg(test)]
mod tests {
    use super::super::Rights;
    use super::super::key::tests::{COMPARISONS, key};
    use super::*;

    /// A test of times would depend on the machine; equal times follow from equal work.
    #[test]
    fn an_unknown_id_costs_as_much_as_a_wrong_secret() {
        let (now, later) = (Timestamp::from_micros(100), Timestamp::from_micros(200));
        let mut access = Access::default();
        let secrets =
            Secrets::new(SecretHash::of("old")).rotated(SecretHash::of("new"), Some(later));
        let ci = key(Rights::Use, &["*"], &["*"]);
        let [rotated, expired, unknown] =
            ["rotated00000", "expired00000", "unknown00000"].map(|id| ApiKeyId::new(id).unwrap());
        let named = |name: &str| crate::KeyName::new(name).unwrap();
        access.put(&ci).unwrap();
        let twice = ApiKey { id: rotated, name: named("rotated"), secrets, ..ci.clone() };
        access.put(&twice).unwrap();
        let over = ApiKey { id: expired, name: named("over"), expires_at: Some(now), ..ci.clone() };
        access.put(&over).unwrap();
        for (id, secret, valid, comparisons) in [
            (ci.id, "new", true, 1),
            (ci.id, "wrong", false, 1),
            (unknown, "new", false, 1),
            (expired, "new", false, 1),
            (rotated, "new", true, 2),
            (rotated, "old", true, 2),
            (rotated, "wrong", false, 2),
        ] {
            COMPARISONS.set(0);
            let found = access.authenticate(id, &SecretHash::of(secret), now);
            assert_eq!((found.is_some(), COMPARISONS.get()), (valid, comparisons), "{id} {secret}");
        }
        let nothing = SecretHash::from_bytes([0; 32]);
        assert!(access.authenticate(unknown, &nothing, now).is_none());
    }
}
