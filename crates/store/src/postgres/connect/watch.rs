//! Settings of PostgreSQL on which durability rests and that no session can set for itself.

use std::sync::{Mutex, PoisonError};

use tokio_postgres::{Client, Error as PgError};
use tracing::{info, warn};

use crate::Durability;

/// A setting, and the values that weaken durability.
pub(crate) struct Watched {
    pub(crate) name: &'static str,
    weakens: fn(&str) -> bool,
    /// The consequence, and the remedy, for the operator.
    pub(crate) advice: &'static str,
}

/// The name of the pseudo-setting for tables that PostgreSQL empties after a crash.
const UNLOGGED: &str = "unlogged";

/// Only a failover can lose anything without a synchronous standby, and many pools have no standby
/// at all: so its absence alone is not a weakness, and only a change is reported.
pub(crate) const STANDBYS: &str = "synchronous_standby_names";

pub(crate) const WATCHED: [Watched; 7] = [
    Watched {
        name: "fsync",
        weakens: is_off,
        advice: "a crash of the machine can lose acknowledged leases and damage the database: \
                 `alter system set fsync = on`, then `select pg_reload_conf()`",
    },
    Watched {
        name: "full_page_writes",
        weakens: is_off,
        advice: "a crash of the machine can damage the database: `alter system set \
                 full_page_writes = on`, then `select pg_reload_conf()`",
    },
    Watched {
        name: "data_sync_retry",
        weakens: is_on,
        advice: "after a failed write to disk, commits may be acknowledged and lost: `alter \
                 system set data_sync_retry = off`, then restart PostgreSQL",
    },
    Watched {
        name: "zero_damaged_pages",
        weakens: is_on,
        advice: "PostgreSQL replaces damaged pages by empty ones, so leases may vanish: set it \
                 to off where it was set (postgresql.conf, the role or the database)",
    },
    Watched {
        name: "ignore_checksum_failure",
        weakens: is_on,
        advice: "PostgreSQL uses damaged pages: set it to off where it was set \
                 (postgresql.conf, the role or the database)",
    },
    Watched {
        name: UNLOGGED,
        weakens: |tables| !tables.is_empty(),
        advice: "PostgreSQL empties these tables after a crash: `alter table token_manager.NAME \
                 set logged` for each of them",
    },
    Watched {
        name: STANDBYS,
        weakens: str::is_empty,
        advice: "a failover may forget the leases that were acknowledged last: name the standbys \
                 in synchronous_standby_names, then `select pg_reload_conf()`",
    },
];

pub(crate) fn is_off(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "off" | "of" | "false" | "f" | "no" | "n" | "0")
}

fn is_on(value: &str) -> bool {
    !value.is_empty() && !is_off(value)
}

impl Watched {
    pub(crate) fn is_weak(&self, value: &str) -> bool {
        (self.weakens)(value)
    }

    /// Whether a crash can lose data with such a value.
    pub(crate) fn is_of_crashes(&self) -> bool {
        self.name != STANDBYS
    }
}

/// The settings as last seen, for all connections of a server.
#[derive(Default)]
pub(crate) struct Watch {
    durability: Durability,
    /// One reader at a time, so that each change is logged once.
    looking: Mutex<()>,
}

impl Watch {
    pub(crate) fn durability(&self) -> Durability {
        self.durability.clone()
    }

    /// Whether a crash can lose acknowledged commits, as last seen.
    pub(crate) fn is_weak(&self) -> bool {
        self.durability.settings().iter().any(|(name, weak)| *weak && *name != STANDBYS)
    }

    /// Reads the settings, and logs each change.
    pub(crate) async fn look(&self, client: &Client) -> Result<(), PgError> {
        let values = read(client).await?;
        let _turn = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = values.iter().map(|(watched, value)| (watched.name, watched.is_weak(value)));
        let before = self.durability.replace(seen.collect());
        for (watched, value) in values {
            let Watched { name: setting, advice, .. } = watched;
            let weak = watched.is_weak(&value);
            let was = before.iter().find(|(name, _)| name == setting).map(|(_, weak)| *weak);
            // On the first reading, a missing standby is not a change.
            match (was, weak) {
                (Some(false), true) => {
                    warn!(setting, value, advice, "database durability weakened");
                }
                (None, true) if watched.is_of_crashes() => {
                    warn!(setting, value, advice, "database durability is weak");
                }
                (Some(true), false) => info!(setting, value, "database durability restored"),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The values of all settings that this release of PostgreSQL has.
pub(crate) async fn read(client: &Client) -> Result<Vec<(&'static Watched, String)>, PgError> {
    let names = WATCHED.iter().map(|watched| watched.name).filter(|name| *name != UNLOGGED);
    let names: Vec<&str> = names.collect();
    let rows = client.query(sql!("session/watch"), &[&names]).await?;
    let mut values = Vec::new();
    for row in rows {
        let (name, value): (&str, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        let watched = WATCHED.iter().find(|watched| watched.name == name);
        values.extend(watched.zip(value));
    }
    Ok(values)
}
