use std::sync::Arc;

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Identity of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UserId(pub Uuid);

/// A user: the name as sent, and the identity that it represents.
///
/// The serialized form is the name alone, since the identity follows from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Arc<str>", try_from = "Arc<str>")]
pub struct User {
    /// Name as sent, 1 to [`User::MAX_CHARS`] characters.
    pub name: Arc<str>,
    /// Identity. Two spellings of one UUID are one identity.
    pub id: UserId,
}

/// Reason why a text is not a user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUser {
    /// The text is empty.
    #[error("must not be empty")]
    Empty,
    /// The text has more than [`User::MAX_CHARS`] characters.
    #[error("must have at most {} characters", User::MAX_CHARS)]
    TooLong,
    /// The text has a NUL character, which databases can't store.
    #[error("must not contain a NUL character")]
    Nul,
}

impl User {
    /// Maximum length of a name, in characters.
    pub const MAX_CHARS: usize = 255;

    /// The user with this name. A hyphenated UUID, in any letter case, is the identity itself; any
    /// other text becomes the UUID whose 32 hex digits are the text's MD5.
    ///
    /// # Errors
    ///
    /// [`InvalidUser`] if the text is empty, too long, or has a NUL character.
    pub fn new(name: &str) -> Result<Self, InvalidUser> {
        if name.is_empty() {
            return Err(InvalidUser::Empty);
        }
        // Names within the limit in bytes need no count of their characters.
        if name.len() > Self::MAX_CHARS && name.chars().count() > Self::MAX_CHARS {
            return Err(InvalidUser::TooLong);
        }
        if name.contains('\0') {
            return Err(InvalidUser::Nul);
        }
        Ok(User { name: name.into(), id: UserId(identity(name)) })
    }
}

impl From<User> for Arc<str> {
    fn from(user: User) -> Self {
        user.name
    }
}

impl TryFrom<Arc<str>> for User {
    type Error = InvalidUser;

    fn try_from(name: Arc<str>) -> Result<Self, InvalidUser> {
        User::new(&name)
    }
}

fn identity(name: &str) -> Uuid {
    const HYPHENATED: usize = 36;
    if name.len() == HYPHENATED
        && let Ok(uuid) = Uuid::try_parse(name)
    {
        return uuid;
    }
    Uuid::from_bytes(Md5::digest(name.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> String {
        User::new(name).unwrap().id.0.to_string()
    }

    #[test]
    fn a_text_becomes_its_md5() {
        assert_eq!(id("Edivan"), "bb97b8b7-73e4-3647-b3ec-e833123b5348");
    }

    #[test]
    fn a_uuid_is_itself_in_any_letter_case() {
        let lower = "0198c1b2-7a43-7cc0-8f0e-0123456789ab";
        assert_eq!(id(lower), lower);
        assert_eq!(id(&lower.to_uppercase()), lower);
    }

    #[test]
    fn other_spellings_of_a_uuid_are_plain_texts() {
        let simple = "0198c1b27a437cc08f0e0123456789ab";
        assert_ne!(id(simple).replace('-', ""), simple);
        assert_ne!(id("{0198c1b2-7a43-7cc0-8f0e-0123456789ab}"), id(simple));
    }

    #[test]
    fn names_are_limited_in_characters_not_bytes() {
        let longest = "é".repeat(User::MAX_CHARS);
        assert!(User::new(&longest).is_ok());
        assert_eq!(User::new(&format!("{longest}e")), Err(InvalidUser::TooLong));
        assert_eq!(User::new(""), Err(InvalidUser::Empty));
        assert_eq!(User::new("a\0b"), Err(InvalidUser::Nul));
    }
}
