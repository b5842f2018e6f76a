use std::fmt;

use super::{ApiKeyId, SecretHash};

/// An API key as its owner sends it: `tm_<id>_<secret>_<check>`. It is printed only by [`PlainKey::reveal`].
#[derive(Clone)]
pub struct PlainKey {
    id: ApiKeyId,
    secret: Box<str>,
}

/// Reason why a text is not an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidApiKey {
    /// The text does not have the form of a key.
    #[error("an API key has the form tm_<id>_<secret>_<check>")]
    Form,
    /// The check does not fit the rest: some characters are wrong or missing.
    #[error("the API key has a typing error, or a part of it is missing")]
    Check,
}

/// Digits of secrets, and of ids.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Length of a secret in digits, for 256 bits.
const SECRET_LENGTH: usize = 43;

impl PlainKey {
    /// What every key begins with, so that scanners for secrets recognise it.
    pub const PREFIX: &str = "tm_";

    /// Number of random bytes for a key.
    pub const RANDOM_BYTES: usize = ApiKeyId::LENGTH + SECRET_LENGTH;

    /// Makes a key of random bytes. Bytes above the last multiple of 62 would make some digits more likely; they
    /// are taken from `more`.
    ///
    /// # Panics
    ///
    /// Never: the id is made of letters and digits.
    #[must_use]
    pub fn generate(mut more: impl FnMut() -> u8) -> Self {
        let mut digits = |count| -> String { (0..count).map(|_| digit(&mut more)).collect() };
        let id = ApiKeyId::new(&digits(ApiKeyId::LENGTH)).expect("digits are letters and digits");
        PlainKey { id, secret: digits(SECRET_LENGTH).into() }
    }

    /// Reads a key.
    ///
    /// # Errors
    ///
    /// [`InvalidApiKey`] if the text has another form, or a typing error.
    pub fn parse(text: &str) -> Result<Self, InvalidApiKey> {
        let (body, check) = text.rsplit_once('_').ok_or(InvalidApiKey::Form)?;
        let parts = body.strip_prefix(Self::PREFIX).and_then(|parts| parts.split_once('_'));
        let (id, secret) = parts.ok_or(InvalidApiKey::Form)?;
        if check != check_of(body) {
            return Err(InvalidApiKey::Check);
        }
        let id = ApiKeyId::new(id).map_err(|_| InvalidApiKey::Form)?;
        if secret.len() != SECRET_LENGTH || !secret.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            return Err(InvalidApiKey::Form);
        }
        Ok(PlainKey { id, secret: secret.into() })
    }

    /// The public part.
    #[must_use]
    pub fn id(&self) -> ApiKeyId {
        self.id
    }

    /// The hash of the secret.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.secret)
    }

    /// A key with the id of another and this secret.
    #[must_use]
    pub fn with_id(self, id: ApiKeyId) -> Self {
        PlainKey { id, ..self }
    }

    /// The whole text. For its owner only.
    #[must_use]
    pub fn reveal(&self) -> String {
        let body = format!("{}{}_{}", Self::PREFIX, self.id, self.secret);
        let check = check_of(&body);
        format!("{body}_{check}")
    }
}

impl fmt::Debug for PlainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}_...", Self::PREFIX, self.id)
    }
}

fn digit(more: &mut impl FnMut() -> u8) -> char {
    loop {
        let byte = usize::from(more());
        if byte < 256 / DIGITS.len() * DIGITS.len() {
            return DIGITS[byte % DIGITS.len()].into();
        }
    }
}

fn check_of(body: &str) -> String {
    format!("{:08x}", crc32fast::hash(body.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> PlainKey {
        let mut byte = 0;
        PlainKey::generate(|| {
            byte = u8::wrapping_add(byte, 7);
            byte
        })
    }

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let text = key().reveal();
        assert_eq!(text.len(), 3 + 12 + 1 + 43 + 1 + 8);
        let read = PlainKey::parse(&text).unwrap();
        assert_eq!((read.id(), read.hash()), (key().id(), key().hash()));
        assert_eq!(read.reveal(), text);
    }

    #[test]
    fn a_typing_error_is_found_without_a_look_up() {
        let text = key().reveal();
        for place in 3..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[place] = if bytes[place] == b'x' { b'y' } else { b'x' };
            assert!(PlainKey::parse(std::str::from_utf8(&bytes).unwrap()).is_err(), "{place}");
        }
        for other in ["", "tm_", "tm_a_b_c", "hunter2", &text[1..], &text[..text.len() - 1]] {
            assert!(PlainKey::parse(other).is_err(), "{other}");
        }
        assert_eq!(
            PlainKey::parse(&format!("{}0", &text[..text.len() - 1])).err().is_some(),
            !text.ends_with('0')
        );
    }

    #[test]
    fn all_digits_are_equally_likely() {
        let mut counts = [0_u32; 128];
        for byte in 0..=u8::MAX {
            let mut bytes = [byte, 0].into_iter();
            let digit = digit(&mut || bytes.next().unwrap_or_default());
            counts[digit as usize] += 1;
        }
        // 248 bytes for 62 digits; the rest takes the next byte, which is 0 here.
        assert!(DIGITS[1..].iter().all(|digit| counts[usize::from(*digit)] == 4));
        assert_eq!(counts[usize::from(b'0')], 4 + 8);
    }

    #[test]
    fn secrets_are_not_printed() {
        let key = key();
        assert_eq!(format!("{key:?}"), format!("tm_{}_...", key.id()));
    }
}
