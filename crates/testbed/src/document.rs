//! Generated parts of documents: the code is the source, the document a copy that a test compares.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Environment variable that makes [`generated`] write instead of compare.
pub const UPDATE: &str = "UPDATE_DOCS";

/// Serialises updates: several tests of a process write into the same document.
static UPDATING: Mutex<()> = Mutex::new(());

/// Compares `text` with the part of a document between `<!-- generated: NAME -->` and `<!-- end -->`.
///
/// `path` counts from the repository root, as in `docs/api.md`. With `UPDATE_DOCS=1` in the
/// environment the part is replaced instead.
///
/// # Panics
///
/// If the document can't be read or written, has no such part, or has other text there.
pub fn generated(path: &str, name: &str, text: &str) {
    let current = |document: &str| {
        replaced(document, name, text).unwrap_or_else(|| {
            panic!("{path} has no `<!-- generated: {name} -->` ... `<!-- end -->`")
        })
    };
    compare(path, &format!("the part `{name}`"), current);
}

/// Compares `text` with a whole file, which may be missing; otherwise as [`generated`].
///
/// # Panics
///
/// If the file can't be written, or has other text.
pub fn whole(path: &str, text: &str) {
    compare(path, "this file", |_| text.to_owned());
}

fn compare(path: &str, part: &str, current: impl FnOnce(&str) -> String) {
    let _turn = UPDATING.lock().unwrap_or_else(PoisonError::into_inner);
    let file = root().join(path);
    let document = fs::read_to_string(&file).unwrap_or_default();
    let current = current(&document);
    if document == current {
        return;
    }
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&file, current).unwrap_or_else(|error| panic!("{path}: {error}"));
        return;
    }
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    panic!("{path}: {part} is out of date. Run: {UPDATE}=1 cargo test -p {package}");
}

/// Root folder of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The document with `text` in the named part; nothing if it has no such part.
fn replaced(document: &str, name: &str, text: &str) -> Option<String> {
    let begin = format!("<!-- generated: {name} -->\n");
    let (before, rest) = document.split_once(&begin)?;
    let (_, after) = rest.split_once("<!-- end -->")?;
    // Empty lines around the text, because Markdown does not begin a table right after a comment.
    Some(format!("{before}{begin}\n{}\n\n<!-- end -->{after}", text.trim_matches('\n')))
}

#[cfg(test)]
mod tests {
    use super::replaced;

    const DOCUMENT: &str = "a\n<!-- generated: one -->\n\n1\n\n<!-- end -->\n\
                            b\n<!-- generated: two -->\n<!-- end -->\nc\n";

    #[test]
    fn a_part_is_replaced_and_the_rest_stays() {
        let expected = DOCUMENT.replace("\n1\n", "\n| new |\n| row |\n");
        assert_eq!(replaced(DOCUMENT, "one", "| new |\n| row |\n").unwrap(), expected);
    }

    #[test]
    fn an_empty_part_is_filled() {
        let document = replaced(DOCUMENT, "two", "2").unwrap();
        assert!(document.ends_with("<!-- generated: two -->\n\n2\n\n<!-- end -->\nc\n"));
        assert!(document.starts_with("a\n<!-- generated: one -->\n\n1\n\n<!-- end -->\nb\n"));
    }

    #[test]
    fn a_current_part_stays_as_it_is() {
        assert_eq!(replaced(DOCUMENT, "one", "1").unwrap(), DOCUMENT);
    }

    #[test]
    fn a_part_must_exist_and_end() {
        assert_eq!(replaced(DOCUMENT, "three", "3"), None);
        assert_eq!(replaced("<!-- generated: one -->\n1\n", "one", "1"), None);
    }
}
