use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::queue::Queue;
use crate::slots::{Slot, Slots};
use crate::{End, Fence, Lease, LeaseId, PoolRecord, Timestamp, Token, TokenId, TokenName, UserId};

/// A set of facts that can't all be true of one ledger: it was damaged, or misread.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the facts about the ledger contradict each other: {0}")]
pub struct Inconsistent(pub(crate) String);

/// A pool of tokens and their leases.
///
/// The pool keeps the latest lease of each token. Older leases are history and have no influence.
#[derive(Clone, Debug)]
pub struct Pool {
    pub(crate) record: PoolRecord,
    pub(crate) slots: Slots,
    /// Places by position.
    pub(crate) order: BTreeMap<u32, u32>,
    pub(crate) places: HashMap<TokenId, u32>,
    /// Places of the tokens that are not retired.
    pub(crate) names: HashMap<TokenName, u32>,
    /// Position of the next new token.
    pub(crate) next_position: u32,
    /// Number of running leases per user, if any.
    held: HashMap<UserId, u32>,
    /// Free tokens that are available, longest-free first.
    pub(crate) free: BTreeSet<FreeSince>,
    /// Places of running leases on tokens that would be available without them. Fences grow with time,
    /// so the first is the oldest.
    pub(crate) running: BTreeMap<Fence, u32>,
    /// Places of the other running leases: their tokens get no new lease.
    pub(crate) last: BTreeMap<Fence, u32>,
    pub(crate) deadlines: BTreeSet<(Timestamp, Fence)>,
    /// The earliest `until` of each token's taints, with the token's place.
    pub(crate) untils: BTreeSet<(Timestamp, u32)>,
    pub(crate) queue: Queue,
    /// The pool's next deadline as the ledger has it.
    pub(crate) scheduled: Option<Timestamp>,
}

/// Order of free tokens: by the end of their latest lease, then by its fence, then by position. Unused
/// tokens come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FreeSince {
    at: Timestamp,
    fence: Fence,
    position: u32,
    pub place: u32,
}

impl FreeSince {
    fn of(slot: &Slot, place: u32) -> Self {
        let latest = slot.latest.as_ref().and_then(|lease| Some((lease.end?.at, lease.fence)));
        let (at, fence) = latest.unwrap_or((Timestamp::MIN, Fence::NONE));
        FreeSince { at, fence, position: slot.token.position, place }
    }
}

/// Effect of a lease's end, or of a token's retirement, on the pool's tokens.
pub(crate) enum Left {
    /// The token stays.
    Nothing,
    /// The token left the pool, with its latest lease.
    Token(TokenId, Option<LeaseId>),
}

impl Pool {
    pub(crate) fn new(record: PoolRecord) -> Self {
        Pool {
            record,
            slots: Slots::default(),
            order: BTreeMap::new(),
            places: HashMap::new(),
            names: HashMap::new(),
            next_position: 0,
            held: HashMap::new(),
            free: BTreeSet::new(),
            running: BTreeMap::new(),
            last: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            untils: BTreeSet::new(),
            queue: Queue::default(),
            scheduled: None,
        }
    }

    /// Adds a token, which is free.
    pub(crate) fn add(&mut self, token: Token) -> Result<(), Inconsistent> {
        let Token { id, position, .. } = token;
        let is_new = !self.places.contains_key(&id) && !self.order.contains_key(&position);
        if !is_new || self.names.contains_key(&token.name) {
            return Err(like_another(id));
        }
        let place = self.restore(token, None)?;
        self.order.insert(position, place);
        self.next_position = self.next_position.max(position.saturating_add(1));
        self.list(place);
        Ok(())
    }

    /// Makes space for this number of tokens.
    pub(crate) fn reserve(&mut self, tokens: usize) {
        self.slots.reserve(tokens);
        self.places.reserve(tokens);
        self.names.reserve(tokens);
    }

    /// Adds a token with its latest lease, running or over, which is in the sorted sets after [`Pool::sort`] only.
    /// Returns its place.
    pub(crate) fn restore(
        &mut self,
        token: Token,
        latest: Option<Lease>,
    ) -> Result<u32, Inconsistent> {
        let id = token.id;
        let name = token.retired_at.is_none().then(|| token.name.clone());
        let place = self.slots.add(token, latest);
        let twice = self.places.insert(id, place).is_some()
            || name.is_some_and(|name| self.names.insert(name, place).is_some());
        if twice { Err(like_another(id)) } else { Ok(place) }
    }

    /// Builds the sorted sets of the restored tokens. All at once takes less time than one by one, and leaves no
    /// space in the sets.
    pub(crate) fn sort(&mut self) -> Result<(), Inconsistent> {
        self.slots.shrink();
        self.places.shrink_to_fit();
        self.names.shrink_to_fit();
        let slots = || self.slots.iter();
        self.order = slots().map(|(place, slot)| (slot.token.position, place)).collect();
        let last = self.order.last_key_value();
        self.next_position = last.map_or(0, |(position, _)| position.saturating_add(1));
        let untils =
            slots().filter_map(|(place, slot)| Some((slot.token.taints.next_until()?, place)));
        self.untils = untils.collect();
        let is_free = |slot: &Slot| slot.running().is_none() && slot.token.is_available();
        let free = slots().filter(|(_, slot)| is_free(slot));
        self.free = free.map(|(place, slot)| FreeSince::of(slot, place)).collect();
        let leases = || slots().filter_map(|(place, slot)| Some((place, slot, slot.running()?)));
        let (running, last): (Vec<_>, Vec<_>) = leases()
            .map(|(place, slot, lease)| (slot.token.is_available(), (lease.fence, place)))
            .partition(|(is_available, _)| *is_available);
        self.running = running.into_iter().map(|(_, lease)| lease).collect();
        self.last = last.into_iter().map(|(_, lease)| lease).collect();
        self.deadlines = leases().map(|(_, _, lease)| (lease.expires_at, lease.fence)).collect();
        let mut held = HashMap::new();
        for (_, _, lease) in leases() {
            *held.entry(lease.user.id).or_default() += 1;
        }
        self.held = held;
        let fences = self.running.len() + self.last.len();
        let common = self.last.keys().any(|fence| self.running.contains_key(fence));
        if self.order.len() < self.places.len() || fences < leases().count() || common {
            return Err(Inconsistent(format!("{:?} has one fence or position twice", self.id())));
        }
        Ok(())
    }

    /// Changes a token. Its id, position and times stay.
    pub(crate) fn change(&mut self, token: &Token) -> Result<(), Inconsistent> {
        let place = self.place(token.id)?;
        let before = &self.slots[place].token;
        let kept =
            Token { labels: token.labels.clone(), taints: token.taints.clone(), ..before.clone() };
        let kept = Token { name: token.name.clone(), value: token.value.clone(), ..kept };
        if kept != *token {
            return Err(Inconsistent(format!("token {:?} became another one", token.id)));
        }
        if before.name != token.name {
            let is_taken = self.names.contains_key(&token.name);
            if is_taken || token.retired_at.is_some() {
                return Err(Inconsistent(format!("token {:?} can't get its name", token.id)));
            }
            let before = before.name.clone();
            self.names.remove(&before);
            self.names.insert(token.name.clone(), place);
        }
        self.unlist(place);
        self.slots[place].token = kept;
        self.list(place);
        Ok(())
    }

    /// Retires a token. It leaves the pool at once if no lease is running.
    pub(crate) fn retire(&mut self, id: TokenId, at: Timestamp) -> Result<Left, Inconsistent> {
        let place = self.place(id)?;
        if self.slots[place].token.retired_at.is_some() {
            return Err(Inconsistent(format!("token {id:?} is retired twice")));
        }
        self.unlist(place);
        let slot = &mut self.slots[place];
        slot.token.retired_at = Some(at);
        self.names.remove(&slot.token.name);
        self.list(place);
        Ok(self.drop_retired(place))
    }

    /// Removes a retired token without a running lease.
    pub(crate) fn drop_retired(&mut self, place: u32) -> Left {
        let Slot { token, latest } = &self.slots[place];
        let (id, position) = (token.id, token.position);
        if token.retired_at.is_none() || latest.as_ref().is_some_and(|lease| lease.end.is_none()) {
            return Left::Nothing;
        }
        self.unlist(place);
        self.order.remove(&position);
        self.places.remove(&id);
        let latest = self.slots.remove(place).and_then(|slot| slot.latest);
        Left::Token(id, latest.map(|lease| lease.id))
    }

    /// Enters a token into the sets that depend on its state.
    fn list(&mut self, place: u32) {
        let slot = &self.slots[place];
        let is_available = slot.token.is_available();
        self.untils.extend(slot.token.taints.next_until().map(|until| (until, place)));
        match &slot.latest {
            Some(lease) if lease.end.is_none() => {
                let running = if is_available { &mut self.running } else { &mut self.last };
                running.insert(lease.fence, place);
            }
            _ if is_available => {
                self.free.insert(FreeSince::of(slot, place));
            }
            _ => {}
        }
    }

    /// Removes a token from the sets that depend on its state.
    fn unlist(&mut self, place: u32) {
        let slot = &self.slots[place];
        if let Some(until) = slot.token.taints.next_until() {
            self.untils.remove(&(until, place));
        }
        if let Some(Lease { end: None, fence, .. }) = &slot.latest {
            self.running.remove(fence);
            self.last.remove(fence);
        } else {
            self.free.remove(&FreeSince::of(slot, place));
        }
    }

    pub(crate) fn place(&self, id: TokenId) -> Result<u32, Inconsistent> {
        let place = self.places.get(&id).copied();
        place.ok_or_else(|| Inconsistent(format!("token {id:?} is not in its pool")))
    }

    /// Starts a lease that follows the token's latest one. Returns the place of its token, and the lease
    /// before.
    pub(crate) fn start(&mut self, lease: &Lease) -> Result<(u32, Option<LeaseId>), Inconsistent> {
        let place = self.place(lease.token_id)?;
        let slot = &self.slots[place];
        check_follows(lease, slot.latest.as_ref())?;
        if slot.token.retired_at.is_some() {
            return Err(Inconsistent(format!("lease {:?} is of a retired token", lease.id)));
        }
        Ok((place, self.set_latest(place, lease.clone())))
    }

    /// Makes a lease the latest of a token that is free. Returns the lease before.
    pub(crate) fn set_latest(&mut self, place: u32, mut lease: Lease) -> Option<LeaseId> {
        let Lease { fence, expires_at, .. } = lease;
        lease.end = None;
        *self.held.entry(lease.user.id).or_default() += 1;
        let slot = &mut self.slots[place];
        let is_available = slot.token.is_available();
        self.free.remove(&FreeSince::of(slot, place));
        let before = slot.latest.as_ref().map(|before| before.id);
        slot.latest = Some(lease);
        let running = if is_available { &mut self.running } else { &mut self.last };
        running.insert(fence, place);
        self.deadlines.insert((expires_at, fence));
        before
    }

    /// Ends a running lease. A retired token leaves the pool with it.
    pub(crate) fn end(&mut self, place: u32, fence: Fence, end: End) -> Result<Left, Inconsistent> {
        let lease = self.running_mut(place, fence)?;
        lease.end = Some(end);
        let (user, expires_at) = (lease.user.id, lease.expires_at);
        if let Entry::Occupied(mut held) = self.held.entry(user) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
        self.deadlines.remove(&(expires_at, fence));
        if self.running.remove(&fence).is_some() {
            self.free.insert(FreeSince::of(&self.slots[place], place));
            return Ok(Left::Nothing);
        }
        self.last.remove(&fence);
        Ok(self.drop_retired(place))
    }

    pub(crate) fn renew(
        &mut self,
        place: u32,
        fence: Fence,
        expires_at: Timestamp,
    ) -> Result<(), Inconsistent> {
        let lease = self.running_mut(place, fence)?;
        let before = std::mem::replace(&mut lease.expires_at, expires_at);
        self.deadlines.remove(&(before, fence));
        self.deadlines.insert((expires_at, fence));
        Ok(())
    }

    /// The running lease with this fence, of the token at this place.
    fn running_mut(&mut self, place: u32, fence: Fence) -> Result<&mut Lease, Inconsistent> {
        let latest = self.slots[place].latest.as_mut();
        let lease = latest.filter(|lease| lease.fence == fence && lease.end.is_none());
        lease.ok_or_else(|| Inconsistent(format!("no lease with {fence:?} is running")))
    }

    /// Number of the user's leases whose end has not been decided.
    pub(crate) fn held_by(&self, user: UserId) -> u32 {
        self.held.get(&user).copied().unwrap_or(0)
    }
}

fn like_another(id: TokenId) -> Inconsistent {
    Inconsistent(format!("token {id:?} is like another one"))
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
