//! Activity of one connection: the requests in flight, and whether the connection is to be closed.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::Version;
use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use super::memory::ResponseMemory;
use super::responses::{ReadPermit, UnreadResponses};

/// State of a connection that its requests and its socket share.
#[derive(Debug)]
pub(crate) struct Activity {
    pub(super) opened: Instant,
    /// Address of the client.
    address: IpAddr,
    /// Names in the client's certificate.
    certificate: OnceLock<Vec<String>>,
    in_flight: AtomicUsize,
    /// Time at which the last request ended, by [`Activity::now`].
    rested: AtomicU64,
    /// Whether a first request has arrived.
    pub(super) begun: AtomicBool,
    /// HTTP/2 clients also send frames that belong to no request.
    pub(super) http2: AtomicBool,
    /// Requests that began since the last read from the network.
    pub(super) since_read: AtomicUsize,
    /// Number of requests that wait for a token.
    pub(super) waiting: AtomicUsize,
    pub(crate) responses: UnreadResponses,
    /// Memory of the responses of all connections.
    pub(crate) memory: Arc<ResponseMemory>,
    /// Whether the connection serves only health and metrics.
    reserved: bool,
    /// One of [`OPEN`], [`CLOSING`] and [`CUT`].
    state: AtomicU8,
    /// Wakes the connection's task when `state` or `waiting` changes.
    pub(super) changed: AtomicWaker,
}

const OPEN: u8 = 0;
/// Close once idle.
const CLOSING: u8 = 1;
/// Close immediately.
const CUT: u8 = 2;

impl Activity {
    pub(crate) fn new(address: IpAddr, memory: Arc<ResponseMemory>, reserved: bool) -> Self {
        let (in_flight, rested, begun, http2, since_read, waiting) = Default::default();
        let (responses, changed) = Default::default();
        let (opened, state) = (Instant::now(), AtomicU8::new(OPEN));
        Activity {
            opened,
            address,
            certificate: OnceLock::new(),
            in_flight,
            rested,
            begun,
            http2,
            since_read,
            waiting,
            responses,
            memory,
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

    /// Time since which no request is in flight; None while one is.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let idle = self.in_flight.load(Relaxed) == 0;
        idle.then(|| self.at(self.rested.load(Relaxed)))
    }

    /// Time since which the client has read nothing of its longest unread response.
    pub(crate) fn unread_since(&self) -> Option<Instant> {
        self.responses.unread_since().map(|since| self.at(since))
    }

    /// Closes the connection once it is idle.
    pub(crate) fn close(&self) {
        self.state.fetch_max(CLOSING, Relaxed);
        self.changed.wake();
    }

    /// Closes the connection in the middle of a response.
    pub(crate) fn cut(&self) {
        self.state.fetch_max(CUT, Relaxed);
        self.changed.wake();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.state.load(Relaxed) == CLOSING
    }

    pub(super) fn is_cut(&self) -> bool {
        self.state.load(Relaxed) == CUT
    }

    pub(crate) fn is_reserved(&self) -> bool {
        self.reserved
    }
}

/// A request in flight, until this is dropped.
pub(crate) struct InFlight {
    activity: Arc<Activity>,
    /// Whether the request arrived together with the one before it.
    pub(crate) pipelined: bool,
}

impl InFlight {
    pub(crate) fn begin(activity: &Arc<Activity>, version: Version) -> Self {
        if !activity.begun.load(Relaxed) {
            activity.http2.store(version == Version::HTTP_2, Relaxed);
            activity.begun.store(true, Relaxed);
        }
        activity.in_flight.fetch_add(1, Relaxed);
        let pipelined = activity.since_read.fetch_add(1, Relaxed) > 0;
        InFlight { activity: Arc::clone(activity), pipelined }
    }

    pub(crate) fn activity(&self) -> &Activity {
        &self.activity
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.activity.rested.store(self.activity.now(), Relaxed);
        if self.activity.in_flight.fetch_sub(1, Relaxed) == 1 && self.activity.reserved {
            self.activity.close();
        }
    }
}

/// Client of a request, in the request's extensions.
#[derive(Clone)]
pub(crate) struct Client(Arc<Activity>);

impl Client {
    pub(crate) fn of(activity: &Arc<Activity>) -> Self {
        Client(Arc::clone(activity))
    }

    /// Whether the connection serves only health and metrics.
    pub(crate) fn is_reserved(&self) -> bool {
        self.0.reserved
    }

    /// Address of the client.
    pub(crate) fn address(&self) -> IpAddr {
        self.0.address
    }

    /// Names in the client's certificate, which are read once.
    pub(crate) fn certificate(&self, read: impl FnOnce() -> Vec<String>) -> &[String] {
        self.0.certificate.get_or_init(read)
    }

    /// Waits until the connection may process another read.
    pub(crate) async fn permit_read(&self) -> ReadPermit {
        self.0.responses.permit_read().await
    }

    /// Marks the request as waiting for a token. While the guard lives, the connection, and the request
    /// with it, ends soon after the client closes its side or becomes unreachable.
    ///
    /// Usually the end is read anyway. But bytes that follow an HTTP/1 request, and an end behind
    /// them, are not read before that request has its response.
    pub(crate) fn wait(self) -> WaitGuard {
        self.0.waiting.fetch_add(1, Relaxed);
        self.0.changed.wake();
        WaitGuard(self.0)
    }
}

/// A request that waits for a token, until this is dropped.
pub(crate) struct WaitGuard(Arc<Activity>);

impl Drop for WaitGuard {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
        self.0.changed.wake();
    }
}
