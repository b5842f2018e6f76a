use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use documents::{to_csv, to_json, to_toml};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use wire::{PolicyText, PoolDocument, PoolsDocument, TokenDocument};

use crate::{json, toml, toml_in};

#[test]
fn toml_is_written_as_people_write_it() {
    let text = r#"[pools."a.b"]
description = 'Staging "environments"'
lease = "30m"
when_full = "wait"
max_per_user = 2
keep_other_tokens = true

[[pools."a.b".tokens]]
name = "staging-1"
value = "https://staging-1.example.com"
labels = { "example.com/size" = "large", region = "eu" }

[[pools."a.b".tokens]]

[pools.c]
max_per_user = "none"
tokens = []

[pools.d]
delete = true
"#;
    assert_eq!(to_toml(&toml(text).unwrap().document), text);
}

fn key() -> impl Strategy<Value = Arc<str>> {
    "([a-z]{1,4}\\.[a-z]{1,3}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,5}[A-Za-z0-9])?".prop_map(Arc::from)
}

fn word() -> impl Strategy<Value = Arc<str>> {
    "([A-Za-z0-9]([A-Za-z0-9._-]{0,5}[A-Za-z0-9])?)?".prop_map(Arc::from)
}

/// Texts with all that needs care: quotes, line breaks, controls, commas, other scripts.
fn value() -> impl Strategy<Value = Arc<str>> {
    let signs = "[\"'\\\\,;\r\n\t\u{1}\u{7f}#= a1{}\\[\\]é\u{feff}\u{2028}😀]{0,12}";
    prop_oneof![signs.prop_map(Arc::from), "[^\u{0}]{0,20}".prop_map(Arc::from)]
}

fn token() -> impl Strategy<Value = TokenDocument> {
    let labels = option::of(btree_map(key(), word(), 0..4));
    (option::of(value()), labels).prop_map(|(value, labels)| TokenDocument {
        name: None,
        value,
        labels,
    })
}

/// Tokens, some of them with a name that no other has.
fn tokens() -> impl Strategy<Value = Vec<TokenDocument>> {
    vec((any::<bool>(), token()), 0..5).prop_map(|tokens| {
        let named = |(index, (named, token)): (usize, (bool, TokenDocument))| {
            let name = named.then(|| format!("-T_{index}.").into());
            TokenDocument { name, ..token }
        };
        tokens.into_iter().enumerate().map(named).collect()
    })
}

fn pool() -> impl Strategy<Value = PoolDocument> {
    let description = option::of("[^\\p{Cc}]{0,30}".prop_map(Arc::from));
    let count =
        option::of(prop_oneof![Just("none".to_owned()), (1..9u32).prop_map(|n| n.to_string())]);
    let lease = option::of((1..90u32).prop_map(|minutes| format!("{minutes}m")));
    (description, count, lease, option::of(tokens()), any::<bool>()).prop_map(
        |(description, max_per_user, lease, tokens, keep_other_tokens)| PoolDocument {
            description,
            max_per_user: max_per_user.map(PolicyText),
            lease: lease.map(PolicyText),
            tokens,
            keep_other_tokens,
            ..PoolDocument::default()
        },
    )
}

fn document() -> impl Strategy<Value = PoolsDocument> {
    let name = "[a-z0-9]([a-z0-9._-]{0,5}[a-z0-9])?".prop_map(Arc::from);
    btree_map(name, pool(), 0..4).prop_map(|pools| PoolsDocument { pools })
}

proptest! {
    #[test]
    fn written_documents_are_read_as_the_same(document in document()) {
        let text = to_toml(&document);
        let read = toml(&text).map_err(|refused| TestCaseError::fail(format!("{refused}\n{text}")))?;
        prop_assert_eq!(&read.document, &document);
        let text = to_json(&document);
        let read = json(&text).map_err(|refused| TestCaseError::fail(format!("{refused}\n{text}")))?;
        prop_assert_eq!(&read.document, &document);
        prop_assert_eq!(serde_json::from_str::<PoolsDocument>(&text).unwrap(), document);
    }

    #[test]
    fn written_tables_are_read_as_the_same(tokens in tokens()) {
        let has_empty = |token: &TokenDocument| {
            let mut labels = token.labels.iter().flatten();
            token.value.as_deref() == Some("") || labels.any(|(_, value)| value.is_empty())
        };
        if tokens.iter().any(has_empty) {
            prop_assert!(to_csv(&tokens).is_err());
            return Ok(());
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("t.csv"), to_csv(&tokens).unwrap()).unwrap();
        let read = toml_in(folder.path(), "[pools.a]\ntokens_csv = \"t.csv\"").unwrap();
        // All tokens of a table have the same columns.
        let keys = tokens.iter().flat_map(|token| token.labels.iter().flatten()).count();
        let expected: Vec<TokenDocument> = tokens
            .into_iter()
            .map(|token| {
                let labels = (keys > 0).then(|| token.labels.unwrap_or_else(BTreeMap::new));
                TokenDocument { labels, ..token }
            })
            .collect();
        prop_assert_eq!(read.document.pools["a"].tokens.as_ref(), Some(&expected));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}", in_pool in any::<bool>()) {
        let text = if in_pool { format!("[pools.a]\n{text}") } else { text };
        let _ = (toml(&text), json(&text));
    }

    #[test]
    fn damaged_documents_are_read_or_refused(
        document in document(),
        at in any::<prop::sample::Index>(),
        sign in prop::sample::select(b"\"'{}[]=,:\n\\#x0\0\xff".to_vec()),
    ) {
        for (format, text) in [
            (documents::Format::Toml, to_toml(&document)),
            (documents::Format::Json, to_json(&document)),
        ] {
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = sign;
            let source = documents::Source { name: "damaged", folder: None };
            let _ = documents::parse(&bytes, format, &source);
        }
    }
}
