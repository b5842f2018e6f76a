use std::{fmt, iter};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::{Patterns, Rights};
use crate::{KeyName, Timestamp, User};

/// Public id of an API key: 12 letters and digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ApiKeyId([u8; Self::LENGTH]);

/// The text is not the id of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be of {} letters and digits", ApiKeyId::LENGTH)]
pub struct InvalidKeyId;

impl ApiKeyId {
    /// Length of the text.
    pub const LENGTH: usize = 12;

    /// Checks a text and makes it an id.
    ///
    /// # Errors
    ///
    /// [`InvalidKeyId`] if the text is not of [`ApiKeyId::LENGTH`] letters and digits.
    pub fn new(text: &str) -> Result<Self, InvalidKeyId> {
        let bytes: [u8; Self::LENGTH] = text.as_bytes().try_into().map_err(|_| InvalidKeyId)?;
        if !bytes.iter().all(u8::is_ascii_alphanumeric) {
            return Err(InvalidKeyId);
        }
        Ok(ApiKeyId(bytes))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for ApiKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for ApiKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<ApiKeyId> for String {
    fn from(id: ApiKeyId) -> Self {
        id.as_str().to_owned()
    }
}

impl TryFrom<String> for ApiKeyId {
    type Error = InvalidKeyId;

    fn try_from(text: String) -> Result<Self, InvalidKeyId> {
        ApiKeyId::new(&text)
    }
}

/// SHA-256 of a secret: the only form in which secrets are stored. A fast hash is enough, since each secret has
/// 256 random bits. Comparisons take the same time for all values.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash of a secret.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        SecretHash(Sha256::digest(secret.as_bytes()).into())
    }

    /// The stored hash with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        SecretHash(bytes)
    }

    /// The bytes, to store.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The only comparison of hashes.
impl ConstantTimeEq for SecretHash {
    fn ct_eq(&self, other: &Self) -> Choice {
        #[cfg(test)]
        tests::COMPARISONS.set(tests::COMPARISONS.get() + 1);
        self.0.ct_eq(&other.0)
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for SecretHash {}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

/// A secret of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Its hash.
    pub hash: SecretHash,
    /// When it stops being valid, after a rotation.
    pub expires_at: Option<Timestamp>,
}

/// The valid secrets of a key: one, and for a while after a rotation two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<Secret>", try_from = "Vec<Secret>")]
pub struct Secrets {
    newest: SecretHash,
    /// Only few keys have one, so it is stored apart.
    old: Option<Box<Secret>>,
}

/// The list is not of one secret that stays valid, or of such a one and an older one that expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a secret without an end, and perhaps one with an end")]
pub struct InvalidSecrets;

impl Secrets {
    /// Secrets of keys that don't exist: no text has this hash.
    const NONE: Secrets = Secrets { newest: SecretHash([0; 32]), old: None };

    /// One secret.
    #[must_use]
    pub fn new(hash: SecretHash) -> Self {
        Secrets { newest: hash, old: None }
    }

    /// The secrets after a rotation: of the present ones, the newest stays valid until `old_until`, if given.
    #[must_use]
    pub fn rotated(&self, hash: SecretHash, old_until: Option<Timestamp>) -> Self {
        let old = |until| Box::new(Secret { hash: self.newest, expires_at: Some(until) });
        Secrets { newest: hash, old: old_until.map(old) }
    }

    /// Whether one of the secrets has this hash and is valid at `now`. Compares with each of them.
    fn any_is(&self, hash: &SecretHash, now: Timestamp) -> bool {
        let matches = |secret: Secret| {
            let is_current = secret.expires_at.is_none_or(|at| now < at);
            secret.hash.ct_eq(hash) & Choice::from(u8::from(is_current))
        };
        self.iter().map(matches).fold(Choice::from(0), |any, one| any | one).into()
    }

    /// As [`Secrets::any_is`] for the secrets of a key that may not exist, which takes the same time.
    pub(super) fn is_of(key: Option<&ApiKey>, hash: &SecretHash, now: Timestamp) -> bool {
        key.map_or(&Secrets::NONE, |key| &key.secrets).any_is(hash, now)
    }

    /// The secrets, newest first.
    pub fn iter(&self) -> impl Iterator<Item = Secret> {
        let newest = Secret { hash: self.newest, expires_at: None };
        iter::once(newest).chain(self.old.as_deref().copied())
    }
}

impl From<Secrets> for Vec<Secret> {
    fn from(secrets: Secrets) -> Self {
        secrets.iter().collect()
    }
}

impl TryFrom<Vec<Secret>> for Secrets {
    type Error = InvalidSecrets;

    fn try_from(secrets: Vec<Secret>) -> Result<Self, InvalidSecrets> {
        let (newest, old) = match *secrets.as_slice() {
            [newest] => (newest, None),
            [newest, old] if old.expires_at.is_some() => (newest, Some(Box::new(old))),
            _ => return Err(InvalidSecrets),
        };
        match newest.expires_at {
            None => Ok(Secrets { newest: newest.hash, old }),
            Some(_) => Err(InvalidSecrets),
        }
    }
}

/// An API key, without its secret. An absent field grants nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Id of the key.
    pub id: ApiKeyId,
    /// Name, unique among the keys that are not revoked.
    pub name: KeyName,
    /// Rights.
    pub rights: Rights,
    /// Names of the pools to which the rights apply.
    pub pools: Patterns,
    /// Names of the users for whom the key may allocate.
    pub users: Patterns,
    /// The valid secrets.
    pub secrets: Secrets,
    /// When the key was created.
    pub created_at: Timestamp,
    /// The key that created it. `None` for the first key, and for keys that the program created in the database.
    pub created_by: Option<ApiKeyId>,
    /// When the key stops being valid.
    pub expires_at: Option<Timestamp>,
    /// When the key was revoked. Such a key is stored for the audit log only.
    pub revoked_at: Option<Timestamp>,
    /// Maximum number of requests per second, at each server.
    pub max_requests_per_second: Option<u32>,
    /// Maximum number of running leases that the key allocated.
    pub max_leases: Option<u32>,
}

impl ApiKey {
    /// Whether the key is valid at `now`.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }

    /// Whether the secret with this hash is valid at `now`. Takes the same time for every wrong secret.
    #[must_use]
    pub fn accepts(&self, hash: &SecretHash, now: Timestamp) -> bool {
        self.secrets.any_is(hash, now)
    }

    /// Whether the rights apply to the pool with this name.
    #[must_use]
    pub fn has_pool(&self, name: &str) -> bool {
        self.pools.match_name(name, |pattern| pattern == name)
    }

    /// Whether the key may allocate for this user. A pattern without `*` means the identity: two spellings of one
    /// UUID are one user.
    #[must_use]
    pub fn has_user(&self, user: &User) -> bool {
        let same = |pattern: &str| User::new(pattern).is_ok_and(|other| other.id == user.id);
        self.users.match_name(&user.name, same)
    }

    /// Whether the key may create or revoke `other`: no key is an administrator of a wider key.
    #[must_use]
    pub fn covers(&self, other: &ApiKey) -> bool {
        let until = |key: &ApiKey| key.expires_at.map_or(i64::MAX, Timestamp::as_micros);
        self.rights.include(other.rights)
            && self.pools.cover(&other.pools)
            && self.users.cover(&other.users)
            && until(other) <= until(self)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// Number of comparisons of hashes by this test.
        pub(in crate::access) static COMPARISONS: Cell<usize> = const { Cell::new(0) };
    }

    const NOW: Timestamp = Timestamp::from_micros(100);
    const LATER: Timestamp = Timestamp::from_micros(200);

    pub(in crate::access) fn key(rights: Rights, pools: &[&str], users: &[&str]) -> ApiKey {
        ApiKey {
            id: ApiKeyId::new("0123456789ab").unwrap(),
            name: KeyName::new("ci").unwrap(),
            rights,
            pools: Patterns::new(pools).unwrap(),
            users: Patterns::new(users).unwrap(),
            secrets: Secrets::new(SecretHash::of("new")),
            created_at: NOW,
            created_by: None,
            expires_at: None,
            revoked_at: None,
            max_requests_per_second: None,
            max_leases: None,
        }
    }

    #[test]
    fn a_key_is_valid_until_it_expires_or_is_revoked() {
        let key = key(Rights::Read, &[], &[]);
        assert!(key.is_valid(NOW));
        assert!(!ApiKey { revoked_at: Some(LATER), ..key.clone() }.is_valid(NOW));
        let expiring = ApiKey { expires_at: Some(LATER), ..key };
        assert!(expiring.is_valid(NOW) && !expiring.is_valid(LATER));
    }

    #[test]
    fn an_old_secret_is_valid_until_it_expires() {
        let secrets = Secrets::new(SecretHash::of("old"));
        let secrets = secrets.rotated(SecretHash::of("new"), Some(LATER));
        let key = ApiKey { secrets, ..key(Rights::Read, &[], &[]) };
        let accepts = |secret, now| key.accepts(&SecretHash::of(secret), now);
        assert!(accepts("new", LATER) && accepts("old", NOW));
        assert!(!accepts("old", LATER) && !accepts("other", NOW));
    }

    #[test]
    fn secrets_are_a_lasting_one_and_perhaps_an_expiring_one() {
        let [one, other] = ["1", "2"].map(SecretHash::of);
        let both = Secrets::new(one).rotated(other, Some(LATER));
        let list = Vec::from(both.clone());
        let old = Secret { hash: one, expires_at: Some(LATER) };
        assert_eq!(list, [Secret { hash: other, expires_at: None }, old]);
        assert_eq!(Secrets::try_from(list.clone()), Ok(both.clone()));
        assert_eq!(both.rotated(one, None), Secrets::new(one));
        for wrong in [vec![], vec![old], vec![list[0]; 2], [&list[..], &[old]].concat()] {
            assert_eq!(Secrets::try_from(wrong), Err(InvalidSecrets));
        }
    }

    #[test]
    fn a_user_is_an_identity() {
        let uuid = "0198c1b2-7a43-7cc0-8f0e-0123456789ab";
        let key = key(Rights::Use, &["a"], &["ci-*", uuid]);
        let has = |name: &str| key.has_user(&User::new(name).unwrap());
        assert!(has("ci-7") && has(uuid) && has(&uuid.to_uppercase()));
        assert!(!has("CI-7") && !has("ann"));
        assert!(key.has_pool("a") && !key.has_pool("b"));
    }

    #[test]
    fn no_key_covers_a_wider_one() {
        let wide = key(Rights::Operate, &["a*"], &["*"]);
        assert!(wide.covers(&key(Rights::Use, &["ab"], &["ann"])));
        for other in [
            key(Rights::Admin, &["a"], &[]),
            key(Rights::Use, &["*"], &[]),
            key(Rights::Use, &["b"], &[]),
        ] {
            assert!(!wide.covers(&other), "{other:?}");
        }
        let short = ApiKey { expires_at: Some(NOW), ..wide.clone() };
        assert!(wide.covers(&short) && !short.covers(&wide));
    }

    #[test]
    fn hashes_are_not_printed() {
        assert_eq!(format!("{:?}", SecretHash::of("new")), "...");
    }

    #[test]
    fn ids_are_letters_and_digits() {
        for text in ["", "0123456789a", "0123456789abc", "0123456789a-", "0123456789é"] {
            assert!(ApiKeyId::new(text).is_err(), "{text}");
        }
        assert_eq!(ApiKeyId::new("0123456789aB").unwrap().to_string(), "0123456789aB");
    }
}
