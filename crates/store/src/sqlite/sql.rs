//! The statements, one in each file of `sql/`, by entity.

use crate::sqlite::columns::LEASE_COLUMNS;

/// The text of a statement with its fragments, see [`crate::sql::expand`].
pub(crate) fn expand(text: &str) -> String {
    crate::sql::expand(text, &LEASE_COLUMNS, &[])
}

/// The statement in the file `sql/ENTITY/NAME.sql`.
macro_rules! sql {
    ($file:expr) => {{
        static TEXT: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
            $crate::sqlite::sql::expand(include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/src/sqlite/sql/",
                $file,
                ".sql"
            )))
        });
        TEXT.as_str()
    }};
}
