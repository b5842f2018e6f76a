//! Requests byte by byte, for what no proper client would send.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection without any notion of HTTP.
pub struct Wire(pub TcpStream);

impl Wire {
    pub async fn to(address: SocketAddr) -> Self {
        Wire(TcpStream::connect(address).await.unwrap())
    }

    pub async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// All that comes until the server closes the connection, which it has to within a minute.
    pub async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        let read = self.0.read_to_end(&mut bytes);
        tokio::time::timeout(Duration::from_mins(1), read).await.expect("it is closed").unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Waits until the server closes the connection, in whatever way.
    pub async fn closed(&mut self) {
        let mut buffer = [0; 1024];
        let closed = async { while self.0.read(&mut buffer).await.is_ok_and(|read| read > 0) {} };
        tokio::time::timeout(Duration::from_mins(1), closed).await.expect("it is closed");
    }

    /// All that comes until `end` has come.
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

/// The whole answer to one request, after which the server closes the connection.
pub async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut wire = Wire::to(address).await;
    wire.send(request).await;
    wire.rest().await
}
