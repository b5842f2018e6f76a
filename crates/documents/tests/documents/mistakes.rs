use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use documents::{Format, MAX_FINDINGS, Source};

use crate::{json, refused, toml, toml_in};

#[test]
fn mistakes_in_pools_name_line_pool_and_field() {
    for (text, expected) in [
        ("pools = 1", "pools.toml:1: pools: must be a table of members, not a number"),
        ("[[pools]]", "pools.toml:1: pools: must be a table of members, not a list"),
        (
            "[staging]\nlease = \"5m\"",
            "pools.toml:1: unknown member staging: known are pools; a pool begins with [pools.NAME]",
        ),
        ("pool = 1", "pools.toml:1: unknown member pool: did you mean pools? known are pools"),
        ("\n[pools]\na = 1", "pools.toml:3: pool a: must be a table of members, not a number"),
        (
            "[pools.Staging]",
            "pools.toml:1: pool Staging: the name must be of lower-case letters a to z, digits, `.`, `_` and `-`",
        ),
        ("[pools.\"\"]", "pools.toml:1: pool : the name must have 1 to 63 characters"),
        (
            "[pools.a]\ndescription = \"a\\nb\"",
            "pools.toml:2: pool a, description: must not contain control characters, such as line breaks",
        ),
        (
            "[pools.a]\nlease = 30",
            "pools.toml:2: pool a, lease: can't be \"30\": a unit is missing, as in 30s",
        ),
        (
            "[pools.a]\nwhen_full = \"evict\"",
            "pools.toml:2: pool a, when_full: can't be \"evict\": it is one of evict-oldest, reject, wait",
        ),
        (
            "[pools.a]\nmax_per_user = -1",
            "pools.toml:2: pool a, max_per_user: can't be \"-1\": it is a number from 1 to 1000000, or none",
        ),
        (
            "[pools.a]\nlease = 1.5",
            "pools.toml:2: pool a, lease: must be a text, not a number with a fraction: put it in quotes",
        ),
        (
            "[pools.a]\nlease = \"1h\"\nmax_lease = \"30m\"",
            "pools.toml:3: pool a, max_lease: max-lease (30m) can't be shorter than lease (1h)",
        ),
        (
            "[pools.a]\nlease = \"400d\"",
            "pools.toml:2: pool a, lease: lease (400d) must be 1ms to 365d",
        ),
        (
            "[pools.a]\ndelete = true\nlease = \"1h\"",
            "pools.toml:2: pool a, delete: a pool that is deleted has no other members: remove them",
        ),
        (
            "[pools.a]\ndelete = 1",
            "pools.toml:2: pool a, delete: must be true or false, not a number",
        ),
    ] {
        assert_eq!(refused(toml(text)), expected, "{text}");
    }
    let unknown = refused(toml("[pools.a]\nmax-lease = \"1h\""));
    let expected =
        "pools.toml:2: pool a: unknown member max-lease: did you mean max_lease? known are ";
    assert!(unknown.starts_with(expected), "{unknown}");
    // A present pool may have a long lease.
    assert!(toml("[pools.a]\nmin_hold = \"1h\"").is_ok());
    assert!(toml("[pools.a]\nmax_lease = \"1m\"").is_ok());
}

#[test]
fn mistakes_in_tokens_name_the_token() {
    let long = "v".repeat(8_193);
    for (text, expected) in [
        ("tokens = 1", ":1: pool a, tokens: must be a list of tokens, not a number"),
        ("tokens = [\n1]", ":2: pool a, token number 1: must be a table of members, not a number"),
        (
            "tokens = [{ name = 8080 }]",
            ":1: pool a, token number 1, name: must be a text, not a number: put it in quotes",
        ),
        (
            "tokens = [{ name = \"b\", value = 8080 }]",
            ":1: pool a, token b, value: must be a text, not a number: put it in quotes",
        ),
        (
            "tokens = [{ name = \"b\", value = [] }]",
            ":1: pool a, token b, value: must be a text, not a list",
        ),
        (
            "tokens = [{ name = \"b\", val = \"secret\" }]",
            ":1: pool a, token b: unknown member val: did you mean value? known are name, value, labels",
        ),
        (
            "tokens = [{ name = \"https://secret\" }]",
            ":1: pool a, token number 1, name: must be of letters a to z, digits, `.`, `_` and `-`",
        ),
        (
            "tokens = [{},{ name = \"b\" },\n{ name = \"c\" },\n{ name = \"b\" }]",
            ":3: pool a, token b, name: token number 2 has this name, too: rename one (pools.toml:1)",
        ),
        (
            "tokens = [{},\n{ value = \"LONG\" }]",
            ":2: pool a, token number 2, value: must have at most 8192 bytes",
        ),
        (
            "tokens = [{ value = \"secret\\u0000\" }]",
            ":1: pool a, token number 1, value: must not contain a NUL character",
        ),
        (
            "tokens = [{ name = \"b\", labels = { region = \"-\" } }]",
            ":1: pool a, token b, labels: value of \"region\" must have at most 63 letters, digits, `-`, `_` \
             and `.`, with a letter or digit at both ends",
        ),
        (
            "tokens = [{ name = \"b\", labels = { level = 3 } }]",
            ":1: pool a, token b, label level: must be a text, not a number: put it in quotes",
        ),
        (
            "tokens = [{ labels = \"x\" }]",
            ":1: pool a, token number 1, labels: must be a table of members, not a text",
        ),
    ] {
        let text = format!("pools.a.{}", text.replace("LONG", &long));
        assert_eq!(refused(toml(&text)), format!("pools.toml{expected}"), "{text}");
    }
    let many: Vec<String> = (0..33).map(|label| format!("l{label} = \"\"")).collect();
    let many = format!("[[pools.a.tokens]]\nlabels = {{ {} }}", many.join(", "));
    assert_eq!(
        refused(toml(&many)),
        "pools.toml:2: pool a, token number 1, labels: must be at most 32"
    );
}

#[test]
fn lines_are_those_of_the_member() {
    let text = "[pools.a]\nlease = \"1h\"\n\n[[pools.a.tokens]]\nname = \"x\"\n\n[[pools.a.tokens]]\n# y\n\
                name = \"y\"\nvalue = \"\\u0000\"\n[pools.a.tokens.labels]\nb = \"\"\n\"-\" = \"\"\n";
    let found = refused(toml(text));
    assert!(found.starts_with("pools.toml:10: pool a, token y, value: must not"), "{found}");
    let text = text.replace("\\u0000", "");
    let found = refused(toml(&text));
    assert!(found.starts_with("pools.toml:11: pool a, token y, labels: key \"-\" must"), "{found}");
    let text =
        "{\"pools\":\n{\"a\":\n{\"tokens\":[\n{\"name\":\"x\"},\n{\"name\":\n\"x\",\"valu\":1}]}}}";
    let found = refused(json(text));
    let lines: Vec<&str> = found.lines().collect();
    assert!(lines[0].starts_with("pools.json:5: pool a, token x, name: token number 1"), "{found}");
    assert!(lines[0].ends_with("rename one (pools.json:4)"), "{found}");
    assert!(lines[1].starts_with("pools.json:6: pool a, token x: unknown member valu"), "{found}");
}

#[test]
fn broken_syntax_has_a_line_and_no_values() {
    for (text, line) in [
        ("[pools.a", 1),
        ("[pools.a]\n[pools.a]", 2),
        ("[pools.a]\nlease = \"1h\"\nlease = \"2h\"", 3),
        ("[[pools.a.tokens]]\nvalue = \"secret", 2),
        ("[[pools.a.tokens]]\nvalue = secret", 2),
        ("[[pools.a.tokens]]\nvalue = \"secret\" secret", 2),
        ("[[pools.a.tokens]]\nvalue = \"secret\\z\"", 2),
        ("[[pools.a.tokens]]\nvalue = \"secret\x01\"", 2),
        ("[[pools.a.tokens]]\n\nvalue = '''\nsecret", 4),
    ] {
        let found = refused(toml(text));
        let expected = format!("pools.toml:{line}: this is not TOML: ");
        assert!(found.starts_with(&expected), "{text}: {found}");
        assert!(!found.contains("secret"), "{found}");
    }
    for (text, line) in [
        ("", 1),
        ("{", 1),
        ("{\n\"pools\": {},\n}", 3),
        ("{}\n{}", 2),
        ("{\"pools\":\n{\"secret", 2),
        ("{\"pools\":\n{\"a\": secret}}", 2),
        ("{\"pools\":\n{\"a\": {\"tokens\": [\n{\"value\": \"secret\\ud800\"}]}}}", 3),
        ("{\"pools\":\n[[[[[[[[[[[[1]]]]]]]]]]]]}", 2),
    ] {
        let found = refused(json(text));
        assert!(found.starts_with(&format!("pools.json:{line}: ")), "{text}: {found}");
        assert!(!found.contains("secret"), "{found}");
    }
    let deep = "[".repeat(100_000);
    assert!(refused(json(&format!("{deep}{}", "]".repeat(100_000)))).contains("at most 8 levels"));
    assert!(refused(toml(&format!("a = {deep}"))).contains("this is not TOML"));
}

#[test]
fn members_of_json_may_not_occur_twice() {
    for (text, expected) in [
        ("{\"pools\":{\"a\":{},\n\"a\":{}}}", "pools.json:2: pools: has a twice: remove one"),
        (
            "{\"pools\":{\"a\":{\"lease\":\"1h\",\n\"lease\":\"2h\"}}}",
            "pools.json:2: pool a: has lease twice: remove one",
        ),
        (
            "{\"pools\":{\"a\":{\"lease\":null}}}",
            "pools.json:1: pool a, lease: must be a text, not null",
        ),
    ] {
        assert_eq!(refused(json(text)), expected);
    }
}

#[test]
fn binary_files_are_refused() {
    let source = Source { name: "a.toml", folder: None };
    let parse =
        |bytes: &[u8]| documents::parse(bytes, Format::Toml, &source).unwrap_err().to_string();
    let expected = "a.toml:2: is not text in UTF-8: save it as UTF-8";
    assert_eq!(parse(b"# x\nvalue = \"\xff\xfe\""), expected);
    assert!(parse(b"\x7fELF\x02\x01\x01\0\0").starts_with("a.toml:1: this is not TOML"));
}

#[test]
fn ranges_and_numbers_of_tokens_are_limited() {
    for (text, expected) in [
        (
            "tokens_range = \"1-1000000\"",
            "tokens_range: has 1000000 numbers, and the limit is 100000",
        ),
        ("tokens_range = \"9-1\"", "tokens_range: is reversed: write 1-9"),
        ("tokens_range = \"1-9,9-10\"", "tokens_range: has 9-9 twice: ranges must not overlap"),
        ("tokens_range = 5", "tokens_range: must be a text, not a number: put it in quotes"),
        ("tokens_generated = 100001", "tokens_generated: must be a number from 0 to 100000"),
        ("tokens_generated = -1", "tokens_generated: must be a number from 0 to 100000"),
        ("tokens_generated = \"5\"", "tokens_generated: must be a number from 0 to 100000"),
    ] {
        let found = refused(toml(&format!("[pools.a]\n{text}")));
        assert_eq!(found, format!("pools.toml:2: pool a, {expected}"));
    }
    let many = (0..11).fold(String::new(), |mut text, pool| {
        writeln!(text, "pools.p{pool}.tokens_generated = 100000").unwrap();
        text
    });
    let expected =
        "pools.toml:10: pool p9, tokens_generated: the limit is 1000000 tokens in all pools";
    assert_eq!(refused(toml(&many)), expected);
}

#[test]
fn a_document_has_at_most_10_000_pools() {
    let pools = |count: usize| {
        let pools: Vec<String> = (0..count).map(|pool| format!("\"p{pool}\":{{}}")).collect();
        json(&format!("{{\"pools\":{{{}}}}}", pools.join(",")))
    };
    assert_eq!(pools(10_000).unwrap().document.pools.len(), 10_000);
    let found = refused(pools(10_001));
    assert_eq!(found, "pools.json:1: has 10001 pools, and the limit is 10000");
}

#[test]
fn sources_of_tokens_must_not_have_the_same_names() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.csv"), "name,value\nx,1\n7,2\n").unwrap();
    let text = "[pools.a]\ntokens_range = \"5-9\"\ntokens_csv = \"a.csv\"\n[[pools.a.tokens]]\nname = \"x\"";
    let found = refused(toml_in(folder.path(), text));
    let csv = folder.path().join("a.csv").display().to_string();
    let expected = format!(
        "pools.toml:2: pool a, token 7, name: token number 3 has this name, too: rename one ({csv}:3)\n\
         {csv}:2: pool a, token x, name: token number 1 has this name, too: rename one (pools.toml:4)"
    );
    assert_eq!(found, expected);
}

#[test]
fn mistakes_in_tables_name_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let table = |bytes: &[u8]| {
        let path = folder.path().join("a.csv");
        fs::write(&path, bytes).unwrap();
        let found = refused(toml_in(folder.path(), "[pools.a]\ntokens_csv = \"a.csv\""));
        assert!(!found.contains("secret"), "{found}");
        found.replace(&path.display().to_string(), "a.csv")
    };
    for (text, expected) in [
        (
            "name,value\nx,\"secret\ny,2\n",
            "a.csv:2: pool a: begins a quoted text that has no end: add the closing quote",
        ),
        (
            "name,value\nx,secret,9\n",
            "a.csv:2: pool a: has 3 columns and the header 2: put quotes around a text with a comma",
        ),
        (
            "value,name\nx,secret 9\n",
            "a.csv:2: pool a, token number 1, name: must be of letters a to z, digits, `.`, `_` and `-`",
        ),
        ("name,label:a b\nx,y\n", "a.csv:2: pool a, token x, labels: key \"a b\" must"),
        (
            "name,vlaue\n",
            "a.csv:1: pool a: unknown column vlaue: did you mean value? known are name, value, label:KEY",
        ),
    ] {
        let found = table(text.as_bytes());
        assert!(found.starts_with(expected), "{found}");
    }
    assert!(table(b"name\nx\n\xff").starts_with("a.csv:3: pool a: is not text in UTF-8"));
    let missing = refused(toml_in(Path::new("/nonexistent"), "[pools.a]\ntokens_csv = \"b.csv\""));
    let expected =
        "pools.toml:2: pool a, tokens_csv: /nonexistent/b.csv can't be read: No such file";
    assert!(missing.starts_with(expected), "{missing}");
}

#[test]
fn many_mistakes_are_reported_together() {
    let text = (0..50).fold(String::new(), |mut text, pool| {
        writeln!(text, "[pools.p{pool:02}]\nlease = 5\nleese = 5").unwrap();
        text
    });
    let found = refused(toml(&text));
    assert_eq!(found.lines().count(), MAX_FINDINGS + 1);
    assert!(found.ends_with("There may be more: these are the first 20."), "{found}");
}
