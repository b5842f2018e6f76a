use pool::{Change, Fence, Timestamp};
use uuid::Uuid;

/// Names a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchId(pub Uuid);

/// Names a running server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerId(pub Uuid);

/// A place in the journal. Two copies of a pool are the same exactly when all three agree: after a
/// failover another batch may bear the version that a lost one had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The era; a new one begins after a failover or restore.
    pub epoch: i64,
    /// The number of the batch; it grows by one from batch to batch, and by more where a new epoch
    /// begins.
    pub version: i64,
    /// The batch itself.
    pub batch: BatchId,
}

/// One batch, as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub position: Position,
    /// The server that decided it.
    pub server: ServerId,
    /// When it was decided, in the pool's time.
    pub at: Timestamp,
    /// The last fence given when it was done.
    pub fence: Fence,
    /// What it changed, in order.
    pub changes: Vec<Change>,
}

/// How [`Entry::changes`] are written down. Variants and fields are only ever added at the end of
/// [`Change`]; a server that meets one it does not know takes the whole pool anew instead.
pub(crate) fn encode(changes: &[Change]) -> Vec<u8> {
    postcard::to_stdvec(changes).expect("changes are plain values, which always serialize")
}

/// The changes in `bytes`; `None` when a newer server wrote something this one does not know.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<Change>> {
    postcard::from_bytes(bytes).ok()
}
