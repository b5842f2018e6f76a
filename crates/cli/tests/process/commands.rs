//! Client commands with their output in a pipe.

use std::io::Read as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Ended, TestServer, client, command, run};
use crate::sqlite;

/// A server on a new pool in a temporary folder.
pub fn served(arguments: &[&str]) -> (tempfile::TempDir, TestServer) {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(&sqlite(folder.path()), arguments);
    (folder, server)
}

/// Runs a client command against a server.
pub fn ask(server: &TestServer, arguments: &[&str]) -> Ended {
    run(command(Path::new("/"), arguments).env("TOKEN_MANAGER_SERVER", server.url()))
}

/// Output of a command that succeeds without warnings.
pub fn told(server: &TestServer, arguments: &[&str]) -> String {
    let ended = ask(server, arguments);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{arguments:?}: {ended:?}");
    assert!(!ended.out.contains('\x1b'), "{arguments:?}: {ended:?}");
    ended.out
}

/// JSON output of a command, on one line.
pub fn json(server: &TestServer, arguments: &[&str]) -> Value {
    let out = told(server, &[arguments, &["--json"]].concat());
    assert_eq!(out.lines().count(), 1, "{out}");
    serde_json::from_str(&out).unwrap()
}

/// Asserts that a command fails with an exit code and messages.
pub fn refused(server: &TestServer, arguments: &[&str], code: i32, sentences: &[&str]) -> Ended {
    let ended = ask(server, arguments);
    assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
    assert!(ended.err.starts_with("error: "), "{arguments:?}: {ended:?}");
    for sentence in sentences {
        assert!(ended.err.contains(sentence), "{arguments:?}: {sentence:?} in {}", ended.err);
    }
    ended
}

/// A member of an object, as text.
pub fn text<'a>(json: &'a Value, member: &str) -> &'a str {
    json[member].as_str().unwrap_or_else(|| panic!("{member} in {json}"))
}

#[test]
fn tokens_are_listed_with_their_holders() {
    let (_folder, server) = served(&["--pool-size", "3"]);
    let taken = json(&server, &["allocate", "ann"]);
    let (id, value) = (text(&taken, "token_id"), text(&taken, "token_value"));
    let all = told(&server, &["tokens"]);
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(lines.len(), 4, "{all}");
    assert!(lines[0].starts_with("NO  TOKEN ") && lines[0].ends_with("LEASE"), "{all}");
    let of_ann = lines.iter().find(|line| line.contains(&format!("  {id}"))).unwrap();
    for part in ["active", "ann", "in 2m", "just now", text(&taken, "lease_id")] {
        assert!(of_ann.contains(part), "{part} in {of_ann}");
    }
    assert!(!all.contains(value), "no value without a request for it: {all}");
    assert!(lines.iter().all(|line| line.trim_end() == *line), "{all:?}");
    assert!(told(&server, &["tokens", "--values"]).contains(value));
    assert_eq!(told(&server, &["tokens", "--active"]).lines().count(), 2);
    assert_eq!(told(&server, &["tokens", "--available"]).lines().count(), 3);
    assert!(told(&server, &["tokens", "--user", "ann"]).lines().nth(1).unwrap().contains(id));
    let rows = json(&server, &["tokens", "--user", "ann"]);
    assert_eq!(rows.as_array().unwrap().len(), 1);
    assert_eq!((text(&rows[0], "id"), text(&rows[0], "token")), (id, value));
    let empty = ask(&server, &["tokens", "--user", "bob"]);
    assert_eq!((empty.code, empty.out.as_str()), (Some(0), ""));
    assert_eq!(empty.err, "bob has no token.\n");
    assert_eq!(json(&server, &["tokens", "--user", "bob"]), Value::Array(Vec::new()));
    let some = ask(&server, &["tokens", "--limit", "2"]);
    assert_eq!(some.out.lines().count(), 3);
    assert_eq!(some.err, "There are more: --limit 4 shows more.\n");
}

#[test]
fn http_needs_no_certificates() {
    let (_folder, server) = served(&["--pool-size", "1"]);
    let ask = |url: &str| {
        let mut status = command(Path::new("/"), &["status", "--server", url]);
        run(status.env("SSL_CERT_FILE", "/dev/null").env("SSL_CERT_DIR", "/dev/null"))
    };
    let ended = ask(&server.url());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ended = ask("https://localhost");
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("certificates"), "{ended:?}");
}

#[test]
fn a_large_pool_is_listed_whole_and_ids_can_be_abbreviated() {
    let (_folder, server) = served(&["--pool-size", "1500"]);
    let tokens = json(&server, &["tokens"]);
    let mut ids: Vec<&str> =
        tokens.as_array().unwrap().iter().map(|token| text(token, "id")).collect();
    assert_eq!(ids.len(), 1500);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 1500);
    assert_eq!(told(&server, &["tokens"]).lines().count(), 1501);
    let limited = json(&server, &["tokens", "--limit", "1200"]);
    let limited: Vec<_> = limited.as_array().unwrap().iter().map(|token| &token["id"]).collect();
    let first: Vec<_> =
        tokens.as_array().unwrap()[..1200].iter().map(|token| &token["id"]).collect();
    assert!(limited == first, "{} tokens", limited.len());
    // Among 1,500 ids some share their first four digits.
    let same = ids.windows(2).find(|pair| {
        // Digits alone may also be a token's number.
        pair[0][..4] == pair[1][..4] && !pair[0][..4].bytes().all(|byte| byte.is_ascii_digit())
    });
    let same = same.unwrap();
    let ended = refused(&server, &["show", &same[0][..4]], 2, &["tokens begin with", "try: "]);
    assert!(ended.err.contains(same[0]) && ended.err.contains(same[1]), "{ended:?}");
    // Ids that were made together differ only at their end.
    let (alone, begin) = (ids[700], &ids[700][..34]);
    assert_eq!(ids.iter().filter(|id| id.starts_with(begin)).count(), 1);
    assert!(told(&server, &["show", &begin.to_uppercase()]).contains(alone));
    assert_eq!(text(&json(&server, &["show", alone])["token"], "id"), alone);
    refused(&server, &["show", "abc"], 2, &["at least 4 characters"]);
    refused(&server, &["show", "ann's"], 2, &["expected a token's number, its id"]);
    let none = "01a203e6-6a15-75b1-8dcf-8dddd1dbd0dd";
    refused(&server, &["show", none], 4, &["no token and no lease", "token-manager tokens"]);
    refused(&server, &["history", none], 4, &["try: `token-manager tokens`"]);
    // The reader closes the pipe, which is not an error.
    let mut tokens = command(Path::new("/"), &["tokens"]);
    let mut tokens = tokens.env("TOKEN_MANAGER_SERVER", server.url()).spawn().unwrap();
    tokens.stdout.take().unwrap().read_exact(&mut [0; 5]).unwrap();
    let mut err = String::new();
    tokens.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((tokens.wait().unwrap().code(), err.as_str()), (Some(0), ""));
}

#[test]
fn a_token_a_lease_and_a_history_are_shown() {
    let (_folder, server) = served(&["--pool-size", "1"]);
    let ann = json(&server, &["allocate", "ann"]);
    let bob = json(&server, &["allocate", "bob"]);
    let (token, anns, bobs) =
        (text(&ann, "token_id"), text(&ann, "lease_id"), text(&bob, "lease_id"));
    let shown = told(&server, &["show", &token[..8]]);
    for part in [token, text(&bob, "token_value"), "active", "bob", bobs, "in 2m"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let shown = told(&server, &["show", anns]);
    for part in ["ann", "evicted", "held now    by bob, whose lease ends in 2m", bobs] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(!shown.contains(text(&ann, "token_value")), "{shown}");
    assert_eq!(text(&json(&server, &["show", anns]), "status"), "ended");
    let history = told(&server, &["history", token]);
    let lines: Vec<&str> = history.lines().collect();
    assert!(lines[1].starts_with("bob") && lines[1].ends_with(bobs), "{history}");
    assert!(lines[2].starts_with("ann") && lines[2].contains("evicted"), "{history}");
    let latest = ask(&server, &["history", token, "--limit", "1"]);
    assert_eq!(latest.out.lines().count(), 2);
    assert_eq!(latest.err, "There are more: --limit 2 shows more.\n");
    let rows = json(&server, &["history", token, "--limit", "1"]);
    assert_eq!(rows["history"].as_array().unwrap().len(), 1);
    assert!(text(&rows, "next").contains(token), "{rows}");
}

#[test]
fn leases_are_searched_and_exported() {
    let (_folder, server) = served(&["--pool-size", "2"]);
    for user in ["ann", "bob", "cid"] {
        told(&server, &["allocate", "-q", user]);
    }
    let users = |arguments: &[&str]| {
        let found = json(&server, &[&["leases"], arguments].concat());
        let leases = found["leases"].as_array().unwrap().iter();
        leases.map(|lease| text(lease, "user").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(users(&[]), ["cid", "bob", "ann"]);
    assert_eq!(users(&["--status", "active"]), ["cid", "bob"]);
    assert_eq!(users(&["--reason", "evicted"]), ["ann"]);
    assert_eq!(users(&["--user", "bob"]), ["bob"]);
    assert_eq!(users(&["--from", "1h"]), ["cid", "bob", "ann"]);
    assert_eq!(users(&["--to", "1h"]), [""; 0]);
    assert_eq!(users(&["--from", "1h", "--to", "30m"]), [""; 0]);
    let anns = json(&server, &["leases", "--user", "ann"]);
    let (began, token) =
        (text(&anns["leases"][0], "started_at"), text(&anns["leases"][0], "token_id"));
    assert_eq!(users(&["--at", began]), ["ann"]);
    assert_eq!(users(&["--token", &token[..34]]), ["cid", "ann"]);
    let table = told(&server, &["leases"]);
    assert!(table.lines().nth(3).unwrap().contains("evicted"), "{table}");
    let some = ask(&server, &["leases", "--limit", "2"]);
    assert_eq!((some.out.lines().count(), some.err.contains("--limit 4")), (3, true));
    let none = ask(&server, &["leases", "--user", "zoe"]);
    assert_eq!((none.code, none.err.as_str()), (Some(0), "No such lease.\n"));
    let csv = told(&server, &["leases", "--csv", "--reason", "evicted"]);
    assert!(csv.starts_with("lease_id,token_id,user,") && csv.contains(",ann,"), "{csv}");
    assert_eq!(csv.lines().count(), 2);
    refused(&server, &["leases", "--at", "yesterday"], 2, &["2026-11-22T15:36:02Z", "2h"]);
    refused(&server, &["leases", "--from", "9000000days"], 2, &["the limit is 36500d"]);
    refused(&server, &["leases", "--csv", "--json"], 2, &["cannot be used with"]);
}

#[tokio::test]
async fn a_long_history_is_joined_from_its_pages() {
    let (_folder, server) = served(&["--pool-size", "1", "--access-log=false"]);
    let (client, url) = (client(), format!("{}/api/tokens/allocate", server.url()));
    for number in 0..1100 {
        let user = json!({ "user_id": format!("user {number}") });
        assert!(client.post(&url).json(&user).send().await.unwrap().status().is_success());
    }
    let token = json(&server, &["tokens"]);
    let token = text(&token[0], "id");
    let ended = ask(&server, &["history", token, "--limit", "1050"]);
    assert_eq!(ended.out.lines().count(), 1051);
    assert_eq!(ended.err, "There are more: --limit 2100 shows more.\n");
    for (arguments, rows) in [(&["history", token][..], "history"), (&["leases"], "leases")] {
        let some = json(&server, &[arguments, &["--limit", "1050"]].concat());
        let users: Vec<&str> =
            some[rows].as_array().unwrap().iter().map(|row| text(row, "user")).collect();
        assert_eq!((users.len(), users[0], users[1049]), (1050, "user 1099", "user 50"));
        // The message names the exact row to continue at.
        let (_, rest) = server.get(text(&some, "next")).await;
        assert_eq!(text(&rest[rows][0], "user"), "user 49");
        let all = json(&server, &[arguments, &["--limit", "5000"]].concat());
        assert_eq!(all[rows].as_array().unwrap().len(), 1100);
        assert!(all["next"].is_null());
    }
    assert_eq!(told(&server, &["leases", "--csv"]).lines().count(), 1101);
    let mut export = command(Path::new("/"), &["leases", "--csv", "--server", &server.url()]);
    let mut export = export.spawn().unwrap();
    drop(export.stdout.take());
    assert_eq!(export.wait().unwrap().code(), Some(0), "a closed output is not an error");
}

#[test]
fn user_names_can_not_break_the_output() {
    let (_folder, server) = served(&[]);
    let names = ["\x1b[2J\x1b]0;owned\x07", "a\nb\tc", "\u{202e}nna", "\u{9b}31mred", "王芳 Zoë"];
    for name in names {
        told(&server, &["allocate", name]);
    }
    let lease = json(&server, &["leases", "--user", names[0]]);
    let lease = text(&lease["leases"][0], "lease_id").to_owned();
    let token = json(&server, &["tokens", "--user", names[0]]);
    let token = text(&token[0], "id").to_owned();
    for arguments in [
        &["tokens", "--active"][..],
        &["tokens", "--active", "--json"],
        &["leases"],
        &["leases", "--json"],
        &["show", &lease],
        &["show", &token],
        &["history", &token],
        &["pool"],
        &["pool", "--json"],
        &["release", &lease],
    ] {
        let out = told(&server, arguments);
        let harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!out.contains(harmful), "{arguments:?}: {out:?}");
    }
    let table = told(&server, &["leases"]);
    assert_eq!(table.lines().count(), 1 + names.len(), "{table}");
    assert!(table.contains("王芳 Zoë") && table.contains("\\u{1b}[2J"), "{table}");
    let read = json(&server, &["leases", "--limit", "1", "--user", names[2]]);
    assert_eq!(text(&read["leases"][0], "user"), names[2], "escapes in JSON mean the same");
}
