//! Clients that send requests and don't read the answers, while they answer PINGs.

use std::time::{Duration, Instant};

use pool::User;
use reqwest::Method;
use server::Settings;

use crate::harness::{Answer, Serve as _, TestServer};
use crate::raw::{Http2, Wire};
use testbed::{TestDb, eventually, on_both, poll_async};

const SHORT: Duration = Duration::from_millis(800);

/// Grants leases that make pages of 1.4 MB.
async fn fill(server: &TestServer) {
    let user = User::new(&"🦀".repeat(255)).unwrap();
    for _ in 0..3 {
        let grants = (0..500).map(|_| server.engine.allocate(user.clone()));
        for granted in futures_util::future::join_all(grants).await {
            granted.unwrap().unwrap();
        }
    }
}

/// Bytes of answers not sent yet.
async fn memory(server: &TestServer) -> usize {
    let metrics = server.get("/metrics").await.text;
    let line =
        metrics.lines().find_map(|line| line.strip_prefix("token_manager_answer_memory_bytes "));
    line.unwrap().parse().unwrap()
}

fn short() -> Settings {
    Settings { answer_timeout: SHORT, ..Settings::default() }
}

const PAGE: &str = "/api/leases?limit=1000";

#[on_both]
async fn unread_http2_answers_use_little_memory_for_a_limited_time(db: TestDb) {
    let settings = Settings { answer_timeout: 3 * SHORT, ..Settings::default() };
    let server = db.serve_with(Some(10), settings).await;
    fill(&server).await;
    let begun = Instant::now();
    let mut shut = Http2::to(server.address, 0).await;
    shut.get(PAGE, (0..100).map(|number| 2 * number + 1)).await;
    let pings = tokio::spawn(async move { shut.ping(60 * SHORT).await });
    let mut most = 0;
    while !pings.is_finished() {
        most = most.max(memory(&server).await);
        // A measurement every moment, not a busy loop.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(pings.await.unwrap(), "the server closes the connection");
    assert!(begun.elapsed() >= 3 * SHORT, "{:?}", begun.elapsed());
    assert!((1_000_000..20_000_000).contains(&most), "{most}");
    eventually("its memory is free", async || memory(&server).await < 100_000).await;
}

#[on_both]
async fn pings_do_not_keep_an_idle_http2_connection(db: TestDb) {
    let server = db.serve_with(Some(5), Settings { idle_timeout: SHORT, ..short() }).await;
    let mut idle = Http2::to(server.address, 65_535).await;
    idle.get("/health/live", [1].into_iter()).await;
    let begun = Instant::now();
    assert!(idle.ping(30 * SHORT).await, "the server closes the connection");
    assert!(begun.elapsed() >= SHORT / 2, "{:?}", begun.elapsed());
}

#[on_both]
async fn unread_exports_and_streams_are_aborted(db: TestDb) {
    let server = db.serve_with(Some(10), short()).await;
    fill(&server).await;
    let mut all = Vec::new();
    for (path, count) in [("/api/leases?format=csv", 16), ("/api/events", 100), ("/api/pool", 100)]
    {
        let mut shut = Http2::to(server.address, 0).await;
        shut.get(path, (0..count).map(|number| 2 * number + 1)).await;
        all.push(tokio::spawn(async move { (path, shut.ping(60 * SHORT).await) }));
    }
    for shut in all {
        let (path, closed) = shut.await.unwrap();
        assert!(closed, "{path} is never cut off");
    }
    eventually("an export is accepted", async || {
        server.get("/api/leases?format=csv&limit=1").await.status != 503
    })
    .await;
    let metrics = server.get("/metrics").await.text;
    assert!(metrics.contains("token_manager_event_streams 0\n"), "{metrics}");
    assert!(metrics.contains("{reason=\"unread\"} 3\n"), "{metrics}");
}

#[on_both]
async fn without_answer_memory_only_large_answers_are_rejected(db: TestDb) {
    let answer_timeout = Duration::from_hours(1);
    let settings = Settings { answer_bytes: 3 << 20, answer_timeout, ..Settings::default() };
    let server = db.serve_with(Some(10), settings).await;
    fill(&server).await;
    let mut shut = Http2::to(server.address, 0).await;
    shut.get(PAGE, [1].into_iter()).await;
    eventually("its answer is in memory", async || memory(&server).await > 1_000_000).await;
    let refused = server.get(PAGE).await;
    refused.problem(503, "too-many-answers");
    assert_eq!(refused.header("retry-after"), "1");
    server.allocate("a").await;
    // To free memory the server disconnects the stalled client early.
    eventually("a page is answered", async || server.get(PAGE).await.status == 200).await;
    assert!(shut.ping(60 * SHORT).await, "the server closes the stalled connection");
}

#[on_both]
async fn a_slow_reader_gets_all(db: TestDb) {
    // Ended leases do not change.
    const PAGE: &str = "/api/leases?limit=1000&status=ended";
    let answer_timeout = 6 * SHORT;
    let settings = Settings { answer_timeout, ..Settings::default() };
    let server = db.serve_with(Some(10), settings).await;
    fill(&server).await;
    let whole = server.get(PAGE).await.text;
    // Over HTTP/1 the client reads small pieces with pauses.
    let mut wire = Wire::to(server.address).await;
    wire.send(&format!("GET {PAGE} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
        .await;
    let mut read = wire.until("\r\n\r\n").await.len();
    let head = read;
    let begun = Instant::now();
    loop {
        let mut buffer = vec![0; whole.len() / 30];
        let some = tokio::io::AsyncReadExt::read(&mut wire.0, &mut buffer).await.unwrap();
        if some == 0 {
            break;
        }
        read += some;
        // The pause of a slow client.
        tokio::time::sleep(SHORT / 4).await;
    }
    assert_eq!(read - head, whole.len());
    assert!(begun.elapsed() > answer_timeout, "it took longer than one pause may");
    // Over HTTP/2, 30 answers at a time.
    let client = crate::harness::client_builder().http2_prior_knowledge().build().unwrap();
    let get = || async {
        poll_async("a page", async || {
            let request = client.request(Method::GET, format!("http://{}{PAGE}", server.address));
            let answer = Answer::to(request).await;
            // On a busy machine the database may not answer 30 reads in time.
            let late = answer.status == 503 && answer.json()["code"] == "not-done";
            (!late).then_some(answer)
        })
        .await
    };
    for answer in futures_util::future::join_all((0..30).map(|_| get())).await {
        assert_eq!((answer.status.as_u16(), answer.text == whole), (200, true));
    }
}
