//! Detects a journal that went back: its newest entries were durable before, and are gone now.

use std::sync::{Mutex, PoisonError};

use pool::{Fence, Timestamp};
use store::Position;
use tracing::warn;

use crate::replica::Replica;
use crate::writer::{Failure, Writer};

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
        let position = crate::replica::NOWHERE;
        HighWater(Mutex::new(State { position, fence: Fence::NONE, suspect: false }))
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
                (state.position, state.fence) = (copy.position, copy.pool.fence());
            }
        });
    }

    /// Records that the readers' replica was replaced by the whole pool.
    pub fn replaced(&self) {
        self.update(|state| state.suspect = true);
    }

    /// Records that later batches continue from the history of `copy`.
    fn accept(&self, copy: &Replica) {
        self.update(|state| {
            *state = State { position: copy.position, fence: copy.pool.fence(), suspect: false };
        });
    }

    fn suspect(&self) -> Option<State> {
        let state = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (state.suspect && state.position != crate::replica::NOWHERE).then_some(state)
    }
}

impl Writer {
    /// Raises the fences of the copy that the next batch is decided on, if that batch begins a new
    /// epoch: because the store requires one (`new_epoch`), or because entries are gone that this
    /// server saw durable. Returns by how much; versions rise as well. Called under the lock.
    pub async fn raise_fences(
        &mut self,
        copy: &mut Replica,
        now: Timestamp,
        new_epoch: bool,
    ) -> Result<Option<i64>, Failure> {
        let lost = match self.lost(copy).await {
            Ok(lost) => lost,
            Err(error) => {
                self.store.abandon().await;
                return Err(error.into());
            }
        };
        if !new_epoch && lost.is_none() {
            return Ok(None);
        }
        let lost = lost.unwrap_or(0);
        warn!(
            lost,
            "the database was restored, failed over or crashed without full durability; a new epoch \
             begins"
        );
        let gap = store::epoch_gap(now.since(copy.at)).saturating_add(lost);
        copy.pool.skip_fences(gap);
        // It may be another machine's clock.
        self.shared.time.forget_clock();
        Ok(Some(gap))
    }

    /// Number of versions or fences that the journal went back; None if it did not.
    async fn lost(&mut self, copy: &Replica) -> Result<Option<i64>, store::Error> {
        let Some(newest) = self.shared.high_water.suspect() else { return Ok(None) };
        let has = self.store.has(&newest.position).await?;
        let fences = newest.fence.get() - copy.pool.fence().get();
        let versions = newest.position.version - copy.position.version;
        let same_epoch = newest.position.epoch == copy.position.epoch;
        // In a later epoch the fences were raised already; by too little, if they are below.
        if has != Some(true) && (fences > 0 || (has == Some(false) && same_epoch)) {
            return Ok(Some(fences.max(versions).max(0)));
        }
        self.shared.high_water.accept(copy);
        Ok(None)
    }

    /// Records that a new epoch is durable.
    pub fn epoch_began(&self) {
        if let Some(copy) = self.shared.copy().as_ref() {
            self.shared.high_water.accept(copy);
        }
    }
}
