use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use crate::queue::Queue;
use crate::{
    Batch, BatchContext, Change, End, Fence, Lease, LeaseId, Policy, Ticket, Timestamp, Token,
    TokenId, UserId,
};

/// A set of facts that can't all be true of one pool: it was damaged, or misread.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the facts about the pool contradict each other: {0}")]
pub struct Inconsistent(pub(crate) String);

/// A pool of tokens and their leases.
///
/// The pool keeps the latest lease of each token. Older leases are history and have no influence.
#[derive(Clone, Debug)]
pub struct Pool {
    pub(crate) policy: Policy,
    /// Tokens in the order of their creation. The index of a token is its position.
    slots: Vec<Slot>,
    places: HashMap<TokenId, usize>,
    /// Token positions by latest lease.
    leases: HashMap<LeaseId, usize>,
    /// Number of running leases per user, if any.
    held: HashMap<UserId, u32>,
    /// Free tokens, longest-free first.
    free: BTreeSet<FreeSince>,
    /// Token positions of running leases. Fences grow with time, so the first is the oldest.
    running: BTreeMap<Fence, usize>,
    deadlines: BTreeSet<(Timestamp, Fence)>,
    fence: Fence,
    pub(crate) queue: Queue,
}

#[derive(Clone, Debug)]
struct Slot {
    token: Token,
    latest: Option<Lease>,
}

/// Order of free tokens: by the end of their latest lease, then by its fence, then by position. Unused
/// tokens come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FreeSince {
    at: Timestamp,
    fence: Fence,
    place: usize,
}

impl FreeSince {
    fn of(place: usize, latest: Option<(End, Fence)>) -> Self {
        let (at, fence) = latest.map_or((Timestamp::MIN, Fence::NONE), |(end, f)| (end.at, f));
        FreeSince { at, fence, place }
    }
}

impl Pool {
    /// Builds a pool from its stored state: the tokens in order, the latest lease of each token
    /// (running or over), and the last granted fence.
    ///
    /// # Errors
    ///
    /// [`Inconsistent`] if a token or fence occurs twice, a lease has no token, or a fence is larger
    /// than `fence`.
    pub fn restore(
        policy: Policy,
        tokens: impl IntoIterator<Item = Token>,
        latest: impl IntoIterator<Item = Lease>,
        fence: Fence,
    ) -> Result<Self, Inconsistent> {
        let slots: Vec<Slot> =
            tokens.into_iter().map(|token| Slot { token, latest: None }).collect();
        let places: HashMap<_, _> =
            slots.iter().enumerate().map(|(place, slot)| (slot.token.id, place)).collect();
        if places.len() != slots.len() {
            return Err(Inconsistent("two tokens have the same id".to_owned()));
        }
        let free = (0..slots.len()).map(|place| FreeSince::of(place, None)).collect();
        let (leases, held, running, deadlines, queue) = Default::default();
        let mut pool =
            Pool { policy, slots, places, leases, held, free, running, deadlines, fence, queue };
        for lease in latest {
            pool.restore_latest(lease)?;
        }
        Ok(pool)
    }

    /// Fills the empty queue with these `tickets`, given in any order.
    ///
    /// # Errors
    ///
    /// [`Inconsistent`] if a number or a lease occurs twice.
    pub fn with_queue(
        mut self,
        tickets: impl IntoIterator<Item = Ticket>,
    ) -> Result<Self, Inconsistent> {
        let mut tickets: Vec<Ticket> = tickets.into_iter().collect();
        tickets.sort_by_key(|ticket| ticket.number);
        tickets.into_iter().try_for_each(|ticket| self.queue.add(ticket))?;
        Ok(self)
    }

    fn restore_latest(&mut self, lease: Lease) -> Result<(), Inconsistent> {
        let Lease { id, fence, end, .. } = lease;
        if fence > self.fence {
            return Err(Inconsistent(format!("lease {id:?} is newer than the newest fence")));
        }
        let place = self.place_of(&lease)?;
        if self.slots[place].latest.is_some() {
            return Err(Inconsistent(format!("lease {id:?} is not its token's only latest")));
        }
        self.start(place, lease)?;
        if let Some(end) = end {
            self.end(fence, end)?;
        }
        Ok(())
    }

    /// Begins a batch of commands at one moment. First ends the leases that are past their deadline.
    pub fn batch(&mut self, context: impl Into<BatchContext>) -> Batch<'_> {
        Batch::begin(self, context.into())
    }

    /// Applies a change that was decided here or by another server.
    ///
    /// # Errors
    ///
    /// [`Inconsistent`] if the change does not fit this state; the pool is then unchanged.
    pub fn apply(&mut self, change: &Change) -> Result<(), Inconsistent> {
        match change {
            Change::LeaseStarted(lease) => {
                if lease.fence <= self.fence {
                    return Err(Inconsistent(format!("{:?} was given before", lease.fence)));
                }
                let place = self.place_of(lease)?;
                check_follows(lease, self.slots[place].latest.as_ref())?;
                self.start(place, lease.clone())
            }
            Change::LeaseEnded { fence, end, .. } => self.end(*fence, *end),
            Change::LeaseRenewed { fence, expires_at, .. } => self.renew(*fence, *expires_at),
            Change::PolicyChanged(policy) => {
                self.policy = *policy;
                Ok(())
            }
            Change::WaitStarted(ticket) => self.queue.add(ticket.clone()),
            Change::WaitEnded { lease_id } => self.queue.remove(*lease_id),
            Change::WaitTimedOut { lease_id, at } => self.queue.time_out(*lease_id, *at),
            Change::WaitTimeoutDelivered { user, key } => {
                self.queue.time_out_told(&key.of(*user));
                Ok(())
            }
            Change::WaitGivenUp { lease_id } => self.queue.give_up(*lease_id),
            Change::WaitMoved { lease_id, server, at } => {
                self.queue.transfer(*lease_id, *server, *at)
            }
            Change::ServerHeard { server, at } => {
                self.queue.hear(*server, *at);
                Ok(())
            }
        }
    }

    fn place_of(&self, lease: &Lease) -> Result<usize, Inconsistent> {
        let place = self.places.get(&lease.token_id).copied();
        place.ok_or_else(|| Inconsistent(format!("lease {:?} is of no token", lease.id)))
    }

    fn start(&mut self, place: usize, mut lease: Lease) -> Result<(), Inconsistent> {
        let Lease { fence, expires_at, .. } = lease;
        if self.running.contains_key(&fence) {
            return Err(Inconsistent(format!("{fence:?} occurs twice")));
        }
        if self.leases.contains_key(&lease.id) {
            return Err(Inconsistent(format!("lease {:?} occurs twice", lease.id)));
        }
        lease.end = None;
        self.leases.insert(lease.id, place);
        *self.held.entry(lease.user.id).or_default() += 1;
        let before = self.slots[place].latest.replace(lease);
        if let Some(before) = &before {
            self.leases.remove(&before.id);
        }
        let before = before.and_then(|old| Some((old.end?, old.fence)));
        self.free.remove(&FreeSince::of(place, before));
        self.running.insert(fence, place);
        self.deadlines.insert((expires_at, fence));
        self.fence = self.fence.max(fence);
        Ok(())
    }

    fn end(&mut self, fence: Fence, end: End) -> Result<(), Inconsistent> {
        let (place, lease) = self.running_mut(fence)?;
        lease.end = Some(end);
        let (user, expires_at) = (lease.user.id, lease.expires_at);
        if let Entry::Occupied(mut held) = self.held.entry(user) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
        self.deadlines.remove(&(expires_at, fence));
        self.running.remove(&fence);
        self.free.insert(FreeSince::of(place, Some((end, fence))));
        Ok(())
    }

    fn renew(&mut self, fence: Fence, expires_at: Timestamp) -> Result<(), Inconsistent> {
        let (_, lease) = self.running_mut(fence)?;
        let before = std::mem::replace(&mut lease.expires_at, expires_at);
        self.deadlines.remove(&(before, fence));
        self.deadlines.insert((expires_at, fence));
        Ok(())
    }

    /// The running lease with this fence, and the position of its token.
    fn running_mut(&mut self, fence: Fence) -> Result<(usize, &mut Lease), Inconsistent> {
        let place = self.running.get(&fence).copied();
        let place =
            place.ok_or_else(|| Inconsistent(format!("no lease with {fence:?} is running")))?;
        let lease = self.slots[place].latest.as_mut().expect("a running lease is the latest");
        Ok((place, lease))
    }

    /// Skips `count` fences, so that a fence that may have been granted before is not granted again.
    ///
    /// Used when a failover may have lost grants that were acknowledged.
    pub fn skip_fences(&mut self, count: i64) {
        self.fence = self.fence.plus(count);
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Number of tokens.
    #[must_use]
    pub fn size(&self) -> usize {
        self.slots.len()
    }

    /// Last granted fence.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// Earliest deadline of the leases whose end has not been decided.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines().next()
    }

    /// Deadlines of the leases whose end has not been decided, earliest first.
    pub(crate) fn deadlines(&self) -> impl Iterator<Item = Timestamp> {
        self.deadlines.iter().map(|&(deadline, _)| deadline)
    }

    /// Earliest deadline after `moment` of the leases whose end has not been decided.
    #[must_use]
    pub fn next_deadline_after(&self, moment: Timestamp) -> Option<Timestamp> {
        let after = (Bound::Excluded((moment, Fence::new(i64::MAX))), Bound::Unbounded);
        self.deadlines.range(after).next().map(|&(deadline, _)| deadline)
    }

    /// Number of leases past their deadline at `now` whose end has not been decided.
    #[must_use]
    pub fn overdue(&self, now: Timestamp) -> usize {
        self.deadlines().take_while(|deadline| *deadline <= now).count()
    }

    /// Number of tokens held at `now`.
    #[must_use]
    pub fn active(&self, now: Timestamp) -> usize {
        self.running.len() - self.overdue(now)
    }

    /// Number of free tokens. Tokens of overdue leases are not free until the end is decided.
    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }

    /// The token with this id.
    #[must_use]
    pub fn token(&self, id: TokenId) -> Option<TokenView<'_>> {
        self.places.get(&id).map(|&place| self.view(place))
    }

    /// Tokens in order, from position `from` (0 is the first).
    pub fn tokens(&self, from: usize) -> impl Iterator<Item = TokenView<'_>> {
        (from..self.slots.len()).map(|place| self.view(place))
    }

    /// The lease with this id, running or over, if it is the latest of its token.
    #[must_use]
    pub fn lease(&self, id: LeaseId) -> Option<&Lease> {
        self.leases.get(&id).and_then(|&place| self.slots[place].latest.as_ref())
    }

    /// The lease with this fence, if its end has not been decided.
    #[must_use]
    pub fn lease_of_fence(&self, fence: Fence) -> Option<&Lease> {
        self.running.get(&fence).and_then(|&place| self.slots[place].latest.as_ref())
    }

    /// Leases with fences below `before` that run at `now`, newest first.
    pub fn running(&self, now: Timestamp, before: Fence) -> impl Iterator<Item = &Lease> {
        let places = self.running.range(..before).rev().map(|(_, &place)| place);
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
        self.running.values().filter_map(|&place| self.slots[place].latest.as_ref())
    }

    /// Number of the user's leases whose end has not been decided.
    pub(crate) fn held_by(&self, user: UserId) -> u32 {
        self.held.get(&user).copied().unwrap_or(0)
    }

    fn view(&self, place: usize) -> TokenView<'_> {
        let Slot { token, latest } = &self.slots[place];
        TokenView { token, place, latest: latest.as_ref() }
    }

    pub(crate) fn longest_free(&self) -> Option<TokenView<'_>> {
        self.free.first().map(|free| self.view(free.place))
    }

    pub(crate) fn oldest_running(&self) -> Option<&Lease> {
        self.running_leases().next()
    }

    pub(crate) fn first_overdue(&self, now: Timestamp) -> Option<&Lease> {
        let &(deadline, fence) = self.deadlines.first()?;
        let place = self.running.get(&fence).expect("a lease with a deadline is running");
        (deadline <= now).then(|| self.slots[*place].latest.as_ref()).flatten()
    }
}

/// Checks that a lease starts on a free token, right after the lease that it names as previous.
fn check_follows(lease: &Lease, latest: Option<&Lease>) -> Result<(), Inconsistent> {
    if latest.is_some_and(|latest| latest.end.is_none()) {
        return Err(Inconsistent(format!("lease {:?} overlaps the one before", lease.id)));
    }
    if latest.map_or(Fence::NONE, |latest| latest.fence) != lease.previous_fence {
        return Err(Inconsistent(format!("lease {:?} does not follow the one before", lease.id)));
    }
    Ok(())
}

/// A token and its current state.
#[derive(Clone, Copy, Debug)]
pub struct TokenView<'a> {
    /// The token.
    pub token: &'a Token,
    /// Position in the pool, from 0.
    pub place: usize,
    /// Latest lease of the token, running or over. `None` if the token was never used.
    pub latest: Option<&'a Lease>,
}

impl<'a> TokenView<'a> {
    /// The lease that holds the token at `now`.
    #[must_use]
    pub fn running(&self, now: Timestamp) -> Option<&'a Lease> {
        self.latest.filter(|lease| lease.is_running(now))
    }

    /// Time of the token's last change of holder, as seen at `now`.
    #[must_use]
    pub fn updated_at(&self, now: Timestamp) -> Timestamp {
        self.latest.map_or(self.token.inserted_at, |lease| {
            lease.end_at(now).map_or(lease.started_at, |end| end.at)
        })
    }
}
