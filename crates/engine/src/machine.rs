use std::sync::Arc;

use store::{ServerId, Uptime};

use crate::ids;

/// What an engine takes from the machine on which it runs. A simulation passes its own.
#[derive(Clone)]
pub struct Machine {
    /// Id of the server, new at each start.
    pub server: ServerId,
    /// Reads the uptime.
    pub uptime: Arc<dyn Fn() -> Uptime + Send + Sync>,
}

impl Machine {
    /// This machine, with a new server id.
    #[must_use]
    pub fn this() -> Self {
        Machine { server: ids::server(), uptime: Arc::new(Uptime::now) }
    }
}
