//! The service: everything that a request passes on its way to its handler. One place for all of it,
//! because each layer costs time.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_TYPE, EXPECT, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::Instrument as _;

use super::access::{Acting, Guard, Sender, Turn, offers_basic};
use super::compress::{Compression, Encoding};
use super::origin::OriginCheck;
use super::panics::{self, Panicked};
use super::path::{LoggedPath, with_single_slashes};
use super::request_id::{self, REQUEST_ID, RequestIds};
use super::respond::{LoggedUser, revoked, too_many_answers};
use super::route::{Kind, Matched, Routes};
use super::{body, traces};
use crate::metrics::{self, Metrics};
use crate::net::activity::Client;
use crate::net::connections::Connections;
use crate::net::responses::{Charged, LARGE, SharedMemory};
use crate::problem::{Code, Problem};
use crate::settings::{MAX_DOCUMENTS, Settings, Traces};

const PROBLEM_JSON: &str = "application/problem+json";

/// Challenge for clients that know only user names and passwords.
const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"TokenManager\"");

/// The service that [`crate::router()`] returns. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    routes: Routes,
    guard: Arc<Guard>,
    compression: Compression,
    metrics: Arc<Metrics>,
    connections: Arc<Connections>,
    origin: OriginCheck,
    request_ids: RequestIds,
    traces: Option<Arc<dyn Traces>>,
    body_timeout: Duration,
    request_timeout: Duration,
    documents: Semaphore,
    stop: Box<dyn Fn() + Send + Sync>,
}

impl Service {
    /// Creates the service. `stop` ends responses that would go on for long.
    pub(crate) fn new(
        routes: Routes,
        settings: &Settings,
        guard: Arc<Guard>,
        metrics: Arc<Metrics>,
        connections: Arc<Connections>,
        stop: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Service(Arc::new(Inner {
            routes,
            guard,
            compression: Compression::new(Arc::clone(&connections.memory)),
            metrics,
            connections,
            origin: OriginCheck::new(settings.loopback, &settings.allowed_hosts),
            request_ids: RequestIds::new(),
            traces: settings.traces.clone(),
            body_timeout: settings.body_timeout,
            request_timeout: settings.request_timeout,
            documents: Semaphore::new(MAX_DOCUMENTS),
            stop: Box::new(stop),
        }))
    }

    /// Gauge of the open connections at this address.
    pub(crate) fn open_connections(&self, address: SocketAddr) -> Gauge {
        let label = [("address", address.to_string())];
        self.0.metrics.connections.get_or_create(&label).clone()
    }

    pub(crate) fn connections(&self) -> Arc<Connections> {
        Arc::clone(&self.0.connections)
    }

    /// Ends responses that would go on for long.
    pub(crate) fn stop(&self) {
        (self.0.stop)();
    }
}

/// Turns of a request, until these are dropped: for its document, and among the callers.
type Turns<'a> = (Option<SemaphorePermit<'a>>, Option<Arc<Turn>>);

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

impl<B> tower::Service<Request<B>> for Service
where
    B: HttpBody<Data = Bytes> + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        let single = with_single_slashes(request.uri());
        let path = single.as_ref().unwrap_or(request.uri()).path();
        let route = inner.routes.find(request.method(), path);
        let span = traces::span(inner.traces.as_deref(), &request, route.template);
        Box::pin(async move { Ok(inner.respond(request, single, route).await) }.instrument(span))
    }
}

impl Inner {
    /// Responds to a request. `single` replaces its URI, if present.
    async fn respond<B>(
        &self,
        mut request: Request<B>,
        single: Option<Uri>,
        route: Matched,
    ) -> Response
    where
        B: HttpBody<Data = Bytes>,
    {
        let client = request.extensions().get::<Client>().cloned();
        let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let address = client.as_ref().map_or(unknown, Client::address);
        let permit = match client.filter(|_| request.version() == Version::HTTP_2) {
            Some(client) if route.kind.is_limited_per_connection() => {
                Some(client.permit_read().await)
            }
            _ => None,
        };
        let started = Instant::now();
        let request_id = self.request_ids.of(request.headers());
        let wants_problem = accepts_problem_json(request.headers());
        let with_basic = offers_basic(request.headers());
        let logged = tracing::enabled!(target: "access", tracing::Level::INFO)
            .then(|| (request.method().clone(), request.uri().clone()));

        if let Some(uri) = single {
            *request.uri_mut() = uri;
        }
        let (method, index, template) =
            (metrics::method(request.method()), route.index, route.template);
        let mut caller = Sender { address, key: None, user: None };
        let response = async {
            match self.admit(request, &route, &mut caller).await {
                Ok((request, acting, _turns)) => self.handle(request, route, acting).await,
                Err(problem) => problem.into_response(),
            }
        };
        let (mut response, request_id) = request_id::within(request_id, response).await;
        let status = response.status();
        let took = started.elapsed();
        self.metrics.answered(index, method, &response, took);
        if let (401 | 403 | 429, Some(code)) =
            (status.as_u16(), response.extensions().get::<Code>())
        {
            let method = metrics::method_name(method);
            self.guard.refused(&caller, (method, template), *code);
        }
        if status == StatusCode::UNAUTHORIZED && with_basic {
            response.headers_mut().append(WWW_AUTHENTICATE, BASIC);
        }
        if self.traces.is_some() {
            traces::answered(&response, &request_id);
        }
        protect(response.headers_mut());
        if wants_problem && (status.is_client_error() || status.is_server_error()) {
            let value = HeaderValue::from_static(PROBLEM_JSON);
            response.headers_mut().insert(CONTENT_TYPE, value);
        }
        if let Some((method, uri)) = logged {
            let user = response.extensions().get::<LoggedUser>().map(|LoggedUser(user)| &**user);
            let user = user.or(caller.user.as_ref().map(|user| &*user.name));
            tracing::info!(
                target: "access",
                method = traces::method(&method),
                path = %LoggedPath { path: uri.path(), hide_ids: !status.is_success() },
                status = status.as_u16(),
                micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
                request_id = request_id.to_str().unwrap_or_default(),
                client = %caller.address,
                user,
                key = caller.key.map(tracing::field::display),
            );
        }
        response.headers_mut().insert(REQUEST_ID, request_id);
        if let Some(permit) = permit {
            response.extensions_mut().insert(permit);
        }
        response
    }

    /// Waits until a document may be read: each has up to its size in memory, and some times more.
    async fn document(&self, kind: Kind) -> Result<Option<SemaphorePermit<'_>>, Problem> {
        if kind != Kind::Document {
            return Ok(None);
        }
        let turn = tokio::time::timeout(self.request_timeout, self.documents.acquire()).await;
        turn.ok().and_then(Result::ok).map(Some).ok_or_else(|| {
            let detail = format!(
                "Other requests with documents of pools are in progress, at most {MAX_DOCUMENTS} at a \
                 time. Nothing was changed. Try again after the time in Retry-After."
            );
            Problem::new(Code::Busy, detail)
        })
    }

    /// Waits for the turn of the caller, beside others.
    async fn turn(
        &self,
        kind: Kind,
        acting: Option<&Acting>,
        address: IpAddr,
    ) -> Result<Option<Arc<Turn>>, Problem> {
        if kind.is_reserved() {
            return Ok(None);
        }
        let turn = self.guard.turn(acting, address);
        let turn = tokio::time::timeout(self.request_timeout, turn).await.map_err(|_| {
            let detail = "Many requests of this caller are in progress, and other callers are active. Nothing was \
                          changed. Try again after the time in Retry-After.";
            Problem::new(Code::Busy, detail)
        })?;
        Ok(turn.map(Arc::new))
    }

    /// Checks a request and its caller, and reads its body.
    async fn admit<B>(
        &self,
        request: Request<B>,
        route: &Matched,
        sender: &mut Sender,
    ) -> Result<(Request<Body>, Option<Acting>, Turns<'_>), Problem>
    where
        B: HttpBody<Data = Bytes>,
    {
        let (mut head, sent) = request.into_parts();
        let kind = route.kind;
        self.check_capacity(&head, kind)?;
        self.origin.check(kind, &head.uri, &head.headers)?;
        let acting = self.guard.admit(&mut head, route.needs, sender).await?;
        let document = self.document(kind).await?;
        if !sent.is_end_stream() {
            body::check_codings(&head.headers)?;
        }
        let awaits_continue = head.headers.contains_key(EXPECT);
        let limit = kind.body_limit();
        let body = body::read(sent, limit, awaits_continue, self.body_timeout).await?;
        let turn = self.turn(kind, acting.as_ref(), sender.address).await?;
        if kind == Kind::Wait
            && let Some(turn) = &turn
        {
            head.extensions.insert(Arc::clone(turn));
        }
        Ok((Request::from_parts(head, Body::from(body)), acting, (document, turn)))
    }

    /// Refuses requests at the limits of connections and memory, except health and metrics.
    fn check_capacity(&self, head: &Parts, kind: Kind) -> Result<(), Problem> {
        let reserved = head.extensions.get::<Client>().is_some_and(Client::is_reserved);
        if !reserved && !self.connections.memory.is_full() || kind.is_reserved() {
            return Ok(());
        }
        if reserved {
            let detail = "The limit of connections is reached, and none is idle. Only /health and \
                          /metrics are served. Try again after the time in Retry-After.";
            return Err(Problem::new(Code::TooManyConnections, detail));
        }
        self.connections.cut_longest_unread();
        Err(too_many_answers())
    }

    /// Charges the memory of a large response. Health and metrics are never refused for it.
    fn charge(&self, mut response: Response, kind: Kind) -> Response {
        let size = response.body().size_hint().exact().and_then(|size| usize::try_from(size).ok());
        let shared = response.extensions().get::<SharedMemory>().is_some();
        let large = size.filter(|size| *size > LARGE && !shared && !kind.is_reserved());
        let Some(size) = large else { return response };
        let Some(charge) = self.connections.try_charge(size) else {
            return too_many_answers().into_response();
        };
        response.extensions_mut().insert(Charged(Arc::new(charge)));
        response
    }

    /// Returns the handler's response, or a problem if it panics or takes too long.
    async fn handle(
        &self,
        request: Request<Body>,
        route: Matched,
        acting: Option<Acting>,
    ) -> Response {
        let (kind, head) = (route.kind, request.method() == Method::HEAD);
        let encoding = Encoding::preferred(request.headers());
        let handled = async {
            let response = self.routes.call(route, request).await;
            // A read shows the ledger as of a version that this server knows by now. The rights are checked again, so
            // that they end with the version that ended them.
            if kind.is_read() && acting.is_some_and(|acting| !acting.is_valid()) {
                return revoked().into_response();
            }
            self.charge(self.compression.apply(response, encoding, head).await, kind)
        };
        let limit = kind.time_limit(self.request_timeout);
        match tokio::time::timeout(limit, panics::catch(handled)).await {
            Ok(Ok(response)) => response,
            Ok(Err(Panicked)) => {
                let detail = "Internal error. See the server log for this request id.";
                Problem::new(Code::Internal, detail).into_response()
            }
            Err(_) => {
                let detail = "The request took too long. It may or may not have been executed. \
                              Check before repeating it.";
                Problem::new(Code::TimedOut, detail).into_response()
            }
        }
    }
}

/// Sets headers that protect values of tokens and names of users: no cache stores a response unless its
/// handler allows it, and browsers don't guess its type.
fn protect(headers: &mut HeaderMap) {
    const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
    const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
    headers.entry(CACHE_CONTROL).or_insert(NO_STORE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
}

fn accepts_problem_json(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().any(|accept| {
        let mut parts = accept.as_bytes().windows(PROBLEM_JSON.len());
        parts.any(|part| part.eq_ignore_ascii_case(PROBLEM_JSON.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use axum::routing::{MethodRouter, get};

    use super::*;
    use crate::http::access::Needs;
    use crate::http::route::Route;
    use crate::state::AppState;

    fn service(routes: Vec<(&'static str, MethodRouter)>, settings: &Settings) -> Service {
        let database =
            store::database(&"sqlite:nowhere".parse().unwrap(), Arc::new(store::SystemClock));
        let (engine, _) =
            engine::start(database, store::Wanted::default(), engine::Settings::default());
        let route = |(template, handlers)| Route {
            template,
            methods: vec![(Method::GET, Kind::Read, Needs::Nothing)],
            handlers,
        };
        let routes = Routes::new(routes.into_iter().map(route).collect());
        AppState::new(engine, settings, &routes.templates()).service(routes, settings)
    }

    async fn call(service: &Service, path: &str) -> (u16, serde_json::Value) {
        let request = Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
        let Ok(response) = tower::Service::call(&mut service.clone(), request).await;
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error() {
        let panics = get(async || -> &'static str { panic!("the secret of the house") });
        let later = get(async || -> &'static str {
            tokio::task::yield_now().await;
            panic!("the secret of the house")
        });
        let service = service(vec![("/now", panics), ("/later", later)], &Settings::default());
        for path in ["/now", "/later", "/now"] {
            let (status, problem) = call(&service, path).await;
            assert_eq!((status, &problem["code"]), (500, &"internal".into()));
            assert!(!problem.to_string().contains("secret"), "{problem}");
        }
    }

    #[tokio::test]
    async fn a_response_that_takes_too_long_times_out() {
        let never = get(async || std::future::pending::<&'static str>().await);
        let request_timeout = Duration::from_millis(20);
        let settings = Settings { request_timeout, ..Settings::default() };
        let (status, problem) = call(&service(vec![("/", never)], &settings), "/").await;
        assert_eq!((status, &problem["code"]), (504, &"timed-out".into()));
    }

    /// A log in memory.
    #[derive(Clone, Default)]
    struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn each_request_is_logged_once() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().without_time().with_ansi(false);
        let subscriber = subscriber.with_writer(move || writer.clone()).finish();
        // With only one subscriber, tracing caches the interest of a line at its first use, which may be
        // in another test without a subscriber.
        let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
        let _logging = tracing::subscriber::set_default(subscriber);
        let routes = vec![("/api/tokens/{id}", get(async || "the secret response"))];
        let service = service(routes, &Settings::default());
        let id = "01234567-89ab-cdef-0123-456789abcdef";
        call(&service, &format!("/api/tokens/{id}?secret")).await;
        call(&service, &format!("/nowhere/{id}")).await;
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), 2, "{log}");
        assert!(
            lines[0].contains(&format!("method=\"GET\" path=/api/tokens/{id} status=200 micros="))
        );
        assert!(lines[1].contains("path=/nowhere/... status=404"), "{log}");
        assert!(
            lines.iter().all(|line| line.contains(" access: ") && line.contains("request_id="))
        );
        assert!(!log.contains("secret"), "{log}");
    }
}
