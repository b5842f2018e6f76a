//! A proxy in front of a PostgreSQL cluster that can hold back traffic.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};

/// Directions that are held back: to the database, and from it.
pub type Ways = [bool; 2];

pub struct Proxy {
    /// The database behind the proxy.
    pub url: String,
    held: Arc<[AtomicBool; 2]>,
}

impl Proxy {
    /// Starts a proxy to the database of a test cluster's URL.
    pub async fn to(url: &str) -> Self {
        let (_, rest) = url.split_once("@/").unwrap();
        let (name, place) = rest.split_once("?host=").unwrap();
        let (folder, port) = place.split_once("&port=").unwrap();
        let socket = PathBuf::from(folder).join(format!(".s.PGSQL.{port}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let held = Arc::new([false, false].map(AtomicBool::new));
        let ways = Arc::clone(&held);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(database) = UnixStream::connect(&socket).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_database, to_database) = database.into_split();
                tokio::spawn(pass(from_client, to_database, Arc::clone(&ways), 0));
                tokio::spawn(pass(from_database, to_client, Arc::clone(&ways), 1));
            }
        });
        Proxy { url: format!("postgres://postgres@127.0.0.1:{port}/{name}"), held }
    }

    pub fn hold(&self, ways: Ways) {
        for (held, way) in self.held.iter().zip(ways) {
            held.store(way, Ordering::SeqCst);
        }
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    held: Arc<[AtomicBool; 2]>,
    way: usize,
) {
    let mut bytes = [0; 8_192];
    while let Ok(count) = from.read(&mut bytes).await {
        while held[way].load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if count == 0 || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
