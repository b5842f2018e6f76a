//! `watch` without a terminal: a line for each event.

use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;

use crate::commands::{json, refused, served, text, told};
use crate::harness::{TestServer, command};
use crate::sqlite;
use testbed::poll;

/// A running `watch`; killed when dropped.
fn watching(server: &str, arguments: &[&str]) -> TestServer {
    let arguments = [&["watch", "--server", server], arguments].concat();
    let watch = TestServer::of(&mut command(Path::new("/"), &arguments));
    poll("the watch to begin", || watch.log().contains("Watching ").then_some(()));
    watch
}

/// Lines that it printed, once `count` exist.
fn lines(watch: &TestServer, count: usize) -> Vec<String> {
    let lines = poll("lines of events", || {
        let lines: Vec<String> = watch.out().lines().map(str::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    });
    assert_eq!(lines.len(), count, "{lines:?}");
    lines
}

#[test]
fn each_event_is_a_line() {
    let (_folder, server) = served(&["--pool-size", "1", "--max-lease", "1h"]);
    let url = server.url();
    let [all, json_all] = [watching(&url, &[]), watching(&url, &["--json"])];
    let ann = json(&server, &["allocate", "ann"]);
    let (lease, token) = (text(&ann, "lease_id"), text(&ann, "token_id"));
    let [anns, others] = [
        watching(&url, &["--user", "ann"]),
        watching(&url, &["--token", &token[..6], "--user", "bob"]),
    ];
    told(&server, &["renew", lease]);
    told(&server, &["allocate", "bob"]);
    let said = lines(&all, 4);
    for (line, word) in said.iter().zip(["started ", "renewed ", "evicted ", "started "]) {
        assert!(line.starts_with("20") && line[..22].ends_with("Z  "), "{line}");
        assert!(line[22..].starts_with(word), "{word} in {line}");
        assert!(line.contains(&format!("token {token}")), "{line}");
    }
    assert!(said[2].contains("ann") && said[2].contains(lease), "{said:?}");
    let events: Vec<Value> =
        lines(&json_all, 4).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let named: Vec<&str> = events.iter().map(|event| text(event, "event")).collect();
    assert_eq!(named, ["lease.started", "lease.renewed", "lease.ended", "lease.started"]);
    assert_eq!((text(&events[2], "reason"), text(&events[2], "user")), ("evicted", "ann"));
    assert!(events[0]["user_id"].is_string(), "all that the server sent: {}", events[0]);
    lines(&anns, 2);
    assert!(lines(&others, 1)[0].contains("bob"));
    let none = "01a203e6-6a15-75b1-8dcf-8dddd1dbd0dd";
    refused(&server, &["watch", "--token", none], 4, &["try: `token-manager tokens`"]);
}

#[test]
fn a_lost_connection_is_reported_and_no_event_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let start = || {
        let database = sqlite(folder.path());
        let arguments = ["serve", "--listen", &free, "--database", &database];
        let server = TestServer::of(&mut command(Path::new("/"), &arguments));
        server.url();
        server
    };
    let mut server = start();
    let watch = watching(&server.url(), &[]);
    told(&server, &["allocate", "ann"]);
    lines(&watch, 1);
    server.signal("KILL");
    server.wait();
    poll("word of the cut", || watch.log().contains("The connection broke").then_some(()));
    let server = start();
    told(&server, &["allocate", "bob"]);
    poll("word of the connection", || {
        watch.log().contains("Connected again. Nothing was missed.").then_some(())
    });
    assert!(lines(&watch, 2)[1].contains("bob"));
    assert_eq!(watch.log().lines().count(), 3, "each is told once: {}", watch.log());
}

#[test]
fn watch_ends_when_its_output_is_closed() {
    let (_folder, server) = served(&[]);
    let arguments = ["watch", "--json", "--server", &server.url()];
    let mut watch = command(Path::new("/"), &arguments).spawn().unwrap();
    drop(watch.stdout.take());
    let ended = poll("the watch to end", || {
        told(&server, &["allocate", "-q", "ann"]);
        watch.try_wait().unwrap()
    });
    assert_eq!(ended.code(), Some(0));
}
