use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::HumanDuration;

/// What happens to an allocation while every token is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WhenFull {
    /// The lease held longest ends for it, once it has run for [`Policy::min_hold`].
    #[default]
    EvictOldest,
    /// It is refused.
    Reject,
    /// It waits until a lease ends.
    Wait,
}

impl WhenFull {
    /// Every choice, for those who list or check them.
    pub const ALL: [WhenFull; 3] = [WhenFull::EvictOldest, WhenFull::Reject, WhenFull::Wait];

    /// The word for it, as databases, settings and answers spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            WhenFull::EvictOldest => "evict-oldest",
            WhenFull::Reject => "reject",
            WhenFull::Wait => "wait",
        }
    }

    /// The choice with that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.as_str() == word)
    }
}

/// The rules that a pool's owner may choose. A policy to be used is checked by [`Policy::check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How long a lease lasts, unless a shorter one is asked for.
    pub lease: Duration,
    /// How long after its start a lease may be renewed to last at most; as long as
    /// [`Policy::lease`] for `None`. Ask [`Policy::max_lease`].
    pub max_lease: Option<Duration>,
    /// What happens while every token is held.
    pub when_full: WhenFull,
    /// A lease that has not run for so long is never evicted.
    pub min_hold: Duration,
    /// How many leases one user may have at the same time; any number for `None`.
    pub max_per_user: Option<u32>,
}

/// Why there can be no such policy: a sentence about the rule that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// Nothing could ever be renewed, and leases would have to end before their time.
    #[error(
        "max-lease ({}) can't be shorter than lease ({})",
        HumanDuration(*max_lease),
        HumanDuration(*lease)
    )]
    MaxLeaseTooShort {
        /// The length of a lease.
        lease: Duration,
        /// What is shorter.
        max_lease: Duration,
    },
    /// Nothing could ever be evicted.
    #[error(
        "min-hold ({}) can't be longer than lease ({})",
        HumanDuration(*min_hold),
        HumanDuration(*lease)
    )]
    MinHoldTooLong {
        /// The length of a lease.
        lease: Duration,
        /// What is longer.
        min_hold: Duration,
    },
    /// Nobody could ever get a token.
    #[error("max-per-user must be 1 at least")]
    NobodyMay,
}

impl Policy {
    /// The policy with leases of that length and everything else as it is by default: the oldest is
    /// evicted however young it is, renewal moves nothing, and a user may have any number of leases.
    #[must_use]
    pub const fn of_lease(lease: Duration) -> Self {
        let (when_full, min_hold) = (WhenFull::EvictOldest, Duration::ZERO);
        Policy { lease, max_lease: None, when_full, min_hold, max_per_user: None }
    }

    /// How long after its start a lease may last at most, renewals included.
    #[must_use]
    pub fn max_lease(&self) -> Duration {
        self.max_lease.unwrap_or(self.lease)
    }

    /// The same policy, if its rules go together.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`] says which do not.
    pub fn check(self) -> Result<Self, InvalidPolicy> {
        let Policy { lease, min_hold, .. } = self;
        let max_lease = self.max_lease();
        if max_lease < lease {
            return Err(InvalidPolicy::MaxLeaseTooShort { lease, max_lease });
        }
        if min_hold > lease {
            return Err(InvalidPolicy::MinHoldTooLong { lease, min_hold });
        }
        if self.max_per_user == Some(0) {
            return Err(InvalidPolicy::NobodyMay);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy::of_lease(Duration::from_secs(10));

    #[test]
    fn words_stand_for_their_choices() {
        for choice in WhenFull::ALL {
            assert_eq!(WhenFull::from_word(choice.as_str()), Some(choice));
        }
        assert_eq!(WhenFull::from_word("evict"), None);
    }

    #[test]
    fn rules_have_to_go_together() {
        let seconds = Duration::from_secs;
        assert_eq!(POLICY.check(), Ok(POLICY));
        let short = Policy { max_lease: Some(seconds(9)), ..POLICY };
        assert!(matches!(short.check(), Err(InvalidPolicy::MaxLeaseTooShort { .. })));
        assert!(Policy { max_lease: Some(seconds(10)), ..POLICY }.check().is_ok());
        let long = Policy { min_hold: seconds(11), ..POLICY };
        assert!(matches!(long.check(), Err(InvalidPolicy::MinHoldTooLong { .. })));
        assert!(Policy { min_hold: seconds(10), ..POLICY }.check().is_ok());
        let nobody = Policy { max_per_user: Some(0), ..POLICY };
        assert_eq!(nobody.check(), Err(InvalidPolicy::NobodyMay));
    }
}
