use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// Id of a token. It is not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TokenId(pub Uuid);

/// Secret value of a token, for its holder only. Its `Debug` form does not show it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenValue(pub Uuid);

impl fmt::Debug for TokenValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenValue(..)")
    }
}

/// A token of a pool. It never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Id of the token.
    pub id: TokenId,
    /// Secret value, for holders.
    pub value: TokenValue,
    /// Creation time.
    pub inserted_at: Timestamp,
}
