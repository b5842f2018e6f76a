//! Documents are read, checked, planned and written.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod manual;
mod mistakes;
mod plans;
mod reading;
mod writing;

use std::path::Path;

use documents::{Format, Invalid, Parsed, Source};

/// Reads TOML that may name files in `folder`.
fn toml_in(folder: &Path, text: &str) -> Result<Parsed, Invalid> {
    let source = Source { name: "pools.toml", folder: Some(folder) };
    documents::parse(text.as_bytes(), Format::Toml, &source)
}

fn toml(text: &str) -> Result<Parsed, Invalid> {
    toml_in(Path::new("/nonexistent"), text)
}

fn json(text: &str) -> Result<Parsed, Invalid> {
    let source = Source { name: "pools.json", folder: None };
    documents::parse(text.as_bytes(), Format::Json, &source)
}

/// The lines in which the document is refused.
fn refused(read: Result<Parsed, Invalid>) -> String {
    read.unwrap_err().to_string()
}
