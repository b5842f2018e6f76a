//! SQLite: one process owns the writing.
