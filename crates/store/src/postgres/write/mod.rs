pub(crate) mod housekeeping;
pub(crate) mod parameters;
pub(crate) mod statements;
pub(crate) mod store;
pub(crate) mod writer;
