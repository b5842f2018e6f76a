//! Writes documents: the same text for the same document, with pools and labels in the order of their
//! names, and tokens in the order of the document.

use std::borrow::Cow;
use std::collections::BTreeSet;

use toml::Value;
use wire::{PoolsDocument, TokenDocument};

use crate::finding::{Finding, Invalid};
use crate::table::LABEL;

/// The document as TOML.
#[must_use]
pub fn to_toml(document: &PoolsDocument) -> String {
    let mut text = String::new();
    if document.pools.is_empty() {
        text.push_str("[pools]\n");
    }
    for (name, pool) in &document.pools {
        if !text.is_empty() {
            text.push('\n');
        }
        let name = key(name);
        let mut lines = vec![format!("[pools.{name}]")];
        let member = |name: &str, value: &Value| format!("{} = {value}", key(name));
        let description = pool.description.as_deref();
        lines.extend(description.map(|text| member("description", &text.into())));
        lines.extend(pool.policy().map(|(name, text)| member(name, &scalar(&text.0))));
        for (name, is_set) in
            [("keep_other_tokens", pool.keep_other_tokens), ("delete", pool.delete)]
        {
            lines.extend(is_set.then(|| member(name, &true.into())));
        }
        if pool.tokens.as_ref().is_some_and(Vec::is_empty) {
            lines.push("tokens = []".to_owned());
        }
        for token in pool.tokens.iter().flatten() {
            lines.push(format!("\n[[pools.{name}.tokens]]"));
            lines.extend(token.name.as_deref().map(|text| member("name", &text.into())));
            lines.extend(token.value.as_deref().map(|text| member("value", &text.into())));
            let pairs = token.labels.iter().map(|labels| {
                let pairs = labels.iter().map(|(key, value)| member(key, &(&**value).into()));
                pairs.collect::<Vec<_>>().join(", ")
            });
            lines.extend(pairs.map(|pairs| format!("labels = {{ {pairs} }}")));
        }
        text.extend(lines.into_iter().flat_map(|line| [line, "\n".to_owned()]));
    }
    text
}

/// Numbers have no quotes in documents.
fn scalar(text: &str) -> Value {
    match text.parse::<u32>() {
        Ok(number) if number.to_string() == text => i64::from(number).into(),
        _ => text.into(),
    }
}

/// A key of TOML. Names of pools and labels have no character that needs an escape.
fn key(name: &str) -> Cow<'_, str> {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !name.is_empty() && name.bytes().all(is_bare) {
        name.into()
    } else {
        format!("\"{name}\"").into()
    }
}

/// The document as JSON.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "its keys are texts")]
pub fn to_json(document: &PoolsDocument) -> String {
    let mut text = serde_json::to_string_pretty(document).expect("its keys are texts");
    text.push('\n');
    text
}

/// Tokens of a pool as CSV, with a column for each label that one of them has.
///
/// # Errors
///
/// [`Invalid`] if a value, or the value of a label, is an empty text: CSV can't tell it from a missing
/// one.
#[expect(clippy::missing_panics_doc, reason = "memory takes any text")]
pub fn to_csv(tokens: &[TokenDocument]) -> Result<String, Invalid> {
    let labels = tokens.iter().filter_map(|token| token.labels.as_ref());
    let keys: BTreeSet<&str> = labels.flat_map(|labels| labels.keys().map(|key| &**key)).collect();
    let header = ["name", "value"].map(str::to_owned).into_iter();
    let header: Vec<String> =
        header.chain(keys.iter().map(|key| format!("{LABEL}{key}"))).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&header).expect("memory takes any text");
    for (entry, token) in tokens.iter().enumerate() {
        let label = |key: &&str| token.labels.as_ref()?.get(*key).map(|text| &**text);
        let cells = [token.name.as_deref(), token.value.as_deref()];
        let cells: Vec<Option<&str>> = cells.into_iter().chain(keys.iter().map(label)).collect();
        if let Some(column) = cells.iter().position(|cell| *cell == Some("")) {
            let finding =
                Finding::new("is an empty text, which CSV can't express: use TOML or JSON");
            let finding = finding.of_token(entry, token.name.as_deref());
            return Err(Invalid(vec![finding.of_field(&header[column])]));
        }
        let cells = cells.into_iter().map(Option::unwrap_or_default);
        writer.write_record(cells).expect("every row has the columns of the header");
    }
    let text = writer.into_inner().expect("memory takes any text");
    Ok(String::from_utf8(text).expect("its parts are UTF-8"))
}
