use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for a condition, far above what any condition takes on a slow machine.
pub const TIMEOUT: Duration = Duration::from_secs(30);

const INTERVAL: Duration = Duration::from_millis(5);

/// Waits until the condition holds.
///
/// # Panics
///
/// If it does not hold within [`TIMEOUT`].
pub async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    poll_async(what, async || condition().await.then_some(())).await;
}

/// Asks until there is a value, and returns it.
///
/// # Panics
///
/// If it gets none within [`TIMEOUT`].
pub async fn poll_async<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = ask().await {
            return value;
        }
        assert!(started.elapsed() < TIMEOUT, "waited too long: {what}");
        tokio::time::sleep(INTERVAL).await;
    }
}

/// As [`poll_async`], but blocks the thread.
///
/// # Panics
///
/// If it gets none within [`TIMEOUT`].
pub fn poll<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = ask() {
            return value;
        }
        assert!(started.elapsed() < TIMEOUT, "waited too long: {what}");
        thread::sleep(INTERVAL);
    }
}
