use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Labels, PoolId, Taints, Timestamp, TokenName};

/// Id of a token. It is not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TokenId(pub Uuid);

/// Secret value of a token, for its holder: a text such as an address, an account or a licence key. Its
/// `Debug` form does not show it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "Arc<str>", try_from = "Arc<str>")]
pub struct TokenValue(Arc<str>);

/// Reason why a text is not a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValue {
    /// The text has more than [`TokenValue::MAX_BYTES`] bytes.
    #[error("must have at most {} bytes", TokenValue::MAX_BYTES)]
    TooLong,
    /// The text has a NUL character, which databases can't store.
    #[error("must not contain a NUL character")]
    Nul,
}

impl TokenValue {
    /// Maximum length, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 8 * 1_024;

    /// Checks a text and makes it a value.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] if the text is too long or has a NUL character.
    pub fn new(text: &str) -> Result<Self, InvalidValue> {
        check(text)?;
        Ok(TokenValue(text.into()))
    }

    /// The hyphenated text of a UUID.
    #[must_use]
    pub fn of_uuid(uuid: Uuid) -> Self {
        let mut text = Uuid::encode_buffer();
        TokenValue((*uuid.as_hyphenated().encode_lower(&mut text)).into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(text: &str) -> Result<(), InvalidValue> {
    if text.len() > TokenValue::MAX_BYTES {
        return Err(InvalidValue::TooLong);
    }
    if text.contains('\0') {
        return Err(InvalidValue::Nul);
    }
    Ok(())
}

impl From<TokenValue> for Arc<str> {
    fn from(value: TokenValue) -> Self {
        value.0
    }
}

impl TryFrom<Arc<str>> for TokenValue {
    type Error = InvalidValue;

    fn try_from(text: Arc<str>) -> Result<Self, InvalidValue> {
        check(&text)?;
        Ok(TokenValue(text))
    }
}

impl fmt::Debug for TokenValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenValue(..)")
    }
}

/// A token of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Id of the token.
    pub id: TokenId,
    /// Its pool, permanently.
    pub pool: PoolId,
    /// Position in the pool, from 0. Positions grow with every new token, and none is used again.
    pub position: u32,
    /// Name, unique among the pool's tokens that are not retired.
    pub name: TokenName,
    /// Secret value, for holders.
    pub value: TokenValue,
    /// Labels.
    pub labels: Labels,
    /// Taints.
    pub taints: Taints,
    /// Creation time.
    pub inserted_at: Timestamp,
    /// When the token was retired. It gets no new lease, and leaves the pool with its last one.
    pub retired_at: Option<Timestamp>,
}

impl Token {
    /// Whether the token may get a new lease once no lease is running.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.retired_at.is_none() && !self.taints.block()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_texts_of_limited_length_and_are_not_shown() {
        let longest = "v".repeat(TokenValue::MAX_BYTES);
        for text in ["", "https://a.example?key=é", "two\nlines", &longest] {
            assert_eq!(
                TokenValue::new(text).map(|value| value.as_str().to_owned()),
                Ok(text.into())
            );
        }
        assert_eq!(TokenValue::new(&format!("{longest}v")), Err(InvalidValue::TooLong));
        assert_eq!(TokenValue::new("a\0"), Err(InvalidValue::Nul));
        let shown = format!("{:?}", TokenValue::new("secret").unwrap());
        assert!(!shown.contains("secret"), "{shown}");
        let uuid = TokenValue::of_uuid(Uuid::from_u128(1));
        assert_eq!(uuid.as_str(), "00000000-0000-0000-0000-000000000001");
    }
}
