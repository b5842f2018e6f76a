//! Puts a [`Door`] on a listener: how many connections there may be, what they have to do with
//! requests, and how it all ends.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::http::{Request, Version};
use axum::response::Response;
use axum_server::{AddrListener, Address, Handle, Server};
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower::{Service, service_fn};

use crate::accepting::Accepting;
use crate::connection::{Activity, Client, Connection, Lasting, Limits, Open, UnderWay};
use crate::drain::Drain;
use crate::sockets::{self, Silence};
use crate::{Door, Settings};

/// How many requests an HTTP/2 connection may have under way.
const MAX_STREAMS: u32 = 128;

/// How many bytes of an HTTP/1 connection are held at most; a request's head has to fit in.
const MAX_BUFFER: usize = 64 * 1024;

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
    let drain = Arc::<Drain>::default();
    let listener =
        Bounded::new(TcpListener::from_std(listener)?, open, settings, Arc::clone(&drain));
    let handle = Handle::new();
    let mut http = Server::<Peer>::from_listener(listener).handle(handle.clone());
    let builder = http.http_builder();
    builder.http1().max_buf_size(MAX_BUFFER);
    builder
        .http2()
        .max_concurrent_streams(MAX_STREAMS)
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

/// A listener that accepts no more connections than it has permits. Further ones wait in the
/// operating system's queue, which is bounded too. While draining it accepts none.
struct Bounded {
    /// None once it is closed.
    listener: Mutex<Option<Arc<TcpListener>>>,
    drain: Arc<Drain>,
    accepting: Accepting,
    permits: Arc<Semaphore>,
    limits: Limits,
    open: Gauge,
}

impl Bounded {
    fn new(listener: TcpListener, open: Gauge, settings: &Settings, drain: Arc<Drain>) -> Self {
        let Settings { header_timeout, idle_timeout, comment_every, answer_timeout, .. } =
            *settings;
        let permits = Arc::new(Semaphore::new(settings.connections));
        let silence = Silence { waiting: settings.waiter_timeout, otherwise: answer_timeout };
        let limits =
            Limits { header_timeout, idle_timeout, comment_every, answer_timeout, silence };
        let listener = Mutex::new(Some(Arc::new(listener)));
        Bounded { listener, drain, accepting: Accepting::default(), permits, limits, open }
    }

    fn listener(&self) -> io::Result<Arc<TcpListener>> {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).clone();
        listener.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    async fn accept(&self) -> io::Result<(Connection, Peer)> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        let accepted = self.listener()?.accept().await;
        self.accepting.record(&accepted);
        let (stream, address): (TcpStream, _) = accepted?;
        self.drain.used();
        sockets::configure(&stream, self.limits.silence);
        let activity = Arc::new(Activity::default());
        let peer = Peer { address, activity: Arc::clone(&activity) };
        Ok((Connection::new(stream, activity, self.limits, Open::new(permit, &self.open)), peer))
    }
}

impl AddrListener<Connection, Peer> for Bounded {
    async fn bind_to(peer: Peer) -> io::Result<Self> {
        let listener = TcpListener::bind(peer.address).await?;
        Ok(Bounded::new(listener, Gauge::default(), &Settings::default(), Arc::default()))
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
        Ok(Peer { address, activity: Arc::default() })
    }
}

/// The door as one connection sees it: the connection is told which requests are under way.
#[derive(Clone)]
struct Visitor {
    door: Door,
    activity: Arc<Activity>,
    drain: Arc<Drain>,
}

impl<B> Service<Request<B>> for Visitor
where
    Door: Service<Request<B>, Response = Response, Error = Infallible>,
    <Door as Service<Request<B>>>::Future: Unpin,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Visit<<Door as Service<Request<B>>>::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.door.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(Client::of(&self.activity));
        let version = request.version();
        let under_way = UnderWay::begin(&self.activity, version);
        let drain = Arc::clone(&self.drain);
        Visit { answer: self.door.call(request), under_way: Some(under_way), version, drain }
    }
}

/// An answer in the making.
struct Visit<F> {
    answer: F,
    under_way: Option<UnderWay>,
    version: Version,
    drain: Arc<Drain>,
}

impl<F> Future for Visit<F>
where
    F: Future<Output = Result<Response, Infallible>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Ok(mut response) = ready!(Pin::new(&mut self.answer).poll(cx));
        self.drain.answered(self.version, &mut response);
        let lasting = response.extensions_mut().remove::<Lasting>();
        if let Some((lasting, under_way)) = lasting.zip(self.under_way.take()) {
            lasting.keep(under_way);
        }
        Poll::Ready(Ok(response))
    }
}
