//! The statements, one in each file of `sql/`, by entity.

use crate::postgres::columns::LEASE_COLUMNS;

/// Parts that several statements share.
const FRAGMENTS: &[(&str, &str)] = &[
    ("record", include_str!("sql/fragments/record.sql")),
    ("fits", include_str!("sql/fragments/fits.sql")),
];

/// The text of a statement with its fragments, see [`crate::sql::expand`].
pub(crate) fn expand(text: &str) -> String {
    crate::sql::expand(text, &LEASE_COLUMNS, FRAGMENTS)
}

/// The statement in the file `sql/ENTITY/NAME.sql`.
macro_rules! sql {
    ($file:expr) => {{
        static TEXT: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
            $crate::postgres::sql::expand(include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/src/postgres/sql/",
                $file,
                ".sql"
            )))
        });
        TEXT.as_str()
    }};
}
