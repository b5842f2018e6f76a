//! Clients that ask and do not read, and whose machine answers PINGs all the while.

use std::time::{Duration, Instant};

use pool::User;
use reqwest::Method;
use server::Settings;

use crate::house::{Answer, Home, House, on_both, until};
use crate::wire::{Http2, Wire};

on_both! {
    untaken_http2_answers_cost_little_and_not_for_long,
    an_idle_http2_connection_is_closed_whatever_it_pings,
    exports_and_streams_are_cut_off_too,
    where_memory_is_used_up_only_large_answers_are_refused,
    a_slow_reader_gets_all,
}

const SHORT: Duration = Duration::from_millis(800);

/// Grants leases whose rows make pages of 1.4 MB.
async fn fill(house: &House) {
    let user = User::new(&"🦀".repeat(255)).unwrap();
    for _ in 0..3 {
        let grants = (0..500).map(|_| house.engine.allocate(user.clone()));
        for granted in futures_util::future::join_all(grants).await {
            granted.unwrap().unwrap();
        }
    }
}

/// Bytes of answers that wait for their clients.
async fn memory(house: &House) -> usize {
    let metrics = house.get("/metrics").await.text;
    let line =
        metrics.lines().find_map(|line| line.strip_prefix("token_manager_answer_memory_bytes "));
    line.unwrap().parse().unwrap()
}

fn short() -> Settings {
    Settings { answer_timeout: SHORT, ..Settings::default() }
}

const PAGE: &str = "/api/leases?limit=1000";

async fn untaken_http2_answers_cost_little_and_not_for_long(home: Home) {
    let settings = Settings { answer_timeout: 3 * SHORT, ..Settings::default() };
    let house = home.open_with(Some(10), settings).await;
    fill(&house).await;
    let begun = Instant::now();
    let mut shut = Http2::to(house.address, 0).await;
    shut.get(PAGE, (0..100).map(|number| 2 * number + 1)).await;
    let pings = tokio::spawn(async move { shut.ping(60 * SHORT).await });
    let mut most = 0;
    while !pings.is_finished() {
        most = most.max(memory(&house).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(pings.await.unwrap(), "it is never cut off");
    assert!((3 * SHORT..30 * SHORT).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert!((1_000_000..20_000_000).contains(&most), "{most}");
    until("its memory is free", async || memory(&house).await < 100_000).await;
}

async fn an_idle_http2_connection_is_closed_whatever_it_pings(home: Home) {
    let house = home.open_with(Some(5), Settings { idle_timeout: SHORT, ..short() }).await;
    let mut idle = Http2::to(house.address, 65_535).await;
    idle.get("/health/live", [1].into_iter()).await;
    let begun = Instant::now();
    assert!(idle.ping(30 * SHORT).await, "it is never closed");
    assert!(begun.elapsed() >= SHORT / 2, "{:?}", begun.elapsed());
}

async fn exports_and_streams_are_cut_off_too(home: Home) {
    let house = home.open_with(Some(10), short()).await;
    fill(&house).await;
    let mut all = Vec::new();
    for (path, count) in [("/api/leases?format=csv", 16), ("/api/events", 100), ("/api/pool", 100)]
    {
        let mut shut = Http2::to(house.address, 0).await;
        shut.get(path, (0..count).map(|number| 2 * number + 1)).await;
        all.push(tokio::spawn(async move { (path, shut.ping(60 * SHORT).await) }));
    }
    for shut in all {
        let (path, closed) = shut.await.unwrap();
        assert!(closed, "{path} is never cut off");
    }
    until("there is room for exports", async || {
        house.get("/api/leases?format=csv&limit=1").await.status != 503
    })
    .await;
    let metrics = house.get("/metrics").await.text;
    assert!(metrics.contains("token_manager_event_streams 0\n"), "{metrics}");
    assert!(metrics.contains("{reason=\"untaken\"} 3\n"), "{metrics}");
}

async fn where_memory_is_used_up_only_large_answers_are_refused(home: Home) {
    let settings = Settings { answer_bytes: 3 << 20, ..Settings::default() };
    let house = home.open_with(Some(10), settings).await;
    fill(&house).await;
    let mut shut = Http2::to(house.address, 0).await;
    shut.get(PAGE, [1].into_iter()).await;
    until("its answer is there", async || memory(&house).await > 1_000_000).await;
    let refused = house.get(PAGE).await;
    refused.problem(503, "too-many-answers");
    assert_eq!(refused.header("retry-after"), "1");
    house.allocate("a").await;
    // To make room, the one that takes nothing is cut off after a while, long before its time.
    until("there is room", async || house.get(PAGE).await.status == 200).await;
    assert!(shut.ping(10 * SHORT).await, "it is not closed");
}

async fn a_slow_reader_gets_all(home: Home) {
    // Of ended leases nothing changes.
    const PAGE: &str = "/api/leases?limit=1000&status=ended";
    let house = home.open_with(Some(10), short()).await;
    fill(&house).await;
    let whole = house.get(PAGE).await.text;
    // Over HTTP/1 it takes a piece now and then.
    let mut wire = Wire::to(house.address).await;
    wire.send(&format!("GET {PAGE} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
        .await;
    let mut read = wire.until("\r\n\r\n").await.len();
    let head = read;
    loop {
        let mut buffer = vec![0; 200_000];
        let some = tokio::io::AsyncReadExt::read(&mut wire.0, &mut buffer).await.unwrap();
        if some == 0 {
            break;
        }
        read += some;
        tokio::time::sleep(SHORT / 20).await;
    }
    assert_eq!(read - head, whole.len());
    // Over HTTP/2, with 30 answers at the same time.
    let client = crate::house::client_builder().http2_prior_knowledge().build().unwrap();
    let get = || Answer::to(client.request(Method::GET, format!("http://{}{PAGE}", house.address)));
    for answer in futures_util::future::join_all((0..30).map(|_| get())).await {
        assert_eq!((answer.status.as_u16(), answer.text == whole), (200, true));
    }
}
