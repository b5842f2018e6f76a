pub(crate) mod access;
pub(crate) mod chain;
pub(crate) mod reader;
pub(crate) mod rows;
pub(crate) mod search;
pub(crate) mod snapshot;
