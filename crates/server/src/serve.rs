//! Puts a [`Door`] on a listener: how many connections there may be, what they have to do with
//! requests, and how it all ends.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::HttpBody;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Method, Request, Version};
use axum::response::Response;
use axum_server::{AddrListener, Address, Handle, Server};
use bytes::Bytes;
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tower::{Service, service_fn};

use crate::accepting::Accepting;
use crate::answers::{self, Turn};
use crate::budget::Budget;
use crate::connection::{Activity, Client, Connection, Limits, UnderWay};
use crate::crowd::Crowd;
use crate::door::is_vital;
use crate::drain::Drain;
use crate::sockets::{self, Silence};
use crate::{Door, Settings};

/// How many requests an HTTP/2 connection may have under way.
const MAX_STREAMS: u32 = 128;

/// How many bytes of an HTTP/1 connection are held at most; a request's head has to fit in.
const MAX_BUFFER: usize = 64 * 1024;

/// The same for HTTP/2, where each header counts for 32 bytes more than it has.
const MAX_HEAD: u32 = 64 * 1024;

/// Bytes of an HTTP/2 answer that are buffered ahead of the network.
const SEND_BUFFER: usize = 64 * 1024;

/// How many bytes an HTTP/2 client may send of a body before they are asked for.
const H2_WINDOW: u32 = 64 * 1024;

/// Answers requests on `listener` until `stop` resolves, then drains its connections and finishes
/// requests that are under way, within [`Settings::shutdown_timeout`].
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
    let open = door.connections(listener.local_addr()?);
    let (crowd, drain) = (door.crowd(), Arc::<Drain>::default());
    let listener = TcpListener::from_std(listener)?;
    let listener = Bounded::new(listener, open, crowd, settings, Arc::clone(&drain));
    let handle = Handle::new();
    let mut http = Server::<Peer>::from_listener(listener).handle(handle.clone());
    let builder = http.http_builder();
    builder.http1().max_buf_size(MAX_BUFFER);
    builder
        .http2()
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD)
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(H2_WINDOW)
        .initial_connection_window_size(4 * H2_WINDOW);
    let streaming = door.clone();
    let draining = Arc::clone(&drain);
    let visitors = service_fn(move |peer: Peer| {
        let drain = Arc::clone(&draining);
        let visitor = Visitor { door: door.clone(), activity: peer.activity, drain };
        std::future::ready(Ok::<_, Infallible>(visitor))
    });
    let stopping = async {
        stop.await;
        let stopped = Instant::now();
        streaming.stop();
        drain.begin();
        drain.wait(settings.shutdown_timeout, || handle.connection_count()).await;
        let rest = settings.shutdown_timeout.saturating_sub(stopped.elapsed());
        handle.graceful_shutdown(Some(rest));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        served = http.serve(visitors) => served,
        () = stopping => Ok(()),
    }
}

/// The other end of a connection.
#[derive(Clone)]
struct Peer {
    address: SocketAddr,
    activity: Arc<Activity>,
}

impl Address for Peer {
    type Stream = Connection;
    type Listener = Bounded;
}

/// A listener whose connections are those of a [`Crowd`]. While draining it accepts none.
struct Bounded {
    /// None once it is closed.
    listener: Mutex<Option<Arc<TcpListener>>>,
    crowd: Arc<Crowd>,
    drain: Arc<Drain>,
    accepting: Accepting,
    limits: Limits,
    open: Gauge,
}

impl Bounded {
    fn new(
        listener: TcpListener,
        open: Gauge,
        crowd: Arc<Crowd>,
        settings: &Settings,
        drain: Arc<Drain>,
    ) -> Self {
        let Settings { header_timeout, idle_timeout, answer_timeout, .. } = *settings;
        let silence = Silence { waiting: settings.waiter_timeout, otherwise: answer_timeout };
        let limits = Limits { header_timeout, idle_timeout, answer_timeout, silence };
        let listener = Mutex::new(Some(Arc::new(listener)));
        Bounded { listener, crowd, drain, accepting: Accepting::default(), limits, open }
    }

    fn listener(&self) -> io::Result<Arc<TcpListener>> {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).clone();
        listener.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    async fn accept(&self) -> io::Result<(Connection, Peer)> {
        loop {
            let accepted = self.listener()?.accept().await;
            self.accepting.record(&accepted);
            let (stream, address): (TcpStream, _) = accepted?;
            if let Some(open) = self.crowd.enter(address.ip(), &self.open) {
                self.drain.used();
                sockets::configure(&stream, self.limits.silence);
                let peer = Peer { address, activity: Arc::clone(&open.activity) };
                return Ok((Connection::new(stream, self.limits, open), peer));
            }
        }
    }
}

impl AddrListener<Connection, Peer> for Bounded {
    async fn bind_to(peer: Peer) -> io::Result<Self> {
        let listener = TcpListener::bind(peer.address).await?;
        let settings = Settings::default();
        let budget = Budget::new(settings.answer_bytes);
        let crowd = Crowd::new(settings.connections, settings.connections_per_address, budget);
        Ok(Bounded::new(listener, Gauge::default(), crowd, &settings, Arc::default()))
    }

    async fn accept_stream(&self) -> io::Result<(Connection, Peer)> {
        tokio::select! {
            // First those that the system has already accepted: closing the listener resets them.
            biased;
            accepted = self.accept() => accepted,
            () = self.drain.begun() => {
                *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = None;
                self.drain.closed();
                std::future::pending().await
            }
        }
    }

    fn get_local_addr(&self) -> io::Result<Peer> {
        let address = self.listener()?.local_addr()?;
        Ok(Peer { address, activity: Arc::new(Activity::new(Budget::new(0), false)) })
    }
}

/// The door as one connection sees it: the connection is told which requests are under way.
#[derive(Clone)]
struct Visitor {
    door: Door,
    activity: Arc<Activity>,
    drain: Arc<Drain>,
}

/// An answer in the making.
type Answering = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl<B> Service<Request<B>> for Visitor
where
    B: HttpBody<Data = Bytes> + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Visit;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Visit {
        request.extensions_mut().insert(Client::of(&self.activity));
        let version = request.version();
        let under_way = UnderWay::begin(&self.activity, version);
        let reads = request.method() == Method::GET || request.method() == Method::HEAD;
        // Health and metrics do not wait behind other reads of the connection.
        let takes_turns = reads && !is_vital(request.method(), request.uri().path());
        let pauses = version != Version::HTTP_2 && under_way.pipelined;
        let answer = if version == Version::HTTP_2 && takes_turns {
            let (mut door, activity) = (self.door.clone(), Arc::clone(&self.activity));
            Box::pin(async move {
                let turn = activity.answers.turn().await;
                let Ok(mut answer) = door.call(request).await;
                answer.extensions_mut().insert(turn);
                Ok(answer)
            })
        } else {
            self.door.call(request)
        };
        let drain = Arc::clone(&self.drain);
        Visit { answer, under_way: Some(under_way), version, drain, pauses }
    }
}

/// An answer in the making, for one connection.
struct Visit {
    answer: Answering,
    under_way: Option<UnderWay>,
    version: Version,
    drain: Arc<Drain>,
    /// Whether others get their turn first, since the connection had one just before.
    pauses: bool,
}

impl Future for Visit {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if std::mem::take(&mut self.pauses) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Ok(mut response) = ready!(self.answer.as_mut().poll(cx));
        self.drain.answered(self.version, &mut response);
        // Until the answer's size is known to the connection.
        let _turn = response.extensions_mut().remove::<Turn>();
        let Some(under_way) = self.under_way.take() else { return Poll::Ready(Ok(response)) };
        if under_way.activity().is_reserved() && self.version < Version::HTTP_2 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(answers::track(response, under_way, self.version)))
    }
}
