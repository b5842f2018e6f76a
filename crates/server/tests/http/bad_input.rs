//! Invalid requests and their problems.

use reqwest::{Body, Method};
use serde_json::{Value, json};

use crate::harness::{Answer, Serve as _};
use crate::raw::exchange;
use testbed::{TestDb, on_both};

#[on_both]
async fn compressed_bodies_are_rejected(db: TestDb) {
    let server = db.serve().await;
    let send = async |headers: &str| {
        let body = r#"{"user_id":"a"}"#;
        let framing = if headers.contains("Transfer") {
            format!("\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
        } else {
            format!("Content-Length: {}\r\n\r\n{body}", body.len())
        };
        let request = format!(
            "POST /api/tokens/allocate HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\n{headers}{framing}"
        );
        exchange(server.address, &request).await
    };
    for headers in
        ["Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: identity, chunked\r\n"]
    {
        let answer = send(headers).await;
        assert!(answer.starts_with("HTTP/1.1 501 "), "{headers}: {answer}");
        assert!(answer.contains("unsupported-transfer-encoding"), "{answer}");
    }
    for headers in ["Content-Encoding: gzip\r\n", "Content-Encoding: identity, br\r\n"] {
        let answer = send(headers).await;
        assert!(answer.starts_with("HTTP/1.1 415 "), "{headers}: {answer}");
        assert!(answer.contains("unsupported-content-encoding"), "{answer}");
        assert!(answer.contains("accept-encoding: identity\r\n"), "{answer}");
    }
    assert_eq!(server.active().await, 0);
    for headers in ["Transfer-Encoding: Chunked\r\n", "Content-Encoding: identity\r\n"] {
        let answer = send(headers).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{headers}: {answer}");
    }
}

#[on_both]
async fn heads_have_the_same_limit_in_both_versions(db: TestDb) {
    let server = db.serve().await;
    let http2 = crate::harness::client_builder().http2_prior_knowledge().build().unwrap();
    for client in [&server.client, &http2] {
        for (size, status) in [(60_000, 200), (70_000, 431)] {
            let request = client.get(format!("http://{}/health/live", server.address));
            let answer = request.header("x", "a".repeat(size)).send().await.unwrap();
            assert_eq!(answer.status(), status, "{size} bytes over {:?}", answer.version());
        }
    }
    // HTTP/1 also limits the number of headers.
    for (count, status) in [(97, "200"), (101, "431")] {
        let lines = "X: a\r\n".repeat(count);
        let head = format!(
            "GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n"
        );
        let answer = exchange(server.address, &head).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{count} lines: {answer}");
    }
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

#[on_both]
async fn a_user_is_a_text_of_limited_length(db: TestDb) {
    let server = db.serve().await;
    for (value, says) in [
        (Value::Null, "not null"),
        (json!(7), "not a number"),
        (json!(-7), "not a number"),
        (json!(1.5), "not a number"),
        (json!(true), "not true"),
        (json!(false), "not false"),
        (json!(["a"]), "not an array"),
        (json!({ "a": "b" }), "not an object"),
        (json!(""), "must not be empty"),
        (json!("x".repeat(256)), "at most 255 characters"),
        (json!("é".repeat(256)), "at most 255 characters"),
        (json!("a\0b"), "NUL"),
    ] {
        let answer = server.send(JSON, json!({ "user_id": value }).to_string()).await;
        let detail = answer.problem(400, "invalid-user");
        assert!(detail.contains(says), "{value}: {detail}");
    }
    for (content_type, body, says) in [
        (JSON, "{}", "missing"),
        (JSON, r#"{"user":"a"}"#, "missing"),
        (JSON, r#"{"USER_ID":"a"}"#, "missing"),
        (JSON, "", "no body"),
        (FORM, "", "no body"),
        (FORM, "user=a", "missing"),
        (FORM, "user_id[]=a", "missing"),
        (FORM, "user_id=", "must not be empty"),
        (FORM, "user_id", "must not be empty"),
        (FORM, "user_id=a%00b", "NUL"),
    ] {
        let detail = server.send(content_type, body).await.problem(400, "invalid-user");
        assert!(detail.contains(says), "{body}: {detail}");
    }
    let detail = server.post("/api/tokens/allocate").await.problem(400, "invalid-user");
    assert!(detail.contains("no body"), "{detail}");
    let by_query = server.post("/api/tokens/allocate?user_id=Edivan").await;
    by_query.problem(400, "invalid-user");
}

#[on_both]
async fn a_body_is_a_json_object_or_a_form(db: TestDb) {
    let server = db.serve().await;
    for (body, says) in [
        (&b"{"[..], "not valid JSON"),
        (b"{\"user_id\":", "not valid JSON"),
        (b"{\"user_id\":\"a\"", "not valid JSON"),
        (b"{\"user_id\":\"a\",}", "not valid JSON"),
        (b"{'user_id':'a'}", "not valid JSON"),
        (b"{\"user_id\":\"a\"} x", "not valid JSON"),
        (b"{\"user_id\":\"\\ud800\"}", "not valid JSON"),
        (b"{\"user_id\":\"a\nb\"}", "not valid JSON"),
        (b"user_id=a", "not valid JSON"),
        (b"   ", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b"[\"user_id\",\"a\"]", "must be a JSON object"),
        (b"\"a\"", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b"7", "must be a JSON object"),
        (b"{\"user_id\":\"\xff\"}", "not valid UTF-8"),
        (b"{\"x\":\"\xff\",\"user_id\":\"a\"}", "not valid UTF-8"),
        (b"\xef\xbb\xbf{\"user_id\":\"a\"}", "not valid JSON"),
    ] {
        let shown = String::from_utf8_lossy(body);
        let detail = server.send(JSON, body).await.problem(400, "invalid-body");
        assert!(detail.contains(says), "{shown}: {detail}");
    }
    for (body, says) in [
        (&b"user_id=%zz"[..], "malformed"),
        (b"user_id=100%", "malformed"),
        (b"user_id=%ff", "malformed"),
        (b"user_id=\xff", "not valid UTF-8"),
        (b"{\"user_id\":\"a\"}", "application/json"),
        (b" {\"user_id\": \"100%\"}", "application/json"),
    ] {
        let shown = String::from_utf8_lossy(body);
        let detail = server.send(FORM, body).await.problem(400, "invalid-body");
        assert!(detail.contains(says), "{shown}: {detail}");
    }
}

#[on_both]
async fn a_content_type_must_be_understood(db: TestDb) {
    let server = db.serve().await;
    for content_type in [
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "json",
        "application/jsonx",
        "",
        "é",
    ] {
        let answer = server.send(content_type, r#"{"user_id":"a"}"#).await;
        let detail = answer.problem(415, "unsupported-content-type");
        assert!(detail.contains("Send application/json"), "{detail}");
    }
    let request = server.request(Method::POST, "/api/tokens/allocate").body(r#"{"user_id":"a"}"#);
    let detail = Answer::to(request).await.problem(415, "unsupported-content-type");
    assert!(detail.contains("no content-type"), "{detail}");
}

#[on_both]
async fn a_body_may_have_64_kib(db: TestDb) {
    let server = db.serve().await;
    let sized = |size: usize| {
        let rest = size - r#"{"user_id":"a","x":""}"#.len();
        format!(r#"{{"user_id":"a","x":"{}"}}"#, "x".repeat(rest))
    };
    let largest = sized(server::MAX_BODY);
    assert_eq!(largest.len(), 65_536);
    assert_eq!(server.send(JSON, largest).await.status, 200);
    let detail =
        server.send(JSON, sized(server::MAX_BODY + 1)).await.problem(413, "body-too-large");
    assert!(detail.contains("65536"), "{detail}");
}

#[on_both]
async fn a_large_body_gets_a_readable_answer_everywhere(db: TestDb) {
    const MEGABYTE: usize = 1 << 20;
    let server = db.serve().await;
    let id = server.ids("/api/tokens").await[0].clone();
    for (method, path) in [
        (Method::POST, "/api/tokens/allocate".to_owned()),
        (Method::POST, format!("/api/tokens/release/{id}")),
        (Method::DELETE, "/api/tokens/clear-active".to_owned()),
        (Method::GET, "/api/tokens".to_owned()),
        (Method::POST, "/nowhere".to_owned()),
    ] {
        let request = server.request(method.clone(), &path).body(vec![b'x'; 10 * MEGABYTE]);
        Answer::to(request).await.problem(413, "body-too-large");
        let chunks = (0..10).map(|_| Ok::<_, std::io::Error>(vec![b'x'; MEGABYTE]));
        let chunked = Body::wrap_stream(futures_util::stream::iter(chunks));
        // The client sends a GET body in chunks only if asked.
        let request = server.request(method, &path).header("transfer-encoding", "chunked");
        let request = request.body(chunked);
        Answer::to(request).await.problem(413, "body-too-large");
    }
    // A client that sends `Expect` learns it at once.
    let asking = format!(
        "POST /api/tokens/allocate HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
         Content-Length: {}\r\n\r\n",
        10 * MEGABYTE
    );
    assert!(exchange(server.address, &asking).await.starts_with("HTTP/1.1 413 "));
    let hopeless = format!(
        "POST /api/tokens/allocate HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        1_000_000 * MEGABYTE
    );
    assert!(exchange(server.address, &hopeless).await.starts_with("HTTP/1.1 413 "));
}

#[on_both]
async fn deep_nesting_is_rejected(db: TestDb) {
    let server = db.serve().await;
    let arrays = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(9_000), "}".repeat(9_000));
    for nested in [&arrays, &objects] {
        let ignored = format!(r#"{{"x":{nested},"user_id":"a"}}"#);
        let status = server.send(JSON, ignored).await.status;
        assert!(status == 200 || status == 400, "{status}");
        let status = server.send(JSON, format!(r#"{{"user_id":{nested}}}"#)).await.status;
        assert_eq!(status, 400);
        assert_eq!(server.send(JSON, nested.clone()).await.status, 400);
        assert_eq!(server.send(JSON, nested[..nested.len() / 2].to_owned()).await.status, 400);
    }
}

#[on_both]
async fn malformed_ids_are_rejected(db: TestDb) {
    let server = db.serve().await;
    let id = server.ids("/api/tokens").await[0].clone();
    for malformed in [
        "1",
        "releases",
        "not-a-uuid-but-just-as-long-as-one-is",
        &id[1..],
        &format!("{id}0"),
        &id.replace('-', ""),
        &format!("%7B{id}%7D"),
        &format!("urn:uuid:{id}"),
        &format!("{id}%00"),
        &format!("{id}%2F"),
        "%ff",
        "%C3%A9",
        "%zz",
    ] {
        let answer = server.get(&format!("/api/tokens/{malformed}")).await;
        answer.problem(400, "invalid-id");
        assert_eq!(answer.json()["error"], "Invalid token id");
        server.get(&format!("/api/tokens/{malformed}/history")).await.problem(400, "invalid-id");
        server.post(&format!("/api/tokens/release/{malformed}")).await.problem(400, "invalid-id");
    }
}

#[on_both]
async fn wrong_methods_get_the_allowed_ones(db: TestDb) {
    let server = db.serve().await;
    let id = server.ids("/api/tokens").await[0].clone();
    for (path, allowed) in [
        ("/api/tokens".to_owned(), "GET,HEAD"),
        ("/api/tokens/available".to_owned(), "GET,HEAD"),
        ("/api/tokens/active/".to_owned(), "GET,HEAD"),
        (format!("/api/tokens/{id}"), "GET,HEAD"),
        (format!("/api/tokens/{id}/history"), "GET,HEAD"),
        ("/api/tokens/allocate".to_owned(), "POST"),
        (format!("//api/tokens/release/{id}"), "POST"),
        ("/api/tokens/clear-active".to_owned(), "DELETE"),
        ("/health/live".to_owned(), "GET,HEAD"),
    ] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"] {
            if allowed.contains(method) {
                continue;
            }
            let answer = Answer::to(server.request(method.parse().unwrap(), &path)).await;
            let detail = answer.problem(405, "wrong-method");
            assert!(detail.contains(method), "{detail}");
            assert_eq!(answer.header("allow"), allowed, "{method} {path}");
        }
    }
    let head = Answer::to(server.request(Method::HEAD, "/api/tokens/allocate")).await;
    assert_eq!((head.status.as_u16(), head.header("allow")), (405, "POST"));
}

#[on_both]
async fn unknown_paths_are_not_found(db: TestDb) {
    let server = db.serve().await;
    let id = server.ids("/api/tokens").await[0].clone();
    for path in [
        "/api",
        "/API/tokens",
        "/api/token",
        "/api/tokens/release/a/b",
        &format!("/api/tokens/{id}/usage"),
        &format!("/api/tokens/{id}/history/1"),
        "/health",
        "/../etc/passwd",
        "/%2e%2e%2f",
    ] {
        server.get(path).await.problem(404, "unknown-path");
        server.post(path).await.problem(404, "unknown-path");
    }
}

#[on_both]
async fn broken_requests_leave_the_server_running(db: TestDb) {
    let server = db.serve().await;
    let host = "Host: localhost\r\nConnection: close\r\n";
    for (request, status) in [
        ("GET\r\n\r\n".to_owned(), 400),
        (format!("GET /api/tokens HTTP/9.9\r\n{host}\r\n"), 400),
        (format!("GET /api/tokens HTTP/1.1\r\n{host}x y: z\r\n\r\n"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: x\r\n\r\n"), 400),
        (format!("GET /api/tokens HTTP/1.1\r\n{host}x: {}\r\n\r\n", "x".repeat(1 << 20)), 431),
        (format!("GET /{} HTTP/1.1\r\n{host}\r\n", "x".repeat(70_000)), 431),
        (format!("OPTIONS * HTTP/1.1\r\n{host}\r\n"), 404),
        (format!("CONNECT localhost:80 HTTP/1.1\r\n{host}\r\n"), 404),
        (format!("GET http://localhost/api/tokens HTTP/1.1\r\n{host}\r\n"), 200),
        ("GET /api/tokens HTTP/1.0\r\nHost: localhost\r\n\r\n".to_owned(), 200),
        (
            format!(
                "POST /api/tokens/allocate HTTP/1.1\r\n{host}Content-Type: application/json\r\n\
                 Transfer-Encoding: chunked\r\n\r\nzz\r\n"
            ),
            400,
        ),
    ] {
        let answer = exchange(server.address, &request).await;
        let shown = &request[..request.len().min(60)];
        assert!(answer.starts_with("HTTP/1."), "{shown}: {answer}");
        assert_eq!(answer[9..12], status.to_string(), "{shown}: {answer}");
    }
    assert_eq!(server.get("/api/tokens").await.status, 200);
}

#[on_both]
async fn problems_have_their_own_content_type_on_request(db: TestDb) {
    let server = db.serve().await;
    for accept in ["application/problem+json", "text/html, Application/Problem+JSON;q=0.9"] {
        for path in ["/nowhere", "/api/tokens/1"] {
            let request = server.request(Method::GET, path).header("accept", accept);
            let answer = Answer::to(request).await;
            assert_eq!(answer.header("content-type"), "application/problem+json");
        }
        let request = server.request(Method::GET, "/api/tokens").header("accept", accept);
        assert_eq!(Answer::to(request).await.header("content-type"), "application/json");
    }
}

#[on_both]
async fn invalid_requests_change_nothing(db: TestDb) {
    let server = db.serve().await;
    server.allocate("a").await;
    let before = server.get("/api/tokens").await;
    for body in ["", "{", "{}", r#"{"user_id":7}"#, "[]"] {
        assert_eq!(server.send(JSON, body).await.status, 400);
        assert!(server.send("text/plain", body).await.status.is_client_error());
    }
    server.post("/api/tokens/clear-active").await.problem(405, "wrong-method");
    server.get("/api/tokens/allocate").await.problem(405, "wrong-method");
    let after = server.get("/api/tokens").await;
    assert_eq!(after.header("etag"), before.header("etag"));
    assert_eq!(after.text, before.text);
}
