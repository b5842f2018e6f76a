//! Migrations, and the check that a database's schema is the one of this program.

use crate::Error;

/// The migrations of one database in order, by name and statements. Each has its position as number, from 1. The
/// table `migrations` has those that were applied.
pub(crate) struct Schema<'a>(pub(crate) &'a [(&'a str, &'a str)]);

/// A migration that a database lacks.
pub(crate) struct Missing<'a> {
    pub(crate) number: i64,
    pub(crate) name: &'a str,
    pub(crate) sql: &'a str,
}

impl Schema<'_> {
    /// Number of the newest migration in this program.
    pub(crate) fn version(&self) -> i64 {
        self.numbered().last().map_or(0, |newest| newest.number)
    }

    fn numbered(&self) -> impl Iterator<Item = Missing<'_>> {
        (1..).zip(self.0).map(|(number, (name, sql))| Missing { number, name, sql })
    }

    /// The migrations after those that were applied, given by number and statements. Refuses a database
    /// whose migrations were others.
    pub(crate) fn missing(&self, applied: &[(i64, String)]) -> Result<Vec<Missing<'_>>, Error> {
        let mut own = self.numbered();
        for (number, statements) in applied {
            if own.next().is_none_or(|own| (own.number, own.sql) != (*number, statements)) {
                return Err(Error::Operator(format!(
                    "migration {number} of the database differs from the one of this program: use the \
                     program that created it, or another database"
                )));
            }
        }
        Ok(own.collect())
    }

    /// Refuses a database of a newer program.
    pub(crate) fn refuse_newer(&self, version: i64) -> Result<(), Error> {
        let ours = self.version();
        if version <= ours {
            return Ok(());
        }
        Err(Error::Operator(format!(
            "the database has schema version {version}, and this program supports versions up to {ours}: \
             use a newer program"
        )))
    }

    /// Refuses a database whose schema is not the one of this program.
    pub(crate) fn check(&self, version: i64) -> Result<(), Error> {
        self.refuse_newer(version)?;
        let ours = self.version();
        if version == ours {
            return Ok(());
        }
        Err(Error::Operator(match version {
            0 => "schema: not created yet; run `token-manager migrate`".to_owned(),
            _ => format!(
                "the database has schema version {version}, this program needs {ours}: run \
                 `token-manager migrate`"
            ),
        }))
    }
}

/// Whether these are the files of a folder of migrations, by name.
#[cfg(test)]
pub(crate) fn is_complete(schema: &Schema<'_>, database: &str) -> bool {
    use std::collections::BTreeSet;

    let folder = format!("{}/migrations/{database}", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(folder).unwrap();
    let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let numbered = |one: &Missing<'_>| one.name.starts_with(&format!("V{}__", one.number));
    assert!(schema.numbered().all(|one| numbered(&one)));
    files.collect::<BTreeSet<_>>()
        == schema.0.iter().map(|(name, _)| format!("{name}.sql")).collect()
}
