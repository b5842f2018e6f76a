use std::sync::Arc;

use pool::{Access, ApiKey, ApiKeyId, Rights, SecretHash, Sender, Timestamp, User};

/// Caller of a request, in the request's extensions.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// A caller without an API key.
    Anonymous {
        /// Its rights, for all pools and users.
        rights: Option<Rights>,
        /// Whether it has them only while the ledger has no key.
        without_keys: bool,
    },
    /// A caller with an API key.
    Key {
        /// The key.
        key: Arc<ApiKey>,
        /// How the caller proved that it has the key.
        proof: Proof,
    },
}

/// Proof that a caller has an API key.
#[derive(Clone, Debug)]
pub(crate) enum Proof {
    /// The secret with this hash.
    Secret(SecretHash),
    /// A cookie.
    Session {
        /// Hash of the secret in the cookie.
        hash: SecretHash,
        /// When the session ends.
        expires_at: Timestamp,
    },
    /// A client certificate with the name of the key.
    Certificate,
    /// A proxy that acts with the key for this user.
    Proxy(User),
}

impl Caller {
    /// A caller without an API key that may do everything.
    #[cfg(test)]
    pub(crate) fn anyone() -> Self {
        Caller::Anonymous { rights: Some(Rights::Admin), without_keys: false }
    }

    pub(crate) fn key(&self) -> Option<&Arc<ApiKey>> {
        match self {
            Caller::Anonymous { .. } => None,
            Caller::Key { key, .. } => Some(key),
        }
    }

    pub(crate) fn key_id(&self) -> Option<ApiKeyId> {
        self.key().map(|key| key.id)
    }

    /// Sender of the caller's commands.
    pub(crate) fn sender(&self) -> Sender {
        match self {
            Caller::Anonymous { without_keys: true, .. } => Sender::WithoutKeys,
            Caller::Anonymous { .. } => Sender::Trusted,
            Caller::Key { key, proof: Proof::Proxy(user) } => Sender::UserOf(key.id, user.clone()),
            Caller::Key { key, .. } => Sender::Key(key.id),
        }
    }

    pub(crate) fn rights(&self) -> Option<Rights> {
        match self {
            Caller::Anonymous { rights, .. } => *rights,
            Caller::Key { key, .. } => Some(key.rights),
        }
    }

    /// Whether the caller's rights include `needed`.
    pub(crate) fn may(&self, needed: Rights) -> bool {
        self.rights().is_some_and(|rights| rights.include(needed))
    }

    /// Whether the rights apply to the pool with this name. If not, the pool does not exist for the caller.
    pub(crate) fn has_pool(&self, name: &str) -> bool {
        self.key().is_none_or(|key| key.has_pool(name))
    }

    /// Whether the rights apply to all pools.
    pub(crate) fn has_all_pools(&self) -> bool {
        self.key().is_none_or(|key| key.pools.match_everything())
    }

    /// Whether these are still the rights of the caller.
    pub(crate) fn is_valid(&self, access: &Access, now: Timestamp) -> bool {
        match self {
            Caller::Anonymous { without_keys, .. } => !without_keys || access.is_empty(),
            Caller::Key { key, proof: Proof::Secret(hash) } => {
                access.authenticate(key.id, hash, now).is_some()
            }
            Caller::Key { proof: Proof::Session { hash, .. }, .. } => {
                access.session(hash, now).is_some()
            }
            Caller::Key { key, proof: Proof::Certificate | Proof::Proxy(_) } => {
                access.valid(key.id, now).is_some()
            }
        }
    }

    /// When the rights end if nothing is changed.
    pub(crate) fn expires_at(&self, access: &Access) -> Option<Timestamp> {
        let Caller::Key { key, proof } = self else { return None };
        let of_proof = match proof {
            Proof::Session { expires_at, .. } => Some(*expires_at),
            Proof::Certificate | Proof::Proxy(_) => None,
            Proof::Secret(hash) => {
                let key = access.key(key.id).unwrap_or(key);
                let secret = key.secrets.iter().find(|secret| secret.hash == *hash);
                secret.and_then(|secret| secret.expires_at)
            }
        };
        key.expires_at.into_iter().chain(of_proof).min()
    }
}
