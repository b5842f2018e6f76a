//! Pauses between attempts, different for each client.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// Between half and one and a half times the pause, so that clients that lost a server in the same moment
/// do not all come back in the same moment.
pub fn jittered(pause: Duration) -> Duration {
    let chance = u32::try_from(RandomState::new().hash_one(()) % 1024).unwrap_or(0);
    pause / 2 + pause * chance / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_spread() {
        let pause = Duration::from_secs(4);
        let pauses: Vec<Duration> = (0..1000).map(|_| jittered(pause)).collect();
        assert!(pauses.iter().all(|one| (pause / 2..pause * 3 / 2).contains(one)));
        for quarter in 0..4 {
            let from = pause / 2 + pause * quarter / 4;
            let count = pauses.iter().filter(|one| (from..from + pause / 4).contains(*one)).count();
            assert!(count > 150, "{count} of 1000 in quarter {quarter}");
        }
    }
}
