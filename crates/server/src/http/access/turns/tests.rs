use std::sync::atomic::AtomicUsize;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::*;

const A: Sharer = Sharer::Address(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));
const B: Sharer = Sharer::Address(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)));

/// Requests of a caller that go on until they are told to end.
struct Requests {
    running: Arc<AtomicUsize>,
    ends: Arc<Semaphore>,
    tasks: Vec<JoinHandle<()>>,
}

impl Requests {
    fn send(turns: &Turns, sharer: Sharer, count: usize) -> Self {
        let (running, ends) = (Arc::<AtomicUsize>::default(), Arc::new(Semaphore::new(0)));
        let request = |_| {
            let (turns, running, ends) = (turns.clone(), Arc::clone(&running), Arc::clone(&ends));
            tokio::spawn(async move {
                let _turn = turns.take(sharer).await.expect("two callers are active");
                running.fetch_add(1, Relaxed);
                ends.acquire().await.unwrap().forget();
                running.fetch_sub(1, Relaxed);
            })
        };
        let tasks = (0..count).map(request).collect();
        Requests { running, ends, tasks }
    }

    /// Number of requests in progress, once no task can go on.
    async fn running(&self) -> usize {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        self.running.load(Relaxed)
    }

    async fn end(self) {
        self.ends.add_permits(self.tasks.len());
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// Two active callers.
async fn shared() -> Turns {
    let turns = Turns::new();
    assert!(turns.take(A).await.is_none(), "no other caller yet");
    assert!(turns.take(B).await.is_some());
    turns
}

#[tokio::test(start_paused = true)]
async fn a_caller_alone_is_not_limited() {
    let turns = shared().await;
    assert!(turns.take(A).await.is_some());
    let long = turns.take(B).await.unwrap();
    for _ in 0..3 {
        tokio::time::advance(WINDOW).await;
        assert!(turns.take(A).await.is_some(), "a request of the other is in progress");
    }
    drop(long);
    for _ in 0..2 {
        tokio::time::advance(WINDOW).await;
        drop(turns.take(A).await);
    }
    for _ in 0..1_000 {
        assert!(turns.take(A).await.is_none(), "the other is gone");
    }
    assert!(turns.take(B).await.is_some() && turns.take(A).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_alone_again_waits_no_more() {
    let turns = shared().await;
    let many = Requests::send(&turns, A, 100);
    assert_eq!(many.running().await, MIN_IN_PROGRESS);
    tokio::time::advance(WINDOW).await;
    let next = Requests::send(&turns, A, 1);
    assert_eq!((many.running().await, next.running().await), (MIN_IN_PROGRESS, 0));
    tokio::time::advance(WINDOW).await;
    assert!(turns.take(A).await.is_none());
    assert_eq!((many.running().await, next.running().await), (100, 1));
    // Their ends do not count later.
    assert!(turns.take(B).await.is_some());
    let held = Requests::send(&turns, A, 1);
    assert_eq!(held.running().await, 1);
    many.end().await;
    next.end().await;
    assert_eq!(turns.lock().callers.values().map(|of| of.in_progress).sum::<usize>(), 1);
    held.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_requests_leave_another_caller_its_turn() {
    let turns = shared().await;
    let many = Requests::send(&turns, A, 1_000);
    assert_eq!(many.running().await, MIN_IN_PROGRESS);
    let few = Requests::send(&turns, B, 3);
    assert_eq!(few.running().await, 3);
    many.ends.add_permits(5);
    assert_eq!(many.running().await, MIN_IN_PROGRESS, "the next ones of the same caller");
    few.end().await;
    many.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_gets_as_much_as_another_asks_for() {
    let turns = shared().await;
    let (many, some) = (Requests::send(&turns, A, 1_000), Requests::send(&turns, B, 60));
    assert_eq!((many.running().await, some.running().await), (MIN_IN_PROGRESS, MIN_IN_PROGRESS));
    tokio::time::advance(WINDOW).await;
    drop(turns.take(Sharer::Address(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST))).await);
    many.ends.add_permits(1);
    some.ends.add_permits(1);
    assert_eq!((many.running().await, some.running().await), (60, 59));
    some.end().await;
    many.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_leaves_passes_its_turn_on() {
    let turns = shared().await;
    let many = Requests::send(&turns, A, 20);
    assert_eq!(many.running().await, MIN_IN_PROGRESS);
    for task in &many.tasks[MIN_IN_PROGRESS..18] {
        task.abort();
    }
    many.ends.add_permits(MIN_IN_PROGRESS);
    assert_eq!(many.running().await, 2, "the two that did not leave");
    many.ends.add_permits(2);
    assert_eq!(many.running().await, 0);
    assert!(!turns.lock().callers.values().any(Caller::is_busy));
}

#[tokio::test(start_paused = true)]
async fn a_turn_ends_before_the_request_if_it_waits_for_a_token() {
    let turns = shared().await;
    let mut waiting = Vec::new();
    for _ in 0..10 * MIN_IN_PROGRESS {
        let turn = turns.take(A).await.unwrap();
        turn.end();
        waiting.push(turn);
    }
    drop(waiting);
    assert!(!turns.lock().callers.values().any(Caller::is_busy), "each has ended once");
}

#[tokio::test(start_paused = true)]
async fn callers_are_forgotten() {
    let turns = shared().await;
    for number in 0..10_000_u32 {
        drop(turns.take(Sharer::Address(IpAddr::V4(number.into()))).await);
    }
    for _ in 0..3 {
        tokio::time::advance(WINDOW).await;
        drop(turns.take(A).await);
    }
    let count = turns.lock().callers.len();
    assert!(count <= 1, "{count}");
}
