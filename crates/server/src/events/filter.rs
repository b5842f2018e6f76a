use engine::{Event, LeaseEvent};
use pool::{Lease, PoolId, TokenId, UserId};

/// The part of an event that streams have: leases of the pool `default`.
pub(crate) fn shown(event: &Event) -> Option<&LeaseEvent> {
    event.of_lease().filter(|_| event.pool == PoolId::DEFAULT)
}

/// Filter of a stream: the leases of this user and of this token, if set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Filter {
    pub(crate) user: Option<UserId>,
    pub(crate) token: Option<TokenId>,
}

impl Filter {
    pub(crate) fn is_all(&self) -> bool {
        *self == Filter::default()
    }

    pub(crate) fn passes(&self, user: UserId, token: TokenId) -> bool {
        self.user.is_none_or(|own| own == user) && self.token.is_none_or(|own| own == token)
    }

    /// Returns every filter that the lease passes.
    pub(crate) fn all_passing(lease: &Lease) -> [Self; 4] {
        let (user, token) = (Some(lease.user.id), Some(lease.token_id));
        [(None, None), (user, None), (None, token), (user, token)]
            .map(|(user, token)| Filter { user, token })
    }
}
