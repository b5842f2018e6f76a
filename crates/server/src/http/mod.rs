//! Handling of HTTP requests: what every request passes, and the parts of requests and responses that
//! handlers share.

pub(crate) mod accept;
pub(crate) mod access;
pub(crate) mod body;
pub(crate) mod compress;
pub(crate) mod etag;
pub(crate) mod form;
pub(crate) mod idempotency_key;
pub(crate) mod ids;
pub(crate) mod json_body;
pub(crate) mod origin;
mod panics;
mod path;
pub(crate) mod prefer;
pub(crate) mod query;
pub(crate) mod request_id;
pub(crate) mod respond;
pub(crate) mod route;
pub(crate) mod service;
pub(crate) mod traces;
pub(crate) mod unsupported;
