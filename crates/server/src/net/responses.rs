//! Tracking of response bodies: which of them a client leaves unread, and since when.
//!
//! A client has not read bytes because hyper polled them from a body, or wrote other bytes to the
//! connection: it may have closed an HTTP/2 stream's window and still exchange other frames. So each
//! piece of a body counts as unread until it is dropped, which happens when it is written to the socket.

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

use super::activity::{Activity, InFlight};
use super::memory::Charge;

/// Size up to which HTTP/1 responses are not tracked: a connection has only one of them at a time.
pub(crate) const LARGE: usize = 64 * 1024;

/// Size of the pieces in which a body is passed to hyper.
const PIECE: usize = 64 * 1024;

/// Approximate memory of an HTTP/2 response besides its body.
const OVERHEAD: usize = 4 * 1024;

/// Unread bytes of a connection at which further reads wait.
pub(crate) const MAX_UNREAD: usize = 4 << 20;

/// Reads of an HTTP/2 connection that are processed at the same time. The response to each may be
/// larger than a megabyte.
pub(crate) const MAX_READS: usize = 8;

/// The unfinished responses of a connection.
#[derive(Debug)]
pub(crate) struct UnreadResponses {
    unfinished: Mutex<Vec<Arc<Progress>>>,
    bytes: AtomicUsize,
    finished: Notify,
    reads: Arc<Semaphore>,
}

impl Default for UnreadResponses {
    fn default() -> Self {
        let (unfinished, bytes, finished) = Default::default();
        UnreadResponses { unfinished, bytes, finished, reads: Arc::new(Semaphore::new(MAX_READS)) }
    }
}

/// Progress of a response.
#[derive(Debug)]
struct Progress {
    /// Bytes passed to hyper and not yet written to the socket.
    unread: AtomicUsize,
    /// Time of the last progress, by [`Activity::now`].
    at: AtomicU64,
}

impl UnreadResponses {
    /// Time since which the client has read nothing of its longest unread response, by
    /// [`Activity::now`].
    pub(crate) fn unread_since(&self) -> Option<u64> {
        let unfinished = self.lock();
        // Load before the time, which is stored first: an old time must not be seen with new bytes.
        let unread = unfinished.iter().filter(|response| response.unread.load(Acquire) > 0);
        unread.map(|response| response.at.load(Relaxed)).min()
    }

    /// Waits until the connection may process another read.
    pub(crate) async fn permit_read(&self) -> ReadPermit {
        let permit = Arc::clone(&self.reads).acquire_owned().await;
        loop {
            // Subscribe before the check, so that a response that ends in between is not missed.
            let finished = self.finished.notified();
            if self.bytes.load(Relaxed) < MAX_UNREAD {
                return ReadPermit(Arc::new(permit.ok()));
            }
            finished.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Progress>>> {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Permit to process a read, until this is dropped.
#[derive(Clone, Debug)]
pub(crate) struct ReadPermit(
    #[expect(dead_code, reason = "held until dropped")] Arc<Option<OwnedSemaphorePermit>>,
);

/// In a response's extensions: its body's memory is shared with other responses, and charged once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedMemory;

/// Charge for a response's body, in its extensions.
#[derive(Clone, Debug)]
pub(crate) struct Charged(
    #[expect(dead_code, reason = "held until dropped")] pub(crate) Arc<Charge>,
);

/// Tracks the response until the client has read it.
pub(crate) fn track(response: Response, in_flight: InFlight, version: Version) -> Response {
    let (mut head, body) = response.into_parts();
    let charged = head.extensions.remove::<Charged>();
    let size = body.size_hint().exact().map(|size| usize::try_from(size).unwrap_or(usize::MAX));
    let http2 = version == Version::HTTP_2;
    if body.is_end_stream() || !http2 && size.is_some_and(|size| size <= LARGE) {
        return Response::from_parts(head, body);
    }
    let charge = charged.unwrap_or_else(|| {
        let shared = head.extensions.get::<SharedMemory>().is_some();
        let own = size.filter(|_| !shared).unwrap_or(0);
        Charged(Arc::new(in_flight.activity().memory.charge(own + OVERHEAD)))
    });
    let response = Arc::new(TrackedResponse::begin(in_flight, size.unwrap_or(0), charge));
    Response::from_parts(head, Body::new(TrackedBody { body, rest: Bytes::new(), response }))
}

/// A tracked response, until all of it is written to the socket or dropped.
struct TrackedResponse {
    in_flight: InFlight,
    progress: Arc<Progress>,
    size: usize,
    _charge: Charged,
}

impl TrackedResponse {
    fn begin(in_flight: InFlight, size: usize, charge: Charged) -> Self {
        let at = AtomicU64::new(in_flight.activity().now());
        let progress = Arc::new(Progress { unread: AtomicUsize::new(0), at });
        let responses = &in_flight.activity().responses;
        responses.lock().push(Arc::clone(&progress));
        responses.bytes.fetch_add(size, Relaxed);
        TrackedResponse { in_flight, progress, size, _charge: charge }
    }

    fn activity(&self) -> &Activity {
        self.in_flight.activity()
    }

    fn track(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        // Only this function adds, so nothing is unread until it does.
        if self.progress.unread.load(Relaxed) == 0 {
            self.progress.at.store(self.activity().now(), Relaxed);
        }
        self.progress.unread.fetch_add(bytes.len(), Release);
        Bytes::from_owner(Piece { bytes, response: Arc::clone(self) })
    }
}

impl Drop for TrackedResponse {
    fn drop(&mut self) {
        let responses = &self.activity().responses;
        let mut unfinished = responses.lock();
        if let Some(place) = unfinished.iter().position(|one| Arc::ptr_eq(one, &self.progress)) {
            unfinished.swap_remove(place);
        }
        drop(unfinished);
        responses.bytes.fetch_sub(self.size, Relaxed);
        responses.finished.notify_waiters();
    }
}

/// A part of a body that hyper holds.
struct Piece {
    bytes: Bytes,
    response: Arc<TrackedResponse>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let TrackedResponse { progress, .. } = &*self.response;
        progress.at.store(self.response.activity().now(), Relaxed);
        progress.unread.fetch_sub(self.bytes.len(), Release);
    }
}

/// A body that is passed to hyper in pieces.
struct TrackedBody {
    body: Body,
    /// Rest of a frame that is not passed on yet.
    rest: Bytes,
    response: Arc<TrackedResponse>,
}

impl HttpBody for TrackedBody {
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
        let piece = self.response.track(piece);
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
