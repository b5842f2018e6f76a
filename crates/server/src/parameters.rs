//! Names and values as query strings and forms write them: `name=value&other=one+two%21`.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::RangeInclusive;

use crate::problem::{Code, Problem};

/// The text is not written as names and values are: a `%` without two hex digits, or bytes that
/// are no UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The names in `text`, each with its value, which is yet to be [decoded](decode).
pub(crate) fn pairs(text: &str) -> impl Iterator<Item = Result<(Cow<'_, str>, &str), Malformed>> {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode(key)?, value))
    })
}

/// The last value of `name` in `text`; None when it is not there.
pub(crate) fn find<'a>(text: &'a str, name: &str) -> Result<Option<Cow<'a, str>>, Malformed> {
    let mut found = None;
    for pair in pairs(text) {
        let (key, value) = pair?;
        if key == name {
            found = Some(decode(value)?);
        }
    }
    Ok(found)
}

/// The whole number that the query's parameter `name` gives, if it is there.
pub(crate) fn number(
    query: Option<&str>,
    name: &str,
    range: RangeInclusive<i64>,
) -> Result<Option<i64>, Problem> {
    let invalid = || {
        let (from, to) = (range.start(), range.end());
        let detail = format!("{name} must be a whole number from {from} to {to}.");
        Problem::new(Code::InvalidParameter, detail)
    };
    let Some(text) = find(query.unwrap_or(""), name).map_err(|Malformed| invalid())? else {
        return Ok(None);
    };
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = plain.then(|| text.parse().ok()).flatten();
    number.filter(|number| range.contains(number)).map(Some).ok_or_else(invalid)
}

/// Refuses names that are not `known`, in a query or a form.
pub(crate) fn only(what: &str, text: &str, known: &[&str]) -> Result<(), Problem> {
    for pair in pairs(text) {
        let name = pair.map_or(Cow::Borrowed("%"), |(name, _)| name);
        if !known.contains(&&*name) {
            return Err(unknown(what, &name, known));
        }
    }
    Ok(())
}

/// The problem with a `what`, such as a parameter, that is none of those `known`.
pub(crate) fn unknown(what: &str, name: &str, known: &[&str]) -> Problem {
    /// How similar two names have to be (Jaro) for one to be meant by the other.
    const SIMILAR: f64 = 0.7;
    let scored = known.iter().map(|known| (strsim::jaro(name, known), known));
    let similar = scored.filter(|(score, _)| *score > SIMILAR);
    let nearest = similar.max_by(|(a, _), (b, _)| a.total_cmp(b));
    let meant = nearest.map_or(String::new(), |(_, near)| format!(" Did you mean {near}?"));
    let name = shown(name);
    let detail = match known {
        [] => format!("Unknown {what} {name}: this request takes no {what}s."),
        _ => format!("Unknown {what} {name}.{meant} Known {what}s: {}.", known.join(", ")),
    };
    Problem::new(Code::InvalidParameter, detail)
}

/// A name that was sent, short enough for a sentence.
pub(crate) fn shown(name: &str) -> String {
    const LONGEST: usize = 40;
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}", format!("{}...", &name[..end])),
        None => format!("{name:?}"),
    }
}

/// The text that was written so.
pub(crate) fn decode(text: &str) -> Result<Cow<'_, str>, Malformed> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => hex(bytes.next())? * 16 + hex(bytes.next())?,
            other => other,
        });
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| Malformed)
}

/// Writes a text so that it may stand in a query.
pub(crate) fn encode(text: &str, query: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            query.push(char::from(byte));
        } else {
            write!(query, "%{byte:02X}").expect("a String takes every text");
        }
    }
}

fn hex(digit: Option<u8>) -> Result<u8, Malformed> {
    let value = digit.and_then(|digit| char::from(digit).to_digit(16));
    value.and_then(|value| u8::try_from(value).ok()).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_user(text: &str) -> Result<Option<String>, Malformed> {
        find(text, "user_id").map(|found| found.map(Cow::into_owned))
    }

    #[test]
    fn values_are_decoded() {
        assert_eq!(find_user("user_id=Ann"), Ok(Some("Ann".to_owned())));
        assert_eq!(find_user("a=1&user%5Fid=A+%c3%A9%26&b"), Ok(Some("A é&".to_owned())));
        assert_eq!(find_user("user_id"), Ok(Some(String::new())));
        assert_eq!(find_user("user_id=a&user_id=b"), Ok(Some("b".to_owned())));
        assert_eq!(find_user("user_id=a=b"), Ok(Some("a=b".to_owned())));
        assert_eq!(find_user("user_id[]=a&xuser_id=b&&"), Ok(None));
    }

    #[test]
    fn what_is_encoded_is_decoded_again() {
        let text = "A é&=+%/?#\"<> 12:00-._~🦀";
        let mut query = String::new();
        encode(text, &mut query);
        assert!(query.starts_with("A%20%C3%A9%26%3D%2B%25"), "{query}");
        assert_eq!(decode(&query).as_deref(), Ok(text));
    }

    #[test]
    fn what_is_malformed_is_told() {
        for text in ["user_id=100%", "user_id=%4", "user_id=%zz", "user_id=%ff", "%=a&user_id=b"] {
            assert_eq!(find_user(text), Err(Malformed), "{text}");
        }
    }

    #[test]
    fn numbers_keep_to_their_range() {
        let limit = |query: &str| number(Some(query), "limit", 1..=1000).ok();
        assert_eq!(limit("limit=1&x=y"), Some(Some(1)));
        assert_eq!(limit("limit=1000"), Some(Some(1000)));
        assert_eq!(limit("x=y"), Some(None));
        for query in ["0", "1001", "-1", "+5", "", "1.0", "ten", "%31%", "99999999999999999999"] {
            let query = format!("limit={query}");
            assert_eq!(limit(&query), None, "{query}");
        }
    }
}
