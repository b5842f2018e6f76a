//! Limits of requests per second.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Maximum number of callers with a bucket of their own. Beyond that, new ones share one.
const MAX_BUCKETS: usize = 65_536;

/// Minimum time between two removals of full buckets.
const CLEAN_EVERY: Duration = Duration::from_secs(1);

/// Token buckets of callers: each has the requests of one second.
pub(crate) struct Buckets<K>(Mutex<Inner<K>>);

struct Inner<K> {
    of: HashMap<K, Bucket>,
    shared: Option<Bucket>,
    cleaned: Instant,
}

#[derive(Clone, Copy)]
struct Bucket {
    /// Requests that the caller may send.
    left: f64,
    filled: Instant,
}

impl Bucket {
    fn full(per_second: f64, now: Instant) -> Self {
        Bucket { left: per_second, filled: now }
    }

    fn take(&mut self, per_second: f64, now: Instant) -> Result<(), Duration> {
        let more = now.duration_since(self.filled).as_secs_f64() * per_second;
        (self.left, self.filled) = ((self.left + more).min(per_second), now);
        if self.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.left) / per_second));
        }
        self.left -= 1.0;
        Ok(())
    }
}

impl<K: Hash + Eq> Buckets<K> {
    pub(crate) fn new() -> Self {
        let cleaned = Instant::now();
        Buckets(Mutex::new(Inner { of: HashMap::new(), shared: None, cleaned }))
    }

    /// Counts a request; the error is the time after which the next is allowed.
    pub(crate) fn take(&self, caller: K, per_second: u32) -> Result<(), Duration> {
        self.take_at(caller, per_second, Instant::now())
    }

    fn take_at(&self, caller: K, per_second: u32, now: Instant) -> Result<(), Duration> {
        let per_second = f64::from(per_second.max(1));
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *inner;
        if let Some(bucket) = inner.of.get_mut(&caller) {
            return bucket.take(per_second, now);
        }
        let is_full = inner.of.len() >= MAX_BUCKETS;
        if is_full && now.duration_since(inner.cleaned) >= CLEAN_EVERY {
            // A bucket is full again after a second.
            inner.of.retain(|_, bucket| now.duration_since(bucket.filled) < CLEAN_EVERY);
            inner.cleaned = now;
        }
        let full = || Bucket::full(per_second, now);
        let bucket = if inner.of.len() < MAX_BUCKETS {
            inner.of.entry(caller).or_insert_with(full)
        } else {
            inner.shared.get_or_insert_with(full)
        };
        bucket.take(per_second, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_may_send_its_requests_of_a_second_at_once() {
        let (buckets, now) = (Buckets::new(), Instant::now());
        let take = |caller, millis| {
            buckets
                .take_at(caller, 10, now + Duration::from_millis(millis))
                .map_err(|d| d.as_millis())
        };
        assert!((0..10).all(|_| take("a", 0).is_ok()));
        assert_eq!(take("a", 0), Err(100));
        assert!(take("b", 0).is_ok(), "each has its own");
        assert_eq!(take("a", 50), Err(50));
        assert_eq!(take("a", 100), Ok(()));
        assert!(take("a", 100).is_err());
        assert!((0..10).all(|_| take("a", 60_000).is_ok()));
        assert!(take("a", 60_000).is_err());
    }

    #[test]
    fn the_number_of_buckets_has_a_limit() {
        let (buckets, now) = (Buckets::new(), Instant::now());
        for caller in 0..MAX_BUCKETS {
            assert!(buckets.take_at(caller, 1, now).is_ok());
        }
        assert!(buckets.take_at(MAX_BUCKETS, 1, now).is_ok(), "the first of the shared bucket");
        assert!(buckets.take_at(MAX_BUCKETS + 1, 1, now).is_err());
        let later = now + Duration::from_secs(2);
        assert!((0..10).all(|more| buckets.take_at(MAX_BUCKETS + more, 1, later).is_ok()));
        assert_eq!(buckets.0.lock().unwrap().of.len(), 10);
    }
}
