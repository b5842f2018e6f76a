//! What every request passes on its way to a handler, in one place because each step costs time:
//! its name, the gate, its path, its body, time limits, panics, compression, the log.

use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, EXPECT, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use pool::Allocation;
use prometheus_client::metrics::gauge::Gauge;
use tower::Service;
use tracing::Instrument as _;

use crate::answers::{Charged, LARGE};
use crate::app::App;
use crate::connection::Client;
use crate::crowd::Crowd;
use crate::encode::{Compression, Encoding, Shared};
use crate::foreign::Gate;
use crate::metrics::{self, Route};
use crate::problem::{Code, Problem};
use crate::request_id::{self, REQUEST_ID, RequestIds};
use crate::traces::{self, Traces};
use crate::{Settings, allocate, body};

const PROBLEM_JSON: &str = "application/problem+json";

/// The service that [`crate::router`] makes. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Door(Arc<Inner>);

struct Inner {
    routes: Router,
    compression: Compression,
    app: App,
    gate: Gate,
    request_ids: RequestIds,
    traces: Option<Arc<dyn Traces>>,
    body_timeout: Duration,
    request_timeout: Duration,
}

impl Door {
    pub(crate) fn new(routes: Router, settings: &Settings, app: App) -> Self {
        Door(Arc::new(Inner {
            routes,
            compression: Compression::new(Arc::clone(&app.budget)),
            app,
            gate: Gate::new(settings.loopback, &settings.allowed_hosts),
            request_ids: RequestIds::new(),
            traces: settings.traces.clone(),
            body_timeout: settings.body_timeout,
            request_timeout: settings.request_timeout,
        }))
    }

    /// Counts the connections that are open at this address.
    pub(crate) fn connections(&self, address: SocketAddr) -> Gauge {
        let label = [("address", address.to_string())];
        self.0.app.metrics.connections.get_or_create(&label).clone()
    }

    pub(crate) fn crowd(&self) -> Arc<Crowd> {
        Arc::clone(&self.0.app.crowd)
    }

    /// Ends what would go on for long.
    pub(crate) fn stop(&self) {
        self.0.app.stop();
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for Door
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
        let http = &inner.app.metrics.http;
        let route = http.route(single.as_ref().unwrap_or(request.uri()).path());
        let span = traces::span(inner.traces.as_deref(), &request, http.template(route));
        Box::pin(async move { Ok(inner.answer(request, single, route).await) }.instrument(span))
    }
}

impl Inner {
    /// Answers a request whose URI is to be taken for `single`, if that is there, and leads to `route`.
    async fn answer<B>(
        &self,
        mut request: Request<B>,
        single: Option<Uri>,
        route: Route,
    ) -> Response
    where
        B: HttpBody<Data = Bytes>,
    {
        let started = Instant::now();
        let request_id = self.request_ids.of(request.headers());
        let wants_problem = names_problem_json(request.headers());
        let logged = tracing::enabled!(target: "access", tracing::Level::INFO)
            .then(|| (request.method().clone(), request.uri().clone()));

        if let Some(uri) = single {
            *request.uri_mut() = uri;
        }
        let method = metrics::method(request.method());
        let answer = async {
            match self.admit(request).await {
                Ok(request) => self.pass(request).await,
                Err(problem) => problem.into_response(),
            }
        };
        let (mut response, request_id) = request_id::within(request_id, answer).await;
        let status = response.status();
        let took = started.elapsed();
        self.app.metrics.answered(route, method, &response, took);
        if self.traces.is_some() {
            traces::answered(&response, &request_id);
        }
        protect(response.headers_mut());
        if wants_problem && (status.is_client_error() || status.is_server_error()) {
            let value = HeaderValue::from_static(PROBLEM_JSON);
            response.headers_mut().insert(CONTENT_TYPE, value);
        }
        if let Some((method, uri)) = logged {
            tracing::info!(
                target: "access",
                method = traces::method(&method),
                path = %Path { path: uri.path(), hide_ids: !status.is_success() },
                status = status.as_u16(),
                micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
                request_id = request_id.to_str().unwrap_or_default(),
            );
        }
        response.headers_mut().insert(REQUEST_ID, request_id);
        response
    }

    /// The request as handlers get it: of an admitted origin, with its body whole.
    async fn admit<B>(&self, request: Request<B>) -> Result<Request<Body>, Problem>
    where
        B: HttpBody<Data = Bytes>,
    {
        let (head, sent) = request.into_parts();
        self.make_room(&head)?;
        self.gate.check(&head.method, &head.uri, &head.headers)?;
        if !sent.is_end_stream() {
            body::check_codings(&head.headers)?;
        }
        let awaits_continue = head.headers.contains_key(EXPECT);
        let body = body::read(sent, awaits_continue, self.body_timeout).await?;
        Ok(Request::from_parts(head, Body::from(body)))
    }

    /// Refuses what there is no room for: everything but health and metrics where the connection is
    /// one beyond the limit, or the memory for answers is used up.
    fn make_room(&self, head: &Parts) -> Result<(), Problem> {
        let reserved = head.extensions.get::<Client>().is_some_and(Client::is_reserved);
        if !reserved && !self.app.budget.is_spent() || is_vital(&head.method, head.uri.path()) {
            return Ok(());
        }
        if reserved {
            let detail = "The limit of connections is reached, and none is idle. Only /health and \
                          /metrics are served. Try again after the time in Retry-After.";
            return Err(Problem::new(Code::TooManyConnections, detail));
        }
        self.app.crowd.cut_most_neglectful();
        Err(too_many_answers())
    }

    /// The answer with its memory charged to the budget, if it is large. One that is `vital` is never
    /// refused for want of memory.
    fn charge(&self, mut response: Response, vital: bool) -> Response {
        let size = response.body().size_hint().exact().and_then(|size| usize::try_from(size).ok());
        let shared = response.extensions().get::<Shared>().is_some();
        let Some(size) = size.filter(|size| *size > LARGE && !shared && !vital) else {
            return response;
        };
        let Some(charge) = self.app.budget.try_charge(size) else {
            self.app.crowd.cut_most_neglectful();
            return too_many_answers().into_response();
        };
        response.extensions_mut().insert(Charged(Arc::new(charge)));
        response
    }

    /// How long an answer may take. Whoever waits for a token is told by the engine when that is in
    /// vain; this is for when even that fails to come.
    fn limit(&self, path: &str) -> Duration {
        let waits = if path == allocate::PATH {
            Allocation::MAX_WAIT + self.request_timeout
        } else {
            Duration::ZERO
        };
        self.request_timeout + waits
    }

    /// The handler's answer, or what is to be said in its stead.
    async fn pass(&self, request: Request<Body>) -> Response {
        let head = request.method() == Method::HEAD;
        let encoding = Encoding::preferred(request.headers());
        let limit = self.limit(request.uri().path());
        let vital = is_vital(request.method(), request.uri().path());
        let routed = async {
            let response = into_answer(self.routes.clone().call(request).await);
            self.charge(self.compression.apply(response, encoding, head).await, vital)
        };
        let in_time = tokio::time::timeout(limit, catching_panics(routed)).await;
        match in_time {
            Ok(Ok(response)) => response,
            Ok(Err(Panicked)) => {
                let detail = "The server made a mistake. It is in the log under this request id.";
                Problem::new(Code::Internal, detail).into_response()
            }
            Err(_) => {
                let detail = "The answer took too long, and it is not known whether the request \
                              was carried out. Look before repeating it.";
                Problem::new(Code::TimedOut, detail).into_response()
            }
        }
    }
}

fn into_answer<T>(answer: Result<T, Infallible>) -> T {
    match answer {
        Ok(answer) => answer,
        Err(never) => match never {},
    }
}

struct Panicked;

/// The future's output, unless it panics. The panic hook has said so by then.
async fn catching_panics<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        // What a panic may have left half done is dropped with the future.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    })
    .await
}

/// Answers may have tokens' values and users' names: unless the handler says otherwise, no cache keeps
/// them, and a browser takes none for anything else than it is.
fn protect(headers: &mut HeaderMap) {
    const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
    const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
    headers.entry(CACHE_CONTROL).or_insert(NO_STORE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
}

fn names_problem_json(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().any(|accept| {
        let mut parts = accept.as_bytes().windows(PROBLEM_JSON.len());
        parts.any(|part| part.eq_ignore_ascii_case(PROBLEM_JSON.as_bytes()))
    })
}

pub(crate) fn too_many_answers() -> Problem {
    let detail = "The memory for answers is used up by answers that clients have not read yet. Try \
                  again after the time in Retry-After.";
    Problem::new(Code::TooManyAnswers, detail)
}

/// Whether this asks how the server is, which has to work when nothing else does.
pub(crate) fn is_vital(method: &Method, path: &str) -> bool {
    let reads = method == Method::GET || method == Method::HEAD;
    reads && matches!(path, "/health/live" | "/health/ready" | metrics::PATH)
}

/// The URI with every run of slashes in its path made one and none at the end, if that changes it.
fn with_single_slashes(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if !path.contains("//") && (path.len() == 1 || !path.ends_with('/')) {
        return None;
    }
    let mut collapsed =
        String::with_capacity(uri.path_and_query().map_or(1, |all| all.as_str().len()));
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        collapsed.push('/');
        collapsed.push_str(segment);
    }
    if collapsed.is_empty() {
        collapsed.push('/');
    }
    if let Some(query) = uri.query() {
        collapsed.push('?');
        collapsed.push_str(query);
    }
    collapsed.parse().ok()
}

/// A path for the log. Where it was not answered well, it may be that somebody took a token's
/// secret value for its id.
struct Path<'a> {
    path: &'a str,
    hide_ids: bool,
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Shorter than a UUID in any of its forms.
        const LONG: usize = 32;
        if !self.hide_ids {
            return f.write_str(self.path);
        }
        for (place, segment) in self.path.split('/').enumerate() {
            let segment = if segment.len() < LONG { segment } else { "..." };
            write!(f, "{}{segment}", if place == 0 { "" } else { "/" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;
    use crate::app::Inside;

    fn door(routes: Router, settings: &Settings) -> Door {
        let database =
            store::database(&"sqlite:nowhere".parse().unwrap(), Arc::new(store::SystemClock));
        let (engine, _) =
            engine::start(database, store::Wanted::default(), engine::Settings::default());
        Door::new(routes, settings, Inside::new(engine, settings))
    }

    async fn call(door: &Door, path: &str) -> (u16, serde_json::Value) {
        let request = Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
        let response = into_answer(door.clone().call(request).await);
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_and_no_more() {
        let panics = get(async || -> &'static str { panic!("the secret of the house") });
        let later = get(async || -> &'static str {
            tokio::task::yield_now().await;
            panic!("the secret of the house")
        });
        let routes = Router::new().route("/now", panics).route("/later", later);
        let door = door(routes, &Settings::default());
        for path in ["/now", "/later", "/now"] {
            let (status, problem) = call(&door, path).await;
            assert_eq!((status, &problem["code"]), (500, &"internal".into()));
            assert!(!problem.to_string().contains("secret"), "{problem}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_takes_too_long_is_given_up() {
        let never = get(async || std::future::pending::<&'static str>().await);
        let request_timeout = Duration::from_millis(20);
        let settings = Settings { request_timeout, ..Settings::default() };
        let (status, problem) = call(&door(Router::new().route("/", never), &settings), "/").await;
        assert_eq!((status, &problem["code"]), (504, &"timed-out".into()));
    }

    #[test]
    fn whoever_waits_for_a_token_has_the_time_to() {
        let Door(inner) = door(Router::new(), &Settings::default());
        let seconds = Duration::from_secs;
        assert_eq!(inner.limit("/api/tokens"), seconds(30));
        assert_eq!(inner.limit("/api/tokens/allocate"), seconds(30 + 60 + 30));
    }

    #[test]
    fn runs_of_slashes_are_one() {
        let collapse =
            |uri: &str| with_single_slashes(&uri.parse().unwrap()).map(|u| u.to_string());
        assert_eq!(collapse("//api///tokens//?a=//"), Some("/api/tokens?a=//".to_owned()));
        assert_eq!(collapse("/api/tokens/"), Some("/api/tokens".to_owned()));
        assert_eq!(collapse("///"), Some("/".to_owned()));
        assert_eq!(collapse("/api/tokens?x=/"), None);
        assert_eq!(collapse("/"), None);
    }

    /// What was logged, for all to write to.
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
        // As long as there is only one subscriber, a line that another test reaches first is taken for one
        // that nothing listens to.
        let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
        let _logging = tracing::subscriber::set_default(subscriber);
        let routes = Router::new().route("/api/tokens/{id}", get(async || "the secret answer"));
        let door = door(routes, &Settings::default());
        let id = "01234567-89ab-cdef-0123-456789abcdef";
        call(&door, &format!("/api/tokens/{id}?secret")).await;
        call(&door, &format!("/nowhere/{id}")).await;
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

    #[test]
    fn ids_that_led_nowhere_are_hidden() {
        let path = "/api/tokens/01234567-89ab-cdef-0123-456789abcdef/history";
        assert_eq!(Path { path, hide_ids: false }.to_string(), path);
        assert_eq!(Path { path, hide_ids: true }.to_string(), "/api/tokens/.../history");
    }
}
