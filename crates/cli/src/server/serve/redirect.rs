//! The setting `redirect-http`: a listener for plain HTTP that sends clients to HTTPS and does nothing else.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Maximum number of connections. Further ones wait.
const CONNECTIONS: usize = 256;

/// Maximum size of the head of a request.
const MAX_HEAD: usize = 8 << 10;

/// Maximum time of a connection.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after a connection that could not be accepted, as without free file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers every request with the same URL, but of HTTPS on this port.
///
/// # Errors
///
/// When the listener can't be used.
pub async fn redirect(listener: TcpListener, port: u16) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return Ok(()) };
        let Ok((client, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        tokio::spawn(async move {
            // The client may leave at any time.
            let _ = timeout(TIMEOUT, answer(client, port)).await;
            drop(permit);
        });
    }
}

async fn answer(mut client: TcpStream, port: u16) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = client.read(&mut piece).await?;
        if length == 0 || head.len() + length > MAX_HEAD {
            break;
        }
        head.extend_from_slice(&piece[..length]);
    }
    let head = String::from_utf8_lossy(&head);
    let answer = match location(&head, port) {
        Some(url) => format!("HTTP/1.1 308 Permanent Redirect\r\nlocation: {url}\r\n"),
        None => "HTTP/1.1 400 Bad Request\r\n".to_owned(),
    };
    let rest = "content-length: 0\r\nconnection: close\r\n\r\n";
    client.write_all(format!("{answer}{rest}").as_bytes()).await?;
    client.shutdown().await
}

/// The URL of a request, but of HTTPS on this port.
fn location(head: &str, port: u16) -> Option<String> {
    let mut lines = head.split("\r\n");
    let mut request = lines.next()?.split(' ');
    let (_, path) = (request.next()?, request.next()?);
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host").then(|| value.trim().to_owned())
    };
    let host = lines.find_map(header)?;
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => &host,
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    let is_path = path.starts_with('/') && path.chars().all(|c| c.is_ascii_graphic());
    if host.is_empty() || !host.chars().all(is_host) || !is_path {
        return None;
    }
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    Some(format!("https://{host}{port}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_the_same_with_https() {
        let url = |host: &str, path: &str, port| {
            location(&format!("GET {path} HTTP/1.1\r\naccept: *\r\nHOST: {host}\r\n\r\n"), port)
        };
        let some = |url: &str| Some(url.to_owned());
        assert_eq!(url("a.example", "/", 443), some("https://a.example/"));
        assert_eq!(url("a.example:80", "/x?y=1", 4000), some("https://a.example:4000/x?y=1"));
        assert_eq!(url("[::1]:80", "/", 4000), some("https://[::1]:4000/"));
        assert_eq!(url("[::1]", "/", 443), some("https://[::1]/"));
        for (host, path) in
            [("", "/"), ("a b", "/"), ("a/b", "/"), ("a@b", "/"), ("a", "http://b/"), ("a", "/\r")]
        {
            assert_eq!(url(host, path, 443), None, "{host} {path}");
        }
        assert_eq!(location("GET / HTTP/1.0\r\n\r\n", 443), None);
        assert_eq!(location("", 443), None);
    }
}
