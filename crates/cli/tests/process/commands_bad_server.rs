//! Client commands against a faulty server: endless answers, redirects, absurd numbers.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::harness::{Ended, TestServer, command, run};
use testbed::poll;

/// Maximum that a faulty server sends, so that a client that reads all of it ends, too.
const ENDLESS: usize = 192 << 20;

/// Maximum that a client may have read of an endless answer: its limit, and the buffers.
const TAKEN: usize = 40 << 20;

const LEASE: &str = "01a203e6-6a15-75b1-8dcf-8dddd1dbd0dd";

/// A server with prepared answers.
pub struct FaultyServer {
    pub url: String,
    asked: Arc<Mutex<Vec<String>>>,
    /// Number of bytes of an endless answer that the client read.
    taken: Arc<AtomicUsize>,
}

/// An answer.
pub enum Lie {
    /// A whole response.
    Plain(String),
    /// A start, and a piece repeated after it.
    Endless(&'static str, String),
}

impl FaultyServer {
    pub fn start(answer: impl Fn(&str) -> Lie + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let liar = FaultyServer { url, asked: Arc::default(), taken: Arc::default() };
        let (asked, taken) = (Arc::clone(&liar.asked), Arc::clone(&liar.taken));
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (answer, asked, taken) = (answer.clone(), asked.clone(), taken.clone());
                thread::spawn(move || {
                    let mut client = client.unwrap();
                    let request = head(&mut client);
                    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                    asked.lock().unwrap().push(request);
                    // The client may disconnect at any time.
                    let _ = match answer(&path) {
                        Lie::Plain(text) => client.write_all(text.as_bytes()),
                        Lie::Endless(begin, piece) => endless(&mut client, begin, &piece, &taken),
                    };
                });
            }
        });
        liar
    }

    /// Runs a command against the faulty server.
    pub fn ask(&self, arguments: &[&str]) -> Ended {
        let mut command = command(Path::new("/"), arguments);
        run(command.env("TOKEN_MANAGER_SERVER", &self.url))
    }

    /// Heads of the requests.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

fn head(client: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).unwrap_or(0) > 0 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn endless(
    client: &mut TcpStream,
    begin: &str,
    piece: &str,
    taken: &AtomicUsize,
) -> std::io::Result<()> {
    client.write_all(begin.as_bytes())?;
    let pieces = piece.repeat((64 << 10) / piece.len());
    while taken.load(Ordering::Relaxed) < ENDLESS {
        client.write_all(pieces.as_bytes())?;
        taken.fetch_add(pieces.len(), Ordering::Relaxed);
    }
    Ok(())
}

/// A response with a body and further headers.
pub fn with(status: &str, headers: &str, body: &str) -> Lie {
    let length = body.len();
    let date = "Date: Sun, 22 Nov 2026 15:36:02 GMT";
    Lie::Plain(format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{date}\r\n{headers}\r\n{body}"
    ))
}

pub fn ok(body: &str) -> Lie {
    with("200 OK", "", body)
}

pub fn lease(expires_in: &str, expires_at: &str) -> String {
    format!(
        r#"{{"token_id":"{LEASE}","token_value":"v","user":"ann","user_id":"{LEASE}","status":"active",
        "lease_id":"{LEASE}","activated_at":"2026-11-22T15:36:02Z","started_at":"2026-11-22T15:36:02Z","expires_at":"{expires_at}","expires_in":{expires_in},
        "fence":1,"evicted":{{"lease_id":"{LEASE}","user":"bob","user_id":"{LEASE}","fence":1,"started_at":"2026-11-22T15:36:02Z"}}}}"#
    )
}

pub const FAR: &str = "2126-11-22T15:36:02Z";

const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

#[test]
fn an_endless_answer_is_cut_off() {
    let begin = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[";
    let liar = FaultyServer::start(move |_| Lie::Endless(begin, "1,".to_owned()));
    let ended = liar.ask(&["tokens"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("its reply is larger than 8 MiB"), "{ended:?}");
    assert!(liar.taken() < TAKEN, "{}", liar.taken());
}

#[test]
fn an_endless_error_is_cut_off() {
    let begin = "HTTP/1.1 409 Conflict\r\nContent-Type: application/problem+json\r\n\r\n\
                 {\"code\":\"lease-over\",\"detail\":\"";
    let liar = FaultyServer::start(move |_| Lie::Endless(begin, "no ".to_owned()));
    for arguments in [&["pool"][..], &["watch"], &["leases", "--csv"], &["release", LEASE]] {
        let before = liar.taken();
        let ended = liar.ask(arguments);
        assert_eq!(ended.code, Some(1), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains("it replied with status 409"), "{arguments:?}: {ended:?}");
        assert!(liar.taken() - before < TAKEN, "{arguments:?}: {}", liar.taken() - before);
    }
}

#[test]
fn an_endless_event_is_cut_off() {
    for piece in ["x", "data: x\n"] {
        let liar = FaultyServer::start(move |path| match path {
            _ if path.starts_with("/api/events") => Lie::Endless(EVENTS, piece.to_owned()),
            "/api/pool" => ok(&pool("1")),
            _ => ok(&lease("60", FAR)),
        });
        let watch = ["watch", "--server", &liar.url];
        let watch = TestServer::of(&mut command(Path::new("/"), &watch));
        poll("the message about the event", || {
            watch.log().contains("an event has no end").then_some(())
        });
        drop(watch);
        let ended = liar.ask(&["run", "--user", "ann", "--", "sleep", "0.3"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(liar.taken() < TAKEN, "{piece:?}: {}", liar.taken());
    }
}

fn pool(number: &str) -> String {
    format!(
        r#"{{"size":{number},"active":{number},"available":0,"waiting":{number},"epoch":1,"version":1,
        "oldest_lease":null,"policy":{{"when_full":"wait","lease_seconds":1e300,"max_lease_seconds":1e300,
        "min_hold_seconds":1e300,"max_per_user":4294967295}}}}"#
    )
}

#[test]
fn a_redirect_is_reported_instead_of_followed() {
    let other = FaultyServer::start(|_| ok(&pool("1")));
    let url = other.url.replace("http://", "http://u:sesame@");
    let liar = FaultyServer::start(move |path| {
        with("307 Temporary Redirect", &format!("Location: {url}{path}\r\n"), "")
    });
    for arguments in [
        &["pool"][..],
        &["status"],
        &["watch"],
        &["leases", "--csv"],
        &["allocate", "ann"],
        &["release", LEASE],
        &["run", "--user", "ann", "--", "true"],
    ] {
        let ended = liar.ask(arguments);
        assert_eq!(ended.code, Some(1), "{arguments:?}: {ended:?}");
        let said = format!("{} redirects to {}/", liar.url, other.url);
        assert!(ended.err.contains(&said), "{arguments:?}: {ended:?}");
        let next = format!("--server {}, if that is the server\n", other.url);
        assert!(ended.err.contains(&next), "{arguments:?}: {ended:?}");
        assert!(!ended.text().contains("sesame"), "{arguments:?}: {ended:?}");
    }
    assert_eq!(other.asked(), [""; 0]);
}

#[test]
fn next_pages_are_read_from_the_same_server_and_only_once() {
    let other = FaultyServer::start(|_| ok("[]"));
    let to = other.url.clone();
    for (path, why) in [
        (to.as_str(), "its list continues at another address"),
        (to.trim_start_matches("http:"), "not a TokenManager"),
        (&to.replace("http://", "\\\\"), "its list continues at another address"),
        ("ftp://localhost/api/tokens", "its list continues at another address"),
        ("/api/tokens?after=1", "its list has no end"),
    ] {
        let link = format!("Link: <{path}>; rel=\"next\"\r\n");
        let liar = FaultyServer::start(move |path| match path {
            _ if path.starts_with("/api/tokens?") => with("200 OK", &link, "[]"),
            _ => with("404 Not Found", "", ""),
        });
        let ended = liar.ask(&["tokens"]);
        assert_eq!(ended.code, Some(1), "{path}: {ended:?}");
        assert!(ended.err.contains(why), "{path}: {ended:?}");
        assert!(liar.asked().len() <= 3, "{:?}", liar.asked());
    }
    assert_eq!(other.asked(), [""; 0]);
}

#[test]
fn a_next_page_below_the_servers_own_path_is_followed_with_the_credentials() {
    let liar = FaultyServer::start(move |path| match path {
        "/pool/api/tokens?limit=1000" => {
            with("200 OK", "Link: </api/tokens?after=1>; rel=\"next\"\r\n", "[]")
        }
        _ => ok("[]"),
    });
    let server = format!("{}/pool", liar.url.replace("http://", "http://u:p@"));
    let ended = run(&mut command(Path::new("/"), &["tokens", "--json", "--server", &server]));
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "[]\n"), "{ended:?}");
    let asked = liar.asked();
    assert!(asked[1].starts_with("GET /pool/api/tokens?limit=1000&after=1 "), "{asked:?}");
    assert!(asked.iter().all(|head| head.to_lowercase().contains("authorization: basic")));
}

#[test]
fn absurd_numbers_break_nothing() {
    for expires_in in ["1e18", "1e300", "-1e18", "0", "9223372036854775807"] {
        for expires_at in ["-009999-01-02T01:59:59Z", "9999-12-30T22:00:00.999999999Z"] {
            let body = lease(expires_in, expires_at);
            let liar = FaultyServer::start(move |_| ok(&body));
            let ended = liar.ask(&["allocate", "ann"]);
            assert_eq!(ended.code, Some(0), "{expires_in} {expires_at}: {ended:?}");
            let ended = liar.ask(&["renew", LEASE]);
            assert_eq!(ended.code, Some(0), "{expires_in} {expires_at}: {ended:?}");
        }
    }
    for number in ["0", "18446744073709551615"] {
        let body = pool(number);
        let liar = FaultyServer::start(move |_| ok(&body));
        assert_eq!(liar.ask(&["pool"]).code, Some(0), "{number}");
        assert_eq!(liar.ask(&["status"]).code, Some(0), "{number}");
    }
    let liar = FaultyServer::start(|_| {
        let headers = "Content-Length: 18446744073709551614\r\nRetry-After: 999999999999\r\n";
        Lie::Plain(format!("HTTP/1.1 200 OK\r\n{headers}\r\n{{}}"))
    });
    let ended = liar.ask(&["pool"]);
    assert_eq!(ended.code, Some(6), "{ended:?}");
    let arguments = ["allocate", "ann", "--wait", "500000000000years"];
    assert_eq!(liar.ask(&arguments).code, Some(2), "a time that no clock can tell");
}

#[test]
fn local_servers_are_asked_without_a_proxy_and_errors_name_the_proxy() {
    let server = FaultyServer::start(|_| ok(&pool("1")));
    let proxy = FaultyServer::start(|_| with("503 Service Unavailable", "", "no"));
    let named = proxy.url.replace("http://", "http://me:sesame@");
    let ask = |server: &str, env: &[(&str, &str)], arguments: &[&str]| {
        let mut command = command(Path::new("/"), arguments);
        run(command.envs(env.iter().copied()).env("TOKEN_MANAGER_SERVER", server))
    };
    let local = server.url.replace("127.0.0.1", "localhost");
    for url in [&server.url, &local] {
        let env = [("http_proxy", named.as_str()), ("all_proxy", &named)];
        assert_eq!(ask(url, &env, &["pool"]).code, Some(0), "{url}");
    }
    assert_eq!(proxy.asked(), [""; 0]);
    let away = "http://tokens.invalid:4000";
    let shown = proxy.url.replace("http://", "http://me@");
    let ended = ask(away, &[("http_proxy", &named)], &["pool"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains(&format!("status 503 through the proxy {shown}")), "{ended:?}");
    assert!(proxy.asked()[0].starts_with("GET http://tokens.invalid:4000/api/pool "));
    assert!(proxy.asked()[0].to_lowercase().contains("proxy-authorization: basic"));
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let env = [("http_proxy", format!("http://me:sesame@{nowhere}"))];
    let env = [(env[0].0, env[0].1.as_str())];
    for arguments in [&["pool"][..], &["run", "--user", "ann", "--", "true"]] {
        let ended = ask(away, &env, arguments);
        assert_eq!(ended.code, Some(6), "{ended:?}");
        let said = format!("can't reach {away} through the proxy http://me@{nowhere}: ");
        assert!(ended.err.contains(&said), "{ended:?}");
        assert!(ended.err.contains("try: no_proxy=tokens.invalid in the environment"), "{ended:?}");
        assert!(!ended.text().contains("sesame"), "{ended:?}");
    }
    for (name, value) in [("HTTP_PROXY", "http://[bad"), ("https_proxy", "http://[bad")] {
        let ended = ask(away, &[(name, value)], &["pool"]);
        assert!(ended.err.contains(&format!("can't reach {away}: ")), "{name}: {ended:?}");
    }
    let ended = ask(away, &[("http_proxy", "http://[bad")], &["pool"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.err.contains("invalid proxy in the environment variable http_proxy"),
        "{ended:?}"
    );
}
