//! Fields of request bodies, as JSON or as a form. Unknown fields are ignored.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderValue;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::query::{Malformed, decode, pairs};
use crate::problem::{Code, Problem};

/// Returns the body, which `http::service` has read within its limits.
pub(crate) async fn whole(body: Body) -> Result<Bytes, Problem> {
    let broken = |_| Problem::new(Code::InvalidBody, "The body could not be read.");
    axum::body::to_bytes(body, usize::MAX).await.map_err(broken)
}

/// Format of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Form,
}

impl Format {
    /// Returns the format of this content type, if it is supported.
    pub(crate) fn of(content_type: &HeaderValue) -> Option<Self> {
        // Parameters such as the charset are ignored: bodies must be UTF-8.
        let media_type = content_type.as_bytes().split(|&byte| byte == b';').next().unwrap_or(&[]);
        let media_type = media_type.trim_ascii();
        let ending = media_type.len().saturating_sub("+json".len());
        if media_type.eq_ignore_ascii_case(b"application/json")
            || media_type[ending..].eq_ignore_ascii_case(b"+json")
        {
            Some(Format::Json)
        } else if media_type.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
            Some(Format::Form)
        } else {
            None
        }
    }
}

/// Decodes the body as UTF-8.
pub(crate) fn text(body: &[u8]) -> Result<&str, Problem> {
    let not_text = |_| Problem::new(Code::InvalidBody, "The body is not valid UTF-8.");
    std::str::from_utf8(body).map_err(not_text)
}

/// Value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FieldValue<'a> {
    Nothing,
    Text(Cow<'a, str>),
    Number(f64),
    /// A value of another type, with its name.
    Other(&'static str),
}

/// Reason why a field is not a valid number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WrongSeconds {
    /// The number is out of range.
    Number,
    /// The value has another type, with its name.
    Other(&'static str),
}

impl WrongSeconds {
    /// The problem with `field`, which must be a number from `least` to `most`.
    pub(crate) fn problem(self, field: &str, least: &str, most: &str) -> Problem {
        let instead = match self {
            WrongSeconds::Number => String::new(),
            WrongSeconds::Other(what) => format!(", not {what}"),
        };
        let detail = format!("{field} must be a number from {least} to {most}{instead}.");
        Problem::new(Code::InvalidParameter, detail)
    }
}

impl FieldValue<'_> {
    /// Name of its type, for messages.
    pub(crate) fn what(&self) -> &'static str {
        match self {
            FieldValue::Nothing => "nothing",
            FieldValue::Text(_) => "a text",
            FieldValue::Number(_) => "a number",
            FieldValue::Other(what) => what,
        }
    }

    /// Returns the number of seconds, to the microsecond, if the field is present. Numbers in forms are
    /// texts.
    pub(crate) fn seconds(
        &self,
        format: Format,
        range: RangeInclusive<f64>,
    ) -> Result<Option<Duration>, WrongSeconds> {
        let seconds = match self {
            FieldValue::Nothing => return Ok(None),
            FieldValue::Number(number) => *number,
            FieldValue::Text(text) if format == Format::Form => {
                decimal(text).ok_or(WrongSeconds::Number)?
            }
            other => return Err(WrongSeconds::Other(other.what())),
        };
        if !range.contains(&seconds) {
            return Err(WrongSeconds::Number);
        }
        let nanos = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).as_nanos();
        Ok(Some(Duration::from_micros(u64::try_from((nanos + 500) / 1_000).unwrap_or(u64::MAX))))
    }
}

/// Parses a number of digits and at most one point.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| plain)
}

/// Returns the values of these fields in a form. The last of several counts.
pub(crate) fn from_form<'a, const N: usize>(
    names: &[&str; N],
    form: &'a str,
) -> Result<[FieldValue<'a>; N], Malformed> {
    let mut sent = [const { FieldValue::Nothing }; N];
    for pair in pairs(form) {
        let (key, value) = pair?;
        if let Some(field) = names.iter().position(|name| *name == key) {
            sent[field] = FieldValue::Text(decode(value)?);
        }
    }
    Ok(sent)
}

/// The problem with a malformed form.
pub(crate) fn malformed_form() -> Problem {
    let detail = "The form is malformed: a % must be followed by two hex digits, and the bytes \
                  must be UTF-8.";
    Problem::new(Code::InvalidBody, detail)
}

/// The problem with JSON that is sent as a form, which is the default of curl.
pub(crate) fn json_as_form() -> Problem {
    let detail = "The body looks like JSON but was sent as a form. Send it with \
                  Content-Type: application/json (curl: -H 'content-type: application/json').";
    Problem::new(Code::InvalidBody, detail)
}

/// Returns the values of these members of a JSON object. The last of several counts.
pub(crate) fn from_json<'a, const N: usize>(
    names: &[&str; N],
    json: &'a str,
) -> serde_json::Result<[FieldValue<'a>; N]> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let sent = Object(names).deserialize(&mut deserializer);
    let sent = sent.and_then(|sent| deserializer.end().map(|()| sent));
    sent.or_else(|error| with_vast_numbers(names, json).ok_or(error))
}

/// The same for JSON with numbers that are too large to parse, which is valid JSON: such a number is
/// infinite.
fn with_vast_numbers<'a, const N: usize>(
    names: &[&str; N],
    json: &'a str,
) -> Option<[FieldValue<'a>; N]> {
    let members: HashMap<String, &'a RawValue> = serde_json::from_str(json).ok()?;
    let mut sent = [const { FieldValue::Nothing }; N];
    for (name, sent) in names.iter().zip(&mut sent) {
        let Some(value) = members.get(*name).map(|value| value.get()) else { continue };
        *sent = match value.parse() {
            Ok(number) => FieldValue::Number(number),
            Err(_) => serde_json::from_str(value).ok()?,
        };
    }
    Some(sent)
}

/// Returns all members of a JSON object, in their order; none for null.
pub(crate) fn members<'de>(json: &'de str) -> serde_json::Result<Vec<(String, FieldValue<'de>)>> {
    struct Members;

    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }

    // A number that is too large to parse is infinite.
    let vast = |_| FieldValue::Number(f64::INFINITY);
    let sent = |value: &'de RawValue| serde_json::from_str(value.get()).unwrap_or_else(vast);
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let members = deserializer.deserialize_any(Members)?;
    deserializer.end()?;
    Ok(members.into_iter().map(|(name, value)| (name, sent(value))).collect())
}

/// The problem with malformed JSON; `example` is a valid body.
pub(crate) fn malformed_json(error: &serde_json::Error, example: &str) -> Problem {
    let detail = match error.classify() {
        Category::Data => format!("The body must be a JSON object: {example}."),
        _ => format!("The body is not valid JSON: {error}."),
    };
    Problem::new(Code::InvalidBody, detail)
}

/// Seed for an object of which only these members are read.
struct Object<'n, const N: usize>(&'n [&'n str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for Object<'_, N> {
    type Value = [FieldValue<'de>; N];

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Object<'_, N> {
    type Value = [FieldValue<'de>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut sent = [const { FieldValue::Nothing }; N];
        while let Some(key) = map.next_key::<FieldValue<'de>>()? {
            let is_key = |name: &&str| matches!(&key, FieldValue::Text(key) if key == name);
            if let Some(field) = self.0.iter().position(is_key) {
                sent[field] = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(sent)
    }
}

impl<'de> Deserialize<'de> for FieldValue<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = FieldValue<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<FieldValue<'de>, E> {
        Ok(FieldValue::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<FieldValue<'de>, E> {
        Ok(FieldValue::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, value: bool) -> Result<FieldValue<'de>, E> {
        Ok(FieldValue::Other(if value { "true" } else { "false" }))
    }

    fn visit_unit<E>(self) -> Result<FieldValue<'de>, E> {
        Ok(FieldValue::Other("null"))
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers that large are refused")]
    fn visit_i64<E>(self, number: i64) -> Result<FieldValue<'de>, E> {
        Ok(FieldValue::Number(number as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers that large are refused")]
    fn visit_u64<E>(self, number: u64) -> Result<FieldValue<'de>, E> {
        Ok(FieldValue::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<FieldValue<'de>, E> {
        Ok(FieldValue::Number(number))
    }

    // Nested values are skipped without recursion, so nesting can't exhaust the stack.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<FieldValue<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(FieldValue::Other("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FieldValue<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(FieldValue::Other("an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["user_id", "lease_seconds"];

    fn text(text: &str) -> FieldValue<'_> {
        FieldValue::Text(text.into())
    }

    #[test]
    fn the_last_value_of_each_named_field_counts() {
        let json = r#"{"x":[{"user_id":1}],"user_id":1,"lease\u005fseconds":2.5,"user_id":"a"}"#;
        assert_eq!(from_json(&NAMES, json).unwrap(), [text("a"), FieldValue::Number(2.5)]);
        let vast = r#"{"lease_seconds":-1e999,"lease\u005fseconds":1e999,"user_id":"a\n"}"#;
        let infinite = FieldValue::Number(f64::INFINITY);
        assert_eq!(from_json(&NAMES, vast).unwrap(), [text("a\n"), infinite]);
        assert!(from_json(&NAMES, r#"{"lease_seconds":1e999,"user_id":"\ud800"}"#).is_err());
        assert!(from_json(&NAMES, r#"{"lease_seconds":1e999}}"#).is_err());
        assert_eq!(from_json(&NAMES, "{}").unwrap(), [FieldValue::Nothing, FieldValue::Nothing]);
        let form = "x=%&lease%5Fseconds=2&user_id=b&user_id=a+b&";
        assert_eq!(from_form(&NAMES, form), Ok([text("a b"), text("2")]));
        assert_eq!(from_form(&NAMES, "user_id=%"), Err(Malformed));
    }

    #[test]
    fn seconds_must_be_in_their_range() {
        let seconds = |sent: &FieldValue<'_>, format| sent.seconds(format, 0.001..=f64::MAX);
        let micros = |micros| Ok(Some(Duration::from_micros(micros)));
        for (number, length) in
            [(0.001, 1_000), (2.0, 2_000_000), (0.1, 100_000), (1.234_567_8, 1_234_568)]
        {
            assert_eq!(seconds(&FieldValue::Number(number), Format::Json), micros(length));
            assert_eq!(seconds(&text(&number.to_string()), Format::Form), micros(length));
        }
        assert_eq!(seconds(&FieldValue::Nothing, Format::Json), Ok(None));
        assert_eq!(seconds(&FieldValue::Number(1e300), Format::Json), micros(u64::MAX));
        for number in [0.0, -1.0, 0.000_999, f64::NAN, f64::INFINITY] {
            assert_eq!(
                seconds(&FieldValue::Number(number), Format::Json),
                Err(WrongSeconds::Number),
                "{number}"
            );
        }
        for written in ["", ".", "1e3", "nan", "inf", "-1", "+1", " 1", "1.2.3", "1,5", "0x10", "a"]
        {
            assert_eq!(
                seconds(&text(written), Format::Form),
                Err(WrongSeconds::Number),
                "{written}"
            );
        }
        assert_eq!(seconds(&text("1"), Format::Json), Err(WrongSeconds::Other("a text")));
        assert_eq!(
            seconds(&FieldValue::Other("null"), Format::Json),
            Err(WrongSeconds::Other("null"))
        );
    }
}
