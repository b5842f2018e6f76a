use pool::{Inconsistent, Ledger, Timestamp};
use store::{BatchId, EPOCH_GAP, Entry, Position, Snapshot};
use uuid::Uuid;

/// A position before every journal: a request for news since here returns the whole ledger.
pub(crate) const NOWHERE: Position = Position { epoch: 0, version: 0, batch: BatchId(Uuid::nil()) };

/// The ledger after one batch of the journal.
#[derive(Clone, Debug)]
pub(crate) struct Replica {
    pub position: Position,
    /// The ledger's time of that batch.
    pub at: Timestamp,
    /// Every batch that this copy lacks is decided at this moment or later: ends by deadlines up to
    /// it are final. At least `at`.
    pub settled: Timestamp,
    pub ledger: Ledger,
}

/// Why a copy could not be brought forward. It is then useless: the whole ledger has to be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("journal entry {1:?} does not follow {0:?}")]
    Gap(Position, Position),
    #[error(transparent)]
    Inconsistent(#[from] Inconsistent),
}

impl From<Snapshot> for Replica {
    fn from(Snapshot { position, at, ledger }: Snapshot) -> Self {
        Replica { position, at, settled: at, ledger }
    }
}

impl Replica {
    /// Brings the copy forward by one batch; skips a batch that it already has.
    pub fn advance(&mut self, entry: &Entry) -> Result<(), Unfit> {
        if entry.position.version <= self.position.version {
            return Ok(());
        }
        if !follows(self.position, entry.position) {
            return Err(Unfit::Gap(self.position, entry.position));
        }
        for change in &entry.changes {
            self.ledger.apply(change)?;
        }
        self.settle(entry);
        Ok(())
    }

    /// Sets the entry's position; the ledger already has its changes.
    pub fn settle(&mut self, entry: &Entry) {
        self.ledger.skip_fences(entry.fence.get() - self.ledger.fence().get());
        self.position = entry.position;
        self.at = entry.at;
        self.settled = self.settled.max(entry.at);
    }
}

/// The position of the batch after `position`: in the same epoch, or the first of a new one whose
/// version is raised by `gap`.
pub(crate) fn next(position: Position, gap: Option<i64>, batch: BatchId) -> Position {
    let Position { epoch, version, .. } = position;
    let epoch = epoch + i64::from(gap.is_some());
    Position { epoch, version: version + 1 + gap.unwrap_or(0), batch }
}

fn follows(before: Position, after: Position) -> bool {
    let step = after.version - before.version;
    if after.epoch == before.epoch {
        step == 1
    } else {
        after.epoch == before.epoch + 1 && step > EPOCH_GAP
    }
}
