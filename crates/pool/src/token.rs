use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// Names a token. It may be shown to anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TokenId(pub Uuid);

/// What a holder is handed. It is a secret, so its `Debug` form does not show it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenValue(pub Uuid);

impl fmt::Debug for TokenValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenValue(..)")
    }
}

/// One of the fixed items of a pool. It never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Names the token.
    pub id: TokenId,
    /// What a holder is handed.
    pub value: TokenValue,
    /// When the token was made.
    pub inserted_at: Timestamp,
}
