//! Failed authentications, which are answered later the more of them an address has sent.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Number of slots for addresses. Addresses with the same slot share their delay.
const SLOTS: usize = 4_096;

/// The first delay, and the longest.
pub(crate) const DELAYS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Time without a failure after which the delay halves.
const HALF_LIFE: Duration = Duration::from_secs(10);

/// Maximum number of requests that are delayed at a time.
pub(crate) const MAX_DELAYED: usize = 256;

/// Failures of each address, in a table of fixed size.
pub(crate) struct Failures {
    slots: Mutex<Vec<Slot>>,
    hasher: RandomState,
    delayed: Semaphore,
}

#[derive(Clone, Copy)]
struct Slot {
    /// Number of failures, which halves the delay with each that is forgotten.
    count: u32,
    last: Instant,
}

/// Too many requests are delayed already.
#[derive(Debug)]
pub(crate) struct TooMany;

impl Failures {
    pub(crate) fn new() -> Self {
        let slots = vec![Slot { count: 0, last: Instant::now() }; SLOTS];
        Failures {
            slots: Mutex::new(slots),
            // Its keys are random, so that no client can choose an address with the slot of another.
            hasher: RandomState::new(),
            delayed: Semaphore::new(MAX_DELAYED),
        }
    }

    /// Counts a failure of this address, and waits for its delay.
    pub(crate) async fn delay(&self, address: IpAddr) -> Result<(), TooMany> {
        let delay = self.count(address, Instant::now());
        let _turn = self.delayed.try_acquire().map_err(|_| TooMany)?;
        tokio::time::sleep(delay).await;
        Ok(())
    }

    fn count(&self, address: IpAddr, now: Instant) -> Duration {
        let hash = self.hasher.hash_one(network(address));
        let place = usize::try_from(hash % SLOTS as u64).unwrap_or_default();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut slots[place];
        let forgotten = now.duration_since(slot.last).as_secs() / HALF_LIFE.as_secs();
        slot.count = slot.count.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX));
        let (first, longest) = DELAYS;
        let delay = first.saturating_mul(1 << slot.count.min(16)).min(longest);
        if delay < longest {
            slot.count += 1;
        }
        slot.last = now;
        delay
    }
}

/// The part of an address that one client can't choose: of IPv6, a client has a whole /64.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn delays_grow_to_a_second_and_decay() {
        let (failures, now) = (Failures::new(), Instant::now());
        let of = |text: &str, seconds| {
            failures.count(address(text), now + Duration::from_secs(seconds)).as_millis()
        };
        let delays = [(); 7].map(|()| of("2001:db8::1", 0));
        assert_eq!(delays, [50, 100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(of("2001:db8::2", 0), 1_000, "the same network");
        assert_eq!(of("192.0.2.1", 0), 50);
        assert_eq!(of("2001:db8::1", 20), 400);
        assert_eq!(of("2001:db8::1", 500), 50);
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_delayed_requests_has_a_limit() {
        let failures = Failures::new();
        let delayed = (0..MAX_DELAYED).map(|_| failures.delay(address("192.0.2.1")));
        let mut delayed = std::pin::pin!(futures_util::future::join_all(delayed));
        assert!(delayed.as_mut().now_or_never().is_none());
        assert!(failures.delay(address("192.0.2.2")).await.is_err());
        assert!(delayed.await.iter().all(Result::is_ok));
        assert!(failures.delay(address("192.0.2.2")).await.is_ok());
    }
}
