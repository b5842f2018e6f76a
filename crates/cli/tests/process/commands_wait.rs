//! Long waits: order of arrival, leaving the queue, progress messages.

use std::fs;
use std::io::{Read as _, Write as _, copy, sink};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::commands::{ask, json, refused, served, text, told};
use crate::commands_bad_server::{FaultyServer, with};
use crate::harness::command;
use crate::run_fixture::{Pool, RunCommand};
use crate::run_server::restart;
use testbed::poll;

/// A pool under `when-full wait` whose only token is taken; and that lease.
fn held() -> (Pool, String) {
    let pool = Pool::start(&["--when-full", "wait", "--lease", "10m"]);
    let lease = text(&json(&pool.server, &["allocate", "holder"]), "lease_id").to_owned();
    (pool, lease)
}

/// Tickets in the queue, once `count` wait.
fn tickets(pool: &Pool, count: usize) -> Vec<Value> {
    poll("the queue", || {
        let queue = json(&pool.server, &["queue"]);
        let tickets = queue["tickets"].as_array().unwrap().clone();
        (tickets.len() == count).then_some(tickets)
    })
}

/// Starts a waiting command in a new folder.
fn begin(pool: &Pool, arguments: &[&str]) -> (tempfile::TempDir, RunCommand) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path(), arguments);
    command.env("PATH", std::env::var_os("PATH").unwrap());
    command.env("TOKEN_MANAGER_SERVER", pool.server.url());
    let running = RunCommand::start(folder.path(), &mut command);
    (folder, running)
}

/// Each command waits through several requests, lost connections and a server restart.
#[test]
fn long_waits_are_served_in_the_order_of_arrival() {
    let (mut pool, holder) = held();
    let order = pool.folder.path().join("order");
    let script = |name: &str| format!("echo {name} >> {}", order.display());
    let mut running = Vec::new();
    for (at, name) in ["first", "second", "third"].into_iter().enumerate() {
        let script = script(name);
        let arguments = ["run", "-u", name, "--wait", "5m", "--", "sh", "-c", &script];
        running.push(begin(&pool, &arguments));
        tickets(&pool, at + 1);
    }
    let requests = || pool.server.log().matches("status=202").count();
    poll("several requests of each", || (requests() >= 7).then_some(()));
    let before = tickets(&pool, 3);
    restart(&mut pool, Duration::from_millis(500));
    // Commands that lost their connection have asked again.
    poll("requests after the restart", || {
        (pool.server.log().matches("status=202").count() >= 3).then_some(())
    });
    let after = tickets(&pool, 3);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before["ticket"], after["ticket"], "{before} {after}");
    }
    let last = begin(&pool, &["allocate", "last", "--wait", "24h"]);
    tickets(&pool, 4);
    told(&pool.server, &["release", &holder]);
    for (_folder, running) in running {
        let ended = running.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.err.starts_with("waiting: "), "{ended:?}");
    }
    assert_eq!(last.1.end().code, Some(0));
    assert_eq!(fs::read_to_string(order).unwrap(), "first\nsecond\nthird\n");
    // A ticket becomes the lease with the same id.
    let leases = json(&pool.server, &["leases", "--user", "second"]);
    assert_eq!(leases["leases"][0]["lease_id"], before[1]["ticket"]);
}

/// Forwards all bytes, except that the first connection gets only its first answer and stays open.
fn stalling(server: &str) -> String {
    let server = server.replace("http://", "");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (number, client) in listener.incoming().enumerate() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
            thread::spawn(move || {
                let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (mut back_from, mut back_to) = (server, client);
                // Either end may disconnect at any time.
                thread::spawn(move || {
                    let mut piece = [0; 8_192];
                    if number == 0 {
                        let length = back_from.read(&mut piece).unwrap_or(0);
                        let _ = back_to.write_all(&piece[..length]);
                        let _ = copy(&mut back_from, &mut sink());
                        return;
                    }
                    let _ = (copy(&mut back_from, &mut back_to), back_to.shutdown(Shutdown::Write));
                });
                let mut piece = [0; 8_192];
                while let Ok(length @ 1..) = from.read(&mut piece) {
                    if to.write_all(&piece[..length]).is_err() {
                        return;
                    }
                }
                let _ = to.shutdown(Shutdown::Write);
            });
        }
    });
    format!("http://{address}")
}

/// As in a silent network failure: the command repeats the request before the ticket lapses.
#[test]
fn a_dead_connection_costs_no_place() {
    let (pool, holder) = held();
    let proxy = stalling(&pool.server.url());
    let ann = ["run", "-u", "ann", "--wait", "5m", "--server", &proxy, "--", "true"];
    let (_ann, ann) = begin(&pool, &ann);
    let before = tickets(&pool, 1);
    let (_bob, bob) = begin(&pool, &["run", "-u", "bob", "--wait", "5m", "--", "true"]);
    tickets(&pool, 2);
    // The token is granted over the dead connection or over the next one: in both cases to ann.
    told(&pool.server, &["release", &holder]);
    for running in [ann, bob] {
        let ended = running.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    let leases = json(&pool.server, &["leases", "--user", "ann"]);
    assert_eq!(leases["leases"][0]["lease_id"], before[0]["ticket"]);
}

#[test]
fn a_signal_leaves_the_queue_at_once() {
    let (pool, _) = held();
    for (arguments, signal, code) in [
        (&["run", "-u", "ann", "--wait", "5m", "--", "true"][..], "INT", 130),
        (&["run", "-u", "ann", "--wait", "5m", "--", "true"], "TERM", 143),
        (&["allocate", "ann", "--wait", "5m"], "INT", 130),
        (&["allocate", "ann", "--wait", "5m", "--idempotency-key", "mine"], "TERM", 143),
    ] {
        let (_folder, running) = begin(&pool, arguments);
        running.tells("waiting: number 1 in the queue");
        running.signal(signal);
        let ended = running.end();
        assert_eq!((ended.code, ended.out.as_str()), (Some(code), ""), "{ended:?}");
        assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
        // The place would lapse only 15 seconds later.
        assert_eq!(json(&pool.server, &["queue"])["tickets"], Value::Array(Vec::new()));
    }
    assert_eq!(json(&pool.server, &["pool"])["active"], 1);
}

#[test]
fn the_queue_is_listed_and_tickets_are_removed() {
    let (pool, holder) = held();
    let none = ask(&pool.server, &["queue"]);
    assert_eq!((none.code, none.err.as_str()), (Some(0), "No request waits for a token.\n"));
    let (_ann, ann) = begin(&pool, &["run", "-u", "ann", "--wait", "10m", "--", "true"]);
    tickets(&pool, 1);
    let (_bob, bob) = begin(&pool, &["allocate", "-q", "bob", "--wait", "10m"]);
    let rows = tickets(&pool, 2);
    let listed = told(&pool.server, &["queue"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines[0].starts_with("POSITION  USER  SINCE"), "{listed}");
    assert!(lines[1].starts_with("1         ann ") && lines[1].contains(" in "), "{listed}");
    assert!(lines[2].starts_with("2         bob ") && lines[2].ends_with(text(&rows[1], "ticket")));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_, answer) = runtime.block_on(pool.server.get("/api/queue?limit=20"));
    assert_eq!(json(&pool.server, &["queue"]), answer);
    let given_up = told(&pool.server, &["queue", "--give-up", text(&rows[0], "ticket")]);
    assert!(given_up.starts_with("Given up: ticket "), "{given_up}");
    let ended = ann.end();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    told(&pool.server, &["release", &holder]);
    let ended = bob.end();
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (Some(0), ""),
        "nothing beside the value: {ended:?}"
    );
    let ticket = text(&rows[1], "ticket");
    let release = format!("try: `token-manager release {ticket}`");
    refused(&pool.server, &["queue", "--give-up", ticket], 5, &[&release]);
    let none = "01a203e6-6a15-75b1-8dcf-8dddd1dbd0dd";
    refused(&pool.server, &["queue", "--give-up", none], 4, &["`token-manager queue`"]);
    refused(
        &pool.server,
        &["queue", "--give-up", "abc"],
        2,
        &["as `token-manager queue` shows it"],
    );
}

#[test]
fn a_changed_position_is_printed() {
    let (_folder, server) = served(&["--pool-size", "1", "--when-full", "wait", "--lease", "10m"]);
    let lease = text(&json(&server, &["allocate", "holder"]), "lease_id").to_owned();
    let ended = thread::scope(|scope| {
        let wait = scope.spawn(|| ask(&server, &["allocate", "ann", "--wait", "5m"]));
        poll("ann to wait", || (json(&server, &["pool"])["waiting"] == 1).then_some(()));
        told(&server, &["release", &lease]);
        wait.join().unwrap()
    });
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (Some(0), "waiting: number 1 in the queue, for 0s\n")
    );
    for arguments in [
        &["allocate", "ann", "--wait", "25h"][..],
        &["run", "-u", "a", "--wait", "2d", "--", "true"],
    ] {
        refused(&server, arguments, 2, &["is too long: a request waits 1d at most"]);
    }
}

#[test]
fn the_first_connection_must_succeed() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    let allocate: &[&str] = &["allocate", "ann", "--wait", "2h", "--server", &url];
    let run_true: &[&str] =
        &["run", "-u", "ann", "--wait", "2h", "--server", &url, "--", "/bin/true"];
    let begin = |arguments| {
        let folder = tempfile::tempdir().unwrap();
        let running = RunCommand::start(folder.path(), &mut command(folder.path(), arguments));
        (folder, running)
    };
    for (_folder, running) in [allocate, run_true].map(begin) {
        let ended = running.end();
        assert_eq!(ended.code, Some(6), "{ended:?}");
        assert_eq!(ended.err.matches("retrying").count(), 1, "{ended:?}");
        assert!(ended.err.contains("error: can't reach http://"), "{ended:?}");
    }
}

#[test]
fn an_unreachable_server_is_reported_and_the_place_lapses_soon() {
    let (mut pool, _) = held();
    let waiting = [
        begin(&pool, &["run", "-u", "ann", "--wait", "5m", "--", "true"]),
        begin(&pool, &["allocate", "bob", "--wait", "5m"]),
    ];
    tickets(&pool, 2);
    for (_folder, running) in &waiting {
        running.tells("waiting: number ");
    }
    pool.server.signal("TERM");
    pool.server.wait();
    let refused = "Connection refused; the place in the queue is kept, retrying\n";
    for (_folder, running) in waiting {
        running.tells(refused);
        running.signal("INT");
        running.tells("giving up the place in the queue ...");
        let ended = running.end();
        assert_eq!((ended.code, ended.out.as_str()), (Some(130), ""), "{ended:?}");
        assert!(ended.err.contains("lapses within 15 seconds of its return\n"), "{ended:?}");
    }
}

#[test]
fn the_end_of_a_place_is_reported() {
    let requests = AtomicU32::new(0);
    let problem = |status: &str, code: &str, detail: &str| {
        with(status, "", &serde_json::json!({ "code": code, "detail": detail }).to_string())
    };
    let ticket = |last: u32| {
        let ticket = format!("01a203e6-6a15-75b1-8dcf-8dddd1dbd0d{last}");
        let since = "2026-11-22T15:36:02Z";
        let body = serde_json::json!({
            "status": "waiting", "ticket": ticket, "position": 4, "ahead": 3, "since": since,
            "until": since, "retry_after": 0
        });
        with("202 Accepted", "", &body.to_string())
    };
    let liar = FaultyServer::start(move |_| match requests.fetch_add(1, Ordering::Relaxed) {
        0 | 3 => ticket(1),
        1 => problem("503 Service Unavailable", "stopping", "The server stops. Ask again."),
        2 => problem("503 Service Unavailable", "busy", "The server is busy."),
        4 => ticket(2),
        _ => problem("409 Conflict", "ticket-given-up", "The ticket was given up."),
    });
    let ended = liar.ask(&["allocate", "ann", "--wait", "5m"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let lines: Vec<&str> = ended.err.lines().collect();
    let position = "waiting: number 4 in the queue, for ";
    for (line, expected) in [
        (0, position),
        (1, "the server is restarting; the place in the queue is kept, retrying"),
        (2, "The server is busy; the place in the queue is kept, retrying"),
        (3, position),
        (
            4,
            "the place in the queue lapsed after 15 seconds without a request; now at the end of the queue",
        ),
        (5, position),
        (6, "error: The ticket was given up."),
    ] {
        assert!(lines[line].starts_with(expected), "{line}: {ended:?}");
    }
}
