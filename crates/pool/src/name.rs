//! Names of pools, tokens, taints and API keys.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// Reason why a text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// The text is empty, or has more than 63 characters.
    #[error("must have 1 to {MAX_LENGTH} characters")]
    Length,
    /// The text has a character that a pool's name can't have.
    #[error("must be of lower-case letters a to z, digits, `.`, `_` and `-`")]
    NotLower,
    /// The text has a character that no name can have.
    #[error("must be of letters a to z, digits, `.`, `_` and `-`")]
    Character,
    /// The text is of dots only. In a path it has another meaning.
    #[error("must not be of dots only")]
    Dots,
    /// A pool's name begins or ends with another character than a letter or digit.
    #[error("must begin and end with a letter or digit")]
    Edge,
}

/// Maximum length of a name, in characters.
const MAX_LENGTH: usize = 63;

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn check(text: &str) -> Result<(), InvalidName> {
    if !text.bytes().all(is_letter) {
        return Err(InvalidName::Character);
    }
    if !(1..=MAX_LENGTH).contains(&text.len()) {
        return Err(InvalidName::Length);
    }
    if text.bytes().all(|byte| byte == b'.') {
        return Err(InvalidName::Dots);
    }
    Ok(())
}

fn check_pool(text: &str) -> Result<(), InvalidName> {
    if !text.bytes().all(|byte| is_letter(byte) && !byte.is_ascii_uppercase()) {
        return Err(InvalidName::NotLower);
    }
    check(text)?;
    let edges = [text.as_bytes().first(), text.as_bytes().last()];
    if !edges.into_iter().flatten().all(u8::is_ascii_alphanumeric) {
        return Err(InvalidName::Edge);
    }
    Ok(())
}

/// Declares types of names: texts that pass a check. Clones are cheap.
macro_rules! names {
    ($($(#[$meta:meta])* pub struct $name:ident, $check:path;)+) => {$(
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "SmolStr", try_from = "SmolStr")]
        pub struct $name(SmolStr);

        impl $name {
            /// Checks a text and makes it a name.
            ///
            /// # Errors
            ///
            /// [`InvalidName`] if the text breaks a rule.
            pub fn new(text: &str) -> Result<Self, InvalidName> {
                $check(text)?;
                Ok($name(text.into()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl From<$name> for SmolStr {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl TryFrom<SmolStr> for $name {
            type Error = InvalidName;

            fn try_from(text: SmolStr) -> Result<Self, InvalidName> {
                $check(&text)?;
                Ok($name(text))
            }
        }

        impl From<$name> for Arc<str> {
            fn from(name: $name) -> Self {
                name.as_str().into()
            }
        }

        impl TryFrom<Arc<str>> for $name {
            type Error = InvalidName;

            fn try_from(text: Arc<str>) -> Result<Self, InvalidName> {
                $name::new(&text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                $name::new(text)
            }
        }
    )+};
}

names! {
    /// Name of a pool: 1 to 63 lower-case letters, digits, `.`, `_` and `-`, with a letter or digit at
    /// both ends.
    pub struct PoolName, check_pool;
    /// Name of a token, unique within its pool: 1 to 63 letters, digits, `.`, `_` and `-`.
    pub struct TokenName, check;
    /// Name of a taint, unique within its token: as that of a token.
    pub struct TaintName, check;
    /// Name of an API key: as that of a token.
    pub struct KeyName, check;
}

impl PoolName {
    const DEFAULT: &str = "default";

    /// The name `default`.
    #[must_use]
    pub fn default_pool() -> Self {
        PoolName(Self::DEFAULT.into())
    }

    /// Whether this is the name `default`.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0 == Self::DEFAULT
    }
}

impl TokenName {
    /// Name of the token at this position, unless the token got another.
    #[must_use]
    pub fn of_position(position: u32) -> Self {
        TokenName((u64::from(position) + 1).to_string().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pools_are_lower_case_and_have_no_sign_at_their_ends() {
        let longest = "p".repeat(MAX_LENGTH);
        for text in ["a", "7", "a-b", "eu.staging_2", &longest] {
            assert_eq!(PoolName::new(text).map(|name| name.to_string()), Ok(text.to_owned()));
        }
        for (text, why) in [
            ("", InvalidName::Length),
            (&format!("{longest}p"), InvalidName::Length),
            ("Staging", InvalidName::NotLower),
            ("a b", InvalidName::NotLower),
            ("é", InvalidName::NotLower),
            ("-a", InvalidName::Edge),
            ("a.", InvalidName::Edge),
            ("_", InvalidName::Edge),
        ] {
            assert_eq!(PoolName::new(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn names_of_tokens_may_have_capitals_and_signs_anywhere() {
        for text in ["-", "Pixel_9.a", &"T".repeat(MAX_LENGTH)] {
            assert!(TokenName::new(text).is_ok(), "{text:?}");
        }
        assert_eq!(TokenName::new(""), Err(InvalidName::Length));
        assert_eq!(TokenName::new(&"T".repeat(64)), Err(InvalidName::Length));
        assert_eq!(TokenName::new(".."), Err(InvalidName::Dots));
        for text in ["a/b", "a b", "é", "a\0"] {
            assert_eq!(TokenName::new(text), Err(InvalidName::Character), "{text:?}");
        }
        assert_eq!(TokenName::of_position(u32::MAX).as_str(), "4294967296");
    }
}
