use super::ApiKeyId;
use crate::User;

/// Sender of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sender {
    /// The engine itself, or a caller whose rights depend on settings only.
    #[default]
    Trusted,
    /// A caller without an API key, who may act only while the ledger has no key.
    WithoutKeys,
    /// The caller with this API key.
    Key(ApiKeyId),
    /// A user for whom a proxy acts with this API key.
    UserOf(ApiKeyId, User),
}

impl Sender {
    /// The API key.
    #[must_use]
    pub fn key(&self) -> Option<ApiKeyId> {
        match self {
            Sender::Trusted | Sender::WithoutKeys => None,
            Sender::Key(id) | Sender::UserOf(id, _) => Some(*id),
        }
    }

    /// Whether the sender may act for a user for whom its key may.
    pub(crate) fn acts_for(&self, user: &User) -> bool {
        match self {
            Sender::UserOf(_, own) => own.id == user.id,
            _ => true,
        }
    }
}

impl From<Option<ApiKeyId>> for Sender {
    fn from(key: Option<ApiKeyId>) -> Self {
        key.map_or(Sender::Trusted, Sender::Key)
    }
}

impl From<ApiKeyId> for Sender {
    fn from(key: ApiKeyId) -> Self {
        Sender::Key(key)
    }
}
