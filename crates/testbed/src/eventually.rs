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
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < TIMEOUT, "waited too long until {what}");
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Asks until there is a value, and returns it. Blocks the thread.
///
/// # Panics
///
/// If there is none within [`TIMEOUT`].
pub fn poll<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = ask() {
            return value;
        }
        assert!(started.elapsed() < TIMEOUT, "waited too long for {what}");
        thread::sleep(INTERVAL);
    }
}
