use std::fmt;
use std::str::FromStr;

use crate::InvalidUrl;

/// Where the database is and how to reach it.
#[derive(Clone)]
pub struct Config {
    session: tokio_postgres::Config,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.session.get_hosts();
        f.debug_struct("Config").field("hosts", &hosts).finish_non_exhaustive()
    }
}

impl FromStr for Config {
    type Err = InvalidUrl;

    fn from_str(url: &str) -> Result<Self, InvalidUrl> {
        let session = url.parse().map_err(|_| InvalidUrl("not a valid URL".to_owned()))?;
        Ok(Config { session })
    }
}
