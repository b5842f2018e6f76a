//! Test servers and their answers.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Once};
use std::time::Duration;

use engine::{Handle, Health};
use pool::{HumanDuration, Policy, PolicyField, ValueKind};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use server::Settings;
use store::{Database, DatabaseUrl, SystemClock, Wanted};
use testbed::{TestDb, eventually};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Starts servers on a test's database.
pub trait Serve {
    /// The database, for an engine of its own.
    fn database(&self) -> Box<dyn Database>;

    /// A server with 100 tokens, leases of 2 minutes and the default settings.
    async fn serve(&self) -> TestServer {
        self.serve_with(Some(100), Settings::default()).await
    }

    async fn serve_size(&self, size: usize) -> TestServer {
        self.serve_with(Some(size), Settings::default()).await
    }

    async fn serve_with(&self, size: Option<usize>, settings: Settings) -> TestServer {
        self.serve_leasing(size, Duration::from_mins(2), settings).await
    }

    async fn serve_leasing(
        &self,
        size: Option<usize>,
        lease: Duration,
        settings: Settings,
    ) -> TestServer {
        self.serve_policy(size, Policy::of_lease(lease), settings).await
    }

    /// A server whose pool gets this policy, also if it has another.
    async fn serve_policy(
        &self,
        size: Option<usize>,
        policy: Policy,
        settings: Settings,
    ) -> TestServer {
        let wanted = Wanted { size, policy: policy.into(), update_policy: true };
        let server = self.serve_after(async {}, wanted, engine::Settings::default(), settings);
        server.ready().await;
        server
    }

    /// A server whose engine starts after `begin`.
    fn serve_after(
        &self,
        begin: impl Future<Output = ()> + Send + 'static,
        wanted: Wanted,
        engine_settings: engine::Settings,
        settings: Settings,
    ) -> TestServer {
        TestServer::of(self.database(), begin, wanted, engine_settings, settings)
    }
}

impl Serve for TestDb {
    fn database(&self) -> Box<dyn Database> {
        let url: DatabaseUrl = self.url().parse().unwrap();
        store::database(&url, Arc::new(SystemClock))
    }
}

impl TestServer {
    /// A server on this database.
    pub fn of(
        database: Box<dyn Database>,
        begin: impl Future<Output = ()> + Send + 'static,
        wanted: Wanted,
        engine_settings: engine::Settings,
        settings: Settings,
    ) -> TestServer {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        TestServer::on(listener, database, begin, wanted, engine_settings, settings)
    }

    /// A server on this database, at this listener.
    pub fn on(
        listener: std::net::TcpListener,
        database: Box<dyn Database>,
        begin: impl Future<Output = ()> + Send + 'static,
        wanted: Wanted,
        engine_settings: engine::Settings,
        settings: Settings,
    ) -> TestServer {
        let (engine, running) = engine::start(database, wanted, engine_settings);
        let (stop_engine, engine_stops) = oneshot::channel::<()>();
        let running = tokio::spawn(async {
            begin.await;
            running.run(async { drop(engine_stops.await) }).await
        });
        let address = listener.local_addr().unwrap();
        let assets = server::Assets { digest: dashboard::DIGEST, find: dashboard::find };
        let settings = Settings { assets, ..settings };
        let door = server::router(engine.clone(), &settings);
        let (stop, stops) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            server::serve(listener, door, &settings, async { drop(stops.await) }).await.unwrap();
            drop(stop_engine);
            running.await.unwrap().unwrap();
        });
        TestServer { address, client: client(), engine, stop, serving }
    }
}

pub fn client() -> Client {
    client_builder().build().unwrap()
}

pub fn client_builder() -> reqwest::ClientBuilder {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().unwrap();
    });
    Client::builder().no_proxy().timeout(Duration::from_mins(1))
}

/// A running server.
pub struct TestServer {
    pub address: SocketAddr,
    pub client: Client,
    pub engine: Handle,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl TestServer {
    pub async fn ready(&self) {
        eventually("the engine is ready", async || self.engine.health() == Health::Ready).await;
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::POST, path)).await
    }

    /// Posts the value as JSON.
    pub async fn post_json(&self, path: &str, value: &Value) -> Answer {
        Answer::to(self.request(Method::POST, path).json(value)).await
    }

    /// Sends the value as JSON.
    pub async fn send_json(&self, method: Method, path: &str, value: &Value) -> Answer {
        Answer::to(self.request(method, path).json(value)).await
    }

    pub async fn put_json(&self, path: &str, value: &Value) -> Answer {
        self.send_json(Method::PUT, path, value).await
    }

    /// Allocates with a JSON body and an idempotency key.
    pub async fn allocate_once(&self, body: &Value, key: &str) -> Answer {
        let request = self.request(Method::POST, "/api/tokens/allocate").json(body);
        Answer::to(request.header("idempotency-key", key)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::DELETE, path)).await
    }

    /// Allocates with a body and its content type.
    pub async fn send(&self, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.request(Method::POST, "/api/tokens/allocate").body(body);
        Answer::to(request.header("content-type", content_type)).await
    }

    pub async fn allocate(&self, user: &str) -> Value {
        let body = serde_json::json!({ "user_id": user }).to_string();
        let answer = self.send("application/json", body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    /// Token ids of a list.
    pub async fn ids(&self, path: &str) -> Vec<String> {
        let list = self.get(path).await;
        assert_eq!(list.status, 200, "{}", list.text);
        let tokens = list.json();
        tokens.as_array().unwrap().iter().map(|token| text(&token["id"])).collect()
    }

    pub async fn active(&self) -> usize {
        self.ids("/api/tokens/active").await.len()
    }

    /// Stops the server; the handle waits for its end.
    pub fn stop(self) -> JoinHandle<()> {
        let _ = self.stop.send(());
        self.serving
    }
}

/// Answer to a request.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub async fn to(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// A header's value; empty if missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts that this is a problem with this status and code; returns its detail.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> String {
        let start: String = self.text.chars().take(300).collect();
        assert_eq!(self.status.as_u16(), status, "{start}");
        assert_eq!(self.header("content-type"), "application/json");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("urn:token-manager:problem:{code}"));
        assert_eq!(problem["error"], problem["title"]);
        assert_members_of_schema(&problem);
        assert!(!self.header("x-request-id").is_empty());
        let detail = text(&problem["detail"]);
        assert!(detail.ends_with('.') && detail.len() > 20, "{detail}");
        detail
    }
}

/// Asserts that a problem has exactly the members that the `OpenAPI` document lists for its code.
#[track_caller]
fn assert_members_of_schema(problem: &Value) {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
    });
    let schemas = DOCUMENT["components"]["schemas"].as_object().unwrap();
    let of_code = |schema: &&Value| schema["properties"]["code"]["const"] == problem["code"];
    let schema = schemas.values().find(of_code).unwrap_or(&schemas["Problem"]);
    let names =
        |object: &Value| object.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(problem), names(&schema["properties"]));
}

#[track_caller]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a string")).to_owned()
}

/// A policy as the API shows it: durations in seconds, and the usual values of optional durations.
pub fn shown_policy(policy: &Policy) -> Value {
    let member = |field: &PolicyField| {
        let text = field.show(policy);
        let unset = field.unset == Some(text.as_str());
        match field.kind {
            ValueKind::Duration => {
                let text = if unset { HumanDuration(policy.max_lease()).to_string() } else { text };
                let HumanDuration(duration) = text.parse().unwrap();
                (format!("{}_seconds", field.name), number(duration.as_secs_f64()))
            }
            ValueKind::Count if unset => (field.name.to_owned(), Value::Null),
            ValueKind::Count => (field.name.to_owned(), number(text.parse().unwrap())),
            ValueKind::Choice(_) => (field.name.to_owned(), text.into()),
        }
    };
    Policy::FIELDS.iter().map(member).collect()
}

/// Whole numbers have no decimal point.
fn number(number: f64) -> Value {
    serde_json::from_str(&number.to_string()).unwrap()
}

/// Names of an object's members, in the order of the text.
pub fn fields(object: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0;
    let mut rest = object;
    while let Some(at) = rest.find(['{', '}', '[', ']', '"']) {
        match rest.as_bytes()[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {
                let end = at + 1 + rest[at + 1..].find('"').unwrap();
                if depth == 1 && rest[end + 1..].starts_with(':') {
                    names.push(rest[at + 1..end].to_owned());
                }
                rest = &rest[end + 1..];
                continue;
            }
        }
        rest = &rest[at + 1..];
    }
    names
}

/// Whether this is a timestamp of the API: `2026-01-31T12:00:00.000000Z`.
pub fn is_time(value: &Value) -> bool {
    let shape: String = value
        .as_str()
        .unwrap_or("")
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    shape == "0000-00-00T00:00:00.000000Z"
}
