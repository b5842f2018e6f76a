use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// Names to which an API key applies: each pattern is a whole name, or the beginning of names followed by `*`.
/// Without patterns, the key applies to no name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<SmolStr>", try_from = "Vec<SmolStr>")]
// One per line, since no pattern has a control character.
pub struct Patterns(SmolStr);

/// Reason why texts are not patterns.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// There are more than [`Patterns::MAX`].
    #[error("must be at most {} patterns", Patterns::MAX)]
    TooMany,
    /// This pattern is empty or too long.
    #[error("pattern {0:?} must have 1 to {max} characters", max = Patterns::MAX_CHARS)]
    Length(Arc<str>),
    /// This pattern has a `*` before its end.
    #[error("pattern {0:?} may have `*` only at its end, as in `ci-*`")]
    Star(Arc<str>),
    /// This pattern has a control character.
    #[error("pattern {0:?} must not contain control characters")]
    Control(Arc<str>),
}

impl Patterns {
    /// Maximum number of patterns.
    pub const MAX: usize = 100;

    /// Maximum length of a pattern, in characters.
    pub const MAX_CHARS: usize = 255;

    /// Checks texts and makes them patterns.
    ///
    /// # Errors
    ///
    /// [`InvalidPattern`] if a text breaks a rule.
    pub fn new(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, InvalidPattern> {
        let texts: Vec<SmolStr> = texts.into_iter().map(SmolStr::new).collect();
        texts.try_into()
    }

    /// The patterns that match every name.
    #[must_use]
    pub fn everything() -> Self {
        Patterns(SmolStr::new_static("*"))
    }

    /// The patterns.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.lines()
    }

    /// Whether every name matches.
    #[must_use]
    pub fn match_everything(&self) -> bool {
        self.iter().any(|pattern| pattern == "*")
    }

    /// Whether a name matches one of the patterns; whole names are compared by `same`.
    pub(crate) fn match_name(&self, name: &str, same: impl Fn(&str) -> bool) -> bool {
        self.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => same(pattern),
        })
    }

    /// Whether every name that `other` matches is matched by these, too.
    #[must_use]
    pub fn cover(&self, other: &Patterns) -> bool {
        other.iter().all(|narrow| {
            self.iter().any(|wide| match wide.strip_suffix('*') {
                Some(beginning) => narrow.starts_with(beginning),
                None => wide == narrow,
            })
        })
    }
}

fn check(text: &str) -> Result<(), InvalidPattern> {
    if text.is_empty() || text.chars().count() > Patterns::MAX_CHARS {
        return Err(InvalidPattern::Length(text.into()));
    }
    if text.contains(char::is_control) {
        return Err(InvalidPattern::Control(text.into()));
    }
    match text.find('*') {
        Some(place) if place + 1 < text.len() => Err(InvalidPattern::Star(text.into())),
        _ => Ok(()),
    }
}

impl From<Patterns> for Vec<SmolStr> {
    fn from(patterns: Patterns) -> Self {
        patterns.iter().map(SmolStr::new).collect()
    }
}

impl TryFrom<Vec<SmolStr>> for Patterns {
    type Error = InvalidPattern;

    fn try_from(texts: Vec<SmolStr>) -> Result<Self, InvalidPattern> {
        if texts.len() > Self::MAX {
            return Err(InvalidPattern::TooMany);
        }
        texts.iter().try_for_each(|text| check(text))?;
        Ok(Patterns(match texts.as_slice() {
            [one] => one.clone(),
            several => several.join("\n").into(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns<const N: usize>(texts: [&str; N]) -> Patterns {
        Patterns::new(texts).unwrap()
    }

    #[test]
    fn a_pattern_is_a_name_or_a_beginning() {
        let matched = |texts: &[&str], name: &str| {
            Patterns::new(texts).unwrap().match_name(name, |pattern| pattern == name)
        };
        assert!(matched(&["*"], "anything"));
        assert!(matched(&["staging"], "staging") && !matched(&["staging"], "staging-2"));
        assert!(matched(&["staging*"], "staging") && matched(&["a", "staging*"], "staging-2"));
        assert!(!matched(&["staging*"], "stagin") && !matched(&[], "staging"));
    }

    #[test]
    fn wider_patterns_cover_narrower_ones() {
        assert!(patterns(["*"]).cover(&patterns(["a", "b*"])));
        assert!(patterns(["a*", "b"]).cover(&patterns(["ab*", "a", "b"])));
        assert!(patterns([]).cover(&patterns([])) && patterns(["a"]).cover(&patterns([])));
        for (wide, narrow) in [("a", "a*"), ("ab*", "a*"), ("a*", "*"), ("a", "b")] {
            assert!(!patterns([wide]).cover(&patterns([narrow])), "{wide} {narrow}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let refused = |text: &str| Patterns::new([text]).unwrap_err();
        assert_eq!(refused(""), InvalidPattern::Length("".into()));
        assert_eq!(refused("a*b"), InvalidPattern::Star("a*b".into()));
        assert_eq!(refused("**"), InvalidPattern::Star("**".into()));
        assert_eq!(refused("a\n"), InvalidPattern::Control("a\n".into()));
        let many = Patterns::new(std::iter::repeat_n("a", Patterns::MAX + 1));
        assert_eq!(many, Err(InvalidPattern::TooMany));
    }
}
