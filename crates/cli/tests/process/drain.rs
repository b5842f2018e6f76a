//! Busy clients while the server stops: each request is answered, or its connection refused.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{TestServer, client};
use crate::sqlite;
use testbed::{TIMEOUT, eventually, poll};

/// Time between an answer and the client's next request.
const THINKING: Duration = Duration::from_millis(5);

/// The server ends once its clients are served, not by a timeout.
const SETTINGS: [&str; 3] = ["--access-log=false", "--shutdown-timeout", "1h"];

/// Allocates on keep-alive connections until the server accepts none. Fails if a request has no answer.
fn allocate_until_refused(address: SocketAddr, answered: &AtomicUsize) -> Result<(), String> {
    let body = r#"{"user_id":"busy"}"#;
    let request = format!(
        "POST /api/tokens/allocate HTTP/1.1\r\nhost: localhost\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    while let Ok(mut stream) = TcpStream::connect(address) {
        let failed = |error: std::io::Error| format!("{error} on {:?}", Instant::now());
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let mut answers = BufReader::new(stream.try_clone().unwrap());
        let mut closes = false;
        while !closes {
            thread::sleep(THINKING);
            stream.write_all(request.as_bytes()).map_err(failed)?;
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if answers.read_line(&mut head).map_err(failed)? == 0 {
                    return Err(format!("closed without an answer: {head:?}"));
                }
            }
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
            answers.read_exact(&mut vec![0; length]).map_err(failed)?;
            if !head.starts_with("HTTP/1.1 200 ") {
                return Err(head);
            }
            answered.fetch_add(1, Ordering::Relaxed);
            closes = head.contains("\r\nconnection: close\r\n");
        }
    }
    Ok(())
}

#[test]
fn busy_keep_alive_clients_see_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = TestServer::start(&sqlite(folder.path()), &SETTINGS);
    let address = server.url().replace("http://", "").parse().unwrap();
    let answered = AtomicUsize::new(0);
    thread::scope(|scope| {
        let client = || scope.spawn(|| allocate_until_refused(address, &answered));
        let clients: Vec<_> = (0..40).map(|_| client()).collect();
        poll("some answers", || (answered.load(Ordering::Relaxed) > 400).then_some(()));
        server.signal("TERM");
        assert!(server.wait().success());
        for client in clients {
            assert_eq!(client.join().unwrap(), Ok(()));
        }
    });
}

#[tokio::test]
async fn busy_http2_clients_see_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = TestServer::start(&sqlite(folder.path()), &SETTINGS);
    let url = format!("{}/api/tokens/allocate", server.url());
    let answered = std::sync::Arc::new(AtomicUsize::new(0));
    let mut clients = tokio::task::JoinSet::new();
    // The first client installs the TLS provider.
    drop(client());
    for _ in 0..4 {
        let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge();
        let client = client.timeout(TIMEOUT).build().unwrap();
        for _ in 0..10 {
            let (client, url, answered) = (client.clone(), url.clone(), answered.clone());
            clients.spawn(async move {
                loop {
                    let request = client.post(&url).json(&json!({ "user_id": "busy" }));
                    match request.send().await {
                        Ok(answer) => assert_eq!(answer.status(), 200),
                        Err(error) if error.is_connect() => return,
                        Err(error) => panic!("{error:?}"),
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(THINKING).await;
                }
            });
        }
    }
    eventually("some answers", async || answered.load(Ordering::Relaxed) > 400).await;
    server.signal("TERM");
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    assert!(server.wait().success());
}
