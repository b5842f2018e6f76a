//! Traces that a server sends to a collector.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;
use testbed::{Cluster, Stop, TestDb, on_both, poll, poll_async};
use tokio::task::JoinSet;

use crate::collector::{Collector, Span, links, text};
use crate::harness::{TestServer, client, command};
use crate::sqlite;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT_SPAN: &str = "b7ad6b7169203331";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn traced(database: &str, collector: &Collector, more: &[&str]) -> TestServer {
    TestServer::start(database, &[&["--otlp-endpoint", &collector.url], more].concat())
}

async fn allocate(server: &TestServer, user: &str, traceparent: &str) -> u16 {
    let request = client().post(format!("{}/api/tokens/allocate", server.url()));
    let request = request.header("traceparent", traceparent).header("tracestate", "vendor=1");
    let response = request.json(&json!({ "user_id": user })).send().await.unwrap();
    response.status().as_u16()
}

#[on_both]
async fn a_trace_follows_a_request_through_mailbox_batch_and_commit(db: TestDb) {
    let database = db.url();
    let collector = Collector::start().await;
    let server = traced(database, &collector, &[]);
    let traceparent = format!("00-{TRACE}-{CLIENT_SPAN}-01");
    assert_eq!(allocate(&server, "alice", &traceparent).await, 200);

    let request = collector.span("POST /api/tokens/allocate", |_| true);
    assert_eq!(hex(&request.trace_id), TRACE);
    assert_eq!(hex(&request.parent_span_id), CLIENT_SPAN);
    assert_eq!((request.trace_state.as_str(), request.kind), ("vendor=1", 2), "{request:?}");
    let attribute = |name| text(&request.attributes, name).unwrap();
    assert_eq!(attribute("http.request.method"), "POST");
    assert_eq!(attribute("http.route"), "/api/tokens/allocate");
    assert_eq!(attribute("http.response.status_code"), "200");

    let batch = collector.span("batch", |batch| links(batch, &request));
    assert!(batch.parent_span_id.is_empty() && hex(&batch.trace_id) != TRACE, "{batch:?}");
    assert_eq!(text(&batch.attributes, "batch.commands").unwrap(), "1");
    let id = text(&batch.attributes, "batch.id").unwrap();
    assert_eq!(id.len(), 36, "{id}");
    let steps = ["begin", "decide", "commit"].map(|name| collector.child(&batch, name));
    assert!(steps[0].end_time_unix_nano <= steps[1].start_time_unix_nano);
    assert!(steps[1].end_time_unix_nano <= steps[2].start_time_unix_nano);

    let mailbox = collector.child(&request, "mailbox");
    let in_batch = collector.child(&request, "in batch");
    assert!(links(&in_batch, &batch), "{in_batch:?}");
    assert!(mailbox.start_time_unix_nano >= request.start_time_unix_nano);
    assert!(mailbox.end_time_unix_nano <= steps[2].start_time_unix_nano);
    assert!(in_batch.end_time_unix_nano >= steps[2].end_time_unix_nano);

    let line = poll("the request's line", || {
        server.log().lines().find(|line| line.contains("/allocate")).map(str::to_owned)
    });
    assert!(line.contains(&format!("trace_id=\"{TRACE}\"")), "{line}");
    assert_eq!(collector.resource("service.name").unwrap(), "token-manager");
    assert_eq!(collector.resource("service.version").unwrap(), env!("CARGO_PKG_VERSION"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_linked_with_all_its_requests() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start().await;
    let server = traced(&sqlite(folder.path()), &collector, &[]);
    let url = format!("{}/api/tokens/allocate", server.url());
    let shared = client();
    let batch = poll_async("a batch with two requests", async || {
        let mut all = JoinSet::new();
        for user in 0..32 {
            let request = shared.post(&url).json(&json!({ "user_id": format!("user {user}") }));
            all.spawn(request.send());
        }
        all.join_all().await;
        let spans = collector.spans();
        spans.into_iter().find(|span| span.name == "batch" && span.links.len() > 1)
    })
    .await;
    assert_eq!(text(&batch.attributes, "batch.commands").unwrap(), batch.links.len().to_string());
    for link in &batch.links {
        let request =
            collector.span("POST /api/tokens/allocate", |span| span.span_id == link.span_id);
        assert!(links(&collector.child(&request, "in batch"), &batch));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_in_the_queue_is_traced() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start().await;
    let arguments = ["--pool-size", "1", "--when-full", "wait", "--lease", "1s"];
    let server = traced(&sqlite(folder.path()), &collector, &arguments);
    for user in ["alice", "bob"] {
        assert_eq!(server.allocate(user).await.0, 200);
    }
    let queue = collector.span("queue", |_| true);
    let waited = queue.end_time_unix_nano - queue.start_time_unix_nano;
    assert!((500_000_000..5_000_000_000).contains(&waited), "{waited}");
    let last = |span: &Span| {
        span.trace_id == queue.trace_id && span.start_time_unix_nano >= queue.end_time_unix_nano
    };
    let in_batch = collector.span("in batch", last);
    collector.span("batch", |batch| links(&in_batch, batch));
}

#[tokio::test(flavor = "multi_thread")]
async fn sampling_decides_what_is_traced() {
    let folder = tempfile::tempdir().unwrap();
    let other = "11111111111111111111111111111111";
    let cases = [("0", vec![]), ("0.000000001", vec![TRACE]), ("1", vec![TRACE, "new", "new"])];
    for (share, expected) in cases {
        let collector = Collector::start().await;
        let mut server = traced(&sqlite(folder.path()), &collector, &["--trace-sample", share]);
        allocate(&server, "alice", &format!("00-{TRACE}-{CLIENT_SPAN}-01")).await;
        allocate(&server, "alice", &format!("00-{other}-{CLIENT_SPAN}-00")).await;
        allocate(&server, "alice", &format!("00-{other}-0000000000000000-01")).await;
        allocate(&server, "alice", "nonsense").await;
        server.signal("TERM");
        assert!(server.wait().success());
        let spans = collector.spans();
        let requests = spans.iter().filter(|span| span.name.starts_with("POST"));
        let name = |trace: String| if trace == TRACE { trace } else { "new".to_owned() };
        let traces: Vec<String> = requests.map(|span| name(hex(&span.trace_id))).collect();
        assert_eq!(traces, expected, "{share}");
        assert!(spans.iter().all(|span| hex(&span.trace_id) != other));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn span_names_are_routes_without_client_input() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start().await;
    let server = traced(&sqlite(folder.path()), &collector, &[]);
    for (path, name) in [
        ("//api//tokens/", "GET /api/tokens"),
        ("/api/tokens/alice", "GET /api/tokens/{id}"),
        ("/api/leases/alice/history", "GET"),
        ("/metrics", "GET /metrics"),
    ] {
        let url = format!("{}{path}", server.url());
        let id = client().get(url).send().await.unwrap().headers()["x-request-id"].clone();
        let id = id.to_str().unwrap();
        let is_it = |span: &Span| text(&span.attributes, "request_id").as_deref() == Some(id);
        let span = collector.span(name, is_it);
        let route = text(&span.attributes, "http.route").unwrap_or_default();
        assert_eq!(format!("GET {route}").trim_end(), name);
    }
    let url = format!("{}/api/tokens", server.url());
    let state = format!("vendor={}", "1".repeat(600));
    let request = client().get(url).header("tracestate", state);
    request.header("traceparent", format!("00-{TRACE}-{CLIENT_SPAN}-01")).send().await.unwrap();
    let span = collector.span("GET /api/tokens", |span| hex(&span.trace_id) == TRACE);
    assert_eq!(span.trace_state, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_traced_until_the_answer() {
    let cluster = Cluster::start().unwrap();
    let collector = Collector::start().await;
    let database = cluster.database().await.unwrap();
    let server = traced(&database, &collector, &["--request-timeout", "1s"]);
    cluster.stop(Stop::Fast).unwrap();
    assert_eq!(server.allocate("alice").await.0, 503);
    // The database is still away.
    let request = collector.span("POST /api/tokens/allocate", |_| true);
    assert_eq!(kind_of_failure(&request).as_deref(), Some("not-done"));
    let mailbox = collector.child(&request, "mailbox");
    assert!(mailbox.end_time_unix_nano <= request.end_time_unix_nano);
    let batch = collector.span("batch", |batch| kind_of_failure(batch).is_some());
    assert_eq!(kind_of_failure(&batch).as_deref(), Some("away"));
    assert_eq!(kind_of_failure(&collector.child(&batch, "begin")).as_deref(), Some("away"));
}

/// Error status of a span, if any.
fn kind_of_failure(span: &Span) -> Option<String> {
    let failed = span.status.as_ref().is_some_and(|status| status.code == 2);
    failed.then(|| text(&span.attributes, "error.type").unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_batches_that_serve_a_traced_request_are_traced() {
    let collector = Collector::start().await;
    let arguments = ["--pool-size", "1", "--when-full", "wait", "--lease", "1h"];
    let database = Cluster::shared().database().await.unwrap();
    let server = traced(&database, &collector, &arguments);
    assert_eq!(server.allocate("alice").await.0, 200);
    let request = client().post(format!("{}/api/tokens/allocate", server.url()));
    let request = request.json(&json!({ "user_id": "bob", "wait_seconds": 4 }));
    assert_eq!(request.send().await.unwrap().status().as_u16(), 503);
    collector.span("queue", |_| true);
    let batches: Vec<Span> =
        collector.spans().into_iter().filter(|span| span.name == "batch").collect();
    assert!(batches.len() >= 2, "{batches:?}");
    assert!(batches.iter().all(|batch| batch.links.len() == 1), "{batches:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_the_server_goes_on_and_stops_soon() {
    let folder = tempfile::tempdir().unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = (format!("http://{}", silent.local_addr().unwrap()), silent);
    let (refused, in_time) = ("trace spans lost", "before the server stopped");
    // Nothing listens on port 1.
    for (url, why) in [("http://127.0.0.1:1", refused), (&silent.0, in_time)] {
        let mut server = TestServer::start(&sqlite(folder.path()), &["--otlp-endpoint", url]);
        for _ in 0..50 {
            assert_eq!(server.allocate("alice").await.0, 200);
        }
        server.signal("TERM");
        assert!(server.wait().success());
        let log =
            poll("the loss in the log", || Some(server.log()).filter(|log| log.contains(why)));
        // One span for each request and batch; some may be reported earlier.
        let lost = log.lines().filter_map(|line| line.split_once("lost=")?.1.split(' ').next());
        let lost: u64 = lost.map(|count| count.parse::<u64>().unwrap()).sum();
        assert_eq!(lost, 50 * 3 + 50 * 4, "{log}");
        assert!(log.lines().filter(|line| line.contains("WARN")).count() <= 2, "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_over_http_need_no_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start().await;
    let database = sqlite(folder.path());
    let common = ["serve", "--listen", "127.0.0.1:0", "--database", &database];
    let mut serve =
        command(Path::new("/"), &[&common[..], &["--otlp-endpoint", &collector.url]].concat());
    let serve = serve.env("SSL_CERT_FILE", "/dev/null").env("SSL_CERT_DIR", "/dev/null");
    let server = TestServer::of(serve);
    server.get("/api/tokens").await;
    collector.span("GET /api/tokens", |_| true);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_for_traces_are_sent_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start().await;
    let database = sqlite(folder.path());
    let secret = ("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=open sesame");
    let common = ["--database", &database, "--otlp-endpoint", &collector.url, "--log", "trace"];
    let serve = [&["serve", "--listen", "127.0.0.1:0"], &common[..]].concat();
    let mut server = TestServer::of(command(Path::new("/"), &serve).env(secret.0, secret.1));
    server.get("/api/tokens").await;
    server.signal("TERM");
    assert!(server.wait().success());
    assert_eq!(collector.header("x-api-key").unwrap(), "open sesame");
    assert!(!server.log().contains("sesame"));
    assert!(collector.spans().iter().any(|span| span.name == "GET /api/tokens"));
    for shown in ["config", "doctor"] {
        let mut command = command(Path::new("/"), &[&[shown], &common[..]].concat());
        let shown = crate::harness::run(command.env(secret.0, secret.1));
        assert!(!shown.text().contains("sesame"), "{}", shown.text());
    }
}
