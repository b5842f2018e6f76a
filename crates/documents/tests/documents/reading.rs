use std::fs;
use std::sync::Arc;

use documents::Source;
use wire::{PolicyText, TokenDocument};

use crate::{json, toml, toml_in};

/// The tokens of the pool `a`: name and value.
fn tokens(read: &documents::Parsed) -> Vec<(Option<&str>, Option<&str>)> {
    let tokens = read.document.pools["a"].tokens.as_ref().unwrap();
    tokens.iter().map(|token| (token.name.as_deref(), token.value.as_deref())).collect()
}

#[test]
fn toml_and_json_have_the_same_members() {
    let from_toml = toml(
        r#"
        [pools.staging]
        description = "Staging environments"
        when_full = "wait"
        lease = "30m"
        max_lease = "8h"
        max_per_user = 2
        [[pools.staging.tokens]]
        name = "staging-1"
        value = "https://staging-1.example.com"
        labels = { region = "eu", "example.com/size" = "large" }
        [[pools.staging.tokens]]

        [pools.old]
        delete = true
        "#,
    );
    let from_json = json(
        r#"{ "pools": {
            "old": { "delete": true },
            "staging": {
                "tokens": [
                    {
                        "name": "staging-1",
                        "labels": { "example.com/size": "large", "region": "eu" },
                        "value": "https:\u002f/staging-1.example.com"
                    },
                    {}
                ],
                "max_per_user": 2,
                "max_lease": "8h", "lease": "30m", "when_full": "wait",
                "description": "Staging environments"
            }
        } }"#,
    );
    let (from_toml, from_json) = (from_toml.unwrap(), from_json.unwrap());
    assert_eq!(from_toml, from_json);
    let pool = &from_toml.document.pools["staging"];
    assert_eq!(pool.max_per_user, Some(PolicyText("2".to_owned())));
    assert_eq!(pool.tokens.as_ref().unwrap().len(), 2);
    assert!(from_toml.document.pools["old"].delete);
    let on_the_wire = serde_json::to_string(&from_toml.document).unwrap();
    assert_eq!(json(&on_the_wire).unwrap(), from_toml);
    assert_eq!(
        serde_json::from_str::<wire::PoolsDocument>(&on_the_wire).unwrap(),
        from_toml.document
    );
}

#[test]
fn tables_ranges_and_numbers_are_tokens() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.csv"), "\u{feff}name,value,label:role\na,1,admin\n,2,\n")
        .unwrap();
    let read = toml_in(
        folder.path(),
        "[pools.a]\ntokens_csv = \"a.csv\"\ntokens_range = \"7,20-21\"\ntokens_generated = 2\n\
         tokens = [{ name = \"first\" }]",
    );
    let read = read.unwrap();
    assert_eq!(
        tokens(&read),
        [
            (Some("first"), None),
            (Some("a"), Some("1")),
            (None, Some("2")),
            (None, None),
            (None, None),
            (Some("7"), Some("7")),
            (Some("20"), Some("20")),
            (Some("21"), Some("21")),
        ]
    );
    let labels =
        |index: usize| read.document.pools["a"].tokens.as_ref().unwrap()[index].labels.clone();
    assert_eq!(labels(1).unwrap().get("role"), Some(&Arc::from("admin")));
    assert!(labels(2).unwrap().is_empty());
    assert_eq!(labels(5), None);
}

#[test]
fn absent_and_empty_lists_of_tokens_differ() {
    let read = toml("[pools.a]\ntokens = []\n[pools.b]\n[pools.c]\ntokens_generated = 0").unwrap();
    let tokens = |pool: &str| read.document.pools[pool].tokens.clone();
    let none: Vec<TokenDocument> = Vec::new();
    assert_eq!((tokens("a"), tokens("b"), tokens("c")), (Some(none.clone()), None, Some(none)));
    assert!(toml("").unwrap().document.pools.is_empty());
}

#[test]
fn files_are_read_by_their_extension() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    write("b.csv", "name\nb\n");
    let toml = write("a.toml", "[pools.a]\ntokens_csv = \"b.csv\"");
    assert_eq!(tokens(&documents::read(&toml).unwrap()), [(Some("b"), None)]);
    let json = write("a.json", "\u{feff}{\"pools\":{\"a\":{\"tokens_csv\":\"b.csv\"}}}");
    assert_eq!(tokens(&documents::read(&json).unwrap()), [(Some("b"), None)]);
    for (path, why) in [
        (write("a.yaml", ""), "a.yaml: must have a name that ends in .toml or .json"),
        (write("a.csv", ""), "as tokens_csv of the pool"),
        (folder.path().join("none.toml"), "none.toml: can't be read: No such file"),
        (write("bad.toml", "[pools.a]\nlease = 1"), "bad.toml:2: pool a, lease: "),
    ] {
        let refused = documents::read(&path).unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn a_single_pool_is_a_document_of_its_members() {
    let source = Source { name: "body", folder: None };
    let parse = |text: &str| documents::parse_pool(text.as_bytes(), "a", &source);
    let read = parse(r#"{ "lease": "5m", "tokens_range": "1-2" }"#).unwrap();
    assert_eq!(tokens(&read), [(Some("1"), Some("1")), (Some("2"), Some("2"))]);
    let refused = |text: &str| parse(text).unwrap_err().to_string();
    assert_eq!(refused("{\n\"leese\": 1}").lines().count(), 1);
    assert!(
        refused("{\n\"leese\": 1}")
            .starts_with("body:2: pool a: unknown member leese: did you mean lease?")
    );
    assert!(refused("[]").contains("body:1: pool a: must be a table of members, not a list"));
    assert!(refused(r#"{ "tokens_csv": "a.csv" }"#).contains("send the tokens as `tokens`"));
}

#[test]
fn values_that_tokens_share_are_reported() {
    let read = toml(
        "[pools.a]\ntokens_range = \"5\"\n[[pools.a.tokens]]\nname = \"x\"\nvalue = \"secret\"\n\
         [[pools.a.tokens]]\nvalue = \"secret\"\n[[pools.a.tokens]]\nname = \"y\"\n\nvalue = \"5\"\n\
         [[pools.b.tokens]]\nvalue = \"secret\"\n",
    );
    let warnings: Vec<String> = read.unwrap().warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "pools.toml:7: pool a, token number 2, value: token number 1 has this value, too: two users \
             can have it at the same time (pools.toml:3)",
            "pools.toml:2: pool a, token 5, value: token number 3 has this value, too: two users can \
             have it at the same time (pools.toml:8)",
        ]
    );
}
