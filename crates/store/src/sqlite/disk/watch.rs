//! Whether the paths of the database still lead to the files that this process has open.
//!
//! SQLite never looks again once it has opened a file. What is committed to a file that was deleted
//! or replaced is durable nowhere, so nothing is acknowledged unless the files are in their place.

use std::fmt;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};

use crate::Error;
use crate::sqlite::disk::files::{Files, Inode};

/// What the paths led to when the files were opened. Shared by the thread that writes and those
/// that read.
pub(crate) struct Watch {
    database: Inode,
    /// None until the database was opened.
    beside: Mutex<Option<Beside>>,
    /// Whether the thread that writes has found a file missing, and not found it again since.
    lost: AtomicBool,
}

/// The files that SQLite makes beside the database.
#[derive(Clone, Copy)]
struct Beside {
    wal: Inode,
    shm: Inode,
}

/// Sizes of the files, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) database: u64,
    pub(crate) wal: u64,
}

/// A file that is not as this process knows it.
#[derive(Debug)]
pub(crate) enum Misplaced {
    /// There is nothing at the path, or it can't be looked at.
    Gone(PathBuf, io::Error),
    /// There is another file at the path.
    Replaced(PathBuf),
    /// The file has less content than was written to it.
    Truncated { path: PathBuf, size: u64, least: u64 },
}

impl Misplaced {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Misplaced::Gone(path, _)
            | Misplaced::Replaced(path)
            | Misplaced::Truncated { path, .. } => path,
        }
    }

    /// The error that a caller gets.
    pub(crate) fn error(self) -> Error {
        Error::TryAgain {
            what: "a file of the database is not in its place",
            cause: Box::new(self),
        }
    }
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path().display();
        match self {
            Misplaced::Gone(_, error) if error.kind() == ErrorKind::NotFound => {
                write!(f, "{path} was deleted or renamed")
            }
            Misplaced::Gone(_, error) => write!(f, "{path} can't be looked at: {error}"),
            Misplaced::Replaced(_) => write!(f, "{path} was replaced by another file"),
            Misplaced::Truncated { size, least, .. } => {
                write!(f, "{path} was truncated: it has {size} of at least {least} bytes")
            }
        }
    }
}

impl std::error::Error for Misplaced {}

impl Watch {
    pub(crate) fn new(database: Inode) -> Self {
        Watch { database, beside: Mutex::default(), lost: AtomicBool::new(false) }
    }

    /// Remembers the files beside the database, which was just opened.
    pub(crate) fn opened(&self, files: &Files) -> Result<(), Misplaced> {
        let at =
            |path: &Path| Inode::at(path).map_err(|error| Misplaced::Gone(path.to_owned(), error));
        let beside = Beside { wal: at(&files.wal)?, shm: at(&files.shm)? };
        *self.beside.lock().unwrap_or_else(PoisonError::into_inner) = Some(beside);
        Ok(())
    }

    /// Whether a file was missing when the thread that writes looked last.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(SeqCst)
    }

    /// Sets what [`Watch::is_lost`] tells; returns what it told before.
    pub(crate) fn set_lost(&self, lost: bool) -> bool {
        self.lost.swap(lost, SeqCst)
    }

    /// Refuses to read where a file was missing.
    pub(crate) fn refuse_lost(&self) -> Result<(), Error> {
        if self.is_lost() {
            let cause = "see the log of when it was missed".into();
            return Err(Error::TryAgain {
                what: "a file of the database is not in its place",
                cause,
            });
        }
        Ok(())
    }

    /// Looks at the database alone.
    pub(crate) fn database(&self, files: &Files) -> Result<u64, Misplaced> {
        size(&files.database, self.database)
    }

    /// Looks at the files that a commit is written to: two calls of the system.
    pub(crate) fn written(&self, files: &Files) -> Result<Sizes, Misplaced> {
        let database = self.database(files)?;
        let beside = *self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        let wal = beside.map_or(Ok(0), |beside| size(&files.wal, beside.wal))?;
        Ok(Sizes { database, wal })
    }

    /// Looks at the file by which SQLite's connections know of each other.
    pub(crate) fn shared(&self, files: &Files) -> Result<(), Misplaced> {
        let beside = *self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        beside.map_or(Ok(0), |beside| size(&files.shm, beside.shm)).map(drop)
    }
}

/// The size of the file, if it is still the one at the path.
fn size(path: &Path, open: Inode) -> Result<u64, Misplaced> {
    match path.symlink_metadata() {
        Ok(found) if Inode::from(&found) == open => Ok(found.size()),
        Ok(_) => Err(Misplaced::Replaced(path.to_owned())),
        Err(error) => Err(Misplaced::Gone(path.to_owned(), error)),
    }
}
