pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod create;
pub(crate) mod processes;
pub(crate) mod schema;
