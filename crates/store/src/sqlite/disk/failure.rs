use std::fmt::Display;

use rusqlite::ErrorCode;

use crate::Error;

/// Classifies an error of SQLite's, for anything but the commit itself: nothing has been done.
pub(crate) fn failed(what: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |error| match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
            Error::Data(Box::new(error))
        }
        _ if is_damage(&error) => not_ours(&error),
        _ => Error::TryAgain { what, cause: Box::new(error) },
    }
}

/// Classifies an error of the commit itself.
pub(crate) fn failed_commit(error: rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        // The commit's record is the last thing that is written, so it can't be whole.
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy) => {
            Error::TryAgain { what: "committing", cause: Box::new(error) }
        }
        Some(ErrorCode::ConstraintViolation) => Error::Data(Box::new(error)),
        _ => Error::Unknown(Box::new(error)),
    }
}

/// Whether the file is at fault, not the operation.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        // `Unknown` is SQL that does not fit the tables, for example one that is missing.
        Some(code) => matches!(
            code,
            ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown
        ),
        // Not from SQLite: a value whose type differs from its column's.
        None => true,
    }
}

/// Says so.
pub(crate) fn not_ours(error: &rusqlite::Error) -> Error {
    if error.sqlite_error_code() != Some(ErrorCode::NotADatabase) {
        return damaged(error);
    }
    Error::Operator(format!(
        "the file is not an SQLite database ({error}): it is of another kind, encrypted, or damaged. \
         Name another file, or restore a backup"
    ))
}

/// Says so.
pub(crate) fn damaged(said: &dyn Display) -> Error {
    Error::Operator(format!(
        "the database file is damaged or not one of this program's ({said}): restore a backup, or \
         use another file"
    ))
}
