pub(crate) mod access;
pub(crate) mod keys;
pub(crate) mod news;
pub(crate) mod reader;
pub(crate) mod rows;
pub(crate) mod search;
pub(crate) mod snapshot;
