pub(crate) mod access;
pub(crate) mod housekeeper;
pub(crate) mod key_usage;
pub(crate) mod members;
pub(crate) mod parameters;
pub(crate) mod statements;
pub(crate) mod store;
pub(crate) mod writer;
