//! A TCP connection with timeouts for clients that send nothing, half a request head, or do not read
//! their responses. Timeouts of request bodies and of responses are in `http::service`.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::Activity;
use super::connections::OpenConnection;
use super::socket::{self, PeerTimeouts};

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// To send its first request, and the rest of a request head once it has begun.
    pub(crate) header_timeout: Duration,
    /// From a response to the next request.
    pub(crate) idle_timeout: Duration,
    /// To read the next part of a response.
    pub(crate) answer_timeout: Duration,
    pub(crate) peer: PeerTimeouts,
}

/// A TCP connection, counted as open until this is dropped.
pub(crate) struct Connection {
    stream: TcpStream,
    timeouts: Timeouts,
    /// Time of the first read after `written`.
    read: Instant,
    written: Instant,
    /// Time since which the client accepts no more bytes.
    stuck: Option<Instant>,
    /// Whether the shorter timeout for unreachable clients is set on the socket.
    waits: bool,
    /// Reset only when it fires, or would fire too late: much cheaper than for each request.
    alarm: Pin<Box<Sleep>>,
    open: OpenConnection,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, timeouts: Timeouts, open: OpenConnection) -> Self {
        let opened = open.activity.opened;
        Connection {
            stream,
            timeouts,
            read: opened,
            written: opened,
            stuck: None,
            waits: false,
            alarm: Box::pin(sleep_until(opened + timeouts.header_timeout)),
            open,
        }
    }

    fn activity(&self) -> &Activity {
        &self.open.activity
    }

    /// Time at which the client has sent nothing, or nothing complete, for too long. None while the
    /// server prepares a response.
    ///
    /// An HTTP/2 client may leave a response unread without blocking the connection. Its other frames
    /// do not count as activity, neither then nor while it is idle.
    fn reading_ends(&self) -> Option<Instant> {
        let activity = self.activity();
        let Timeouts { header_timeout, idle_timeout, answer_timeout, .. } = self.timeouts;
        let http2 = activity.http2.load(Ordering::Relaxed);
        let Some(idle_since) = activity.idle_since() else {
            let unread = if http2 { activity.unread_since() } else { None };
            return unread.map(|since| since + answer_timeout);
        };
        if !activity.begun.load(Ordering::Relaxed) {
            return Some(activity.opened + header_timeout);
        }
        let within_head = self.read > self.written && !http2;
        let idle_since = if http2 { idle_since } else { self.written };
        Some(if within_head { self.read + header_timeout } else { idle_since + idle_timeout })
    }

    /// Counts a client that read a response too slowly, unless that was counted when it was cut.
    fn count_unread(&self) {
        if !self.activity().is_cut() {
            self.open.count_unread();
        }
    }

    /// Waits for the client, but not beyond `end`.
    ///
    /// Without an end, the alarm fires as well: hyper does not poll for a read again once a response is
    /// written, so only the alarm starts the idle timeout.
    fn wait<T>(&mut self, cx: &mut Context<'_>, end: Option<Instant>) -> Poll<io::Result<T>> {
        self.activity().changed.register(cx.waker());
        // Check after registering the waker, so that no change is missed.
        if self.activity().is_cut() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if let Some(end) = end.filter(|&end| end < self.alarm.deadline()) {
            self.alarm.as_mut().reset(end);
        }
        loop {
            ready!(self.alarm.as_mut().poll(cx));
            let now = Instant::now();
            if end.is_some_and(|end| end <= now) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            let Timeouts { header_timeout, answer_timeout, .. } = self.timeouts;
            self.alarm.as_mut().reset(end.unwrap_or(now + header_timeout.min(answer_timeout)));
        }
    }

    /// Fails if the client has closed its side, and otherwise wakes the task when it does.
    fn look_for_end(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        /// While unread bytes are pending, the socket causes no wake-up.
        const LOOK_AGAIN: Duration = Duration::from_millis(500);
        let readable = self.stream.poll_read_ready(cx).is_ready();
        let ready = self.stream.ready(Interest::READABLE).now_or_never().transpose()?;
        if ready.is_some_and(Ready::is_read_closed) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if readable {
            let _: Poll<io::Result<()>> = self.wait(cx, Some(Instant::now() + LOOK_AGAIN));
        }
        Ok(())
    }

    fn after_writing<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_pending() {
            let stuck = *self.stuck.get_or_insert_with(Instant::now);
            let ended = self.wait(cx, Some(stuck + self.timeouts.answer_timeout));
            if ended.is_ready() {
                self.count_unread();
            }
            return ended;
        }
        self.stuck = None;
        self.written = Instant::now();
        written
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_pending() {
            let end = self.reading_ends();
            let ended = self.wait(cx, end);
            if self.activity().is_closing() && self.activity().idle_since().is_some() {
                // As if the client had closed its side.
                return Poll::Ready(Ok(()));
            }
            if ended.is_ready() && self.activity().unread_since().is_some() {
                self.count_unread();
            }
            return ended;
        }
        self.activity().since_read.store(0, Ordering::Relaxed);
        if self.read <= self.written {
            self.read = Instant::now();
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
        self.after_writing(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.after_writing(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes whenever the task is woken.
        let waits = self.activity().waiting.load(Ordering::Relaxed) > 0;
        if waits != self.waits {
            self.waits = waits;
            let PeerTimeouts { waiting, otherwise } = self.timeouts.peer;
            socket::set_peer_timeout(&self.stream, if waits { waiting } else { otherwise });
        }
        if waits {
            self.look_for_end(cx)?;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::gauge::Gauge;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use axum::http::Version;

    use super::*;
    use crate::net::activity::InFlight;
    use crate::net::connections::Connections;
    use crate::net::memory::ResponseMemory;

    /// A connection whose client neither reads nor writes.
    async fn connection() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let (header_timeout, idle_timeout) = (Duration::from_secs(10), Duration::from_secs(75));
        let answer_timeout = Duration::from_secs(30);
        let peer = PeerTimeouts { waiting: answer_timeout, otherwise: answer_timeout };
        let timeouts = Timeouts { header_timeout, idle_timeout, answer_timeout, peer };
        let loopback = std::net::Ipv4Addr::LOCALHOST.into();
        let open = Connections::new(1, 1, ResponseMemory::new(0))
            .enter(loopback, &Gauge::default())
            .unwrap();
        (Connection::new(stream, timeouts, open), client)
    }

    #[tokio::test(start_paused = true)]
    async fn responses_must_be_read() {
        let (mut connection, _client) = connection().await;
        let _under_way = InFlight::begin(&connection.open.activity, Version::HTTP_11);
        let begun = Instant::now();
        let error = loop {
            if let Err(error) = connection.write_all(&vec![0; 1 << 20]).await {
                break error;
            }
        };
        assert_eq!(
            (error.kind(), begun.elapsed()),
            (io::ErrorKind::TimedOut, Duration::from_secs(30))
        );
    }
}
