//! Detects a journal that went back: its newest entries were durable before, and are gone now.

use std::sync::{Mutex, PoisonError};

use pool::Fence;
use store::Position;

use crate::replica::{NOWHERE, Replica};

/// Newest entry that this server has seen durable. Kept apart from the readers' replica, whose
/// content is replaced by that of the journal.
pub(crate) struct HighWater(Mutex<State>);

#[derive(Clone, Copy)]
struct State {
    position: Position,
    fence: Fence,
    /// Whether the copy was loaded whole since: then the journal may no longer have this entry.
    suspect: bool,
}

impl HighWater {
    pub fn new() -> Self {
        HighWater(Mutex::new(State { position: NOWHERE, fence: Fence::NONE, suspect: false }))
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Records the current position of the readers' replica.
    pub fn note(&self, copy: &Replica) {
        let age = |position: &Position| (position.epoch, position.version);
        self.update(|state| {
            // Entries written after the journal went back must not hide that it did.
            if !state.suspect && age(&state.position) < age(&copy.position) {
                (state.position, state.fence) = (copy.position, copy.ledger.fence());
            }
        });
    }

    /// Records that the readers' replica was replaced by the whole pool.
    pub fn replaced(&self) {
        self.update(|state| state.suspect = true);
    }

    /// Records that later batches continue from the history of `copy`.
    pub fn accept(&self, copy: &Replica) {
        self.update(|state| {
            *state = State { position: copy.position, fence: copy.ledger.fence(), suspect: false };
        });
    }

    /// Position and fence of that entry, if the journal may no longer have it.
    pub fn suspect(&self) -> Option<(Position, Fence)> {
        let state = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (state.suspect && state.position != NOWHERE).then_some((state.position, state.fence))
    }
}
