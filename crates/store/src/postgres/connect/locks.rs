//! Keys of the advisory locks. The second half is 1, as the number of the only ledger of a database.

/// Key of the ledger's lock, which puts batches in order.
pub(crate) const LEDGER_LOCK: (i32, i32) = (0x746f_6b65, 1);

/// Key of the lock that each server holds while it listens for wake-ups.
pub(crate) const LISTENER_LOCK: (i32, i32) = (0x746f_6b68, 1);

/// Key of the lock that each writing session holds all the time. It tells a batch from another program
/// that holds the ledger's lock.
pub(crate) const WRITER_LOCK: (i32, i32) = (0x746f_6b77, 1);

/// Key of the lock on the schema.
pub(crate) const MIGRATION_LOCK: (i32, i32) = (0x746f_6b6d, 0);
