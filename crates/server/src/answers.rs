//! Answers on their way: which of them a connection's client leaves untaken, and since when.
//!
//! What hyper polls of a body is not yet taken, and neither is a write to the connection: the client
//! may have shut an HTTP/2 stream's window and still exchange other frames. So each piece of a body
//! is counted until it is dropped, which happens when it is written to the socket.

use std::pin::Pin;
use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::Error;
use axum::body::{Body, HttpBody};
use axum::http::Version;
use axum::response::Response;
use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::budget::Charge;
use crate::connection::{Activity, UnderWay};
use crate::encode::Shared;

/// An HTTP/1 connection has one answer at a time; up to this size it costs too little to track it.
pub(crate) const LARGE: usize = 64 * 1024;

/// Size of the pieces in which a body is handed out.
const PIECE: usize = 64 * 1024;

/// Bytes that an HTTP/2 answer needs besides its body, roughly.
const OVERHEAD: usize = 4 * 1024;

/// Bytes of untaken answers of a connection from which on further reads wait.
const MOST_UNTAKEN: usize = 4 << 20;

/// Number of reads of an HTTP/2 connection that are prepared at the same time. Each may become an
/// answer of more than a megabyte.
const MOST_READS: usize = 8;

/// The unfinished answers of a connection.
#[derive(Debug)]
pub(crate) struct Answers {
    unfinished: Mutex<Vec<Arc<Progress>>>,
    bytes: AtomicUsize,
    finished: Notify,
    reads: Arc<Semaphore>,
}

impl Default for Answers {
    fn default() -> Self {
        let (unfinished, bytes, finished) = Default::default();
        Answers { unfinished, bytes, finished, reads: Arc::new(Semaphore::new(MOST_READS)) }
    }
}

/// How far an answer is.
#[derive(Debug)]
struct Progress {
    /// Bytes handed out and not yet written to the socket.
    untaken: AtomicUsize,
    /// Time of the last progress, by the connection's clock.
    at: AtomicU64,
}

impl Answers {
    /// Since when the client has taken nothing of the answer that it neglects most, in milliseconds of
    /// the connection's clock.
    pub(crate) fn untaken_since(&self) -> Option<u64> {
        let unfinished = self.lock();
        // Before the time, which is stored first: an old one must not be seen with new bytes.
        let untaken = unfinished.iter().filter(|answer| answer.untaken.load(Acquire) > 0);
        untaken.map(|answer| answer.at.load(Relaxed)).min()
    }

    /// Waits until the connection may prepare another answer to a read.
    pub(crate) async fn turn(&self) -> Turn {
        let permit = Arc::clone(&self.reads).acquire_owned().await;
        loop {
            // Before the check, so that an answer that ends in between is not missed.
            let finished = self.finished.notified();
            if self.bytes.load(Relaxed) < MOST_UNTAKEN {
                return Turn(Arc::new(permit.ok()));
            }
            finished.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Progress>>> {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to prepare an answer to a read, until this is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Turn(
    #[expect(dead_code, reason = "it is there to be dropped")] Arc<Option<OwnedSemaphorePermit>>,
);

/// The charge for an answer's body, in its extensions.
#[derive(Clone, Debug)]
pub(crate) struct Charged(
    #[expect(dead_code, reason = "it is there to be dropped")] pub(crate) Arc<Charge>,
);

/// The answer with a body that is followed until the client has taken it.
pub(crate) fn track(response: Response, under_way: UnderWay, version: Version) -> Response {
    let (mut head, body) = response.into_parts();
    let charged = head.extensions.remove::<Charged>();
    let shared = head.extensions.remove::<Shared>().is_some();
    let size = body.size_hint().exact().map(|size| usize::try_from(size).unwrap_or(usize::MAX));
    let http2 = version == Version::HTTP_2;
    if body.is_end_stream() || !http2 && size.is_some_and(|size| size <= LARGE) {
        return Response::from_parts(head, body);
    }
    let charge = charged.unwrap_or_else(|| {
        let own = size.filter(|_| !shared).unwrap_or(0);
        Charged(Arc::new(under_way.activity().budget.charge(own + OVERHEAD)))
    });
    let answer = Arc::new(Answer::begin(under_way, size.unwrap_or(0), charge));
    Response::from_parts(head, Body::new(Tracked { body, rest: Bytes::new(), answer }))
}

/// An answer until all of it is written to the socket, or given up.
struct Answer {
    under_way: UnderWay,
    progress: Arc<Progress>,
    size: usize,
    _charge: Charged,
}

impl Answer {
    fn begin(under_way: UnderWay, size: usize, charge: Charged) -> Self {
        let at = AtomicU64::new(under_way.activity().now());
        let progress = Arc::new(Progress { untaken: AtomicUsize::new(0), at });
        let answers = &under_way.activity().answers;
        answers.lock().push(Arc::clone(&progress));
        answers.bytes.fetch_add(size, Relaxed);
        Answer { under_way, progress, size, _charge: charge }
    }

    fn activity(&self) -> &Activity {
        self.under_way.activity()
    }

    fn hand_out(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        // Only this side adds, so nothing is untaken until it does.
        if self.progress.untaken.load(Relaxed) == 0 {
            self.progress.at.store(self.activity().now(), Relaxed);
        }
        self.progress.untaken.fetch_add(bytes.len(), Release);
        Bytes::from_owner(Piece { bytes, answer: Arc::clone(self) })
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let answers = &self.activity().answers;
        let mut unfinished = answers.lock();
        if let Some(place) = unfinished.iter().position(|one| Arc::ptr_eq(one, &self.progress)) {
            unfinished.swap_remove(place);
        }
        drop(unfinished);
        answers.bytes.fetch_sub(self.size, Relaxed);
        answers.finished.notify_waiters();
    }
}

/// A part of a body that was handed out.
struct Piece {
    bytes: Bytes,
    answer: Arc<Answer>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let Answer { progress, .. } = &*self.answer;
        progress.at.store(self.answer.activity().now(), Relaxed);
        progress.untaken.fetch_sub(self.bytes.len(), Release);
    }
}

/// A body that is handed out in pieces.
struct Tracked {
    body: Body,
    /// Part of a frame that is not handed out yet.
    rest: Bytes,
    answer: Arc<Answer>,
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Error>>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        let length = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(length);
        let piece = self.answer.hand_out(piece);
        Poll::Ready(Some(Ok(http_body::Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        let (rest, of_body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = http_body::SizeHint::new();
        hint.set_lower(of_body.lower() + rest);
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
