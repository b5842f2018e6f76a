//! Migrations, and the check that a database's schema is the one of this program.

use refinery_core::error::Kind;
use refinery_core::{Migration, Runner};

use crate::Error;

/// The migrations of one database.
pub(crate) struct Schema(pub(crate) fn() -> Runner);

impl Schema {
    /// Number of the newest migration in this program.
    pub(crate) fn version(&self) -> i64 {
        let runner = (self.0)();
        let versions = runner.get_migrations().iter().map(|one| i64::from(one.version()));
        versions.max().unwrap_or(0)
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

/// Runs these migrations, given by name and SQL.
pub(crate) fn runner(migrations: &[(&str, &str)]) -> Runner {
    let migrations = migrations.iter().map(|(name, sql)| {
        Migration::unapplied(name, sql).expect("the name has the form of a migration's")
    });
    Runner::new(&migrations.collect::<Vec<_>>())
}

/// The names of the migrations that a run applied.
pub(crate) fn applied(report: &refinery_core::Report) -> Vec<String> {
    report.applied_migrations().iter().map(ToString::to_string).collect()
}

/// The meaning of a failed run. `database_error` explains an error of the database itself.
pub(crate) fn failed(
    error: refinery_core::Error,
    database_error: impl FnOnce(&str, &(dyn std::error::Error + Send + Sync + 'static)) -> Option<Error>,
) -> Error {
    let explained = match error.kind() {
        Kind::Connection(what, cause) => database_error(what, &**cause),
        _ => Some(Error::Operator(format!(
            "the migrations of the database differ from those of this program ({error}): use the program \
             that created it, or another database"
        ))),
    };
    explained.unwrap_or_else(|| Error::TryAgain { what: "migrating", cause: Box::new(error) })
}

/// These migrations, and one more.
#[cfg(test)]
pub(crate) fn with(migrations: &Runner, name: &str, sql: &str) -> Runner {
    let one = runner(&[(name, sql)]);
    Runner::new(&[&migrations.get_migrations()[..], &one.get_migrations()[..]].concat())
}

/// Whether these are the files of a folder of migrations, by name.
#[cfg(test)]
pub(crate) fn is_complete(schema: &Schema, database: &str) -> bool {
    let folder = format!("{}/migrations/{database}", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(folder).unwrap();
    let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let names = |migrations: &Vec<Migration>| -> std::collections::BTreeSet<String> {
        migrations.iter().map(|migration| format!("{migration}.sql")).collect()
    };
    files.collect::<std::collections::BTreeSet<_>>() == names((schema.0)().get_migrations())
}
