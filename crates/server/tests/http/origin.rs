//! Requests that web pages of other sites can make: rejected without effect.

use reqwest::Method;
use server::Settings;

use crate::harness::{Answer, Serve as _, TestServer, client_builder, text};
use crate::sessions::first_key;
use testbed::{TestDb, on_both};

/// Requests that need no preflight: forms, and requests without a body.
async fn write_as(server: &TestServer, id: &str, headers: &[(&str, &str)]) -> Vec<Answer> {
    let form = "application/x-www-form-urlencoded";
    let allocate = server.request(Method::POST, "/api/tokens/allocate");
    let mut answers = Vec::new();
    for request in [
        allocate.body("user_id=page").header("content-type", form),
        server.request(Method::POST, &format!("/api/tokens/release/{id}")),
        server.request(Method::DELETE, "/api/tokens/clear-active"),
    ] {
        let with =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        answers.push(Answer::to(with).await);
    }
    answers
}

#[on_both]
async fn a_cross_origin_request_changes_nothing(db: TestDb) {
    let server = db.serve().await;
    let id = text(&server.allocate("a").await["token_id"]);
    let before = server.get("/api/tokens").await.text;
    for headers in [
        &[("origin", "https://evil.example")][..],
        &[("origin", "null")],
        &[("origin", "http://127.0.0.1:1")],
        &[("origin", "http://127.0.0.1")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("origin", &format!("http://{}", server.address)), ("sec-fetch-site", "cross-site")],
    ] {
        for answer in write_as(&server, &id, headers).await {
            answer.problem(403, "cross-origin");
            assert_eq!(answer.header("access-control-allow-origin"), "");
        }
        // The browser sends reads, but hides the answer from the page.
        let request =
            server.request(Method::GET, "/api/tokens").header("origin", "https://evil.example");
        let read = Answer::to(request).await;
        assert_eq!((read.status.as_u16(), read.header("access-control-allow-origin")), (200, ""));
    }
    let asks = server.request(Method::OPTIONS, "/api/tokens/clear-active");
    let asks = asks.header("origin", "https://evil.example");
    Answer::to(asks.header("access-control-request-method", "DELETE"))
        .await
        .problem(403, "cross-origin");
    assert_eq!(server.get("/api/tokens").await.text, before);
}

#[on_both]
async fn the_dashboard_may_change_leases(db: TestDb) {
    let server = db.serve().await;
    let id = text(&server.allocate("a").await["token_id"]);
    let origin = format!("http://{}", server.address);
    for headers in [
        &[("origin", origin.as_str()), ("sec-fetch-site", "same-origin")][..],
        &[("origin", origin.as_str())],
        &[("sec-fetch-site", "none")],
    ] {
        for answer in write_as(&server, &id, headers).await {
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
    }
}

#[on_both]
async fn an_unknown_host_is_rejected(db: TestDb) {
    let server = db.serve().await;
    let id = text(&server.allocate("a").await["token_id"]);
    let before = server.get("/api/tokens").await.text;
    for host in ["evil.example", "evil.example:4000", "localhost.evil.example", "127.0.0.2", ""] {
        for answer in write_as(&server, &id, &[("host", host)]).await {
            answer.problem(421, "host-not-allowed");
        }
        for path in ["/api/tokens", "/metrics", "/nowhere"] {
            let request = server.request(Method::GET, path).header("host", host);
            Answer::to(request).await.problem(421, "host-not-allowed");
        }
    }
    let without = crate::raw::exchange(server.address, "GET /api/tokens HTTP/1.0\r\n\r\n").await;
    assert!(without.starts_with("HTTP/1.0 421 "), "{without}");
    for host in ["localhost", "LOCALHOST:9", "[::1]:4000", "127.0.0.1"] {
        let request = server.request(Method::GET, "/api/tokens").header("host", host);
        assert_eq!(Answer::to(request).await.text, before);
    }
}

#[on_both]
async fn allowed_hosts_are_accepted(db: TestDb) {
    let allowed_hosts = vec!["tokens.test".to_owned()];
    let server = db.serve_with(Some(5), Settings { allowed_hosts, ..Settings::default() }).await;
    for http2 in [false, true] {
        let builder = client_builder().resolve("tokens.test", server.address);
        let builder = builder.resolve("evil.test", server.address);
        let client = if http2 { builder.http2_prior_knowledge() } else { builder }.build().unwrap();
        let port = server.address.port();
        let get = |host: &str| Answer::to(client.get(format!("http://{host}:{port}/api/tokens")));
        assert_eq!(get("tokens.test").await.status, 200);
        assert_eq!(get("127.0.0.1").await.status, 200);
        get("evil.test").await.problem(421, "host-not-allowed");
    }
}

#[on_both]
async fn probes_and_scrapers_use_addresses(db: TestDb) {
    let allowed_hosts = vec!["tokens.test".to_owned()];
    let anonymous = Some(server::Anonymous::Use);
    let settings = Settings { loopback: false, anonymous, allowed_hosts, ..Settings::default() };
    let server = db.serve_with(Some(5), settings).await;
    let get = |path: &str, host| server.request(Method::GET, path).header("host", host);
    for path in ["/health/live", "//health/ready/", "/metrics"] {
        let answer = Answer::to(get(path, "10.1.2.3:4000")).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    }
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(Answer::to(get(path, "pod.test")).await.status, 200, "{path}");
    }
    Answer::to(get("/metrics", "pod.test")).await.problem(421, "host-not-allowed");
}

#[on_both]
async fn names_of_remote_addresses_have_to_be_allowed(db: TestDb) {
    let local = db.serve_size(5).await;
    let id = local.ids("/api/tokens").await[0].clone();
    let key = format!("Bearer {}", first_key(&local).await);
    let key = ("authorization", &*key);
    local.stop().await.unwrap();
    let server = db.serve_with(Some(5), Settings { loopback: false, ..Settings::default() }).await;
    // A DNS rebinding attack: a page's name resolves to the server's address.
    let rebound = [("host", "evil.example:4000"), ("origin", "http://evil.example:4000"), key];
    for answer in write_as(&server, &id, &rebound).await {
        let detail = answer.problem(421, "host-not-allowed");
        assert!(detail.contains("--allowed-host"), "{detail}");
    }
    let values = server.request(Method::GET, "/api/tokens").header("host", "evil.example:4000");
    Answer::to(values).await.problem(421, "host-not-allowed");
    for answer in write_as(&server, &id, &[("host", "10.1.2.3:4000"), key]).await {
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let foreign = [("host", "10.1.2.3:4000"), ("origin", "https://evil.example"), key];
    for answer in write_as(&server, &id, &foreign).await {
        answer.problem(403, "cross-origin");
    }
}

#[on_both]
async fn values_are_not_cached_and_not_sniffed(db: TestDb) {
    let server = db.serve_size(5).await;
    let granted = server.allocate("a").await;
    let (token, lease) = (text(&granted["token_id"]), text(&granted["lease_id"]));
    for (path, kept) in [
        ("/api/tokens", "private, no-cache"),
        ("/api/tokens/active", "private, no-cache"),
        ("/api/tokens/available", "private, no-cache"),
        (&format!("/api/tokens/{token}"), "no-store"),
        (&format!("/api/tokens/{token}/history"), "no-store"),
        (&format!("/api/leases/{lease}"), "no-store"),
        ("/api/leases", "no-store"),
        ("/api/leases?format=csv", "no-store"),
        ("/api/pool", "no-store"),
        ("/api/nothing", "no-store"),
        ("/api/tokens/x", "no-store"),
        ("/metrics", "no-store"),
        ("/health/ready", "no-store"),
        ("/", "no-cache"),
        ("/openapi.json", "no-cache"),
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.header("cache-control"), kept, "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
    }
    let stream = server.request(Method::GET, "/api/events").send().await.unwrap();
    assert_eq!(stream.headers()["x-content-type-options"], "nosniff");
    let body = serde_json::json!({ "user_id": "a" });
    let granted = server.post_json("/api/tokens/allocate", &body).await;
    assert_eq!(granted.header("cache-control"), "no-store");
    // Cross-origin pages read nothing, and can't start searches either.
    for path in ["/api/leases", "/api/leases?format=csv", &format!("/api/tokens/{token}/history")] {
        let request = server.request(Method::GET, path).header("sec-fetch-site", "cross-site");
        Answer::to(request).await.problem(403, "cross-origin");
    }
}
