//! Sessions that hold one of the program's advisory locks. Any role that may connect can take one.

use std::fmt;

use tokio_postgres::{Client, Error as PgError};

/// A session that holds a lock.
pub(crate) struct Holder {
    pid: i32,
    role: Option<String>,
    application: Option<String>,
    address: Option<String>,
    state: Option<String>,
    since: Option<String>,
    /// Whether it has the role and the application name of this program's sessions.
    pub(crate) is_own: bool,
}

/// The sessions that hold the lock with this key, ten at most.
pub(crate) async fn holders(
    client: &Client,
    (group, key): (i32, i32),
) -> Result<Vec<Holder>, PgError> {
    let rows = client.query(sql!("session/holders"), &[&group, &key]).await?;
    let holder = |row: &tokio_postgres::Row| {
        Ok(Holder {
            pid: row.try_get(0)?,
            role: row.try_get(1)?,
            application: row.try_get(2)?,
            address: row.try_get(3)?,
            state: row.try_get(4)?,
            since: row.try_get(5)?,
            is_own: row.try_get(6)?,
        })
    };
    rows.iter().map(holder).collect()
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |text: &Option<String>| match text.as_deref() {
            None | Some("") => "unknown".to_owned(),
            // Others choose these names.
            Some(text) => text.escape_debug().to_string(),
        };
        let kind = if self.is_own { "a session of this program" } else { "another program" };
        write!(
            f,
            "{kind}: pid {}, role {}, application {}, from {}, {} since {}",
            self.pid,
            known(&self.role),
            known(&self.application),
            known(&self.address),
            known(&self.state),
            known(&self.since),
        )
    }
}

/// All holders in one line. Without any, the lock has been released meanwhile.
pub(crate) fn in_words(holders: &[Holder]) -> String {
    if holders.is_empty() {
        return "it is free again".to_owned();
    }
    let holders: Vec<String> = holders.iter().map(ToString::to_string).collect();
    format!("held by {}", holders.join("; "))
}

/// The remedy for holders that are not this program's.
pub(crate) const REMEDY: &str = "end that session with `select pg_terminate_backend(PID)`, and keep \
                                 others out with `revoke connect on database NAME from public`";
