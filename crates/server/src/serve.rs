//! Puts a [`Door`] on a listener: how many connections there may be, what they have to do with
//! requests, and how it all ends.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::http::Request;
use axum::response::Response;
use axum_server::{AddrListener, Address, Handle, Server};
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::{Service, service_fn};

use crate::connection::{Activity, Client, Connection, Lasting, Limits, Open, UnderWay};
use crate::sockets::{self, Silence};
use crate::{Door, Settings};

/// How many requests an HTTP/2 connection may have under way.
const MAX_STREAMS: u32 = 128;

/// How many bytes of an HTTP/1 connection are held at most; a request's head has to fit in.
const MAX_BUFFER: usize = 64 * 1024;

/// How many bytes an HTTP/2 client may send of a body before they are asked for.
const H2_WINDOW: u32 = 64 * 1024;

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
    let open = door.connections(listener.local_addr()?);
    let listener = Bounded::new(TcpListener::from_std(listener)?, open, settings);
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
    let visitors = service_fn(move |peer: Peer| {
        let visitor = Visitor { door: door.clone(), activity: peer.activity };
        std::future::ready(Ok::<_, Infallible>(visitor))
    });
    let stopping = async {
        stop.await;
        streaming.stop();
        handle.graceful_shutdown(Some(settings.shutdown_timeout));
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
/// operating system's queue, which is bounded too.
struct Bounded {
    listener: TcpListener,
    permits: Arc<Semaphore>,
    limits: Limits,
    open: Gauge,
}

impl Bounded {
    fn new(listener: TcpListener, open: Gauge, settings: &Settings) -> Self {
        let Settings { header_timeout, idle_timeout, comment_every, answer_timeout, .. } =
            *settings;
        let permits = Arc::new(Semaphore::new(settings.connections));
        let silence = Silence { waiting: settings.waiter_timeout, otherwise: answer_timeout };
        let limits =
            Limits { header_timeout, idle_timeout, comment_every, answer_timeout, silence };
        Bounded { listener, permits, limits, open }
    }
}

impl AddrListener<Connection, Peer> for Bounded {
    async fn bind_to(peer: Peer) -> io::Result<Self> {
        let listener = TcpListener::bind(peer.address).await?;
        Ok(Bounded::new(listener, Gauge::default(), &Settings::default()))
    }

    async fn accept_stream(&self) -> io::Result<(Connection, Peer)> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        let (stream, address): (TcpStream, _) = self.listener.accept().await?;
        sockets::configure(&stream, self.limits.silence);
        let activity = Arc::new(Activity::default());
        let peer = Peer { address, activity: Arc::clone(&activity) };
        Ok((Connection::new(stream, activity, self.limits, Open::new(permit, &self.open)), peer))
    }

    fn get_local_addr(&self) -> io::Result<Peer> {
        let address = self.listener.local_addr()?;
        Ok(Peer { address, activity: Arc::default() })
    }
}

/// The door as one connection sees it: the connection is told which requests are under way.
#[derive(Clone)]
struct Visitor {
    door: Door,
    activity: Arc<Activity>,
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
        let under_way = UnderWay::begin(&self.activity, request.version());
        Visit { answer: self.door.call(request), under_way: Some(under_way) }
    }
}

/// An answer in the making.
struct Visit<F> {
    answer: F,
    under_way: Option<UnderWay>,
}

impl<F> Future for Visit<F>
where
    F: Future<Output = Result<Response, Infallible>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Ok(mut response) = ready!(Pin::new(&mut self.answer).poll(cx));
        let lasting = response.extensions_mut().remove::<Lasting>();
        if let Some((lasting, under_way)) = lasting.zip(self.under_way.take()) {
            lasting.keep(under_way);
        }
        Poll::Ready(Ok(response))
    }
}
