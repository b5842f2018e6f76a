//! Checks whether the paths of the database still lead to the files that this process has open.
//! SQLite never checks the path of a file again once it has opened it. A commit to a deleted or
//! replaced file is not durable, so the server acknowledges a commit only if the files are in their
//! place.

use std::fmt;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};

use crate::Error;
use crate::sqlite::disk::files::{Files, Inode};

/// Identity of the files when they were opened. Shared by the writing and the reading threads.
pub(crate) struct Watch {
    database: Inode,
    /// None until the database was opened.
    beside: Mutex<Option<Beside>>,
    /// Whether the writing thread has found a file missing, and not found it again since.
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
    /// The path does not exist, or can't be read.
    Gone(PathBuf, io::Error),
    /// The path leads to another file.
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

    /// Whether a file was missing at the last check by the writing thread.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(SeqCst)
    }

    /// Sets the value of [`Watch::is_lost`]; returns the previous one.
    pub(crate) fn set_lost(&self, lost: bool) -> bool {
        self.lost.swap(lost, SeqCst)
    }

    /// Refuses to read if a file was missing.
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

    /// Checks the database alone.
    pub(crate) fn database(&self, files: &Files) -> Result<u64, Misplaced> {
        size(&files.database, self.database)
    }

    /// Checks the files that a commit is written to: two system calls.
    pub(crate) fn written(&self, files: &Files) -> Result<Sizes, Misplaced> {
        let database = self.database(files)?;
        let beside = *self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        let wal = beside.map_or(Ok(0), |beside| size(&files.wal, beside.wal))?;
        Ok(Sizes { database, wal })
    }

    /// Checks the file that SQLite's connections share for coordination.
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
