//! Whether a path leads to a file that can be a database's, judged before it is opened.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use crate::Error;
use crate::sqlite::disk::system_errors::unusable;

/// Refuses a path to anything but a regular file with one name that is not a mount point. A path
/// without a file passes.
///
/// # Errors
///
/// [`Error::Operator`] with the reason.
pub(crate) fn refuse_odd(path: &Path) -> Result<(), Error> {
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unusable(path, &error)),
    };
    refuse_odd_kind(path, &metadata)?;
    if metadata.nlink() > 1 {
        return Err(Error::Operator(format!(
            "{path} has {links} names (hard links). By another name a program would use another log \
             and lock with the same file, and two servers would grant the same tokens. Remove the \
             other names (`find FOLDER -samefile {path}` shows them), or replace the file by a copy \
             while no server runs",
            path = path.display(),
            links = metadata.nlink()
        )));
    }
    if is_mount_point(path, &metadata) {
        return Err(Error::Operator(format!(
            "{} is a mount point: a single file was mounted there. Its log and lock would be other \
             files than those beside the original, and two servers would grant the same tokens. \
             Mount the folder that contains the file instead",
            path.display()
        )));
    }
    Ok(())
}

/// Refuses anything but a regular file.
///
/// # Errors
///
/// [`Error::Operator`] with the kind.
pub(crate) fn refuse_odd_kind(path: &Path, metadata: &Metadata) -> Result<(), Error> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return Ok(());
    }
    let path = path.display();
    Err(Error::Operator(format!("{path} is {}: a regular file is needed", name_of(kind))))
}

fn name_of(kind: fs::FileType) -> &'static str {
    if kind.is_dir() {
        return "a directory";
    }
    if kind.is_symlink() {
        return "a symbolic link";
    }
    if kind.is_fifo() {
        return "a FIFO";
    }
    if kind.is_socket() {
        return "a socket";
    }
    "a device"
}

#[cfg(target_os = "linux")]
fn is_mount_point(path: &Path, metadata: &Metadata) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    let seen = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS);
    if let Ok(seen) = seen
        && seen.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT)
    {
        return seen.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    }
    // Linux before 5.8 does not tell. A mount from another file system still shows.
    let folder = path.parent().and_then(|folder| folder.metadata().ok());
    folder.is_some_and(|folder| folder.dev() != metadata.dev())
}

#[cfg(not(target_os = "linux"))]
fn is_mount_point(_: &Path, _: &Metadata) -> bool {
    false
}

/// Refuses a folder on a network file system: SQLite's log needs memory that all its users share,
/// and such file systems don't enforce its locks.
///
/// # Errors
///
/// [`Error::Operator`] with the kind of file system.
#[cfg(target_os = "linux")]
pub(crate) fn refuse_network(folder: &Path) -> Result<(), Error> {
    let Ok(found) = rustix::fs::statfs(folder) else { return Ok(()) };
    network(i128::from(found.f_type)).map_or(Ok(()), |name| {
        Err(Error::Operator(format!(
            "{} is on a network file system ({name}), where locks and the write-ahead log of SQLite \
             are not safe: use a disk of this machine, or PostgreSQL",
            folder.display()
        )))
    })
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn refuse_network(_: &Path) -> Result<(), Error> {
    Ok(())
}

/// The name of a network file system, by its number in `statfs`.
#[cfg(target_os = "linux")]
fn network(kind: i128) -> Option<&'static str> {
    match kind {
        0x6969 => Some("NFS"),
        0x517B | 0xFF53_4D42 | 0xFE53_4D42 => Some("SMB"),
        _ => None,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_number() {
        assert_eq!(network(0x6969), Some("NFS"));
        assert_eq!(network(0xFE53_4D42), Some("SMB"));
        assert_eq!(network(0xEF53), None, "ext4");
    }
}
