//! Queries and forms: `name=value&other=one+two%21`.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use pool::{TokenId, User, UserId};
use wire::MAX_ROWS;

use super::ids::uuid;
use crate::problem::{Code, Problem};

/// Parameters of a request, which [`Query`] extracts.
pub(crate) trait Parameters: Sized {
    /// Known names.
    const NAMES: &'static [&'static str];

    /// Whether names must be known and given once. Otherwise unknown names are ignored and the last
    /// value counts, as in the original's routes.
    const STRICT: bool = true;

    fn read(values: &Values<'_>) -> Result<Self, Problem>;
}

/// Extractor of a request's parameters.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: Parameters, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parse(parts.uri.query().unwrap_or_default()).map(Query)
    }
}

/// Parses a query.
pub(crate) fn parse<T: Parameters>(query: &str) -> Result<T, Problem> {
    T::read(&Values::parse(query, T::NAMES, T::STRICT)?)
}

/// No parameters.
impl Parameters for () {
    const NAMES: &'static [&'static str] = &[];

    fn read(_: &Values<'_>) -> Result<Self, Problem> {
        Ok(())
    }
}

/// Values of the known parameters in a query.
pub(crate) struct Values<'a> {
    /// The query itself.
    pub(crate) query: &'a str,
    known: Vec<(&'static str, Cow<'a, str>)>,
}

impl<'a> Values<'a> {
    fn parse(query: &'a str, known: &[&'static str], strict: bool) -> Result<Self, Problem> {
        let mut values: Vec<(&'static str, Cow<'a, str>)> = Vec::new();
        for pair in pairs(query) {
            let (name, value) = pair.map_err(|Malformed| malformed("A parameter's name"))?;
            let Some(name) = known.iter().find(|known| **known == name) else {
                if strict {
                    return Err(unknown("parameter", &name, known));
                }
                continue;
            };
            let value = match decode(value) {
                Ok(value) => value,
                Err(Malformed) if strict => return Err(malformed(&shown(name))),
                // Not a valid number, so reading it fails.
                Err(Malformed) => Cow::Borrowed("%"),
            };
            if strict && values.iter().any(|(other, _)| other == name) {
                return Err(invalid(format!("{name} may be given only once.")));
            }
            values.push((name, value));
        }
        Ok(Values { query, known: values })
    }

    /// Returns the last value of a parameter.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let value = self.known.iter().rev().find(|(known, _)| *known == name);
        value.map(|(_, value)| &**value)
    }

    /// Parses a parameter; `allowed` describes its values.
    pub(crate) fn parse_as<T>(
        &self,
        name: &str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let value = parse(text).ok_or_else(|| invalid(format!("{name} must be {allowed}.")));
        value.map(Some)
    }

    /// Whether a parameter is true. False without it.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        let flag = self.parse_as(name, "true or false", |text| text.parse().ok())?;
        Ok(flag.unwrap_or(false))
    }

    /// A whole number within a range.
    pub(crate) fn number(
        &self,
        name: &str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>, Problem> {
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        self.parse_as(name, &allowed, |text| number(text).filter(|number| range.contains(number)))
    }

    /// Maximum number of rows, in the parameter `limit`.
    pub(crate) fn limit(&self) -> Result<Option<u16>, Problem> {
        let limit = self.number("limit", 1..=MAX_ROWS.into())?;
        Ok(limit.and_then(|limit| u16::try_from(limit).ok()))
    }

    /// The user in the parameter `user`.
    pub(crate) fn user(&self) -> Result<Option<UserId>, Problem> {
        let user = self.text("user").map(User::new).transpose();
        user.map(|user| user.map(|user| user.id)).map_err(|why| invalid(format!("user {why}.")))
    }

    /// The token in the parameter `token_id`.
    pub(crate) fn token_id(&self) -> Result<Option<TokenId>, Problem> {
        let allowed = "a token's id, a UUID as in 01234567-89ab-cdef-0123-456789abcdef";
        self.parse_as("token_id", allowed, |text| uuid(text).map(TokenId))
    }
}

/// Parses a number of digits only.
pub(crate) fn number<T: FromStr>(text: &str) -> Option<T> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// The problem with a parameter.
pub(crate) fn invalid(detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::new(Code::InvalidParameter, detail)
}

fn malformed(what: &str) -> Problem {
    invalid(format!(
        "{what} is malformed: a % must be followed by two hex digits, and the bytes must be UTF-8."
    ))
}

/// Text that is not encoded as in queries and forms: a `%` without two hex digits, or bytes that are
/// not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Returns the names in `text`, each with its value, which is not [decoded](decode) yet.
pub(crate) fn pairs(text: &str) -> impl Iterator<Item = Result<(Cow<'_, str>, &str), Malformed>> {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode(key)?, value))
    })
}

/// Refuses names in a form that are not `known`.
pub(crate) fn only(what: &str, text: &str, known: &[&str]) -> Result<(), Problem> {
    for pair in pairs(text) {
        let name = pair.map_or(Cow::Borrowed("%"), |(name, _)| name);
        if !known.contains(&&*name) {
            return Err(unknown(what, &name, known));
        }
    }
    Ok(())
}

/// The problem with an unknown `what`, such as a parameter.
pub(crate) fn unknown(what: &str, name: &str, known: &[&str]) -> Problem {
    /// Similarity (Jaro) above which a known name is suggested.
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

/// A name in a request, shortened and quoted for a message.
pub(crate) fn shown(name: &str) -> String {
    const LONGEST: usize = 40;
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}", format!("{}...", &name[..end])),
        None => format!("{name:?}"),
    }
}

/// Decodes a name or a value.
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

/// Decodes a part of a path, where a `+` is itself.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    if text.contains('%') {
        decode(&text.replace('+', "%2B")).ok().map(Cow::into_owned)
    } else {
        Some(text.to_owned())
    }
}

/// Encodes a text for a query.
pub(crate) fn encode(text: &str, query: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            query.push(char::from(byte));
        } else {
            write!(query, "%{byte:02X}").expect("writing to a String never fails");
        }
    }
}

/// Returns the path of the next page: the same query with another cursor. The query was parsed before.
pub(crate) fn next_page(path: &str, query: &str, cursor: &str, value: &str) -> String {
    let mut next = format!("{path}?");
    for pair in pairs(query) {
        let Ok((name, value)) = pair else { continue };
        let Ok(value) = decode(value) else { continue };
        if name != cursor {
            encode(&name, &mut next);
            next.push('=');
            encode(&value, &mut next);
            next.push('&');
        }
    }
    next.push_str(cursor);
    next.push('=');
    encode(value, &mut next);
    next
}

fn hex(digit: Option<u8>) -> Result<u8, Malformed> {
    let value = digit.and_then(|digit| char::from(digit).to_digit(16));
    value.and_then(|value| u8::try_from(value).ok()).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user_id(query: &str) -> Result<Option<String>, ()> {
        let values = Values::parse(query, &["user_id"], false).map_err(|_| ())?;
        Ok(values.text("user_id").map(str::to_owned))
    }

    #[test]
    fn values_are_decoded() {
        assert_eq!(user_id("user_id=Ann"), Ok(Some("Ann".to_owned())));
        assert_eq!(user_id("a=1&user%5Fid=A+%c3%a9%26&b"), Ok(Some("A é&".to_owned())));
        assert_eq!(user_id("user_id"), Ok(Some(String::new())));
        assert_eq!(user_id("user_id=a&user_id=b"), Ok(Some("b".to_owned())));
        assert_eq!(user_id("user_id=a=b"), Ok(Some("a=b".to_owned())));
        assert_eq!(user_id("user_id[]=a&xuser_id=b&&"), Ok(None));
        assert_eq!(percent_decode("a+%2B%c3%a9").as_deref(), Some("a++é"));
        assert_eq!(percent_decode("%zz"), None);
    }

    #[test]
    fn an_encoded_text_decodes_to_itself() {
        let text = "A é&=+%/?#\"<> 12:00-._~🦀";
        let mut query = String::new();
        encode(text, &mut query);
        assert!(query.starts_with("A%20%C3%A9%26%3D%2B%25"), "{query}");
        assert_eq!(decode(&query).as_deref(), Ok(text));
    }

    #[test]
    fn malformed_queries_are_refused() {
        for text in ["user_id=100%", "user_id=%4", "user_id=%zz", "user_id=%ff", "%=a&user_id=b"] {
            assert!(Values::parse(text, &["user_id"], true).is_err(), "{text}");
        }
    }

    #[test]
    fn strict_queries_have_known_names_once() {
        let parse = |query| Values::parse(query, &["user"], true).map(|_| ());
        assert!(parse("user=a").is_ok() && parse("").is_ok() && parse("&").is_ok());
        for (query, says) in [
            ("usr=a", "Did you mean user?"),
            ("user=a&user=a", "user may be given only once"),
            ("user=%ff", "\\\"user\\\" is malformed"),
            ("%=a", "name is malformed"),
        ] {
            let problem = format!("{:?}", parse(query).unwrap_err());
            assert!(problem.contains("InvalidParameter") && problem.contains(says), "{problem}");
        }
    }

    #[test]
    fn numbers_must_be_in_their_range() {
        let limit = |query: &str| {
            Values::parse(query, &["limit"], false).and_then(|values| values.limit()).ok()
        };
        assert_eq!(limit("limit=1&x=y"), Some(Some(1)));
        assert_eq!(limit("limit=1000"), Some(Some(1000)));
        assert_eq!(limit("x=y"), Some(None));
        for query in ["0", "1001", "-1", "+5", "", "1.0", "ten", "%31%", "99999999999999999999"] {
            assert_eq!(limit(&format!("limit={query}")), None, "{query}");
        }
    }
}
