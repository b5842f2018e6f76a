//! A connection that gives up on a client which does not go on.
//!
//! Time limits of the request itself (its body, its answer) are the door's business. Here it is
//! about all that is left: a client that says nothing, half a head, or does not read its answers.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::Version;
use futures_util::FutureExt;
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::answers::Answers;
use crate::budget::Budget;
use crate::crowd::Open;
use crate::sockets::{self, Silence};

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For its first request, and for the rest of a request's head once it has begun.
    pub(crate) header_timeout: Duration,
    /// From an answer to the next request.
    pub(crate) idle_timeout: Duration,
    /// To take what there is of an answer.
    pub(crate) answer_timeout: Duration,
    pub(crate) silence: Silence,
}

/// What a connection has to know about its requests.
#[derive(Debug)]
pub(crate) struct Activity {
    opened: Instant,
    under_way: AtomicUsize,
    /// When the last request ended, by [`Activity::now`].
    rested: AtomicU64,
    /// Whether there was a request yet.
    begun: AtomicBool,
    /// HTTP/2 clients send other things than requests, too.
    http2: AtomicBool,
    /// Requests that began since something was read from the network.
    since_read: AtomicUsize,
    /// Number of requests that wait for a token.
    waiting: AtomicUsize,
    pub(crate) answers: Answers,
    /// Memory for answers.
    pub(crate) budget: Arc<Budget>,
    /// Whether only health and metrics are served.
    reserved: bool,
    /// One of [`OPEN`], [`CLOSING`] and [`CUT`].
    state: AtomicU8,
    /// Wakes the connection's task, to look at the above.
    changed: AtomicWaker,
}

const OPEN: u8 = 0;
/// To be closed once it is idle.
const CLOSING: u8 = 1;
/// To be closed at once.
const CUT: u8 = 2;

impl Activity {
    pub(crate) fn new(budget: Arc<Budget>, reserved: bool) -> Self {
        let (under_way, rested, begun, http2, since_read, waiting) = Default::default();
        let (answers, changed) = Default::default();
        let (opened, state) = (Instant::now(), AtomicU8::new(OPEN));
        Activity {
            opened,
            under_way,
            rested,
            begun,
            http2,
            since_read,
            waiting,
            answers,
            budget,
            reserved,
            state,
            changed,
        }
    }

    /// Milliseconds since the connection was opened.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn at(&self, millis: u64) -> Instant {
        self.opened + Duration::from_millis(millis)
    }

    /// Since when there is no request under way; None where there is one.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let idle = self.under_way.load(Ordering::Relaxed) == 0;
        idle.then(|| self.at(self.rested.load(Ordering::Relaxed)))
    }

    /// Since when the client has taken nothing of the answer that it neglects most.
    pub(crate) fn untaken_since(&self) -> Option<Instant> {
        self.answers.untaken_since().map(|since| self.at(since))
    }

    /// Closes the connection once it is idle.
    pub(crate) fn close(&self) {
        self.state.fetch_max(CLOSING, Ordering::Relaxed);
        self.changed.wake();
    }

    /// Closes the connection in the middle of an answer.
    pub(crate) fn cut(&self) {
        self.state.fetch_max(CUT, Ordering::Relaxed);
        self.changed.wake();
    }

    #[cfg(test)]
    pub(crate) fn is_closing(&self) -> bool {
        self.state.load(Ordering::Relaxed) >= CLOSING
    }

    pub(crate) fn is_reserved(&self) -> bool {
        self.reserved
    }
}

/// A request that is under way, until this is dropped.
pub(crate) struct UnderWay {
    activity: Arc<Activity>,
    /// Whether it came together with the one before.
    pub(crate) pipelined: bool,
}

impl UnderWay {
    pub(crate) fn begin(activity: &Arc<Activity>, version: Version) -> Self {
        if !activity.begun.load(Ordering::Relaxed) {
            activity.http2.store(version == Version::HTTP_2, Ordering::Relaxed);
            activity.begun.store(true, Ordering::Relaxed);
        }
        activity.under_way.fetch_add(1, Ordering::Relaxed);
        let pipelined = activity.since_read.fetch_add(1, Ordering::Relaxed) > 0;
        UnderWay { activity: Arc::clone(activity), pipelined }
    }

    pub(crate) fn activity(&self) -> &Activity {
        &self.activity
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.activity.rested.store(self.activity.now(), Ordering::Relaxed);
        if self.activity.under_way.fetch_sub(1, Ordering::Relaxed) == 1 && self.activity.reserved {
            self.activity.close();
        }
    }
}

/// The client of a request.
#[derive(Clone)]
pub(crate) struct Client(Arc<Activity>);

impl Client {
    pub(crate) fn of(activity: &Arc<Activity>) -> Self {
        Client(Arc::clone(activity))
    }

    /// Whether only health and metrics are served on this connection.
    pub(crate) fn is_reserved(&self) -> bool {
        self.0.reserved
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

/// A TCP connection with these limits, which is open until this is dropped.
pub(crate) struct Connection {
    stream: TcpStream,
    limits: Limits,
    /// When something came first after `written`.
    read: Instant,
    written: Instant,
    /// Since when the client does not take what there is to write.
    stuck: Option<Instant>,
    /// Whether the shorter limit for unreachable clients is in force.
    waits: bool,
    /// Set anew only when it goes off, or would go off too late: much cheaper than for each request.
    alarm: Pin<Box<Sleep>>,
    open: Open,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, limits: Limits, open: Open) -> Self {
        let opened = open.activity.opened;
        Connection {
            stream,
            limits,
            read: opened,
            written: opened,
            stuck: None,
            waits: false,
            alarm: Box::pin(sleep_until(opened + limits.header_timeout)),
            open,
        }
    }

    fn activity(&self) -> &Activity {
        &self.open.activity
    }

    /// When the client will have said nothing, or nothing whole, for too long. None while it is the
    /// server's turn.
    ///
    /// An HTTP/2 client may leave an answer untaken without the connection being stuck, and what else
    /// it exchanges does not count: neither then nor while it is idle.
    fn reading_ends(&self) -> Option<Instant> {
        let activity = self.activity();
        let Limits { header_timeout, idle_timeout, answer_timeout, .. } = self.limits;
        let http2 = activity.http2.load(Ordering::Relaxed);
        let Some(idle_since) = activity.idle_since() else {
            let untaken = if http2 { activity.untaken_since() } else { None };
            return untaken.map(|since| since + answer_timeout);
        };
        if !activity.begun.load(Ordering::Relaxed) {
            return Some(activity.opened + header_timeout);
        }
        let within_head = self.read > self.written && !http2;
        let idle_since = if http2 { idle_since } else { self.written };
        Some(if within_head { self.read + header_timeout } else { idle_since + idle_timeout })
    }

    /// Counts that the client took an answer too slowly, unless it was counted when it was cut.
    fn count_untaken(&self) {
        if self.activity().state.load(Ordering::Relaxed) != CUT {
            self.open.neglected();
        }
    }

    /// Waits for the client, but not beyond `end`.
    ///
    /// Without an end, the alarm goes off all the same: nobody asks to read again once an answer is
    /// written, so it is then that the connection's rest comes to notice.
    fn wait<T>(&mut self, cx: &mut Context<'_>, end: Option<Instant>) -> Poll<io::Result<T>> {
        self.activity().changed.register(cx.waker());
        // After the waker is registered, so that no change is missed.
        if self.activity().state.load(Ordering::Relaxed) == CUT {
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
            let Limits { header_timeout, answer_timeout, .. } = self.limits;
            self.alarm.as_mut().reset(end.unwrap_or(now + header_timeout.min(answer_timeout)));
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
            let ended = self.wait(cx, Some(stuck + self.limits.answer_timeout));
            if ended.is_ready() {
                self.count_untaken();
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
            let closing = self.activity().state.load(Ordering::Relaxed) == CLOSING;
            if closing && self.activity().idle_since().is_some() {
                // As if the client had closed its side.
                return Poll::Ready(Ok(()));
            }
            if ended.is_ready() && self.activity().untaken_since().is_some() {
                self.count_untaken();
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
        // This is asked for whenever the task was woken.
        let waits = self.activity().waiting.load(Ordering::Relaxed) > 0;
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
    use prometheus_client::metrics::gauge::Gauge;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::crowd::Crowd;

    /// A connection of which the other end does nothing.
    async fn connection() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let (header_timeout, idle_timeout) = (Duration::from_secs(10), Duration::from_secs(75));
        let answer_timeout = Duration::from_secs(30);
        let silence = Silence { waiting: answer_timeout, otherwise: answer_timeout };
        let limits = Limits { header_timeout, idle_timeout, answer_timeout, silence };
        let loopback = std::net::Ipv4Addr::LOCALHOST.into();
        let open = Crowd::new(1, 1, Budget::new(0)).enter(loopback, &Gauge::default()).unwrap();
        (Connection::new(stream, limits, open), client)
    }

    #[tokio::test(start_paused = true)]
    async fn answers_must_be_read() {
        let (mut connection, _client) = connection().await;
        let _under_way = UnderWay::begin(&connection.open.activity, Version::HTTP_11);
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
