//! Connection reuse in HTTP/1 and HTTP/2, and shutdown.

use std::time::{Duration, Instant};

use server::Settings;

use crate::harness::{Serve as _, client_builder};
use crate::raw::Wire;
use testbed::{TestDb, on_both};

#[on_both]
async fn connections_are_kept(db: TestDb) {
    let server = db.serve().await;
    let mut wire = Wire::to(server.address).await;
    for _ in 0..3 {
        wire.send("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        wire.until(r#"{"status":"live","#).await;
    }
    // Also after an error.
    let allocate =
        "POST /api/tokens/allocate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";
    for _ in 0..3 {
        wire.send(allocate).await;
        assert!(wire.until(r#""error":"Unsupported content type"}"#).await.contains(" 415 "));
    }
    // Requests may be pipelined.
    wire.send(&"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(3)).await;
    for _ in 0..3 {
        wire.until(r#"{"status":"live","#).await;
    }
}

#[on_both]
async fn http2_is_spoken(db: TestDb) {
    let server = db.serve().await;
    let client = client_builder().http2_prior_knowledge().build().unwrap();
    let base = format!("http://{}/api/tokens", server.address);
    let body = serde_json::json!({ "user_id": "Edivan" });
    let granted = client.post(format!("{base}/allocate")).json(&body).send().await.unwrap();
    assert_eq!((granted.status().as_u16(), granted.version()), (200, reqwest::Version::HTTP_2));
    assert_eq!(granted.json::<serde_json::Value>().await.unwrap()["user_id"], "Edivan");
    let large = client.post(format!("{base}/allocate")).body(vec![b'x'; 10 << 20]);
    assert_eq!(large.send().await.unwrap().status(), 413);
    let head = client.head(&base).header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.bytes().await.unwrap().len()), (200, 0));
}

#[on_both]
async fn a_stopping_server_finishes_requests_in_flight(db: TestDb) {
    let server = db.serve().await;
    let address = server.address;
    let mut idle = Wire::to(address).await;
    idle.send("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    idle.until("}").await;
    let mut busy = Wire::to(address).await;
    let head = "POST /api/tokens/allocate HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
                Content-Type: application/json\r\nContent-Length: 15\r\n\r\n";
    busy.send(head).await;
    // Now the server waits for the body.
    busy.until("HTTP/1.1 100 Continue\r\n\r\n").await;
    let stopped = server.stop();
    assert_eq!(idle.rest().await, "", "an idle connection is closed");
    testbed::eventually("the server accepts no connections", async || {
        tokio::net::TcpStream::connect(address).await.is_err()
    })
    .await;
    busy.send(r#"{"user_id":"a"}"#).await;
    let answer = busy.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("token_value"), "{answer}");
    stopped.await.unwrap();
    // The answered allocation is stored.
    assert_eq!(db.serve().await.active().await, 1);
}

#[on_both]
async fn a_stopping_server_waits_no_longer_than_its_timeout(db: TestDb) {
    let shutdown_timeout = Duration::from_millis(500);
    let settings = Settings { shutdown_timeout, ..Settings::default() };
    let server = db.serve_with(Some(5), settings).await;
    let mut wire = Wire::to(server.address).await;
    wire.send("POST /api/tokens/allocate HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n")
        .await;
    wire.send("Content-Length: 15\r\n\r\n").await;
    wire.until("100 Continue\r\n\r\n").await;
    let begun = Instant::now();
    server.stop().await.unwrap();
    assert!(begun.elapsed() >= shutdown_timeout, "{:?}", begun.elapsed());
}
