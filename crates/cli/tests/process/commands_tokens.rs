//! Commands that allocate, renew and release, and their errors.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use crate::commands::{ask, json, refused, served, text, told};
use crate::harness::{Ended, command, run};

#[test]
fn allocate_prints_the_value_and_the_evicted_holder() {
    let (_folder, server) = served(&["--pool-size", "1"]);
    let value = told(&server, &["allocate", "-q", "ann", "--lease", "90s"]);
    assert_eq!(value.trim_end().len(), 36, "{value}");
    assert!(told(&server, &["show", text(&json(&server, &["tokens"])[0], "id")]).contains(&value));
    let bob = told(&server, &["allocate", "bob"]);
    let lines: Vec<&str> = bob.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["value", value.trim_end()]);
    assert!(bob.contains("\nends     in 2m  20"), "{bob}");
    assert!(bob.contains("\nevicted  ann, who had it for less than 1s  "), "{bob}");
    let again =
        |user: &str| ask(&server, &["allocate", user, "--idempotency-key", "job-17", "--json"]);
    let [first, second] = [again("cid"), again("cid")];
    assert_eq!(first.code, Some(0), "{first:?}");
    let of = |ended: &Ended| serde_json::from_str::<serde_json::Value>(&ended.out).unwrap();
    assert_eq!(of(&first)["lease_id"], of(&second)["lease_id"]);
    let lease = text(&of(&first), "lease_id").to_owned();
    told(&server, &["release", &lease]);
    let over = again("cid");
    assert_eq!((over.code, text(&of(&over), "status")), (Some(5), "ended"), "{over:?}");
    refused(
        &server,
        &["allocate", "-q", "cid", "--idempotency-key", "job-17"],
        5,
        &["has ended", &lease],
    );
    let other = ["allocate", "cid", "--idempotency-key", "job-17", "--lease", "1m"];
    let another = "used for an allocation with another --lease or --wait";
    refused(&server, &other, 2, &[another, "try: another --idempotency-key"]);
    refused(
        &server,
        &["allocate", "dan", "--lease", "1h"],
        2,
        &["--lease 1h is too long: this pool allows 2m at most"],
    );
    refused(&server, &["allocate", "dan", "--wait", "soon"], 2, &["looks like 90s"]);
}

#[test]
fn a_full_pool_gets_a_hint() {
    let (_folder, server) = served(&["--pool-size", "1", "--when-full", "wait"]);
    let ann = json(&server, &["allocate", "ann"]);
    let hints = ["all tokens are in use", "try: --wait 30s", "token-manager tokens --active"];
    refused(&server, &["allocate", "bob", "--wait", "0s"], 3, &hints);
    let waited = ["no token became free within 1s", "token-manager tokens --active"];
    let ended = ask(&server, &["allocate", "bob", "--wait", "1s"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(waited.iter().all(|sentence| ended.err.contains(sentence)), "{ended:?}");
    let bob = thread::scope(|scope| {
        let bob = scope.spawn(|| told(&server, &["allocate", "-q", "bob", "--wait", "30s"]));
        testbed::poll("bob to wait", || {
            told(&server, &["pool"]).contains("1 waiting").then_some(())
        });
        told(&server, &["release", text(&ann, "lease_id")]);
        bob.join().unwrap()
    });
    assert_eq!(bob.trim_end(), text(&ann, "token_value"));

    let (_folder, server) = served(&["--when-full", "reject", "--pool-size", "1"]);
    told(&server, &["allocate", "ann"]);
    let ended = refused(&server, &["allocate", "bob"], 3, &["all tokens are in use"]);
    assert!(!ended.err.contains("--wait"), "it does not help here: {}", ended.err);

    let (_folder, server) = served(&["--max-per-user", "1"]);
    told(&server, &["allocate", "ann's"]);
    let hint = r"token-manager leases --status active --user 'ann'\''s'";
    refused(&server, &["allocate", "ann's"], 3, &[hint]);
}

#[test]
fn only_own_leases_are_released_and_renewed() {
    let (_folder, server) = served(&["--pool-size", "1", "--lease", "1m", "--max-lease", "10m"]);
    let [ann, bob] = ["ann", "bob"].map(|user| json(&server, &["allocate", user]));
    let [anns, bobs] = [&ann, &bob].map(|lease| text(lease, "lease_id"));
    let token = text(&ann, "token_id");
    let who = format!("bob has the token now: lease {bobs}, which ends in 1m");
    refused(&server, &["release", anns], 5, &["evicted", &who]);
    refused(&server, &["renew", anns], 5, &["evicted", &who]);
    let renewed = told(&server, &["renew", bobs]);
    assert!(renewed.starts_with(&format!("Renewed: bob has token {token} for another 1m, until")));
    assert_eq!(text(&json(&server, &["renew", bobs]), "lease_id"), bobs);
    let held = format!("bob holds the token, with lease {bobs}; nothing was done");
    refused(&server, &["release", "--token", &token[..4], "--if-user", "ann"], 5, &[&held]);
    assert!(told(&server, &["release", bobs]).starts_with("Released: bob had token"));
    assert_eq!(text(&json(&server, &["release", bobs]), "status"), "released");
    refused(&server, &["renew", bobs], 5, &["the token is free now"]);
    refused(&server, &["release", token], 4, &["that is a token, not a lease"]);
    refused(&server, &["release"], 2, &["<LEASE_ID>", "--token <TOKEN>"]);
    refused(&server, &["release", "abcd"], 2, &["LEASE_ID"]);
    told(&server, &["allocate", "cid"]);
    let released = told(&server, &["release", "--token", token]);
    assert_eq!(released, format!("Released: the lease of token {token} has ended.\n"));

    let (_folder, server) = served(&[]);
    let ann = json(&server, &["allocate", "ann"]);
    let hint = ["can't be renewed", "try: `token-manager allocate USER`"];
    refused(&server, &["renew", text(&ann, "lease_id")], 5, &hint);
}

#[test]
fn clear_asks_for_confirmation() {
    let (_folder, server) = served(&[]);
    assert_eq!(told(&server, &["clear"]), "No token is in use, so there is nothing to clear.\n");
    for user in ["ann", "bob"] {
        told(&server, &["allocate", user]);
    }
    let why = ["refusing to end 2 leases", "no terminal", "try: --yes"];
    refused(&server, &["clear"], 8, &why);
    refused(&server, &["clear", "--json"], 8, &why);
    assert!(told(&server, &["pool"]).starts_with("2 of 100 tokens held"));
    assert_eq!(told(&server, &["clear", "--yes"]), "Cleared: 2 leases ended.\n");
    assert_eq!(json(&server, &["clear", "--yes"])["tokens_cleared"], 0);
}

#[test]
fn pool_describes_the_policy() {
    for (arguments, sentences) in [
        (&[][..], ["A lease lasts 2m and can't be renewed.", "a request evicts the oldest lease."]),
        (
            &["--lease", "90s", "--max-lease", "1h", "--min-hold", "5s"],
            ["lasts 90s and can be renewed until 1h after", "oldest lease, once that is 5s old."],
        ),
        (&["--when-full", "reject"], ["requests are rejected", "Oldest lease: ann"]),
        (
            &["--when-full", "wait", "--max-per-user", "2"],
            ["requests wait in a queue, first come", "A user may hold 2 tokens at the same time."],
        ),
    ] {
        let (_folder, server) = served(&[&["--pool-size", "2"], arguments].concat());
        told(&server, &["allocate", "ann"]);
        let pool = told(&server, &["pool"]);
        assert!(pool.starts_with("1 of 2 tokens held, 1 free, 0 waiting."), "{pool}");
        for sentence in sentences {
            assert!(pool.contains(sentence), "{sentence:?} in {pool}");
        }
        assert_eq!(json(&server, &["pool"])["size"], 2);
    }
    let (_folder, server) = served(&["--pool-size", "1"]);
    told(&server, &["allocate", "ann"]);
    let pool = told(&server, &["pool"]);
    assert!(pool.contains("Next to be evicted: ann, who took token"), "{pool}");
}

/// Asserts that commands fail against this address.
fn against(server: &str, commands: &[&[&str]], code: i32, sentences: &[&str]) {
    for arguments in commands {
        let arguments = [arguments, &["--server", server][..]].concat();
        let ended = run(&mut command(Path::new("/"), &arguments));
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        for sentence in [&["error: ", "try: "], sentences].concat() {
            assert!(ended.err.contains(sentence), "{arguments:?}: {sentence:?} in {}", ended.err);
        }
    }
}

const LEASE: &str = "01a203e6-6a15-75b1-8dcf-8dddd1dbd0dd";

const ALL: [&[&str]; 12] = [
    &["tokens"],
    &["show", LEASE],
    &["show", "abcd"],
    &["history", LEASE],
    &["leases"],
    &["allocate", "ann"],
    &["release", LEASE],
    &["renew", LEASE],
    &["clear", "--yes"],
    &["pool"],
    &["watch"],
    &["status"],
];

#[test]
fn an_unreachable_server_is_reported() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = format!("http://{free}");
    let said = [&format!("can't reach {away}: Connection refused\n"), "`token-manager serve`"];
    against(&away, &ALL, 6, &said);
    against("ftp://localhost", &ALL, 2, &["invalid server URL"]);
    for address in ["http://me:sesame@", "htps://me:sesame@host", "https:/me:sesame@host"] {
        against(address, &ALL[..1], 2, &["invalid server URL"]);
        let ended = run(&mut command(Path::new("/"), &["pool", "--server", address]));
        assert!(!ended.text().contains("sesame"), "{ended:?}");
    }
    let status = run(&mut command(Path::new("/"), &["status", "--json", "--server", &away]));
    let status: serde_json::Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!(text(&status, "state"), "away");
}

/// Reads each request and answers it with the same bytes.
fn answering(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // The client reports the result.
            let _ = request(&mut stream).and_then(|_| stream.write_all(answer.as_bytes()));
        }
    });
    format!("http://{address}")
}

/// Reads an HTTP message with a `content-length`.
fn request(stream: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut read = Vec::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        read.push(byte[0]);
        if read.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8_lossy(&read).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body)?;
    Ok([read, body].concat())
}

#[test]
fn other_http_servers_are_recognised() {
    let html = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 15\r\n\
                connection: close\r\n\r\n<p>\x1b[2Jhello</p>";
    against(&answering(html), &ALL, 1, &["not a TokenManager server", "for another"]);
    let missing = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    against(&answering(missing), &ALL, 1, &["it replied with status 404"]);
    // Reading commands cannot have changed anything.
    let silent = answering("");
    let read = [ALL[0], ALL[1], ALL[3], ALL[4], ALL[9], ALL[11]];
    against(&silent, &read, 6, &["no reply from", "try: again in a moment"]);
    let act = [ALL[6], ALL[7], ALL[8]];
    against(&silent, &act, 7, &["no reply from", "`token-manager leases`"]);
}

#[test]
fn a_lost_answer_takes_no_second_token() {
    let (_folder, server) = served(&[]);
    let upstream = server.url().replace("http://", "");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    // The proxy drops the first answer only.
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let sent = request(&mut stream).unwrap();
            let mut to = TcpStream::connect(&upstream).unwrap();
            to.write_all(&sent).unwrap();
            let answer = request(&mut to).unwrap();
            if number > 0 {
                stream.write_all(&answer).unwrap();
            }
        }
    });
    let ended =
        run(&mut command(Path::new("/"), &["allocate", "ann", "--json", "--server", &address]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.contains("retrying, for the same token"), "{ended:?}");
    let leases = json(&server, &["leases"]);
    assert_eq!(leases["leases"].as_array().unwrap().len(), 1, "{leases}");
    assert!(
        told(&server, &["tokens", "--active", "--values"])
            .contains(text(&serde_json::from_str(&ended.out).unwrap(), "token_value"))
    );
}

#[test]
fn status_reports_readiness() {
    let (_folder, server) = served(&["--pool-size", "7"]);
    let status = told(&server, &["status"]);
    for part in ["ready", " ms\n", "0 of 7 tokens held, 7 free, 0 waiting", "journal     at 1-1"] {
        assert!(status.contains(part), "{part} in {status}");
    }
    let status = json(&server, &["status"]);
    assert_eq!((text(&status, "state"), &status["pool"]["size"]), ("ready", &7.into()));
}
