//! A connection that gives up on a client which does not go on.
//!
//! Time limits of the request itself (its body, its answer) are the door's business. Here it is
//! about all that is left: a client that says nothing, half a head, or does not read its answers.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::Version;
use futures_util::FutureExt;
use futures_util::task::AtomicWaker;
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::sockets::{self, Silence};

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For its first request, and for the rest of a request's head once it has begun.
    pub(crate) header_timeout: Duration,
    /// From an answer to the next request.
    pub(crate) idle_timeout: Duration,
    /// How often an event stream says something at least.
    pub(crate) comment_every: Duration,
    /// To take what there is of an answer.
    pub(crate) answer_timeout: Duration,
    pub(crate) silence: Silence,
}

/// What a connection has to know about its requests.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    under_way: AtomicUsize,
    /// How many of them are event streams.
    streams: AtomicUsize,
    /// Whether there was a request yet.
    begun: AtomicBool,
    /// HTTP/2 clients send other things than requests, too.
    http2: AtomicBool,
    /// Number of requests that wait for a token.
    waiting: AtomicUsize,
    /// Wakes the connection's task, to look at the above.
    changed: AtomicWaker,
}

/// A request that is under way, until this is dropped.
pub(crate) struct UnderWay {
    activity: Arc<Activity>,
    is_stream: bool,
}

impl UnderWay {
    pub(crate) fn begin(activity: &Arc<Activity>, version: Version) -> Self {
        if !activity.begun.load(Ordering::Relaxed) {
            activity.http2.store(version == Version::HTTP_2, Ordering::Relaxed);
            activity.begun.store(true, Ordering::Relaxed);
        }
        activity.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay { activity: Arc::clone(activity), is_stream: false }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.is_stream {
            self.activity.streams.fetch_sub(1, Ordering::Relaxed);
        }
        self.activity.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The client of a request.
#[derive(Clone)]
pub(crate) struct Client(Arc<Activity>);

impl Client {
    pub(crate) fn of(activity: &Arc<Activity>) -> Self {
        Client(Arc::clone(activity))
    }

    /// While the returned guard lives, the connection, and the request with it, ends soon after
    /// the client closes its side or becomes unreachable.
    ///
    /// Mostly the end is read anyway. But bytes that follow an HTTP/1 request, and an end behind
    /// them, are not read before that request is answered.
    pub(crate) fn wait(self) -> Waiting {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        self.0.changed.wake();
        Waiting(self.0)
    }
}

/// A request that waits for a token, until this is dropped.
pub(crate) struct Waiting(Arc<Activity>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.wake();
    }
}

/// Keeps a request under way beyond the head of its answer, as long as there is a clone of this: for
/// answers that come to no end by themselves.
#[derive(Clone, Default)]
pub(crate) struct Lasting {
    under_way: Arc<OnceLock<UnderWay>>,
    is_stream: bool,
}

impl Lasting {
    /// For an event stream: where nothing of it can be written, the client takes nothing.
    pub(crate) fn stream() -> Self {
        Lasting { is_stream: true, ..Lasting::default() }
    }

    pub(crate) fn keep(&self, mut under_way: UnderWay) {
        if self.is_stream {
            under_way.activity.streams.fetch_add(1, Ordering::Relaxed);
            under_way.is_stream = true;
        }
        // There is one request for one answer.
        let _ = self.under_way.set(under_way);
    }
}

/// Stands for a connection that is open: it has a permit, and is counted.
pub(crate) struct Open {
    _permit: OwnedSemaphorePermit,
    count: Gauge,
}

impl Open {
    pub(crate) fn new(permit: OwnedSemaphorePermit, count: &Gauge) -> Self {
        count.inc();
        Open { _permit: permit, count: count.clone() }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.count.dec();
    }
}

/// A TCP connection with these limits, which is open until this is dropped.
pub(crate) struct Connection {
    stream: TcpStream,
    activity: Arc<Activity>,
    limits: Limits,
    opened: Instant,
    /// When something came first after `written`.
    read: Instant,
    written: Instant,
    /// Since when the client does not take what there is to write.
    stuck: Option<Instant>,
    /// Whether the shorter limit for unreachable clients is in force.
    waits: bool,
    /// Set anew only when it goes off, or would go off too late: much cheaper than for each request.
    alarm: Pin<Box<Sleep>>,
    _open: Open,
}

impl Connection {
    pub(crate) fn new(
        stream: TcpStream,
        activity: Arc<Activity>,
        limits: Limits,
        open: Open,
    ) -> Self {
        let opened = Instant::now();
        Connection {
            stream,
            activity,
            limits,
            opened,
            read: opened,
            written: opened,
            stuck: None,
            waits: false,
            alarm: Box::pin(sleep_until(opened + limits.header_timeout)),
            _open: open,
        }
    }

    /// When the client will have said nothing, or nothing whole, for too long. None while it is the
    /// server's turn.
    ///
    /// An HTTP/2 client may keep event streams from being written without the connection being stuck,
    /// so it is the server's turn only as long as something is written.
    fn reading_ends(&self) -> Option<Instant> {
        let Activity { under_way, streams, begun, http2, .. } = &*self.activity;
        let Limits { header_timeout, idle_timeout, comment_every, .. } = self.limits;
        let under_way = under_way.load(Ordering::Relaxed);
        if under_way > 0 {
            let only_streams = under_way == streams.load(Ordering::Relaxed);
            let may_be_shut = only_streams && http2.load(Ordering::Relaxed);
            return may_be_shut.then(|| self.written + idle_timeout + comment_every);
        }
        if !begun.load(Ordering::Relaxed) {
            return Some(self.opened + header_timeout);
        }
        let within_head = self.read > self.written && !http2.load(Ordering::Relaxed);
        Some(if within_head { self.read + header_timeout } else { self.written + idle_timeout })
    }

    /// Waits for the client, but not beyond `end`.
    ///
    /// Without an end, the alarm goes off all the same: nobody asks to read again once an answer is
    /// written, so it is then that the connection's rest comes to notice.
    fn wait<T>(&mut self, cx: &mut Context<'_>, end: Option<Instant>) -> Poll<io::Result<T>> {
        self.activity.changed.register(cx.waker());
        if let Some(end) = end.filter(|&end| end < self.alarm.deadline()) {
            self.alarm.as_mut().reset(end);
        }
        loop {
            ready!(self.alarm.as_mut().poll(cx));
            let now = Instant::now();
            if end.is_some_and(|end| end <= now) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.alarm.as_mut().reset(end.unwrap_or(now + self.limits.header_timeout));
        }
    }

    /// Fails when the client has closed its side, and else has the task woken when it does.
    fn look_for_end(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        /// While there is something to read that nobody reads, nothing wakes.
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
            return self.wait(cx, Some(stuck + self.limits.answer_timeout));
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
            return self.wait(cx, end);
        }
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
        // This is asked for whenever the task was woken.
        let waits = self.activity.waiting.load(Ordering::Relaxed) > 0;
        if waits != self.waits {
            self.waits = waits;
            let Silence { waiting, otherwise } = self.limits.silence;
            sockets::limit(&self.stream, if waits { waiting } else { otherwise });
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
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::sync::Semaphore;

    use super::*;

    /// A connection of which the other end does nothing.
    async fn connection() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let header_timeout = Duration::from_secs(10);
        let (idle_timeout, comment_every) = (Duration::from_secs(75), Duration::from_secs(15));
        let answer_timeout = Duration::from_secs(30);
        let silence = Silence { waiting: answer_timeout, otherwise: answer_timeout };
        let limits =
            Limits { header_timeout, idle_timeout, comment_every, answer_timeout, silence };
        let open = Open::new(permit, &Gauge::default());
        (Connection::new(stream, Arc::default(), limits, open), client)
    }

    #[tokio::test(start_paused = true)]
    async fn answers_must_be_read() {
        let (mut connection, _client) = connection().await;
        let _under_way = UnderWay::begin(&connection.activity, Version::HTTP_11);
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
