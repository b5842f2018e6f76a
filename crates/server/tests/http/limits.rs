//! Slow clients, many clients, clients that leave.

use std::time::{Duration, Instant};

use server::Settings;

use crate::harness::Serve as _;
use crate::raw::Wire;
use testbed::{TIMEOUT, TestDb, eventually, on_both};

const SHORT: Duration = Duration::from_millis(400);

fn impatient() -> Settings {
    Settings { header_timeout: SHORT, body_timeout: SHORT, ..Settings::default() }
}

#[on_both]
async fn an_incomplete_head_times_out(db: TestDb) {
    let server = db.serve_with(Some(5), impatient()).await;
    for start in [
        "",
        "G",
        "GET /api/tokens HTTP/1.1\r\nHost: loc",
        "PRI * HTTP/2.0\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let begun = Instant::now();
        let mut wire = Wire::to(server.address).await;
        wire.send(start).await;
        assert_eq!(server.get("/health/live").await.status, 200, "others are served");
        wire.closed().await;
        assert!(begun.elapsed() >= SHORT, "{start:?} {:?}", begun.elapsed());
    }
    // Sending byte by byte does not extend the time.
    let mut wire = Wire::to(server.address).await;
    let begun = Instant::now();
    for byte in "GET /api/tokens HTTP/1.1\r\nHost: localhost\r\nX: ".chars().cycle() {
        if tokio::io::AsyncWriteExt::write_all(&mut wire.0, &[byte as u8]).await.is_err() {
            break;
        }
        assert!(begun.elapsed() < TIMEOUT, "the server closes the connection");
        tokio::time::sleep(SHORT / 20).await;
    }
}

#[on_both]
async fn an_incomplete_second_head_times_out(db: TestDb) {
    let header_timeout = 4 * SHORT;
    let server = db.serve_with(Some(5), Settings { header_timeout, ..impatient() }).await;
    let mut wire = Wire::to(server.address).await;
    for _ in 0..2 {
        wire.send("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        wire.until("}").await;
        // A pause between two requests is allowed.
        tokio::time::sleep(header_timeout + SHORT).await;
    }
    let begun = Instant::now();
    wire.send("GET /health/live HTTP/1.1\r\nHost: local").await;
    wire.closed().await;
    assert!(begun.elapsed() >= header_timeout, "{:?}", begun.elapsed());
}

#[on_both]
async fn idle_connections_are_closed(db: TestDb) {
    let settings = Settings { idle_timeout: 5 * SHORT, ..impatient() };
    let server = db.serve_with(Some(5), settings).await;
    let mut wire = Wire::to(server.address).await;
    for _ in 0..3 {
        wire.send("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        wire.until("}").await;
        // Each request begins the idle time again.
        tokio::time::sleep(2 * SHORT).await;
    }
    let begun = Instant::now();
    wire.closed().await;
    assert!(begun.elapsed() >= SHORT, "{:?}", begun.elapsed());
}

#[on_both]
async fn a_slow_body_times_out(db: TestDb) {
    let server = db.serve_with(Some(5), impatient()).await;
    for path in ["/api/tokens/allocate", "/nowhere"] {
        let mut wire = Wire::to(server.address).await;
        let head = "HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
        wire.send(&format!("POST {path} {head}\r\nContent-Length: 20\r\n\r\n{{\"user_id\"")).await;
        assert_eq!(server.get("/health/live").await.status, 200, "others are served");
        let answer = wire.rest().await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains(r#""code":"body-timeout""#), "{answer}");
    }
    assert_eq!(server.active().await, 0);
}

#[on_both]
async fn two_thousand_idle_connections_do_not_disturb(db: TestDb) {
    // Both ends of each connection are in this process.
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let server = db.serve().await;
    let mut idle = Vec::new();
    for number in 0..2_000 {
        let mut wire = Wire::to(server.address).await;
        if number % 2 == 0 {
            wire.send("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        }
        idle.push(wire);
    }
    for _ in 0..20 {
        server.allocate("a").await;
        assert_eq!(server.get("/api/tokens").await.status, 200);
    }
    assert!(idle[0].until("}").await.starts_with("HTTP/1.1 200 "));
    assert_eq!(server.active().await, 20);
}

const LIVE: &str = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[on_both]
async fn at_the_limit_the_longest_idle_connection_is_closed(db: TestDb) {
    let settings = Settings { connections: 3, ..Settings::default() };
    let server = db.serve_with(Some(5), settings).await;
    let mut idle = Vec::new();
    for _ in 0..3 {
        let mut wire = Wire::to(server.address).await;
        wire.send(LIVE).await;
        wire.until("}").await;
        idle.push(wire);
        // Idle times are counted in milliseconds.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    idle[0].send(LIVE).await;
    idle[0].until("}").await;
    let mut new = Wire::to(server.address).await;
    new.send(LIVE).await;
    assert!(new.until("}").await.contains("200 OK"));
    idle[1].closed().await;
    for index in [0, 2] {
        idle[index].send(LIVE).await;
        idle[index].until("}").await;
    }
    new.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    new.until("token_manager_connections_dropped_total{reason=\"idle\"} 1\n").await;
}

#[on_both]
async fn without_an_idle_connection_probes_are_answered(db: TestDb) {
    let settings = Settings { connections: 3, ..Settings::default() };
    let server = db.serve_with(Some(5), settings).await;
    let mut busy = Vec::new();
    for _ in 0..3 {
        let mut wire = Wire::to(server.address).await;
        wire.send("GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        wire.until("\n\n").await;
        busy.push(wire);
    }
    for _ in 0..100 {
        for path in ["/health/live", "/health/ready"] {
            let answer = server.get(path).await;
            assert_eq!((answer.status.as_u16(), answer.header("connection")), (200, "close"));
        }
    }
    let refused = server.get("/api/pool").await;
    refused.problem(503, "too-many-connections");
    assert_eq!(refused.header("retry-after"), "1");
    let metrics = server.get("/metrics").await.text;
    assert!(metrics.contains("token_manager_connections_limit 3\n"), "{metrics}");
    assert!(metrics.contains("{reason=\"reserved\"} 202\n"), "{metrics}");
    busy.pop();
    eventually("requests are answered again", async || server.get("/api/pool").await.status == 200)
        .await;
}

#[on_both]
async fn clients_that_leave_free_their_resources(db: TestDb) {
    let server = db.serve_size(50).await;
    let body = r#"{"user_id":"a"}"#;
    let head = format!(
        "POST /api/tokens/allocate HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let whole = format!("{head}{body}");
    for length in [1, 20, head.len(), head.len() + 5] {
        for _ in 0..5 {
            let mut wire = Wire::to(server.address).await;
            wire.send(&whole[..length]).await;
        }
    }
    assert_eq!(server.active().await, 0, "an incomplete request got no token");
    for _ in 0..200 {
        let mut wire = Wire::to(server.address).await;
        wire.send(&whole).await;
    }
    // The metrics' own connection is one. What clients left behind precedes the next allocation.
    eventually("their connections are closed", async || {
        let metrics = server.get("/metrics").await.text;
        let open = metrics.lines().find(|line| line.starts_with("token_manager_connections{"));
        open.unwrap().ends_with(" 1")
    })
    .await;
    server.allocate("b").await;
    let granted = server.active().await;
    assert_eq!(server.delete("/api/tokens/clear-active").await.json()["tokens_cleared"], granted);
    assert_eq!(server.active().await, 0);
}
