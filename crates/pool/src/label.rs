use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Labels of a token: pairs of key and value, in the syntax of Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "BTreeMap<Arc<str>, Arc<str>>", try_from = "BTreeMap<Arc<str>, Arc<str>>")]
pub struct Labels(Arc<[(Arc<str>, Arc<str>)]>);

/// Reason why pairs are not labels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabels {
    /// There are more than [`Labels::MAX`] pairs.
    #[error("must be at most {}", Labels::MAX)]
    TooMany,
    /// This key breaks a rule.
    #[error(
        "key {0:?} must have 1 to 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both \
         ends, after an optional prefix: a DNS name of at most 253 characters, and `/`"
    )]
    Key(Arc<str>),
    /// The value of this key breaks a rule.
    #[error(
        "value of {0:?} must have at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit \
         at both ends"
    )]
    Value(Arc<str>),
}

impl Labels {
    /// Maximum number of pairs.
    pub const MAX: usize = 32;

    /// Checks pairs and makes them labels. Of pairs with the same key, the last one counts.
    ///
    /// # Errors
    ///
    /// [`InvalidLabels`] if a pair breaks a rule, or there are too many.
    pub fn new<K: Into<Arc<str>>, V: Into<Arc<str>>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, InvalidLabels> {
        let pairs = pairs.into_iter().map(|(key, value)| (key.into(), value.into()));
        pairs.collect::<BTreeMap<_, _>>().try_into()
    }

    /// The pairs, in the order of their keys.
    #[must_use = "iterators are lazy"]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// The value of this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let index = self.0.binary_search_by(|(other, _)| (**other).cmp(key)).ok()?;
        Some(&self.0[index].1)
    }

    /// Number of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no labels.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<BTreeMap<Arc<str>, Arc<str>>> for Labels {
    type Error = InvalidLabels;

    fn try_from(pairs: BTreeMap<Arc<str>, Arc<str>>) -> Result<Self, InvalidLabels> {
        if pairs.len() > Self::MAX {
            return Err(InvalidLabels::TooMany);
        }
        for (key, value) in &pairs {
            if !is_key(key) {
                return Err(InvalidLabels::Key(key.clone()));
            }
            if !value.is_empty() && !is_word(value) {
                return Err(InvalidLabels::Value(key.clone()));
            }
        }
        Ok(Labels(pairs.into_iter().collect()))
    }
}

impl From<Labels> for BTreeMap<Arc<str>, Arc<str>> {
    fn from(labels: Labels) -> Self {
        labels.0.iter().cloned().collect()
    }
}

fn is_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_domain(prefix) && is_word(name),
        None => is_word(text),
    }
}

/// Whether the text is a name of a key, or a value that is not empty.
fn is_word(text: &str) -> bool {
    let edges = [text.as_bytes().first(), text.as_bytes().last()];
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && edges.into_iter().flatten().all(u8::is_ascii_alphanumeric)
}

fn is_domain(text: &str) -> bool {
    let is_part = |part: &str| {
        let edges = [part.as_bytes().first(), part.as_bytes().last()];
        let is_lower = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        !part.is_empty()
            && part.bytes().all(|byte| is_lower(&byte) || byte == b'-')
            && edges.into_iter().flatten().all(is_lower)
    };
    text.len() <= 253 && text.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Result<Labels, InvalidLabels> {
        Labels::new(pairs.iter().copied())
    }

    #[test]
    fn labels_have_the_syntax_of_kubernetes() {
        let longest = "v".repeat(63);
        let legal = [("region", "eu"), ("example.com/Size_2", ""), ("a", &longest)];
        let labels_of = labels(&legal).unwrap();
        assert_eq!(labels_of.get("example.com/Size_2"), Some(""));
        assert_eq!((labels_of.get("b"), labels_of.len()), (None, 3));
        let keys: Vec<&str> = labels_of.iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a", "example.com/Size_2", "region"]);
        let domain = format!("{}.com/x", "d".repeat(250));
        for key in ["", "-a", "a.", "a b", "/a", "a/", "a/b/c", "A.com/x", "a..b/x", &domain] {
            assert_eq!(labels(&[(key, "")]), Err(InvalidLabels::Key(key.into())));
        }
        for value in ["-", "a b", "é", &format!("{longest}v")] {
            assert_eq!(labels(&[("k", value)]), Err(InvalidLabels::Value("k".into())));
        }
    }

    #[test]
    fn a_token_has_few_labels() {
        let of = |count: usize| Labels::new((0..count).map(|key| (key.to_string(), "v")));
        assert_eq!(of(Labels::MAX).map(|labels| labels.len()), Ok(Labels::MAX));
        assert_eq!(of(Labels::MAX + 1), Err(InvalidLabels::TooMany));
    }
}
