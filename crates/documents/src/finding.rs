//! Mistakes in documents.

use std::fmt;

use wire::PoolDocument;

/// Maximum number of findings that are reported together.
pub const MAX_FINDINGS: usize = 20;

/// Maximum length of a text from a document in a message, in characters.
const MAX_SHOWN: usize = 64;

/// Similarity (Jaro) above which a known name is suggested.
const SIMILAR: f64 = 0.7;

/// A mistake in a document, or something that is probably one: its place, the rule and the remedy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// Name of the file, or another name of the document.
    pub file: Option<String>,
    /// Line in the file, from 1.
    pub line: Option<usize>,
    /// Name of the pool.
    pub pool: Option<String>,
    /// The token: its name or, if that is missing or wrong, its number in the list.
    pub token: Option<String>,
    /// Name of the member.
    pub field: Option<String>,
    /// The rule and the remedy.
    pub rule: String,
    /// Index of the token in the pool's list.
    pub(crate) entry: Option<usize>,
    /// Index of the token that it is in conflict with.
    pub(crate) other: Option<usize>,
}

impl Finding {
    pub(crate) fn new(rule: impl Into<String>) -> Self {
        Finding { rule: rule.into(), ..Finding::default() }
    }

    pub(crate) fn of_pool(self, pool: &str) -> Self {
        Finding { pool: Some(shown(pool)), ..self }
    }

    /// About the token at this index. A name that breaks the rules of names is not shown: it may be a
    /// value in the wrong column.
    pub(crate) fn of_token(self, entry: usize, name: Option<&str>) -> Self {
        let name = name.filter(|name| pool::TokenName::new(name).is_ok());
        let token = name.map_or_else(|| format!("number {}", entry + 1), str::to_owned);
        Finding { token: Some(token), entry: Some(entry), ..self }
    }

    pub(crate) fn of_field(self, field: &str) -> Self {
        Finding { field: Some(field.to_owned()), ..self }
    }

    pub(crate) fn at(self, file: &str, line: Option<usize>) -> Self {
        Finding { file: Some(file.to_owned()), line, ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        let place = [
            self.pool.as_ref().map(|pool| format!("pool {pool}")),
            self.token.as_ref().map(|token| format!("token {token}")),
            self.field.clone(),
        ];
        let place: Vec<String> = place.into_iter().flatten().collect();
        let colon = if place.is_empty() { "" } else { ": " };
        write!(f, "{}{colon}{}", place.join(", "), self.rule)
    }
}

/// Findings for which a document is refused as a whole: at least one and at most [`MAX_FINDINGS`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Invalid(pub Vec<Finding>);

impl fmt::Display for Invalid {
    /// A line per finding.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Finding::to_string).collect();
        f.write_str(&lines.join("\n"))?;
        if self.0.len() == MAX_FINDINGS {
            write!(f, "\nThere may be more: these are the first {MAX_FINDINGS}.")?;
        }
        Ok(())
    }
}

/// Findings up to [`MAX_FINDINGS`].
#[derive(Default)]
pub(crate) struct Findings(pub Vec<Finding>);

impl Findings {
    pub fn add(&mut self, finding: Finding) {
        if !self.is_full() {
            self.0.push(finding);
        }
    }

    pub fn is_full(&self) -> bool {
        self.0.len() >= MAX_FINDINGS
    }
}

/// A name from a document for a message: short, and without control characters.
pub(crate) fn shown(name: &str) -> String {
    let short: String = name.chars().take(MAX_SHOWN).collect();
    let dots = if short.len() < name.len() { "..." } else { "" };
    format!("{}{dots}", short.escape_debug())
}

/// The rule that a member is unknown, with a similar name among those that are known.
pub(crate) fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let letters = name.to_lowercase().replace(['-', ' '], "_");
    let scored = known.iter().map(|known| (strsim::jaro(&letters, known), known));
    let similar = scored.filter(|(score, _)| *score > SIMILAR);
    let nearest = similar.max_by(|(a, _), (b, _)| a.total_cmp(b));
    let meant = nearest.map_or(String::new(), |(_, near)| format!("did you mean {near}? "));
    format!("unknown {what} {}: {meant}known are {}", shown(name), known.join(", "))
}

/// Members of a pool in files.
pub(crate) fn pool_members() -> Vec<&'static str> {
    let sources = ["tokens", "tokens_csv", "tokens_range", "tokens_generated"];
    let rest = ["keep_other_tokens", "delete"];
    let all = [&["description"], PoolDocument::POLICY.as_slice(), &sources, &rest];
    all.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_name_their_place() {
        let finding = Finding::new("must be short");
        assert_eq!(finding.to_string(), "must be short");
        let finding = finding.of_pool("staging").of_token(1, Some("b")).of_field("value");
        assert_eq!(finding.to_string(), "pool staging, token b, value: must be short");
        let finding = finding.at("a.toml", Some(3));
        assert_eq!(finding.to_string(), "a.toml:3: pool staging, token b, value: must be short");
        let unnamed = Finding::new("x").of_pool("a\n").of_token(1, Some("https://secret"));
        assert_eq!(unnamed.to_string(), "pool a\\n, token number 2: x");
        let long = shown(&"é".repeat(65));
        assert_eq!(long, format!("{}...", "é".repeat(64)));
    }

    #[test]
    fn similar_names_are_suggested() {
        for (name, meant) in [
            ("max-lease", "max_lease"),
            ("token", "tokens"),
            ("lable", "lease"),
            ("csv_tokens", "tokens_csv"),
            ("Description", "description"),
        ] {
            let rule = unknown("member", name, &pool_members());
            assert!(rule.contains(&format!("did you mean {meant}?")), "{rule}");
        }
        assert!(!unknown("member", "q", &pool_members()).contains("did you mean"));
    }
}
