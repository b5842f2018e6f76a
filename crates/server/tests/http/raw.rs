//! Raw connections, for requests that HTTP clients do not send.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Raw TCP connection.
pub struct Wire(pub TcpStream);

impl Wire {
    pub async fn to(address: SocketAddr) -> Self {
        Wire(TcpStream::connect(address).await.unwrap())
    }

    pub async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// All bytes until the server closes the connection, which it must do within a minute.
    pub async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        let read = self.0.read_to_end(&mut bytes);
        tokio::time::timeout(Duration::from_mins(1), read)
            .await
            .expect("the server closes the connection")
            .unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Waits until the server closes or resets the connection.
    pub async fn closed(&mut self) {
        let mut buffer = [0; 1024];
        let closed = async { while self.0.read(&mut buffer).await.is_ok_and(|read| read > 0) {} };
        tokio::time::timeout(Duration::from_mins(1), closed)
            .await
            .expect("the server closes the connection");
    }

    /// All bytes up to and including `end`.
    pub async fn until(&mut self, end: &str) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(end.as_bytes()) {
            let byte = tokio::time::timeout(Duration::from_secs(20), self.0.read_u8());
            let so_far = || String::from_utf8_lossy(&bytes).into_owned();
            let byte = byte.await.unwrap_or_else(|_| panic!("no more after {:?}", so_far()));
            bytes.push(byte.unwrap_or_else(|error| panic!("{error} after {:?}", so_far())));
        }
        String::from_utf8(bytes).unwrap()
    }
}

/// Whole answer to one request; the server then closes the connection.
pub async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut wire = Wire::to(address).await;
    wire.send(request).await;
    wire.rest().await
}

/// HTTP/2 connection, frame by frame.
pub struct Http2(pub Wire);

impl Http2 {
    /// Client with this window for each stream, in bytes of an answer's body.
    pub async fn to(address: SocketAddr, window: u32) -> Self {
        let mut wire = Wire::to(address).await;
        let window = [&[0, 4][..], &window.to_be_bytes()].concat();
        let start = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, &window)[..]].concat();
        wire.0.write_all(&start).await.unwrap();
        Http2(wire)
    }

    /// Sends a GET request for this path on each of these streams, which have odd numbers.
    pub async fn get(&mut self, path: &str, streams: impl Iterator<Item = u32>) {
        let length = u8::try_from(path.len()).unwrap();
        let fields = [b"\x82\x86\x04", &[length][..], path.as_bytes(), b"\x01\x09localhost"];
        let head = fields.concat();
        let all: Vec<u8> = streams.flat_map(|stream| frame(1, 5, stream, &head)).collect();
        self.0.0.write_all(&all).await.unwrap();
    }

    /// Sends PINGs until the server closes the connection or `limit` passes. Returns whether it closed.
    pub async fn ping(&mut self, limit: Duration) -> bool {
        let pings = async {
            let mut buffer = vec![0; 16 * 1024];
            loop {
                if self.0.0.write_all(&frame(6, 0, 0, b"stillme!")).await.is_err() {
                    return;
                }
                let read = self.0.0.read(&mut buffer);
                match tokio::time::timeout(Duration::from_millis(50), read).await {
                    Ok(Ok(0) | Err(_)) => return,
                    Ok(Ok(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                    Err(_) => {}
                }
            }
        };
        tokio::time::timeout(limit, pings).await.is_ok()
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
