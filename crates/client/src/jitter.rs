//! Random variation of delays between attempts.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// Returns between 0.5 and 1.5 times the delay, so that clients that lost a server at the same moment do not
/// return at the same moment.
#[must_use]
pub fn jittered(delay: Duration) -> Duration {
    let random = u32::try_from(RandomState::new().hash_one(()) % 1024).unwrap_or(0);
    delay / 2 + delay * random / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_spread_evenly() {
        let delay = Duration::from_secs(4);
        let delays: Vec<Duration> = (0..1000).map(|_| jittered(delay)).collect();
        assert!(delays.iter().all(|one| (delay / 2..delay * 3 / 2).contains(one)));
        for quarter in 0..4 {
            let from = delay / 2 + delay * quarter / 4;
            let count = delays.iter().filter(|one| (from..from + delay / 4).contains(*one)).count();
            assert!(count > 150, "{count} of 1000 in quarter {quarter}");
        }
    }
}
