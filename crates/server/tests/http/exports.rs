//! Leases as CSV.

use std::io::Read as _;
use std::time::Duration;

use pool::User;
use reqwest::{Method, Response};
use serde_json::Value;
use server::Settings;
use store::Wanted;

use crate::harness::{Answer, Serve as _, TestServer, text};
use crate::obstacle::Obstacle;
use crate::raw::{Wire, exchange};
use testbed::{TestDb, on_both};

const HEADER: [&str; 11] = [
    "lease_id",
    "token_id",
    "user",
    "user_id",
    "status",
    "started_at",
    "expires_at",
    "fence",
    "ended_at",
    "end_reason",
    "evicted_by",
];

/// Grants `count` leases concurrently.
async fn fill(server: &TestServer, count: usize, user: &str) {
    let user = User::new(user).unwrap();
    let mut left = count;
    while left > 0 {
        let some = left.min(500);
        let grants = (0..some).map(|_| server.engine.allocate(user.clone()));
        for granted in futures_util::future::join_all(grants).await {
            granted.unwrap().unwrap();
        }
        left -= some;
    }
}

/// Rows of a CSV text (RFC 4180).
fn rows(csv: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut chars) = (false, csv.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => cell.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {
                assert_eq!(chars.next(), Some('\n'));
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            other => cell.push(other),
        }
    }
    assert!(!quoted && cell.is_empty() && row.is_empty(), "the last line is incomplete");
    rows
}

async fn csv(server: &TestServer, query: &str) -> Vec<Vec<String>> {
    let answer = server.get(&format!("/api/leases/export?{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(answer.header("content-disposition"), "attachment; filename=\"leases.csv\"");
    let mut rows = rows(&answer.text);
    assert_eq!(rows.remove(0), HEADER);
    rows
}

/// Row of an export for a lease.
fn row(lease: &Value) -> Vec<String> {
    let cell = |field: &str| match &lease[field] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    HEADER.map(cell).to_vec()
}

#[on_both]
async fn an_export_equals_the_pages(db: TestDb) {
    let server = db.serve_size(10).await;
    fill(&server, 1_300, "a").await;
    fill(&server, 1_200, "b").await;
    for filter in ["", "user=b&", "status=running&", "status=ended&user=a&", "end_reason=cleared&"]
    {
        let mut expected = Vec::new();
        let mut next = Some(format!("/api/leases?{filter}"));
        while let Some(path) = next {
            let page = server.get(&path).await.json();
            expected.extend(page["leases"].as_array().unwrap().iter().map(row));
            next = page["next"].as_str().map(str::to_owned);
        }
        assert_eq!(csv(&server, filter).await, expected, "{filter}");
    }
    assert_eq!(csv(&server, "").await.len(), 2_500);
    // From a cursor on, and by content negotiation.
    let next = text(&server.get("/api/leases?limit=300").await.json()["next"]);
    let from_there = format!("{}&", next.replace("limit=300&", "").replace("/api/leases?", ""));
    assert_eq!(csv(&server, &from_there).await, csv(&server, "").await[300..]);
    let same = server.get("/api/leases?format=csv").await.text;
    assert_eq!(same, server.get("/api/leases/export").await.text);
    for (accept, is_csv) in
        [("text/csv", true), ("text/csv, application/json;q=0.9", true), ("*/*", false)]
    {
        let answer =
            Answer::to(server.request(Method::GET, "/api/leases").header("accept", accept)).await;
        assert_eq!(answer.text.starts_with("lease_id,"), is_csv, "{accept}");
        assert_eq!(answer.header("vary"), "accept");
    }
    let head = Answer::to(server.request(Method::HEAD, "/api/leases?format=csv")).await;
    assert_eq!(
        (head.status.as_u16(), head.header("content-type")),
        (200, "text/csv; charset=utf-8")
    );
}

#[on_both]
async fn user_names_are_escaped(db: TestDb) {
    let server = db.serve().await;
    let users = [
        "a, \"b\"",
        "two\r\nlines",
        "=HYPERLINK(\"http://evil.example\")",
        "+1",
        "-1",
        "@SUM(A1)",
        "\tx",
        "'quoted'",
        "é 🦀",
        "a;=1+1;b",
    ];
    for user in users {
        server.allocate(user).await;
    }
    let found = csv(&server, "").await;
    assert_eq!(found.len(), users.len());
    for (row, user) in found.iter().rev().zip(users) {
        assert_eq!(row.len(), HEADER.len());
        assert!(!row[2].starts_with(['=', '+', '-', '@', '\t', '\r']), "{row:?}");
        // The escaping is reversible.
        let parts = row[2].split_inclusive([';', '\t', '\r', '\n']);
        let undone: String = parts.map(|part| part.strip_prefix('\'').unwrap_or(part)).collect();
        assert_eq!(undone, user);
        assert!(!row[2].contains(";="), "{row:?}");
    }
}

#[on_both]
async fn an_export_is_compressed_on_request(db: TestDb) {
    let server = db.serve_size(10).await;
    fill(&server, 1_500, "a").await;
    let plain = server.get("/api/leases?format=csv").await.text;
    let request = server.request(Method::GET, "/api/leases?format=csv");
    let response = request.header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let bytes = response.bytes().await.unwrap();
    assert!(bytes.len() < plain.len() / 3, "{} of {}", bytes.len(), plain.len());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, plain);
}

#[on_both]
async fn an_aborted_export_looks_incomplete(db: TestDb) {
    let (database, obstacle) = Obstacle::before(db.database());
    let wanted = Wanted { size: Some(10), ..Wanted::default() };
    let server = TestServer::of(
        database,
        async {},
        wanted,
        engine::Settings::default(),
        Settings::default(),
    );
    server.ready().await;
    fill(&server, 3_500, "a").await;
    for (encoding, http2) in [("identity", false), ("gzip", false), ("identity", true)] {
        obstacle.allow_searches(2);
        let builder = crate::harness::client_builder();
        let client = if http2 { builder.http2_prior_knowledge() } else { builder }.build().unwrap();
        let url = format!("http://{}/api/leases?format=csv", server.address);
        // If it fails at once, the head may be missing, too.
        let Ok(response) = client.get(url).header("accept-encoding", encoding).send().await else {
            continue;
        };
        assert_eq!(response.status(), 200);
        let rest = response.bytes().await.map(|bytes| bytes.len());
        assert!(rest.is_err(), "{encoding} {http2} looks complete: {rest:?}");
    }
    obstacle.allow_searches(0);
    server.get("/api/leases?format=csv").await.problem(503, "not-done");
    server.get("/api/leases").await.problem(503, "not-done");
    assert_eq!(server.get("/api/tokens").await.status, 200);
}

#[on_both]
async fn a_stalled_client_blocks_no_other(db: TestDb) {
    let short = Duration::from_millis(500);
    let settings = Settings { header_timeout: short, idle_timeout: short, ..Settings::default() };
    let server = db.serve_with(Some(10), settings).await;
    // The rows exceed all buffers between server and client.
    fill(&server, 12_000, &"🦀".repeat(255)).await;
    let mut stalled = Vec::new();
    for _ in 0..12 {
        let mut wire = Wire::to(server.address).await;
        wire.send("GET /api/leases?format=csv HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        // The export has begun.
        wire.until("\r\n\r\n").await;
        stalled.push(wire);
    }
    for _ in 0..20 {
        server.allocate("b").await;
        assert_eq!(server.get("/api/leases?user=b&limit=1").await.status, 200);
    }
    assert_eq!(csv(&server, "user=b&").await.len(), 20);
    // The client gets the rest once it reads again.
    let slow: Response =
        server.request(Method::GET, "/api/leases?format=csv").send().await.unwrap();
    // Longer than the limits that don't apply to it.
    tokio::time::sleep(4 * short).await;
    assert_eq!(rows(&slow.text().await.unwrap()).len(), 1 + 12_020);
}

#[on_both]
async fn the_number_of_exports_is_limited(db: TestDb) {
    let server = db.serve_size(10).await;
    fill(&server, 12_000, &"🦀".repeat(255)).await;
    let export = || server.request(Method::GET, "/api/leases?format=csv");
    let client = crate::harness::client_builder().http2_prior_knowledge().build().unwrap();
    let url = format!("http://{}/api/leases?format=csv", server.address);
    let mut begun = Vec::new();
    for number in 0..16 {
        // By either route.
        let export = if number < 2 { client.get(&url) } else { export() };
        let response = export.send().await.unwrap();
        assert_eq!(response.status(), 200);
        begun.push(response);
    }
    let refused = server.get("/api/leases?format=csv").await;
    let detail = refused.problem(503, "too-many-exports");
    assert!(detail.contains("16 exports"), "{detail}");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(server.get("/api/leases").await.status, 200, "the limit does not apply to pages");
    // A finished export frees its place, and so does one whose client has left.
    let over = begun.pop().unwrap().text().await.unwrap();
    assert_eq!(rows(&over).len(), 1 + 12_000);
    begun.push(export().send().await.unwrap());
    assert_eq!(begun[15].status(), 200);
    begun.truncate(15);
    testbed::eventually("an export is accepted", async || {
        export().send().await.unwrap().status() == 200
    })
    .await;
}

#[on_both]
async fn http_1_0_gets_no_export(db: TestDb) {
    let server = db.serve().await;
    server.allocate("a").await;
    let old = |path: &str| format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let answer = exchange(server.address, &old("/api/leases?format=csv")).await;
    assert!(answer.starts_with("HTTP/1.0 505 ") && answer.contains("http-version"), "{answer}");
    let answer = exchange(server.address, &old("/api/leases")).await;
    assert!(answer.starts_with("HTTP/1.0 200 ") && answer.contains("\"leases\""), "{answer}");
}
