//! Keys of the advisory locks. A key has two halves; the second one is the pool's id.

/// First half of the key of a pool's lock, which puts batches in order.
pub(crate) const POOL_LOCKS: i32 = 0x746f_6b65;

/// First half of the key of the lock that each server holds while it listens for wake-ups.
pub(crate) const LISTENER_LOCKS: i32 = 0x746f_6b68;

/// First half of the key of the lock that each writing session holds all the time. It tells a batch from
/// another program that holds the pool's lock.
pub(crate) const WRITER_LOCKS: i32 = 0x746f_6b77;

/// Key of the lock on the schema.
pub(crate) const MIGRATION_LOCK: (i32, i32) = (0x746f_6b6d, 0);
