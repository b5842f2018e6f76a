//! Connections: limits, timeouts, draining, and tracking of unread responses. Knows no routes.

pub(crate) mod accept_log;
pub(crate) mod activity;
pub(crate) mod connection;
pub(crate) mod connections;
pub(crate) mod drain;
pub(crate) mod listener;
pub(crate) mod memory;
pub(crate) mod responses;
pub(crate) mod shutdown;
pub(crate) mod socket;
