//! The header `Idempotency-Key`.

use axum::http::header::{HeaderMap, HeaderName, HeaderValue};
use pool::IdempotencyKey;

use crate::problem::{Code, Problem};

const NAME: HeaderName = HeaderName::from_static("idempotency-key");

/// Returns the request's key, if it has one: a string in double quotes, as in the standard's draft, or
/// without, which is the same key.
pub(crate) fn of(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let mut values = headers.get_all(NAME).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(invalid("must be sent once"));
    }
    key(value).map(Some)
}

fn key(value: &HeaderValue) -> Result<IdempotencyKey, Problem> {
    let not_printable = |_| invalid(&pool::InvalidKey::NotPrintable.to_string());
    let sent = value.to_str().map_err(not_printable)?.trim_matches([' ', '\t']);
    let key = match sent.strip_prefix('"') {
        None => IdempotencyKey::new(sent),
        Some(rest) => {
            let unquoted = unquoted(rest).ok_or_else(|| {
                invalid(
                    "must end with the double quote that it begins with, and have \\\" and \\\\ \
                     in between in place of \" and \\",
                )
            })?;
            IdempotencyKey::new(&unquoted)
        }
    };
    key.map_err(|why| invalid(&why.to_string()))
}

/// Returns the text before the closing quote, which must be at the end.
fn unquoted(quoted: &str) -> Option<String> {
    let mut text = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(text),
            '\\' => text.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            other => text.push(other),
        }
    }
}

fn invalid(why: &str) -> Problem {
    let detail = format!(
        "The header Idempotency-Key {why}. A key has 1 to {} printable ASCII characters, with or \
         without double quotes.",
        IdempotencyKey::MAX_CHARS
    );
    Problem::new(Code::InvalidKey, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(values: &[&[u8]]) -> Result<Option<String>, String> {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(NAME, HeaderValue::from_bytes(value).unwrap());
        }
        let key = of(&map).map(|key| key.map(|key| key.as_str().to_owned()));
        key.map_err(|problem| format!("{problem:?}"))
    }

    #[test]
    fn a_key_is_the_same_quoted_or_bare() {
        let same = |value: &[u8], key: &str| assert_eq!(sent(&[value]), Ok(Some(key.to_owned())));
        same(b"8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324");
        same(b"\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", "8e03978e-40d5-43dd-bc93-6894a57f9324");
        same(b"  two words ", "two words");
        same(br#""a \"b\" \\ c""#, r#"a "b" \ c"#);
        same(br#"a "b" \"#, r#"a "b" \"#);
        same(&[b'k'; 255], &"k".repeat(255));
        assert_eq!(sent(&[]), Ok(None));
    }

    #[test]
    fn an_invalid_key_is_refused() {
        for (values, says) in [
            (&[&b"a"[..], b"a"][..], "must be sent once"),
            (&[b""], "must not be empty"),
            (&[b"\"\""], "must not be empty"),
            (&[&[b'k'; 256]], "at most 255 characters"),
            (&[b"a\tb"], "printable ASCII"),
            (&[b"\xc3\xa9"], "printable ASCII"),
            (&[b"\"a"], "must end with the double quote"),
            (&[b"\""], "must end with the double quote"),
            (&[b"\"a\" b"], "must end with the double quote"),
            (&[b"\"a\", \"b\""], "must end with the double quote"),
            (&[br#""a\b""#], "must end with the double quote"),
        ] {
            let told = sent(values).unwrap_err();
            assert!(told.contains(says) && told.contains("InvalidKey"), "{values:?}: {told}");
        }
    }
}
