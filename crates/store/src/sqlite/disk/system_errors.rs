//! Causes of the operating system's errors, in terms that let an operator act.
//! SQLite reports few causes ("disk I/O error", "unable to open database file") and drops the
//! system's error number, so this module repeats the failed operation to find the cause.

use std::error::Error as Cause;
use std::fmt;
use std::io::{self, Write as _};
use std::path::Path;

use rusqlite::ErrorCode;
use rustix::fs::{Access, Mode, OFlags};
use rustix::io::Errno;

use crate::Error;
use crate::sqlite::disk::files::Files;

/// Less free space than this counts as a full disk: SQLite needs some pages at once.
const FULL: u64 = 256 << 10;

/// How many descriptors opening a database takes at most.
const DESCRIPTORS: usize = 4;

pub(crate) const DISK_FULL: &str = "the disk is full";
pub(crate) const QUOTA: &str = "the disk quota is used up";

/// An error about a path: fatal, unless the disk may get room again.
pub(crate) fn unusable(path: &Path, error: &io::Error) -> Error {
    let what = match Errno::from_io_error(error) {
        Some(Errno::NOSPC) => DISK_FULL,
        Some(Errno::DQUOT) => QUOTA,
        _ => return Error::Operator(sentence(path, error)),
    };
    Error::TryAgain { what, cause: format!("{}: {error}", path.display()).into() }
}

/// An error about a path with its remedy.
pub(crate) fn sentence(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match Errno::from_io_error(error).and_then(remedy) {
        Some(remedy) => format!("{path} can't be used ({error}): {remedy}"),
        None => format!("{path} can't be used ({error})"),
    }
}

/// The cause of an error number in words, with its remedy.
fn remedy(errno: Errno) -> Option<String> {
    Some(match errno {
        Errno::NOSPC => "the disk is full; make room".to_owned(),
        Errno::DQUOT => "the disk quota is used up; make room, or raise it".to_owned(),
        Errno::ROFS => "the file system is mounted read-only".to_owned(),
        Errno::ACCESS | Errno::PERM => format!(
            "user id {} may not read and write there; change owner or permissions",
            rustix::process::geteuid().as_raw()
        ),
        Errno::MFILE => "this process has too many open files; raise LimitNOFILE of the systemd \
                         unit, or `ulimit -n`"
            .to_owned(),
        Errno::NFILE => "the system has too many open files; raise fs.file-max".to_owned(),
        Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS => {
            "the file system has no locks (flock); use a disk of this machine".to_owned()
        }
        Errno::IO => "the disk fails; see the kernel's log".to_owned(),
        Errno::NOENT | Errno::NOTDIR => "its directory must exist".to_owned(),
        Errno::LOOP => "it is a symbolic link, or there are too many of them".to_owned(),
        _ => return None,
    })
}

/// The cause that was found, and the error of SQLite's that led to the search.
#[derive(Debug)]
struct Explained(String, rusqlite::Error);

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Cause for Explained {
    fn source(&self) -> Option<&(dyn Cause + 'static)> {
        Some(&self.1)
    }
}

/// Adds the operating system's reason, if found, to a temporary error of SQLite's.
pub(crate) fn explain(files: &Files, error: Error) -> Error {
    let Error::TryAgain { what, cause } = error else { return error };
    let cause = match cause.downcast::<rusqlite::Error>() {
        Ok(cause) => *cause,
        Err(cause) => return Error::TryAgain { what, cause },
    };
    let full = match cause.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => true,
        Some(
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied,
        ) => false,
        _ => return Error::TryAgain { what, cause: Box::new(cause) },
    };
    match find(files) {
        Some((found, text)) => {
            Error::TryAgain { what: found, cause: Box::new(Explained(text, cause)) }
        }
        None if full => {
            let text = format!(
                "there is room in {}; temporary files are in the folder that SQLITE_TMPDIR or TMPDIR \
                 names, else in /var/tmp",
                files.folder().display()
            );
            Error::TryAgain { what: DISK_FULL, cause: Box::new(Explained(text, cause)) }
        }
        None => Error::TryAgain { what, cause: Box::new(cause) },
    }
}

/// The operation on these files that the operating system currently refuses: in short, and in a
/// sentence that names the file.
pub(crate) fn find(files: &Files) -> Option<(&'static str, String)> {
    let (path, error) = refused(files)?;
    let errno = Errno::from_io_error(&error)?;
    let short = match errno {
        Errno::NOSPC => DISK_FULL,
        Errno::DQUOT => QUOTA,
        Errno::ROFS => "the file system is mounted read-only",
        Errno::ACCESS | Errno::PERM => "permission denied",
        Errno::MFILE | Errno::NFILE => "too many open files",
        Errno::IO => "the disk fails",
        _ => "a file can't be used",
    };
    let remedy = remedy(errno).unwrap_or_else(|| error.to_string());
    Some((short, format!("{}: {remedy}", path.display())))
}

/// The first thing that the operating system refuses, and where.
fn refused(files: &Files) -> Option<(&Path, io::Error)> {
    let folder = files.folder();
    // Never of the database's own files: closing one would drop the locks that SQLite has on it.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let open = |_| rustix::fs::open("/", flags, Mode::empty());
    if let Err(error) = (0..DESCRIPTORS).map(open).collect::<Result<Vec<_>, _>>() {
        return Some((&files.database, error.into()));
    }
    for file in [&files.database, &files.wal, &files.shm] {
        match rustix::fs::access(file, Access::READ_OK | Access::WRITE_OK) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Some((file, error.into())),
        }
    }
    let seen = rustix::fs::statvfs(folder).ok();
    if seen.is_some_and(|seen| seen.f_bavail.saturating_mul(seen.f_frsize) < FULL) {
        return Some((folder, Errno::NOSPC.into()));
    }
    // Exhausted quotas and inodes show only on a write.
    let write = || -> io::Result<()> {
        let mut file = tempfile::tempfile_in(folder)?;
        file.write_all(&vec![0; 64 << 10])?;
        file.sync_all()
    };
    write().err().map(|error| (folder, error))
}
