//! Messages of client commands about proxies, TLS, passwords and invalid values.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, Stream};

use crate::commands::{ask, json, refused, served};
use crate::commands_bad_server::{FaultyServer, Lie, with};
use crate::harness::{command, run};

const RUN: &[&str] = &["run", "--user", "ann", "--", "true"];

fn unauthorized() -> Lie {
    with("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", "<html>no</html>")
}

#[test]
fn a_missing_or_wrong_password_is_reported() {
    let liar = FaultyServer::start(|_| unauthorized());
    let host = liar.url.trim_start_matches("http://");
    for arguments in [&["pool"][..], &["watch"], &["status"], &["allocate", "ann"], RUN] {
        let ended = liar.ask(arguments);
        assert_eq!(ended.code, Some(9), "{arguments:?}: {ended:?}");
        let asks = format!("{} asks for a user name and password (401)", liar.url);
        assert!(ended.err.contains(&asks), "{arguments:?}: {ended:?}");
        let how =
            format!("try: TOKEN_MANAGER_SERVER=http://USER:PASSWORD@{host} in the environment");
        assert!(ended.err.contains(&how), "{arguments:?}: {ended:?}");
        let with = format!("http://me:sesame@{host}");
        let ended = run(command(Path::new("/"), arguments).env("TOKEN_MANAGER_SERVER", with));
        let refuses = format!("http://me@{host} rejects the user name and password (401)");
        assert!(ended.err.contains(&refuses), "{arguments:?}: {ended:?}");
        assert!(!ended.text().contains("sesame"), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn a_missing_or_wrong_proxy_password_is_reported() {
    let proxy = FaultyServer::start(|_| with("407 Proxy Authentication Required", "", "no"));
    let host = proxy.url.trim_start_matches("http://");
    for (server, variable) in
        [("http://tokens.invalid", "http_proxy"), ("https://tokens.invalid", "https_proxy")]
    {
        for arguments in [&["pool"][..], RUN] {
            let ask = |proxy: &str| {
                let mut command = command(Path::new("/"), arguments);
                run(command.env("TOKEN_MANAGER_SERVER", server).env(variable, proxy))
            };
            let ended = ask(&proxy.url);
            let asks = format!("the proxy {} asks for a user name and password (407)", proxy.url);
            assert!(ended.err.contains(&asks), "{server} {arguments:?}: {ended:?}");
            assert!(
                ended.err.contains("try: http://USER:PASSWORD@HOST:PORT as the proxy"),
                "{ended:?}"
            );
            let ended = ask(&format!("http://me:sesame@{host}"));
            let refuses =
                format!("the proxy http://me@{host} rejects the user name and password (407)");
            assert!(ended.err.contains(&refuses), "{server} {arguments:?}: {ended:?}");
            assert!(!ended.text().contains("sesame"), "{ended:?}");
        }
    }
}

#[test]
fn errors_name_the_proxy() {
    for (status, body) in [
        ("200 OK", "<html>hello</html>"),
        ("200 OK", "{}"),
        ("404 Not Found", ""),
        ("502 Bad Gateway", ""),
    ] {
        let proxy = FaultyServer::start(move |_| with(status, "", body));
        for arguments in [&["pool"][..], &["tokens"], &["watch"], RUN] {
            let mut command = command(Path::new("/"), arguments);
            let command = command.env("TOKEN_MANAGER_SERVER", "http://tokens.invalid");
            let ended = run(command.env("http_proxy", &proxy.url));
            assert!(ended.code.is_some_and(|code| code != 0), "{arguments:?}: {ended:?}");
            let named = format!("through the proxy {}", proxy.url);
            assert!(ended.err.contains(&named), "{status} {body} {arguments:?}: {ended:?}");
        }
    }
}

#[test]
fn https_to_a_plain_port_is_reported() {
    let (_folder, server) = served(&["--pool-size", "1"]);
    let url = server.url().replace("http://", "https://me:sesame@");
    let shown = server.url().replace("http://", "https://me@");
    for arguments in [&["pool"][..], &["status"], RUN] {
        let ended = run(command(Path::new("/"), arguments).env("TOKEN_MANAGER_SERVER", &url));
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(&format!("{shown} speaks plain HTTP\n")), "{ended:?}");
        assert!(ended.err.contains(&format!("try: --server {}\n", server.url())), "{ended:?}");
    }
}

/// Servers that expect TLS close the connection with an alert, or answer in plain text.
#[test]
fn http_to_a_tls_port_is_reported() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let config = Arc::clone(&config);
            thread::spawn(move || {
                let mut tls = ServerConnection::new(config).unwrap();
                // A request without TLS gets an alert.
                let _ = Stream::new(&mut tls, &mut stream).read(&mut [0; 64]);
                let _ = tls.write_tls(&mut stream).and_then(|_| stream.flush());
            });
        }
    });
    let sentence = "HTTP/1.1 400 Bad Request\r\nContent-Length: 48\r\n\r\n\
                    Client sent an HTTP request to an HTTPS server.\n";
    let plain = FaultyServer::start(move |_| Lie::Plain(sentence.to_owned()));
    for url in [format!("http://{address}"), plain.url.clone()] {
        for arguments in [&["pool"][..], RUN] {
            let ended = run(command(Path::new("/"), arguments).env("TOKEN_MANAGER_SERVER", &url));
            assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
            assert!(ended.err.contains(&format!("{url} speaks HTTPS\n")), "{ended:?}");
            let https = url.replace("http://", "https://");
            assert!(ended.err.contains(&format!("try: --server {https}\n")), "{ended:?}");
        }
    }
}

#[test]
fn an_invalid_duration_or_number_is_reported() {
    let (_folder, server) = served(&["--pool-size", "1", "--lease", "2m"]);
    for command in [&["allocate", "ann"][..], RUN] {
        let with = |value| {
            let (name, rest) = command.split_first().unwrap();
            [&[*name, "--lease", value], rest].concat()
        };
        refused(
            &server,
            &with("10m"),
            2,
            &["--lease 10m is too long: this pool allows 2m at most"],
        );
        refused(&server, &with("1us"), 2, &["--lease 1us is too short"]);
        refused(&server, &with("90"), 2, &["a unit is missing, as in 90s"]);
        refused(&server, &with("-5s"), 2, &["a duration can't be negative"]);
    }
    for (arguments, why) in [
        (&["serve", "--pool-size", "-5"][..], "a whole number from 0 to"),
        (&["serve", "--max-queued-requests", "-5"], "a whole number from 1 to"),
        (&["serve", "--trace-sample", "-0.5"], "a number from 0 to 1"),
        (&["serve", "--lease", "-5s"], "a duration can't be negative"),
        (&["serve", "--lease", "90"], "a unit is missing, as in 90s"),
        (&["run", "--grace", "-5s", "--", "true"], "a duration can't be negative"),
        (&["tokens", "--limit", "-5"], "a whole number, 1 or more"),
        (&["leases", "--limit", "0"], "a whole number, 1 or more"),
        (&["leases", "--from", "-2h"], "a duration can't be negative"),
        (&["leases", "--from", "90"], "a unit is missing, as in 90s"),
    ] {
        let ended = ask(&server, arguments);
        assert!(ended.code.is_some_and(|code| code != 0), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(why), "{arguments:?}: {ended:?}");
        assert!(!ended.err.contains("unexpected argument"), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn after_a_wait_the_hint_suggests_a_longer_one() {
    let (_folder, server) = served(&["--pool-size", "1", "--when-full", "wait"]);
    json(&server, &["allocate", "ann"]);
    for arguments in [
        &["allocate", "bob", "--wait", "600ms"][..],
        &["run", "-u", "bob", "--wait", "600ms", "--", "true"],
    ] {
        let ended = ask(&server, arguments);
        assert_eq!(ended.code, Some(3), "{ended:?}");
        assert!(ended.err.contains("error: no token became free within 600ms"), "{ended:?}");
        assert!(ended.err.contains("try: --wait 30s, to wait for one"), "{ended:?}");
    }
}
