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
        // Other programs write `sqlite://PATH`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_file_or_a_server() {
        for url in ["sqlite:pool.db", "sqlite://pool.db"] {
            let parsed = url.parse();
            assert!(matches!(parsed, Ok(DatabaseUrl::Sqlite(path)) if path == *"pool.db"), "{url}");
        }
        for url in ["postgres://ann@db/pool", "postgresql:///pool?host=/run/postgresql"] {
            assert!(matches!(url.parse(), Ok(DatabaseUrl::Postgres(_))), "{url}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_an_example() {
        for (url, example) in [
            ("", "sqlite:PATH or postgres://USER@HOST/NAME"),
            ("mysql://ann:secret@db/pool", "sqlite:PATH or postgres://USER@HOST/NAME"),
            ("sqlite:", "sqlite:pool.db"),
            ("sqlite://", "sqlite:pool.db"),
            ("postgres:///pool", "?host=/FOLDER"),
        ] {
            let said = url.parse::<DatabaseUrl>().unwrap_err().to_string();
            assert!(said.contains(example) && !said.contains("secret"), "{url}: {said}");
        }
    }
}
