//! Connections: how many there are, and how long one may keep the server waiting.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_server::{AddrListener, Address, Handle, Server};
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tower::make::Shared;

use crate::{Door, Settings};

/// How long a client may leave an answer lying before its connection is closed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How often HTTP/2 clients are asked whether they are still there.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// How many requests an HTTP/2 connection may have under way.
const MAX_STREAMS: u32 = 128;

/// Answers requests on `listener` until `stop` resolves, then finishes those that are under way,
/// within [`Settings::shutdown_timeout`].
///
/// # Errors
///
/// When the listener can't be used.
pub async fn serve(
    listener: std::net::TcpListener,
    door: Door,
    settings: &Settings,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = Bounded {
        listener: TcpListener::from_std(listener)?,
        permits: Arc::new(Semaphore::new(settings.connections)),
        header_timeout: settings.header_timeout,
    };
    let handle = Handle::new();
    let mut http = Server::<Peer>::from_listener(listener).handle(handle.clone());
    let builder = http.http_builder();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(settings.header_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(settings.header_timeout)
        .max_concurrent_streams(MAX_STREAMS);
    let stopping = async {
        stop.await;
        handle.graceful_shutdown(Some(settings.shutdown_timeout));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        served = http.serve(Shared::new(door)) => served,
        () = stopping => Ok(()),
    }
}

/// The other end of a connection.
#[derive(Clone, Debug)]
struct Peer(SocketAddr);

impl Address for Peer {
    type Stream = Connection;
    type Listener = Bounded;
}

/// A listener that accepts no more connections than it has permits. Further ones wait in the
/// operating system's queue, which is bounded too.
#[derive(Debug)]
struct Bounded {
    listener: TcpListener,
    permits: Arc<Semaphore>,
    header_timeout: Duration,
}

impl AddrListener<Connection, Peer> for Bounded {
    async fn bind_to(Peer(address): Peer) -> io::Result<Self> {
        let defaults = Settings::default();
        Ok(Bounded {
            listener: TcpListener::bind(address).await?,
            permits: Arc::new(Semaphore::new(defaults.connections)),
            header_timeout: defaults.header_timeout,
        })
    }

    async fn accept_stream(&self) -> io::Result<(Connection, Peer)> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        let (stream, address) = self.listener.accept().await?;
        // Answers are written whole; waiting for more to send would only delay them.
        stream.set_nodelay(true)?;
        let patience = Some(Box::pin(sleep(self.header_timeout)));
        Ok((Connection { stream, patience, greeted: 0, _permit: permit }, Peer(address)))
    }

    fn get_local_addr(&self) -> io::Result<Peer> {
        self.listener.local_addr().map(Peer)
    }
}

/// A connection that gives up on a client which does not go on.
///
/// HTTP/1 has a time limit for a request's head, and HTTP/2 asks whether the other end is there.
/// Neither covers a client that has not even said which of the two it speaks, and one that does not
/// read its answers.
struct Connection {
    stream: TcpStream,
    /// Runs while the client has to do something.
    patience: Option<Pin<Box<Sleep>>>,
    /// How many bytes have come, as far as it matters.
    greeted: usize,
    _permit: OwnedSemaphorePermit,
}

/// By so many bytes it is clear which HTTP the client speaks.
const GREETING: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();

impl Connection {
    /// What to do about a client that is not ready: wait, within limits.
    fn wait<T>(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<io::Result<T>> {
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(patience.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_pending() {
            return self.wait(cx, WRITE_TIMEOUT);
        }
        // Whoever is answered has said what it speaks.
        self.greeted = GREETING;
        self.patience = None;
        written
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if self.greeted < GREETING {
            self.greeted += buffer.filled().len() - before;
            if self.greeted >= GREETING {
                self.patience = None;
            } else if read.is_pending() {
                return self.wait(cx, WRITE_TIMEOUT);
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
