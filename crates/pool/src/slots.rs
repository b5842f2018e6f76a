use std::ops::{Index, IndexMut};

use crate::{Lease, Token};

/// A token and its latest lease.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub token: Token,
    pub latest: Option<Lease>,
}

impl Slot {
    /// The lease whose end has not been decided.
    pub fn running(&self) -> Option<&Lease> {
        self.latest.as_ref().filter(|lease| lease.end.is_none())
    }
}

/// Slots by place: the index of a token while it is in its pool. The place of a token that left is used
/// again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    slots: Vec<Option<Slot>>,
    vacant: Vec<u32>,
}

impl Slots {
    /// Makes space for this number of tokens.
    pub fn reserve(&mut self, tokens: usize) {
        self.slots.reserve_exact(tokens);
    }

    /// Releases the space that no token uses.
    pub fn shrink(&mut self) {
        self.slots.shrink_to_fit();
    }

    /// The tokens, each with its place.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Slot)> {
        (0..).zip(&self.slots).filter_map(|(place, slot)| Some((place, slot.as_ref()?)))
    }

    /// Adds a token, and returns its place.
    pub fn add(&mut self, token: Token, latest: Option<Lease>) -> u32 {
        let slot = Some(Slot { token, latest });
        if let Some(place) = self.vacant.pop() {
            self.slots[place as usize] = slot;
            return place;
        }
        let place = u32::try_from(self.slots.len()).expect("a ledger has far fewer tokens");
        self.slots.push(slot);
        place
    }

    pub fn remove(&mut self, place: u32) -> Option<Slot> {
        let slot = self.slots[place as usize].take()?;
        self.vacant.push(place);
        Some(slot)
    }
}

impl Index<u32> for Slots {
    type Output = Slot;

    fn index(&self, place: u32) -> &Slot {
        self.slots[place as usize].as_ref().expect("a place that is in use has a token")
    }
}

impl IndexMut<u32> for Slots {
    fn index_mut(&mut self, place: u32) -> &mut Slot {
        self.slots[place as usize].as_mut().expect("a place that is in use has a token")
    }
}
