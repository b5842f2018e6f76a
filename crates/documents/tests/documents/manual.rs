//! `docs/pools.md`.

use std::fs;

use documents::{MAX_DOCUMENT_BYTES, MAX_FINDINGS, MAX_RANGE};
use pool::{Labels, Ledger, Note, Policy, TokenValue};
use testbed::document;

use crate::{json, toml_in};

/// Blocks of code of the manual: their language, name and text.
fn blocks(manual: &str) -> Vec<(&str, &str, &str)> {
    let blocks = manual.split("\n```").skip(1).step_by(2);
    let parts = blocks.map(|block| {
        let (info, text) = block.split_once('\n').unwrap();
        let (language, name) = info.split_once(' ').unwrap_or((info, ""));
        (language, name, text)
    });
    parts.collect()
}

#[test]
fn its_examples_are_documents() {
    let manual = fs::read_to_string(document::root().join("docs/pools.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let blocks = blocks(&manual);
    for (_, name, text) in blocks.iter().filter(|(language, ..)| *language == "csv") {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let mut read = 0;
    for (language, _, text) in blocks {
        let parsed = match language {
            "toml" => toml_in(folder.path(), text),
            "json" => json(text),
            _ => continue,
        };
        let parsed = parsed.unwrap_or_else(|refused| panic!("{refused}\n{text}"));
        assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
        assert!(!parsed.document.pools.is_empty());
        read += 1;
    }
    assert_eq!(read, 4, "examples");
}

#[test]
fn its_tables_are_current() {
    let mut table = "| member | value | default | meaning |\n|---|---|---|---|\n".to_owned();
    for field in Policy::FIELDS {
        let unset = field.unset.map(|word| format!(", or `{word}`")).unwrap_or_default();
        let [default, other] = [&Policy::DEFAULT, &Policy::OTHER].map(|policy| field.show(policy));
        let default = if other == default {
            format!("`{default}`")
        } else {
            format!("`{other}`; of the pool `default`: `{default}`")
        };
        let name = format!("`{}`", field.name);
        let range = format!("{}{unset}", field.range);
        table +=
            &["| ", &[&*name, &range, &default, field.description].join(" | "), " |\n"].concat();
    }
    document::generated("docs/pools.md", "policy", &table);

    let rows = [
        ("pools", Ledger::MAX_POOLS.to_string(), "in a document, and in a database"),
        ("tokens", Ledger::MAX_TOKENS.to_string(), "in a document, and in a database"),
        (
            "numbers of `tokens_range`, and `tokens_generated`",
            MAX_RANGE.to_string(),
            "in a pool's member; more are probably a typo",
        ),
        (
            "name of a pool",
            "63 characters".to_owned(),
            "lower-case letters a to z, digits, `.`, `_`, `-`; a letter or digit at both ends",
        ),
        (
            "name of a token",
            "63 characters".to_owned(),
            "letters a to z, digits, `.`, `_`, `-`; not of dots only",
        ),
        ("description", format!("{} characters", Note::MAX_CHARS), "without control characters"),
        ("value", format!("{} bytes", TokenValue::MAX_BYTES), "UTF-8 without NUL"),
        (
            "labels of a token",
            Labels::MAX.to_string(),
            "keys and values in the syntax of Kubernetes",
        ),
        (
            "size of a document",
            format!("{} MiB", MAX_DOCUMENT_BYTES >> 20),
            "in a file or a request; also of a table in CSV",
        ),
        ("mistakes", MAX_FINDINGS.to_string(), "reported together"),
    ];
    let rows = rows.map(|(what, limit, about)| format!("| {what} | {limit} | {about} |\n"));
    let table = format!("| | limit | |\n|---|---|---|\n{}", rows.concat());
    document::generated("docs/pools.md", "limits", &table);
}
