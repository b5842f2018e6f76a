//! Serves a [`Service`] on a listener: connects requests with the state of their connections, and
//! drains connections at the end.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::HttpBody;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, Version};
use axum::response::Response;
use axum_server::{Handle, Server};
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tower::service_fn;

use crate::http::service::Service;
use crate::net::activity::{Activity, Client, InFlight};
use crate::net::drain::Drain;
use crate::net::listener::{LimitedListener, Peer};
use crate::net::responses::{self, ReadPermit};
use crate::settings::Settings;

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Requests in flight on an HTTP/2 connection.
pub(crate) const MAX_STREAMS: u32 = 128;

/// Bytes buffered for an HTTP/1 connection. A request's head must fit in.
pub(crate) const MAX_BUFFER: usize = 64 * 1024;

/// Bytes of an HTTP/2 request's head, where each header counts 32 bytes more than its length.
pub(crate) const MAX_HEAD: u32 = 64 * 1024;

/// Bytes of an HTTP/2 response that are buffered ahead of the network.
const SEND_BUFFER: usize = 64 * 1024;

/// Bytes of a body that an HTTP/2 client may send before the server reads them.
const H2_WINDOW: u32 = 64 * 1024;

/// Serves requests on `listener` until `stop` resolves, then drains connections and finishes requests
/// in flight, within [`Settings::shutdown_timeout`].
///
/// # Errors
///
/// If the listener can't be used.
pub fn serve<'a>(
    listener: std::net::TcpListener,
    service: Service,
    settings: &'a Settings,
    stop: impl Future<Output = ()> + Send + 'a,
) -> BoxFuture<'a, io::Result<()>> {
    // Boxed, so that all of HTTP is compiled with this crate and not with each of its users.
    let stop: BoxFuture<'a, ()> = Box::pin(stop);
    serve_until(listener, service, settings, stop)
}

fn serve_until<'a>(
    listener: std::net::TcpListener,
    service: Service,
    settings: &'a Settings,
    stop: BoxFuture<'a, ()>,
) -> BoxFuture<'a, io::Result<()>> {
    Box::pin(run(listener, service, settings, stop))
}

async fn run(
    listener: std::net::TcpListener,
    service: Service,
    settings: &Settings,
    stop: BoxFuture<'_, ()>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let open = service.open_connections(listener.local_addr()?);
    let drain = Arc::<Drain>::default();
    let listener = TcpListener::from_std(listener)?;
    let connections = service.connections();
    let listener = LimitedListener::new(listener, open, connections, settings, Arc::clone(&drain));
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
    let (stopping, draining) = (service.clone(), Arc::clone(&drain));
    let services = service_fn(move |peer: Peer| {
        let (service, drain) = (service.clone(), Arc::clone(&draining));
        let service = TrackedService { service, activity: peer.activity, drain };
        std::future::ready(Ok::<_, Infallible>(service))
    });
    let serving: BoxFuture<'_, io::Result<()>> = match &settings.tls {
        Some(tls) => {
            let acceptor = tls.acceptor(settings.header_timeout);
            Box::pin(http.acceptor(acceptor).serve(services))
        }
        None => Box::pin(http.serve(services)),
    };
    let stopping = async {
        stop.await;
        let stopped = Instant::now();
        stopping.stop();
        drain.begin();
        drain.wait(settings.shutdown_timeout, || handle.connection_count()).await;
        let rest = settings.shutdown_timeout.saturating_sub(stopped.elapsed());
        handle.graceful_shutdown(Some(rest));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        served = serving => served,
        () = stopping => Ok(()),
    }
}

/// The service for one connection. Reports requests in flight to the connection.
#[derive(Clone)]
struct TrackedService {
    service: Service,
    activity: Arc<Activity>,
    drain: Arc<Drain>,
}

type PendingResponse = BoxFuture<'static, Result<Response, Infallible>>;

impl<B> tower::Service<Request<B>> for TrackedService
where
    B: HttpBody<Data = Bytes> + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = TrackedFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> TrackedFuture {
        request.extensions_mut().insert(Client::of(&self.activity));
        let version = request.version();
        let in_flight = InFlight::begin(&self.activity, version);
        let yields = version != Version::HTTP_2 && in_flight.pipelined;
        let response = tower::Service::call(&mut self.service, request);
        let drain = Arc::clone(&self.drain);
        TrackedFuture { response, in_flight: Some(in_flight), version, drain, yields }
    }
}

/// A pending response of one connection.
struct TrackedFuture {
    response: PendingResponse,
    in_flight: Option<InFlight>,
    version: Version,
    drain: Arc<Drain>,
    /// Whether other connections get their turn first, because this one just had a response.
    yields: bool,
}

impl Future for TrackedFuture {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if std::mem::take(&mut self.yields) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Ok(mut response) = ready!(self.response.as_mut().poll(cx));
        self.drain.answered(self.version, &mut response);
        // Hold the permit until the connection knows the response's size.
        let _permit = response.extensions_mut().remove::<ReadPermit>();
        let Some(in_flight) = self.in_flight.take() else { return Poll::Ready(Ok(response)) };
        if in_flight.activity().is_reserved() && self.version < Version::HTTP_2 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(responses::track(response, in_flight, self.version)))
    }
}
