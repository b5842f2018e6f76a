//! Read access to a pool.

use std::iter;
use std::ops::Bound;

use crate::slots::Slot;
use crate::{
    Fence, Lease, Policy, Pool, PoolId, PoolName, PoolRecord, Taint, Timestamp, Token, TokenId,
};

impl Pool {
    /// The pool's number.
    #[must_use]
    pub fn id(&self) -> PoolId {
        self.record.id
    }

    /// The pool's name.
    #[must_use]
    pub fn name(&self) -> &PoolName {
        &self.record.name
    }

    /// The pool's number, name, description and policy.
    #[must_use]
    pub fn record(&self) -> &PoolRecord {
        &self.record
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.record.policy
    }

    /// Number of tokens, with those that are being retired.
    #[must_use]
    pub fn size(&self) -> usize {
        self.order.len()
    }

    /// Number of tokens that are being retired: they are held, and leave the pool with their lease.
    #[must_use]
    pub fn retiring(&self) -> usize {
        self.size() - self.names.len()
    }

    /// Number of free tokens that are available. Tokens of overdue leases are not free until the end is
    /// decided.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Number of tokens that allocations at `now` can get at once.
    #[must_use]
    pub fn available_at(&self, now: Timestamp) -> usize {
        let overdue = self.deadlines.iter().take_while(|(deadline, _)| *deadline <= now);
        self.free() + overdue.filter(|(_, fence)| self.running.contains_key(fence)).count()
    }

    /// Number of tokens held at `now`.
    #[must_use]
    pub fn active(&self, now: Timestamp) -> usize {
        let overdue = self.lease_deadlines().take_while(|deadline| *deadline <= now).count();
        self.running.len() + self.last.len() - overdue
    }

    /// Earliest deadline of the leases whose end has not been decided, or of the taints that have not
    /// been removed.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let until = self.untils.first().map(|&(until, _)| until);
        self.lease_deadlines().next().into_iter().chain(until).min()
    }

    /// Earliest such deadline after `moment`.
    #[must_use]
    pub fn next_deadline_after(&self, moment: Timestamp) -> Option<Timestamp> {
        let after = (Bound::Excluded((moment, Fence::new(i64::MAX))), Bound::Unbounded);
        let deadline = self.deadlines.range(after).next().map(|&(deadline, _)| deadline);
        let after = (Bound::Excluded((moment, u32::MAX)), Bound::Unbounded);
        let until = self.untils.range(after).next().map(|&(until, _)| until);
        deadline.into_iter().chain(until).min()
    }

    /// Number of leases and taints past their deadline at `now` whose end has not been decided.
    #[must_use]
    pub fn overdue(&self, now: Timestamp) -> usize {
        let untils = self.untils.iter().map(|&(until, _)| until);
        let passed = |deadline: &Timestamp| *deadline <= now;
        self.lease_deadlines().take_while(passed).count() + untils.take_while(passed).count()
    }

    /// Deadlines of the leases whose end has not been decided, earliest first.
    fn lease_deadlines(&self) -> impl Iterator<Item = Timestamp> {
        self.deadlines.iter().map(|&(deadline, _)| deadline)
    }

    /// The token with this id.
    #[must_use]
    pub fn token(&self, id: TokenId) -> Option<TokenView<'_>> {
        self.places.get(&id).map(|&place| self.view(place))
    }

    /// The token with this name. Tokens that are being retired have lost theirs.
    #[must_use]
    pub fn token_named(&self, name: &str) -> Option<TokenView<'_>> {
        self.names.get(name).map(|&place| self.view(place))
    }

    /// Tokens in the order of their positions, from this position (0 is the first).
    pub fn tokens(&self, from: u32) -> impl Iterator<Item = TokenView<'_>> {
        self.order.range(from..).map(|(_, &place)| self.view(place))
    }

    /// Leases with fences below `before` that run at `now`, newest first.
    pub fn running(&self, now: Timestamp, before: Fence) -> impl Iterator<Item = &Lease> {
        let [running, last] =
            [&self.running, &self.last].map(|leases| leases.range(..before).rev());
        let places = merge(running, last, |one, other| one > other);
        places
            .filter_map(|place| self.slots[place].latest.as_ref())
            .filter(move |lease| lease.is_running(now))
    }

    /// Oldest lease that runs at `now`.
    #[must_use]
    pub fn oldest(&self, now: Timestamp) -> Option<&Lease> {
        self.running_leases().find(|lease| lease.is_running(now))
    }

    /// Leases whose end has not been decided, oldest first.
    pub(crate) fn running_leases(&self) -> impl Iterator<Item = &Lease> {
        let places = merge(self.running.iter(), self.last.iter(), |one, other| one < other);
        places.filter_map(|place| self.slots[place].latest.as_ref())
    }

    pub(crate) fn view(&self, place: u32) -> TokenView<'_> {
        let Slot { token, latest } = &self.slots[place];
        TokenView { token, latest: latest.as_ref() }
    }

    /// A lease past its deadline, the first.
    pub(crate) fn first_overdue(&self, now: Timestamp) -> Option<&Lease> {
        let &(deadline, fence) = self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        let place = self.running.get(&fence).or_else(|| self.last.get(&fence));
        self.slots[*place.expect("a lease with a deadline is running")].latest.as_ref()
    }

    /// A token with a taint past its `until`, the first.
    pub(crate) fn first_overdue_taint(&self, now: Timestamp) -> Option<&Token> {
        let &(until, place) = self.untils.first()?;
        (until <= now).then(|| &self.slots[place].token)
    }
}

/// Places of two sorted lists in one order, in which `precedes` says what is first.
fn merge<'a>(
    one: impl Iterator<Item = (&'a Fence, &'a u32)>,
    other: impl Iterator<Item = (&'a Fence, &'a u32)>,
    precedes: impl Fn(&Fence, &Fence) -> bool,
) -> impl Iterator<Item = u32> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    let next = move || match (one.peek(), other.peek()) {
        (Some((fence, _)), Some((other_fence, _))) if precedes(other_fence, fence) => other.next(),
        (Some(_), _) => one.next(),
        (None, _) => other.next(),
    };
    iter::from_fn(next).map(|(_, &place)| place)
}

/// A token and its current state.
#[derive(Clone, Copy, Debug)]
pub struct TokenView<'a> {
    /// The token.
    pub token: &'a Token,
    /// Latest lease of the token, running or over. `None` if the token was never used.
    pub latest: Option<&'a Lease>,
}

impl<'a> TokenView<'a> {
    /// The lease that holds the token at `now`.
    #[must_use]
    pub fn running(&self, now: Timestamp) -> Option<&'a Lease> {
        self.latest.filter(|lease| lease.is_running(now))
    }

    /// Whether the token can be handed out at `now`: no lease is running, it is not retired, and no
    /// taint that applies keeps it from new leases.
    #[must_use]
    pub fn is_free(&self, now: Timestamp) -> bool {
        let blocks = |taint: &Taint| taint.effect.blocks() && taint.applies(now);
        let kept = self.token.retired_at.is_some() || self.token.taints.iter().any(blocks);
        !kept && self.running(now).is_none()
    }

    /// Time of the token's last change of holder, as seen at `now`.
    #[must_use]
    pub fn updated_at(&self, now: Timestamp) -> Timestamp {
        self.latest.map_or(self.token.inserted_at, |lease| {
            lease.end_at(now).map_or(lease.started_at, |end| end.at)
        })
    }
}
