pub(crate) mod audit;
pub(crate) mod checks;
pub(crate) mod create;
pub(crate) mod schema;
