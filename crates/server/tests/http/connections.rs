//! Connections that are reused, of both kinds of HTTP, and their end.

use std::time::{Duration, Instant};

use server::Settings;

use crate::house::{Home, client_builder, on_both};
use crate::wire::Wire;

on_both! {
    connections_are_kept,
    http2_is_spoken,
    a_server_that_stops_finishes_what_is_under_way,
    a_server_that_stops_waits_no_longer_than_it_may,
}

async fn connections_are_kept(home: Home) {
    let house = home.open().await;
    let mut wire = Wire::to(house.address).await;
    for _ in 0..3 {
        wire.send("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        wire.until(r#"{"status":"live","#).await;
    }
    // After an error, too.
    let allocate =
        "POST /api/tokens/allocate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";
    for _ in 0..3 {
        wire.send(allocate).await;
        assert!(wire.until(r#""error":"Unsupported content type"}"#).await.contains(" 415 "));
    }
    // And several requests may be sent before the first is answered.
    wire.send(&"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(3)).await;
    for _ in 0..3 {
        wire.until(r#"{"status":"live","#).await;
    }
}

async fn http2_is_spoken(home: Home) {
    let house = home.open().await;
    let client = client_builder().http2_prior_knowledge().build().unwrap();
    let base = format!("http://{}/api/tokens", house.address);
    let body = serde_json::json!({ "user_id": "Edivan" });
    let granted = client.post(format!("{base}/allocate")).json(&body).send().await.unwrap();
    assert_eq!((granted.status().as_u16(), granted.version()), (200, reqwest::Version::HTTP_2));
    assert_eq!(granted.json::<serde_json::Value>().await.unwrap()["user_id"], "Edivan");
    let large = client.post(format!("{base}/allocate")).body(vec![b'x'; 10 << 20]);
    assert_eq!(large.send().await.unwrap().status(), 413);
    let head = client.head(&base).header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.bytes().await.unwrap().len()), (200, 0));
}

async fn a_server_that_stops_finishes_what_is_under_way(home: Home) {
    let house = home.open().await;
    let address = house.address;
    let mut idle = Wire::to(address).await;
    idle.send("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    idle.until("}").await;
    let mut busy = Wire::to(address).await;
    let head = "POST /api/tokens/allocate HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
                Content-Type: application/json\r\nContent-Length: 15\r\n\r\n";
    busy.send(head).await;
    // From here on the server waits for the body.
    busy.until("HTTP/1.1 100 Continue\r\n\r\n").await;
    let stopped = house.stop();
    assert_eq!(idle.rest().await, "", "a connection at rest is closed");
    crate::house::until("no more connections are taken", async || {
        tokio::net::TcpStream::connect(address).await.is_err()
    })
    .await;
    busy.send(r#"{"user_id":"a"}"#).await;
    let answer = busy.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("token_value"), "{answer}");
    stopped.await.unwrap();
    // What was answered is there.
    assert_eq!(home.open().await.active().await, 1);
}

async fn a_server_that_stops_waits_no_longer_than_it_may(home: Home) {
    let shutdown_timeout = Duration::from_millis(500);
    let settings = Settings { shutdown_timeout, ..Settings::default() };
    let house = home.open_with(Some(5), settings).await;
    let mut wire = Wire::to(house.address).await;
    wire.send("POST /api/tokens/allocate HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n")
        .await;
    wire.send("Content-Length: 15\r\n\r\n").await;
    wire.until("100 Continue\r\n\r\n").await;
    let begun = Instant::now();
    house.stop().await.unwrap();
    assert!(begun.elapsed() >= shutdown_timeout, "{:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
