pub(crate) mod access;
pub(crate) mod housekeeper;
pub(crate) mod keys;
pub(crate) mod members;
pub(crate) mod store;
pub(crate) mod user_index;
pub(crate) mod writer;
