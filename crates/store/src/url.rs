use std::path::PathBuf;
use std::str::FromStr;

/// Which database holds the pool.
#[derive(Clone, Debug)]
pub enum DatabaseUrl {
    /// A file: `sqlite:PATH`.
    Sqlite(PathBuf),
    /// A server: `postgres://...` (see the `postgres` module for what the URL may say).
    Postgres(Box<crate::postgres::Config>),
}

/// The text names no database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidUrl(pub(crate) String);

impl FromStr for DatabaseUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        // `sqlite://PATH` is what other programs call it.
        if let Some(rest) = text.strip_prefix("sqlite:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.is_empty() {
                return Err(InvalidUrl("sqlite: needs a path, as in sqlite:pool.db".to_owned()));
            }
            return Ok(DatabaseUrl::Sqlite(path.into()));
        }
        if ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Ok(DatabaseUrl::Postgres(Box::new(text.parse()?)));
        }
        Err(InvalidUrl("a database is sqlite:PATH or postgres://USER@HOST/NAME".to_owned()))
    }
}
