use engine::{Event, EventKind, TokenEvent};
use pool::{PoolId, TokenId, UserId};

/// Pools whose events a stream has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Pools {
    /// The pool `default`: only events of leases, without names, as for clients that know no pools.
    #[default]
    Default,
    /// All pools, with events of pools and tokens.
    All,
    /// This pool, with events of the pool and its tokens.
    One(PoolId),
}

/// Filter of a stream: its pools, and the leases of this user and of this token, if set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Filter {
    pub(crate) pools: Pools,
    pub(crate) user: Option<UserId>,
    pub(crate) token: Option<TokenId>,
}

/// The parts of an event that filters compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pool: PoolId,
    is_lease: bool,
    user: Option<UserId>,
    token: Option<TokenId>,
}

impl Subject {
    pub(crate) fn of(event: &Event) -> Self {
        let (is_lease, user, token) = match &event.what {
            EventKind::Lease(event) => {
                (true, Some(event.lease.user.id), Some(event.lease.token_id))
            }
            EventKind::Pool(_) => (false, None, None),
            EventKind::Token(event) => match event {
                TokenEvent::Added(facts)
                | TokenEvent::Changed(facts)
                | TokenEvent::Tainted(facts) => (false, None, Some(facts.id)),
                TokenEvent::Retired { id, .. } => (false, None, Some(*id)),
            },
        };
        Subject { pool: event.pool, is_lease, user, token }
    }

    /// Whether streams of the pool `default` have the event.
    pub(crate) fn is_default(&self) -> bool {
        self.is_lease && self.pool == PoolId::DEFAULT
    }
}

impl Filter {
    /// Whether all events pass that streams of its kind have.
    pub(crate) fn is_all(&self) -> bool {
        let all_pools = matches!(self.pools, Pools::Default | Pools::All);
        all_pools && self.user.is_none() && self.token.is_none()
    }

    /// Whether events have the names of pools and tokens.
    pub(crate) fn has_names(&self) -> bool {
        self.pools != Pools::Default
    }

    pub(crate) fn passes(&self, event: &Subject) -> bool {
        let pool = match self.pools {
            Pools::Default => event.is_default(),
            Pools::All => true,
            Pools::One(pool) => event.pool == pool,
        };
        pool && (self.user.is_none() || self.user == event.user)
            && (self.token.is_none() || self.token == event.token)
    }

    /// Returns every filter that the event passes.
    pub(crate) fn all_passing(event: &Subject) -> impl Iterator<Item = Filter> {
        let Subject { pool, user, token, .. } = *event;
        let default = event.is_default().then_some(Pools::Default);
        let pools = [Some(Pools::All), Some(Pools::One(pool)), default];
        let users = [Some(None), user.map(Some)];
        let tokens = [Some(None), token.map(Some)];
        pools.into_iter().flatten().flat_map(move |pools| {
            users.into_iter().flatten().flat_map(move |user| {
                tokens.into_iter().flatten().map(move |token| Filter { pools, user, token })
            })
        })
    }
}
