use pool::Timestamp;
use tracing::warn;

use crate::replica::Replica;
use crate::writer::{Failure, Writer};

impl Writer {
    /// Raises the fences of the copy that the next batch is decided on, if that batch begins a new
    /// epoch: because the store requires one (`new_epoch`), or because entries are gone that this
    /// server saw durable. Returns by how much; versions rise as well. Called under the lock.
    pub(super) async fn raise_fences(
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
        copy.ledger.skip_fences(gap);
        // It may be another machine's clock.
        self.shared.time.forget_clock();
        Ok(Some(gap))
    }

    /// Number of versions or fences that the journal went back; None if it did not.
    async fn lost(&mut self, copy: &Replica) -> Result<Option<i64>, store::Error> {
        let Some((newest, fence)) = self.shared.high_water.suspect() else { return Ok(None) };
        let has = self.store.has(&newest).await?;
        let fences = fence.get() - copy.ledger.fence().get();
        let versions = newest.version - copy.position.version;
        let same_epoch = newest.epoch == copy.position.epoch;
        // In a later epoch the fences were raised already; by too little, if they are below.
        if has != Some(true) && (fences > 0 || (has == Some(false) && same_epoch)) {
            return Ok(Some(fences.max(versions).max(0)));
        }
        self.shared.high_water.accept(copy);
        Ok(None)
    }

    /// Records that a new epoch is durable.
    pub(super) fn epoch_began(&self) {
        if let Some(copy) = self.shared.copy().as_ref() {
            self.shared.high_water.accept(copy);
        }
    }
}
